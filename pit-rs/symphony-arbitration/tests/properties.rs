//! What holds for any requests: nobody starves, the first that fits is the one that the rules name, runs have
//! equal turns, and the tree agrees with a list.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use harness::*;
use proptest::prelude::*;
use serde_json::{json, Value};
use symphony_arbitration::config::{Config, Configure};
use symphony_arbitration::first_fit::{FirstFit, Key};
use symphony_arbitration::line::{Line, Newcomer};
use symphony_arbitration::rounds::{Rounds, QUANTUM};
use symphony_journal::memory::MemoryStorage;

const AGEING: u64 = 1_000;
/// Every grant is released so long after it was given.
const HOLD: u64 = 700;
const TENANTS: [&str; 4] = ["a", "b", "c", "d"];

fn contended() -> Value {
    json!({"resources": {"cpu": {"capacity": 8}, "gpu": {"capacity": 2}},
        "tenants": {"a": {"weight": 1}, "b": {"weight": 1_000_000}, "c": {"weight": 3, "reserve": {"cpu": 5, "gpu": 1}},
            "d": {"weight": 1, "borrow": false}},
        "ageing_ms": AGEING, "window_ms": 60_000})
}

/// A world in which everybody releases what it holds in time.
struct Pressed {
    world: World<MemoryStorage>,
    calls: BTreeMap<u64, String>,
    out: BTreeMap<String, u64>,
    sent: u64,
}

impl Pressed {
    fn new() -> Self {
        let (calls, out) = (BTreeMap::new(), BTreeMap::new());
        Self { world: configured(contended()), calls, out, sent: 0 }
    }

    fn send(&mut self, tenant: &str, needs: Value, more: Value) -> String {
        self.sent += 1;
        let id = format!("n{}", self.sent);
        let call = self.world.ask("request", request(&id, tenant, needs, more));
        self.calls.insert(call, id.clone());
        self.hear();
        id
    }

