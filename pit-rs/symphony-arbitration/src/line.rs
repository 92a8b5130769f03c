//! Everybody who waits, in the order in which they are granted, and what there is to grant.
//!
//! Tenants stand in an ordered set by weighted dominant share, each with its requests in a
//! [`FirstFit`]; an event changes the place of one tenant or one request. A decision asks the tenants in
//! their order for their first request that fits.
//!
//! **Nobody starves.** The oldest request of all becomes the *head* once it has waited ten times `ageing_ms`
//! (then its class is above that of whoever comes, whatever the priority) and either [`TURNS`] others were
//! granted or `ageing_ms` passed since the last head was: it comes before everybody, and what becomes free is
//! kept for it. Where every resource is given back within `H` of its grant, a head is granted within `H`: what
//! was out when it became the head has come back by then, and nothing was granted that it needs. Between one
//! head's grant and the next head at most `ageing_ms` pass. So a request with `N` older ones waiting is
//! granted within `10·ageing_ms + (N + 1)·(ageing_ms + H)`, whatever comes after it. (Resources that several
//! grants share are given back within `ageing_ms` of the time that grants are out: while others wait nobody
//! joins later.)

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::amounts::Amounts;
use crate::config::{Config, DEFAULT};
use crate::first_fit::{fits, FirstFit, Key};
use crate::record::{Passed, Score, Seen};
use crate::replies::why;
use crate::reserves::{Kept, Pool, Ward};
use crate::rounds::Rounds;
use crate::shares::{self, MILLION};
use crate::window::Window;

/// Parts of `ageing_ms` that make one class.
const CLASSES: u64 = 10;
/// Multiples of `ageing_ms` after which the oldest comes first: a hundred classes, as many as there are priorities.
const OVERDUE: u64 = 10;
/// Requests granted in the order for each one that is granted for its age alone.
pub const TURNS: u32 = 8;
/// Tenants whose first request one explanation tells of.
const SCORES: usize = 32;
/// Requests that were passed over in one explanation: each costs as much as the decision.
const PASSED: usize = 16;

/// A request that wants a place in the line.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// In the order of arrival.
    pub seq: u64,
    pub id: Arc<str>,
    pub tenant: Arc<str>,
    pub run: Arc<str>,
    pub needs: Arc<Amounts>,
    pub priority: u8,
    pub deadline_ms: Option<u64>,
    pub arrived_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    who: Newcomer,
    tenant: usize,
    key: Key,
    needs: Vec<u64>,
}

#[derive(Debug)]
struct Tenant {
    name: Arc<str>,
    weight: u64,
    reserve: Vec<u64>,
    ward: Ward,
    used: Vec<u64>,
    share: u128,
    standing: u128,
    /// Number of its last grant in the line's count: of equals, who has had nothing for longest is first.
    last: u64,
    queue: FirstFit<Arc<str>>,
    rounds: HashMap<(i64, u64), Rounds>,
}

/// What is to be granted next, and what the decision saw.
#[derive(Debug)]
pub struct Choice {
    pub seq: u64,
    /// Granted for its age, before the order.
    pub for_age: bool,
    pub share_ppm: u64,
    pub weight: u64,
    pub correction_ppm: u64,
    pub class: i64,
    pub waited_ms: u64,
    /// Others who wait.
    pub others: usize,
    pub seen: Seen,
}

#[derive(Debug)]
pub struct Line {
    resources: Vec<Arc<str>>,
    capacities: Arc<[u64]>,
    class_ms: u64,
    ageing_ms: u64,
    pool: Pool,
    tenants: Vec<Tenant>,
    names: HashMap<String, usize>,
    /// Tenants that wait, the first first.
    order: BTreeSet<(u128, u64, usize)>,
    waiting: BTreeMap<u64, Waiting>,
    window: Window,
    now_ms: u64,
    grants: u64,
    head: Option<u64>,
    /// When the last head was granted, and how many were since.
    headless_ms: u64,
    headless: u32,
}