    fn hear(&mut self) {
        let end = self.world.now.mono_ms + HOLD;
        for (call, answer) in std::mem::take(&mut self.world.answers) {
            if self.calls.remove(&call).is_some() {
                let reply = answer.unwrap();
                self.out.insert(reply["grant"].as_str().unwrap().to_owned(), end);
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.world.pass(10);
            self.hear();
            let now = self.world.now.mono_ms;
            let due: Vec<String> = self
                .out
                .iter()
                .filter(|(_, end)| **end <= now)
                .map(|(grant, _)| grant.clone())
                .collect();
            for grant in due {
                self.out.remove(&grant);
                self.world.release(&grant);
                self.hear();
            }
        }
    }

    fn waits(&self, id: &str) -> bool {
        self.calls.values().any(|waiting| waiting == id)
    }
}

/// 10·ageing + (older + 1)·(ageing + H), where what several share is out for ageing + hold; and the ten
/// milliseconds by which this world's releases come late.
fn bound(older: u64) -> u64 {
    10 * AGEING + (older + 1) * (AGEING + AGEING + HOLD + 10)
}

#[test]
fn a_stream_that_keeps_the_tenants_share_high_does_not_starve_its_large_request() {
    let mut pressed = Pressed::new();
    // Tenant a always has a large share by its small requests, b always next to none: in the order, the large
    // request is never first, and the processors are never free at once.
    for _ in 0..3 {
        pressed.send("b", json!({"cpu": 3}), json!({"priority": 100}));
        pressed.pass(230);
    }
    let large = pressed.send("a", json!({"cpu": 8}), json!({"priority": 0}));
    let start = pressed.world.now.mono_ms;
    while pressed.waits(&large) {
        let waited = pressed.world.now.mono_ms - start;
        assert!(waited <= bound(4), "{waited}");
        pressed.send("a", json!({"gpu": 1}), json!({"priority": 100}));
        pressed.send("b", json!({"cpu": 3}), json!({"priority": 100}));
        pressed.pass(230);
    }
    // Neither the order nor age within the tenant gave it: it waited until it was the oldest by far.
    assert!(pressed.world.now.mono_ms - start >= 10 * AGEING);
}

#[test]
fn an_owner_that_always_waits_for_more_than_its_reserve_does_not_starve_a_borrower() {
    let mut pressed = Pressed::new();
    pressed.send("d", json!({"cpu": 1}), json!({}));
    let start = pressed.world.now.mono_ms;
    pressed.send("c", json!({"cpu": 8}), json!({"priority": 100}));
    let borrower = pressed.send("a", json!({"cpu": 6}), json!({"priority": 0}));
    while pressed.waits(&borrower) {
        assert!(pressed.world.now.mono_ms - start <= bound(2));
        pressed.send("d", json!({"cpu": 1}), json!({}));
        pressed.send("c", json!({"cpu": 8}), json!({"priority": 100}));
        pressed.pass(100);
    }
}

#[derive(Clone, Debug)]
struct Ask {
    tenant: usize,
    cpu: u64,
    gpu: u64,
    priority: u64,
    share: Option<u8>,
    deadline_ms: Option<u64>,
    then_ms: u64,
}

fn asks(priority: impl Strategy<Value = u64>, most: usize) -> impl Strategy<Value = Vec<Ask>> {
    let one = (
        0..4_usize,
        0..=8_u64,
        0..=2_u64,
        priority,
        prop::option::weighted(0.2, 0..2_u8),
        prop::option::of(0..500_u64),
        0..400_u64,
    );
    let ask = one.prop_map(|(tenant, cpu, gpu, priority, share, deadline_ms, then_ms)| Ask {
        tenant,
        cpu: if tenant == 3 { cpu.min(3) } else { cpu },
        gpu: if tenant == 3 { gpu.min(1) } else { gpu },
        priority,
        share,
        deadline_ms,
        then_ms,
    });
    prop::collection::vec(ask, 1..most)
}

impl Pressed {
    fn ask(&mut self, ask: &Ask) -> String {
        let mut more = json!({"priority": ask.priority});
        if let Some(share) = ask.share {
            more["share"] = json!(format!("key-{share}"));
        }
        if let Some(deadline) = ask.deadline_ms {
            more["deadline_ms"] = json!(deadline);
        }
        self.send(TENANTS[ask.tenant], json!({"cpu": ask.cpu, "gpu": ask.gpu}), more)
    }
}

fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("SYMPHONY_HISTORIES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(usual);
    // A failing case is printed whole, and smallest.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(24))]

    /// Under any stream of later requests, repeated for as long as it waits, a request is granted within the bound.
    #[test]
    fn nobody_starves(
        before in asks(0..=100_u64, 8),
        tenant in 0..4_usize,
        cpu in 0..=8_u64,
        gpu in 0..=2_u64,
        stream in asks(Just(100_u64), 12),
    ) {
        let mut pressed = Pressed::new();
        before.iter().for_each(|ask| { pressed.ask(ask); });
        let older = pressed.calls.len() as u64;
        let (cpu, gpu) = if tenant == 3 { (cpu.min(3), gpu.min(1)) } else { (cpu, gpu) };
        let needs = json!({"cpu": cpu, "gpu": gpu});
        let victim = pressed.send(TENANTS[tenant], needs, json!({"priority": 0}));
        let start = pressed.world.now.mono_ms;
        for ask in stream.iter().cycle() {
            if !pressed.waits(&victim) {
                break;
            }
            // Who sends more than can ever be granted is told so; those who wait are bounded as well.
            if pressed.calls.len() < 200 {
                pressed.ask(ask);
            }
            pressed.pass(ask.then_ms.max(10));
            let waited = pressed.world.now.mono_ms - start;
            prop_assert!(waited <= bound(older), "{} of {}", waited, bound(older));
        }
    }
}

/// The rules by themselves: everybody is sorted anew for each decision.
struct Rules {
    config: Config,
    waiting: Vec<(Newcomer, usize)>,
    used: BTreeMap<Arc<str>, Vec<u64>>,
    last: BTreeMap<Arc<str>, u64>,
    grants: u64,
    ordinary: u64,
    head: Option<u64>,
    headed_ms: u64,
}

impl Rules {
    fn vector(&self, needs: &BTreeMap<String, u64>) -> Vec<u64> {
        self.config.resources.keys().map(|name| needs.get(name).copied().unwrap_or(0)).collect()
    }

    fn capacity(&self) -> Vec<u64> {
        self.config.resources.values().map(|it| it.capacity).collect()
    }

    fn used(&self, tenant: &str) -> Vec<u64> {
        self.used.get(tenant).cloned().unwrap_or_else(|| vec![0; self.config.resources.len()])
    }

    fn free(&self) -> Vec<u64> {
        let sum = |resource: usize| self.used.values().map(|used| used[resource]).sum::<u64>();
        self.capacity().iter().enumerate().map(|(resource, all)| all - sum(resource)).collect()
    }

    fn unused(&self, tenant: &str) -> Vec<u64> {
        let reserve = self.vector(&self.config.tenants[tenant].reserve);
        reserve.iter().zip(self.used(tenant)).map(|(all, used)| all.saturating_sub(used)).collect()
    }