impl Line {
    pub fn new(config: &Config, now_ms: u64) -> Self {
        let resources: Vec<Arc<str>> =
            config.resources.keys().map(|name| Arc::from(name.as_str())).collect();
        let capacities: Arc<[u64]> = config.resources.values().map(|it| it.capacity).collect();
        let width = resources.len();
        let tenant = |(name, tenant): (&String, &crate::config::Tenant)| {
            let amount =
                |resource: &Arc<str>| tenant.reserve.get(&**resource).copied().unwrap_or(0);
            let reserve: Vec<u64> = resources.iter().map(amount).collect();
            Tenant {
                name: Arc::from(name.as_str()),
                weight: tenant.weight,
                ward: Ward { unused: reserve.clone(), borrows: tenant.borrow, waits: false },
                reserve,
                used: vec![0; width],
                share: 0,
                standing: 0,
                last: 0,
                queue: FirstFit::new(width),
                rounds: HashMap::new(),
            }
        };
        let tenants: Vec<Tenant> = config.tenants.iter().map(tenant).collect();
        let mut pool = Pool::new(&capacities);
        tenants.iter().for_each(|tenant| pool.count(&tenant.ward, 1));
        let weights = tenants.iter().map(|tenant| tenant.weight);
        Self {
            window: Window::new(config.window_ms, weights, now_ms),
            names: config.tenants.keys().cloned().zip(0..).collect(),
            resources,
            capacities,
            class_ms: config.ageing_ms / CLASSES,
            ageing_ms: config.ageing_ms,
            pool,
            tenants,
            order: BTreeSet::new(),
            waiting: BTreeMap::new(),
            now_ms,
            grants: 0,
            head: None,
            headless_ms: now_ms,
            headless: 0,
        }
    }