    /// What a tenant may take of each resource, before anything is kept for anybody.
    fn limits(&self, tenant: &str) -> Vec<u64> {
        let borrows = self.config.tenants[tenant].borrow;
        let waits = |name: &str| self.waiting.iter().any(|(who, _)| &*who.tenant == name);
        let mut limits = self.free();
        for other in self.config.tenants.keys().filter(|other| *other != tenant) {
            if !borrows || waits(other) {
                for (limit, unused) in limits.iter_mut().zip(self.unused(other)) {
                    *limit = limit.saturating_sub(unused);
                }
            }
        }
        limits
    }

    /// Exact: share ÷ weight as the contract rounds it.
    fn standing(&self, tenant: &str) -> (u128, u64, String) {
        let part = |(used, all): (u64, u64)| u128::from(used) * 1_000_000_000_000 / u128::from(all);
        let share = self.used(tenant).into_iter().zip(self.capacity()).map(part).max().unwrap_or(0);
        let weight = u128::from(self.config.tenants[tenant].weight);
        let last = self.last.get(tenant).copied().unwrap_or(0);
        (share * 1_000_000 * 1_000_000 / (weight * 1_000_000), last, tenant.to_owned())
    }

    fn choose(&mut self, now_ms: u64) -> Option<u64> {
        let ageing = self.config.ageing_ms;
        let tick = ageing / 10;
        if self.head.is_none() && (self.ordinary >= 8 || now_ms - self.headed_ms >= ageing) {
            let oldest = self.waiting.iter().min_by_key(|(who, _)| who.seq);
            let old = oldest.filter(|(who, _)| now_ms - who.arrived_ms >= 10 * ageing);
            self.head = old.map(|(who, _)| who.seq);
        }
        let mut order: Vec<&Newcomer> = self.waiting.iter().map(|(who, _)| who).collect();
        order.sort_by_key(|who| {
            let class = now_ms / tick + u64::from(who.priority) - who.arrived_ms / tick;
            let deadline = who.deadline_ms.map_or(u64::MAX, |ms| who.arrived_ms + ms);
            (self.standing(&who.tenant), Reverse(class), deadline, who.seq)
        });
        let fits = |needs: &[u64], limits: &[u64]| {
            needs.iter().zip(limits).all(|(need, limit)| need <= limit)
        };
        let head = self.head.and_then(|seq| order.iter().find(|who| who.seq == seq));
        let kept = match head {
            Some(head) => {
                let all = self.config.tenants[&*head.tenant].borrow;
                let limits = if all { self.free() } else { self.limits(&head.tenant) };
                if fits(&self.vector(&head.needs), &limits) {
                    return Some(head.seq);
                }
                Some((head, limits, all))
            }
            None => order.first().and_then(|first| {
                let limits = self.limits(&first.tenant);
                let waits = now_ms - first.arrived_ms >= ageing
                    && !fits(&self.vector(&first.needs), &limits);
                waits.then_some((first, limits, false))
            }),
        };
        let fitting = |who: &&&Newcomer| {
            let mut limits = self.limits(&who.tenant);
            if let Some((kept, kept_limits, all)) = &kept {
                let needs = self.vector(&kept.needs);
                let own = self.unused(&who.tenant);
                for (resource, limit) in limits.iter_mut().enumerate() {
                    let own = if who.tenant != kept.tenant && !all { own[resource] } else { 0 };
                    *limit =
                        (*limit).min(kept_limits[resource].saturating_sub(needs[resource]) + own);
                }
            }
            fits(&self.vector(&who.needs), &limits)
        };
        order.iter().find(fitting).map(|who| who.seq)
    }

    fn grant(&mut self, seq: u64, now_ms: u64) -> Newcomer {
        let place = self.waiting.iter().position(|(who, _)| who.seq == seq).unwrap();
        let (who, _) = self.waiting.remove(place);
        self.grants += 1;
        self.last.insert(who.tenant.clone(), self.grants);
        let needs = self.vector(&who.needs);
        let mut used = self.used(&who.tenant);
        used.iter_mut().zip(needs).for_each(|(used, need)| *used += need);
        self.used.insert(who.tenant.clone(), used);
        if self.head == Some(seq) {
            (self.head, self.ordinary, self.headed_ms) = (None, 0, now_ms);
        } else {
            self.ordinary += 1;
        }
        who
    }