    /// Goes on to this time; the clock never goes back.
    pub fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.window.advance(self.now_ms) {
            for tenant in 0..self.tenants.len() {
                self.change(tenant, |_| ());
            }
        }
    }

    /// The last time that it was told.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn tenant(&self, name: &str) -> usize {
        let known = self.names.get(name).or_else(|| self.names.get(DEFAULT));
        known.copied().unwrap_or(0)
    }

    fn vector(&self, amounts: &Amounts) -> Vec<u64> {
        self.resources.iter().map(|name| amounts.get(&**name).copied().unwrap_or(0)).collect()
    }

    /// Changes a tenant, and with it its place and what others may take.
    fn change(&mut self, number: usize, act: impl FnOnce(&mut Tenant)) {
        let tenant = &mut self.tenants[number];
        self.pool.count(&tenant.ward, -1);
        self.order.remove(&(tenant.standing, tenant.last, number));
        act(tenant);
        tenant.ward.waits = !tenant.queue.is_empty();
        let correction = self.window.correction(number);
        tenant.standing = shares::standing(tenant.share, tenant.weight, correction);
        self.pool.count(&tenant.ward, 1);
        if tenant.ward.waits {
            self.order.insert((tenant.standing, tenant.last, number));
        }
        self.window.set(number, shares::ppm(tenant.share), tenant.ward.waits);
    }

    /// The tenant holds so much more.
    pub fn occupy(&mut self, tenant: &str, amounts: &Amounts) {
        let amounts = self.vector(amounts);
        self.occupy_by(self.tenant(tenant), &amounts);
    }

    fn occupy_by(&mut self, tenant: usize, amounts: &[u64]) {
        self.grants += 1;
        let last = self.grants;
        for (free, amount) in self.pool.free.iter_mut().zip(amounts) {
            *free -= *amount as i64;
        }
        self.use_by(tenant, |tenant| {
            tenant.used.iter_mut().zip(amounts).for_each(|(used, amount)| *used += amount);
            tenant.last = last;
        });
    }

    /// Changes what a tenant uses.
    fn use_by(&mut self, number: usize, act: impl FnOnce(&mut Tenant)) {
        let capacities = Arc::clone(&self.capacities);
        self.change(number, |tenant| {
            act(tenant);
            for (resource, unused) in tenant.ward.unused.iter_mut().enumerate() {
                *unused = tenant.reserve[resource].saturating_sub(tenant.used[resource]);
            }
            tenant.share = shares::dominant(&tenant.used, &capacities);
        });
    }

    /// The tenant gives so much back.
    pub fn vacate(&mut self, tenant: &str, amounts: &Amounts) {
        let (tenant, amounts) = (self.tenant(tenant), self.vector(amounts));
        for (free, amount) in self.pool.free.iter_mut().zip(&amounts) {
            *free += *amount as i64;
        }
        self.use_by(tenant, |tenant| {
            for (used, amount) in tenant.used.iter_mut().zip(&amounts) {
                *used = used.saturating_sub(*amount);
            }
        });
    }

    /// Gives a request its place. Its needs are within the capacities.
    pub fn add(&mut self, who: Newcomer) {
        let tenant = self.tenant(&who.tenant);
        let needs = self.vector(&who.needs);
        let rank = (who.arrived_ms / self.class_ms) as i64 - i64::from(who.priority);
        let deadline = who.deadline_ms.map_or(u64::MAX, |ms| who.arrived_ms.saturating_add(ms));
        let cost = shares::ppm(shares::dominant(&needs, &self.capacities)).min(MILLION);
        let rounds = self.tenants[tenant].rounds.entry((rank, deadline)).or_default();
        let (round, turn) = rounds.arrive(&who.run, cost);
        let key = Key { rank, deadline, round, turn, seq: who.seq };
        let id = Arc::clone(&who.id);
        self.change(tenant, |tenant| tenant.queue.insert(key, &needs, id));
        self.waiting.insert(who.seq, Waiting { who, tenant, key, needs });
    }

    /// Takes a request out of the line.
    pub fn remove(&mut self, seq: u64) -> Option<Newcomer> {
        self.take_out(seq, false).map(|waiting| waiting.who)
    }

    fn take_out(&mut self, seq: u64, served: bool) -> Option<Waiting> {
        let waiting = self.waiting.remove(&seq)?;
        let key = waiting.key;
        self.change(waiting.tenant, |tenant| {
            tenant.queue.remove(key);
            if let Some(rounds) = tenant.rounds.get_mut(&(key.rank, key.deadline)) {
                rounds.leave(&waiting.who.run, key.round, served);
                if rounds.is_empty() {
                    tenant.rounds.remove(&(key.rank, key.deadline));
                }
            }
        });
        if self.head == Some(seq) {
            self.head = None;
        }
        Some(waiting)
    }

    /// Carries a choice out: the request holds what it needs and waits no more.
    pub fn grant(&mut self, choice: &Choice) {
        let Some(waiting) = self.take_out(choice.seq, !choice.for_age) else { return };
        self.occupy_by(waiting.tenant, &waiting.needs);
        if choice.for_age {
            (self.headless, self.headless_ms) = (0, self.now_ms);
        } else {
            self.headless += 1;
        }
    }

    /// Everybody in the order of arrival, as they came.
    pub fn into_newcomers(self) -> impl Iterator<Item = Newcomer> {
        self.waiting.into_values().map(|waiting| waiting.who)
    }

    fn waited(&self, waiting: &Waiting) -> u64 {
        self.now_ms.saturating_sub(waiting.who.arrived_ms)
    }

    fn class(&self, key: &Key) -> i64 {
        (self.now_ms / self.class_ms) as i64 - key.rank
    }

    fn may_head(&self) -> bool {
        self.headless >= TURNS || self.now_ms - self.headless_ms >= self.ageing_ms
    }

    /// Makes the oldest the head, if it has waited for so long and it is time for one.
    fn promote(&mut self) {
        if self.head.is_none() && self.may_head() {
            let oldest = self.waiting.first_key_value();
            let overdue = |waiting: &Waiting| self.waited(waiting) >= OVERDUE * self.ageing_ms;
            self.head = oldest.filter(|(_, waiting)| overdue(waiting)).map(|(seq, _)| *seq);
        }
    }

    /// When the time alone may change what can be granted.
    pub fn wakeup(&self) -> Option<u64> {
        if self.head.is_some() {
            return None;
        }
        let (_, oldest) = self.waiting.first_key_value()?;
        let overdue = oldest.who.arrived_ms.saturating_add(OVERDUE * self.ageing_ms);
        let turn = if self.headless >= TURNS { 0 } else { self.headless_ms + self.ageing_ms };
        Some(overdue.max(turn))
    }

    /// For whom what becomes free is kept: the head, or the first in the order once it has waited `ageing_ms`.
    fn kept(&self) -> Option<Kept> {
        let mut limits = Vec::new();
        if let Some(waiting) = self.head.and_then(|seq| self.waiting.get(&seq)) {
            let ward = &self.tenants[waiting.tenant].ward;
            self.pool.limits_of_head(ward, &mut limits);
            return Some(self.keep_for(waiting, limits, ward.borrows));
        }
        let (_, _, tenant) = self.order.first()?;
        let tenant = &self.tenants[*tenant];
        let waiting = self.waiting.get(&tenant.queue.first()?.seq)?;
        if self.waited(waiting) < self.ageing_ms {
            return None;
        }
        self.pool.limits(&tenant.ward, &mut limits);
        (!fits(&waiting.needs, &limits)).then(|| self.keep_for(waiting, limits, false))
    }

    fn keep_for(&self, waiting: &Waiting, limits: Vec<u64>, borrows_all: bool) -> Kept {
        let (seq, tenant, needs) = (waiting.who.seq, waiting.tenant, waiting.needs.clone());
        Kept { seq, tenant, needs, limits, borrows_all }
    }

    /// What a tenant may take now, into the buffer.
    fn limits(&self, number: usize, kept: Option<&Kept>, limits: &mut Vec<u64>) {
        let ward = &self.tenants[number].ward;
        self.pool.limits(ward, limits);
        if let Some(kept) = kept {
            self.pool.keep(limits, number, ward, kept);
        }
    }

    /// The first in the order that fits, if any does.
    pub fn decide(&mut self) -> Option<Choice> {
        self.promote();
        if self.waiting.is_empty() {
            return None;
        }
        let kept = self.kept();
        let chosen = self.choose(kept.as_ref())?;
        let waiting = self.waiting.get(&chosen)?;
        let tenant = &self.tenants[waiting.tenant];
        Some(Choice {
            seq: chosen,
            for_age: self.head == Some(chosen),
            share_ppm: shares::ppm(tenant.share),
            weight: tenant.weight,
            correction_ppm: self.window.correction(waiting.tenant),
            class: self.class(&waiting.key),
            waited_ms: self.waited(waiting),
            others: self.waiting.len() - 1,
            seen: self.seen(waiting, kept.as_ref()),
        })
    }

    fn choose(&self, kept: Option<&Kept>) -> Option<u64> {
        if let Some(kept) = kept.filter(|kept| self.head == Some(kept.seq)) {
            if fits(&kept.needs, &kept.limits) {
                return Some(kept.seq);
            }
        }
        let mut limits = Vec::new();
        self.order.iter().find_map(|(_, _, tenant)| {
            self.limits(*tenant, kept, &mut limits);
            self.tenants[*tenant].queue.first_fit(&limits).map(|key| key.seq)
        })
    }

    /// The first resource of which there is not enough.
    fn blocked(&self, needs: &[u64], limits: &[u64]) -> Option<usize> {
        needs.iter().zip(limits).position(|(need, limit)| need > limit)
    }

    /// What is told of the decision: the first of each tenant, and who was before the chosen one.
    fn seen(&self, chosen: &Waiting, kept: Option<&Kept>) -> Seen {
        let mut seen = Seen::default();
        let mut reached = false;
        let mut limits = Vec::new();
        for (_, _, number) in self.order.iter().take(SCORES) {
            let tenant = &self.tenants[*number];
            self.limits(*number, kept, &mut limits);
            let mut first = true;
            tenant.queue.visit(|key, needs, id| {
                if std::mem::take(&mut first) {
                    let blocked = self.blocked(needs, &limits);
                    seen.scores.push(Score {
                        request: Arc::clone(id),
                        tenant: Arc::clone(&tenant.name),
                        share_ppm: shares::ppm(tenant.share),
                        class: self.class(&key),
                        deadline_ms: self.deadline_of(&key),
                        blocked: blocked.map(|resource| Arc::clone(&self.resources[resource])),
                    });
                }
                reached |= key == chosen.key;
                let wanted = !reached && seen.passed_over.len() < PASSED;
                if wanted {
                    let blocked = self.why_not(needs, &limits);
                    seen.passed_over.push(Passed { request: Arc::clone(id), blocked });
                }
                wanted
            });
            reached |= *number == chosen.tenant;
        }
        seen
    }

    /// The deadline that a request came with.
    fn deadline_of(&self, key: &Key) -> Option<u64> {
        let waiting = (key.deadline < u64::MAX).then(|| self.waiting.get(&key.seq))?;
        waiting?.who.deadline_ms
    }

    /// The resource of which there is not enough, what is needed of it and what could be had.
    fn why_not(&self, needs: &[u64], limits: &[u64]) -> Option<(Arc<str>, u64, u64)> {
        let resource = self.blocked(needs, limits)?;
        Some((Arc::clone(&self.resources[resource]), needs[resource], limits[resource]))
    }

    /// The place that a request has as the order stands now, from 1.
    pub fn place(&self, seq: u64) -> Option<usize> {
        let waiting = self.waiting.get(&seq)?;
        let tenants = self.order.iter().map(|(_, _, tenant)| *tenant);
        let before = tenants.take_while(|tenant| *tenant != waiting.tenant);
        let ahead: usize = before.map(|tenant| self.tenants[tenant].queue.len()).sum();
        Some(ahead + self.tenants[waiting.tenant].queue.before(waiting.key) + 1)
    }

    /// The first so many in the order as it stands: each with what it waits for.
    pub fn listing(&self, most: usize) -> Vec<(u64, String)> {
        let kept = self.kept();
        let mut list = Vec::new();
        let mut limits = Vec::new();
        for (_, _, number) in &self.order {
            self.limits(*number, kept.as_ref(), &mut limits);
            self.tenants[*number].queue.visit(|key, needs, _| {
                let room = list.len() < most;
                if room {
                    let head = kept.as_ref().is_some_and(|kept| kept.seq == key.seq);
                    let why = why(self.why_not(needs, &limits).as_ref());
                    list.push((key.seq, if head { "first: kept for it".to_owned() } else { why }));
                }
                room
            });
        }
        list
    }

    /// What nobody uses, by resource; 0 where more is out than there is.
    pub fn free(&self) -> BTreeMap<&str, u64> {
        let amount = |free: &i64| (*free).max(0) as u64;
        self.resources.iter().map(|name| &**name).zip(self.pool.free.iter().map(amount)).collect()
    }

    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Name and weight of each tenant, in the order of the window's balances.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tenants.iter().map(|tenant| (&*tenant.name, tenant.weight))
    }
}