    fn release(&mut self, who: &Newcomer) {
        let needs = self.vector(&who.needs);
        let used = self.used.get_mut(&who.tenant).unwrap();
        used.iter_mut().zip(needs).for_each(|(used, need)| *used -= need);
    }
}

fn line_config() -> Config {
    let mut config = contended();
    // No part of the window ends in the test: the correction stays one.
    config["window_ms"] = json!(86_400_000);
    serde_json::from_value::<Configure>(config).unwrap().check().unwrap()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_decision_is_the_one_that_the_rules_name(
        asks in asks(0..=100_u64, 60),
        releases in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8), 60),
    ) {
        let config = line_config();
        let mut line = Line::new(&config, 0);
        let mut rules = Rules { config, waiting: vec![], used: BTreeMap::new(), last: BTreeMap::new(),
            grants: 0, ordinary: 0, head: None, headed_ms: 0 };
        let mut out: Vec<Newcomer> = vec![];
        let mut now_ms = 0;
        for ((seq, ask), (index, what)) in (1..).zip(&asks).zip(&releases) {
            let needs = Arc::new(BTreeMap::from([("cpu".to_owned(), ask.cpu), ("gpu".to_owned(), ask.gpu)]));
            let tenant: Arc<str> = Arc::from(TENANTS[ask.tenant]);
            let who = Newcomer { seq, id: Arc::from(format!("n{seq}")), run: Arc::clone(&tenant), tenant, needs,
                priority: ask.priority as u8, deadline_ms: ask.deadline_ms, arrived_ms: now_ms };
            line.add(who.clone());
            rules.waiting.push((who, 0));
            if *what == 0 && rules.waiting.len() > 1 {
                let gone = rules.waiting.remove(index.index(rules.waiting.len())).0.seq;
                if rules.head == Some(gone) { rules.head = None; }
                line.remove(gone).unwrap();
            }
            loop {
                let chosen = line.decide();
                let expected = rules.choose(now_ms);
                prop_assert_eq!(chosen.as_ref().map(|choice| choice.seq), expected);
                let Some(choice) = chosen else { break };
                line.grant(&choice);
                out.push(rules.grant(choice.seq, now_ms));
                let free = line.free();
                for (free, expected) in free.values().zip(rules.free()) {
                    prop_assert_eq!(*free, expected);
                }
            }
            if *what > 1 && !out.is_empty() {
                let who = out.remove(index.index(out.len()));
                line.vacate(&who.tenant, &who.needs);
                rules.release(&who);
            }
            now_ms += ask.then_ms * 3;
            line.advance(now_ms);
        }
    }

    #[test]
    fn the_tree_finds_what_a_list_finds(
        acts in prop::collection::vec((0..40_u64, any::<bool>(), [0..6_u64, 0..6], [0..6_u64, 0..6]), 1..80),
    ) {
        let mut tree = FirstFit::new(2);
        let mut list: BTreeMap<Key, [u64; 2]> = BTreeMap::new();
        for (number, add, needs, limits) in acts {
            let key = Key { rank: number as i64 % 3, deadline: number % 2, round: 0, turn: 0, seq: number };
            if !add {
                prop_assert_eq!(tree.remove(key), list.remove(&key).is_some());
            } else if let std::collections::btree_map::Entry::Vacant(entry) = list.entry(key) {
                entry.insert(needs);
                tree.insert(key, &needs, number);
            }
            let fits = |needs: &[u64; 2]| needs.iter().zip(limits).all(|(need, limit)| *need <= limit);
            let expected = list.iter().find(|(_, needs)| fits(needs)).map(|(key, _)| *key);
            prop_assert_eq!(tree.first_fit(&limits), expected);
            prop_assert_eq!((tree.len(), tree.first()), (list.len(), list.keys().next().copied()));
            prop_assert_eq!(tree.before(key), list.range(..key).count());
            let mut visited = vec![];
            tree.visit(|key, needs, whose| { visited.push((key, [needs[0], needs[1]], *whose)); true });
            prop_assert_eq!(visited, list.iter().map(|(key, needs)| (*key, *needs, key.seq)).collect::<Vec<_>>());
        }
    }

    /// Lemma 2 of the paper: of runs that all wait, none gets ahead of another by more than a quantum and a request.
    #[test]
    fn runs_that_wait_have_equal_turns(costs in prop::collection::vec((0..3_usize, 1..5 * QUANTUM), 30..120)) {
        let runs: Vec<Arc<str>> = ["x", "y", "z"].map(Arc::from).into();
        let mut rounds = Rounds::default();
        let mut queue = vec![];
        for (seq, (run, cost)) in costs.iter().enumerate() {
            queue.push((rounds.arrive(&runs[*run], *cost), seq, *run, *cost));
        }
        queue.sort();
        let mut served = [0_u64; 3];
        for place in 0..queue.len() {
            let ((round, _), _, run, cost) = queue[place];
            rounds.leave(&runs[run], round, true);
            served[run] += cost;
            let waiting: Vec<usize> = (0..3).filter(|run| queue[place + 1..].iter().any(|it| it.2 == *run)).collect();
            for (one, other) in waiting.iter().flat_map(|one| waiting.iter().map(move |other| (*one, *other))) {
                prop_assert!(served[one] <= served[other] + QUANTUM + 5 * QUANTUM);
            }
        }
        prop_assert!(rounds.is_empty());
    }
}
