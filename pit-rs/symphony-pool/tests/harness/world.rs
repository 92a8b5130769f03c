//! A kernel, its callers, a disk and time around a pool, all from one seed; and a small model of what may
//! be seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_wire::reactor::{CallId, Token};
use symphony_wire::{BusError, Code};

use super::{kind, Asked, Reply, Rig, FILE, TS};

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| items[self.below(items.len() as u64) as usize].clone())
    }
}

const MEMORY: u64 = 100;
const INSTANCES: u64 = 7;
/// A second of all kinds but one costs this; so many of them may be there.
const PRICE: u64 = 5;
const PAID: u64 = 6;
const SPAWNING: u64 = 3;

struct Spec {
    name: &'static str,
    memory: u64,
    load_ms: u64,
    more: fn() -> Value,
}

const KINDS: [Spec; 5] = [
    Spec { name: "plain", memory: 20, load_ms: 500, more: || json!({}) },
    Spec { name: "big", memory: 70, load_ms: 8_000, more: || json!({"most": 2}) },
    Spec { name: "sticky", memory: 15, load_ms: 1_000, more: || json!({"sticky": true}) },
    Spec { name: "shared", memory: 10, load_ms: 300, more: || json!({"share": 3, "least": 1}) },
    Spec {
        name: "probed",
        memory: 10,
        load_ms: 200,
        more: || {
            json!({"most": 3, "keep_ms": 20_000, "pinned": false,
                "probe": {"capability": "c", "every_ms": 5_000, "within_ms": 100}})
        },
    },
];

#[derive(Clone, Debug)]
struct Instance {
    kind: String,
    tenant: Option<String>,
    loading: bool,
    spawn: String,
    /// What the pool may not do with it any more.
    never_again: bool,
    /// Another one has a key of it: it must have been draining.
    passed_over: bool,
    /// It drained when its kind was pinned.
    doomed: bool,
    unloading: bool,
    users: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Held {
    instance: String,
}

/// Something that is to happen in the kernel.
#[derive(Clone, Debug)]
enum Due {
    Spawned { token: Option<Token>, instance: String },
    SpawnFails { token: Option<Token>, instance: String },
    Unloaded { token: Option<Token>, instance: String },
    Probed { token: Token, reply: Reply },
}

pub struct World {
    pub rig: Rig,
    dice: Dice,
    made: u64,
    ids: u64,
    due: BTreeMap<(u64, u64), Due>,
    dues: u64,
    instances: BTreeMap<String, Instance>,
    spawn_ids: BTreeSet<String>,
    /// Open calls.
    acquiring: BTreeMap<CallId, Value>,
    releasing: BTreeMap<CallId, (String, Value)>,
    others: BTreeSet<CallId>,
    /// Leases as their holders know them.
    held: BTreeMap<String, Held>,
    replies: BTreeMap<String, (Value, Value)>,
    /// Leases that ended without a release.
    lost: BTreeSet<String>,
    keys: BTreeMap<(String, String), String>,
    pinned: BTreeSet<String>,
    /// Effects of the last calls wait for a flush that comes later.
    pub grants: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let rig = Rig::open(&MemoryStorage::new(), 2_000).unwrap();
        let mut world = Self {
            rig,
            dice: Dice(seed),
            made: 0,
            ids: 0,
            due: BTreeMap::new(),
            dues: 0,
            instances: BTreeMap::new(),
            spawn_ids: BTreeSet::new(),
            acquiring: BTreeMap::new(),
            releasing: BTreeMap::new(),
            others: BTreeSet::new(),
            held: BTreeMap::new(),
            replies: BTreeMap::new(),
            lost: BTreeSet::new(),
            keys: BTreeMap::new(),
            pinned: BTreeSet::new(),
            grants: 0,
        };
        let kinds = KINDS.iter().map(|spec| {
            let mut value = kind(spec.name, spec.memory);
            value["load_ms"] = json!(spec.load_ms);
            if spec.name != "plain" {
                value["cost"] = json!({"second": PRICE});
            }
            let more = (spec.more)();
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            value
        });
        let limits = json!({"memory_mib": MEMORY, "instances": INSTANCES, "spawning": SPAWNING,
            "money_per_hour": PAID * PRICE * 3_600 + 3_599});
        let kinds: Vec<Value> = kinds.collect();
        world.rig.ok("configure", json!({"limits": limits, "kinds": kinds}));
        world.resync();
        world.look();
        world
    }

    fn at(&mut self, delay: u64, due: Due) {
        self.dues += 1;
        self.due.insert((self.rig.now + delay, self.dues), due);
    }

    // What the kernel does with what it is asked.

    fn look(&mut self) {
        self.hear_answers();
        for asked in std::mem::take(&mut self.rig.asked) {
            match asked.method.as_str() {
                "spawn" => self.spawn(&asked),
                "unload" => self.unload(&asked),
                "probe" => self.probe(&asked),
                other => panic!("the kernel has no method {other}"),
            }
        }
        self.check_limits();
    }

    fn spawn(&mut self, asked: &Asked) {
        let text = |field: &str| asked.body[field].as_str().map(str::to_owned);
        let (id, kind) = (text("id").unwrap(), text("kind").unwrap());
        assert!(self.spawn_ids.insert(id.clone()), "spawn {id} twice");
        self.made += 1;
        let instance = format!("i-{}", self.made);
        let load_ms = KINDS.iter().find(|spec| spec.name == kind).unwrap().load_ms;
        let new = Instance {
            kind,
            tenant: text("tenant"),
            loading: true,
            spawn: id,
            never_again: false,
            passed_over: false,
            doomed: false,
            unloading: false,
            users: BTreeSet::new(),
        };
        self.instances.insert(instance.clone(), new);
        let delay = load_ms / 2 + self.dice.below(load_ms);
        let token = Some(asked.token);
        let due = match self.dice.once_in(8) {
            true => Due::SpawnFails { token, instance },
            false => Due::Spawned { token, instance },
        };
        self.at(delay, due);
    }

    fn unload(&mut self, asked: &Asked) {
        let name = asked.body["instance"].as_str().unwrap().to_owned();
        let reason = asked.body["reason"].as_str().unwrap();
        let leased = self.held.values().any(|held| held.instance == name);
        assert!(!leased, "{name} is to be unloaded ({reason}) while it is leased");
        if let Some(instance) = self.instances.get_mut(&name) {
            let kept = self.pinned.contains(&instance.kind) && !instance.doomed;
            assert!(!kept || !["evicted", "unused"].contains(&reason), "{name} is pinned");
            (instance.never_again, instance.unloading) = (true, true);
        }
        let delay = 10 + self.dice.below(500);
        self.at(delay, Due::Unloaded { token: Some(asked.token), instance: name });
    }

    fn probe(&mut self, asked: &Asked) {
        let token = asked.token;
        let reply = match self.dice.below(4) {
            0 => Err(BusError::new(Code::Deadline, "stuck")),
            n => Ok(json!({"took_ms": n * 45})),
        };
        let delay = 1 + self.dice.below(150);
        self.at(delay, Due::Probed { token, reply });
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Spawned { token, instance } => {
                let Some(it) = self.instances.get_mut(&instance) else {
                    return;
                };
                it.loading = false;
                match token {
                    Some(token) => self.rig.hear(token, Ok(json!({"instance": instance}))),
                    None => self.tell(&instance, "ready"),
                }
            }
            Due::SpawnFails { token, instance } => {
                if self.instances.remove(&instance).is_none() {
                    return;
                }
                match token {
                    Some(token) => self.rig.hear(token, Err(BusError::new(Code::Failed, "no"))),
                    None => self.tell(&instance, "died"),
                }
            }
            Due::Unloaded { token, instance } => {
                let is_there = self.instances.contains_key(&instance);
                if is_there && self.dice.once_in(6) {
                    if let Some(token) = token {
                        self.rig.hear(token, Err(BusError::new(Code::Failed, "busy")));
                    }
                    return;
                }
                self.instances.remove(&instance);
                match token {
                    Some(token) => self.rig.hear(token, Ok(json!({}))),
                    None => self.tell(&instance, "died"),
                }
            }
            Due::Probed { token, reply } => self.rig.hear(token, reply),
        }
    }

    fn tell(&mut self, instance: &str, what: &str) {
        let call = self.rig.send("event", &json!({"instance": instance, "kind": what}));
        self.others.insert(call);
    }

    /// Whoever holds these leases has nothing any more.
    fn lose(&mut self, is_lost: impl Fn(&str, &str) -> bool) {
        let (lost, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(lease, held)| is_lost(&held.instance, lease));
        self.held = held;
        let lost: BTreeMap<String, Held> = lost;
        self.lost.extend(lost.into_keys());
    }

    fn die(&mut self, instance: &str) {
        self.instances.remove(instance);
        self.lose(|name, _| name == instance);
        self.tell(instance, "died");
    }

    /// Lets time pass in kernel and pool.
    fn pass(&mut self, ms: u64) {
        let end = self.rig.now + ms;
        let mut turns = 0;
        loop {
            let kernel = self.due.keys().next().map(|key| key.0).filter(|at| *at <= end);
            let pool = self.rig.pool_wakeup().filter(|at| *at <= end);
            let Some(at) = kernel.into_iter().chain(pool).min() else { break };
            self.rig.now = self.rig.now.max(at);
            if kernel == Some(at) {
                let (_, due) = self.due.pop_first().unwrap();
                self.happen(due);
            } else {
                self.rig.tick();
            }
            let _ = self.rig.flush();
            self.look();
            turns += 1;
            assert!(turns < 50_000, "no end of turns");
        }
        self.rig.now = end;
    }

    // What the callers see.

    fn hear_answers(&mut self) {
        for call in std::mem::take(&mut self.rig.order) {
            let Some(reply) = self.rig.answers.remove(&call) else { continue };
            if let Some(request) = self.acquiring.remove(&call) {
                self.acquired(&request, reply);
            } else if let Some((lease, request)) = self.releasing.remove(&call) {
                self.released(&lease, &request, reply);
            } else {
                assert!(self.others.remove(&call), "call {call} was not open");
            }
        }
    }

    fn acquired(&mut self, request: &Value, reply: Reply) {
        let id = request["id"].as_str().unwrap().to_owned();
        let grant = match reply {
            Ok(grant) => grant,
            Err(error) => {
                let expected = [Code::Deadline, Code::Cancelled, Code::Unavailable, Code::Io];
                assert!(expected.contains(&error.code), "{error}");
                if error.code == Code::Io && self.dice.once_in(2) {
                    self.send_acquire(request.clone());
                }
                return;
            }
        };
        if let Some((first, _)) = self.replies.get(&id) {
            let lost = first["lease"].as_str().is_some_and(|lease| self.lost.contains(lease));
            assert!(lost || first == &grant, "a repetition gives another reply");
            if first == &grant {
                return;
            }
        }
        self.grants += 1;
        self.replies.insert(id, (grant.clone(), request.clone()));
        let name = grant["instance"].as_str().unwrap().to_owned();
        let lease = grant["lease"].as_str().unwrap().to_owned();
        let tenant = request["tenant"].as_str().unwrap();
        let Some(instance) = self.instances.get_mut(&name) else {
            // It died in the same moment: the pool knows or will.
            self.lost.insert(lease);
            return;
        };
        let over = instance.loading || instance.never_again || instance.passed_over;
        assert!(!over, "{name} is given: {instance:?}");
        assert_eq!(instance.kind, request["kind"].as_str().unwrap());
        instance.users.insert(tenant.to_owned());
        assert_eq!(instance.users.len(), 1, "{name} has served {:?}", instance.users);
        assert!(instance.tenant.is_none() || instance.tenant.as_deref() == Some(tenant));
        if let (Some(key), "sticky") = (request["key"].as_str(), instance.kind.as_str()) {
            let place = (tenant.to_owned(), key.to_owned());
            if let Some(former) = self.keys.insert(place, name.clone()) {
                // Whoever had the key can only have been passed over if it was on its way out.
                if let Some(former) = self.instances.get_mut(&former).filter(|_| former != name) {
                    former.passed_over = true;
                }
            }
        }
        let share = if request["kind"] == "shared" { 3 } else { 1 };
        let held = Held { instance: name.clone() };
        assert!(self.held.insert(lease, held).is_none(), "a lease was given twice");
        let users = self.held.values().filter(|held| held.instance == name).count();
        assert!(users <= share, "{name} has {users} leases");
    }

    fn released(&mut self, lease: &str, request: &Value, reply: Reply) {
        match reply {
            Ok(_) => {
                let grant = self.replies.values().find(|(grant, _)| grant["lease"] == lease);
                let name = grant.unwrap().0["instance"].as_str().unwrap();
                if let Some(instance) = self.instances.get_mut(name) {
                    instance.never_again |= request["outcome"] != "ok";
                }
            }
            Err(error) if error.code == Code::Io => {
                // It did not happen: repeated as it was.
                let call = self.rig.send("release", request);
                self.releasing.insert(call, (lease.to_owned(), request.clone()));
            }
            Err(error) => panic!("release of {lease}: {error}"),
        }
    }

    fn check_limits(&self) {
        let memory: u64 = self.instances.values().map(|it| memory_of(&it.kind)).sum();
        assert!(memory <= MEMORY, "{memory} MiB are used");
        assert!(self.instances.len() as u64 <= INSTANCES);
        let paid = self.instances.values().filter(|it| it.kind != "plain").count() as u64;
        assert!(paid <= PAID, "{paid} cost money");
        let loading = self.instances.values().filter(|it| it.loading).count() as u64;
        assert!(loading <= SPAWNING, "{loading} load at once");
        for (kind, most) in [("big", 2), ("probed", 3)] {
            let count = self.instances.values().filter(|it| it.kind == kind).count();
            assert!(count <= most, "{count} of {kind}");
        }
    }

    // What the callers and fate do.

    fn send_acquire(&mut self, request: Value) {
        let call = self.rig.send("acquire", &request);
        self.acquiring.insert(call, request);
    }

    fn acquire(&mut self) {
        self.ids += 1;
        let kind = KINDS[self.dice.below(KINDS.len() as u64) as usize].name;
        let tenant = ["t", "t", "u"][self.dice.below(3) as usize];
        let mut request = json!({"id": format!("a{}", self.ids), "kind": kind, "run": "r",
            "tenant": tenant, "ts": TS});
        if self.dice.once_in(2) {
            request["key"] = json!(["x", "y"][self.dice.below(2) as usize]);
        }
        if self.dice.once_in(3) {
            request["deadline_ms"] = json!(self.dice.below(20_000));
        }
        self.send_acquire(request);
    }

    fn release(&mut self) {
        let leases: Vec<String> = self.held.keys().cloned().collect();
        let Some(lease) = self.dice.pick(&leases) else { return };
        let outcome = ["ok", "ok", "ok", "ok", "failed", "lost"][self.dice.below(6) as usize];
        self.release_as(&lease, outcome);
    }

    fn release_as(&mut self, lease: &str, outcome: &str) {
        self.held.remove(lease).unwrap();
        self.ids += 1;
        let request = json!({"id": format!("r{}", self.ids), "lease": lease, "outcome": outcome,
            "busy_ms": self.dice.below(400), "ts": TS});
        let call = self.rig.send("release", &request);
        self.releasing.insert(call, (lease.to_owned(), request));
    }

    fn repeat(&mut self) {
        let known: Vec<Value> = self.replies.values().map(|(_, request)| request.clone()).collect();
        let waiting = self.acquiring.values().cloned();
        let all: Vec<Value> = known.into_iter().chain(waiting).collect();
        if let Some(request) = self.dice.pick(&all) {
            self.send_acquire(request);
        }
    }

    /// The pool's process ends and another opens its store. Whoever called it calls again.
    fn restart_pool(&mut self) {
        let fuse = self.dice.below(6) as usize;
        let storage = self.rig.storage.clone();
        if self.dice.once_in(2) {
            // In the middle of a flush.
            storage.set_fuse(Some(fuse));
            self.acquire();
            self.release();
            self.rig.flush_deaf();
        }
        if self.dice.once_in(2) {
            storage.cut_power();
        } else {
            storage.cut_power_after_names();
        }
        storage.set_syncs_fail(false);
        self.tear();
        let now = self.rig.now;
        self.rig.answers.clear();
        // That something drains it may forget.
        self.instances.values_mut().for_each(|instance| instance.passed_over = false);
        self.rig = Rig::open(&storage, 2_000).unwrap();
        self.rig.now = now + self.dice.below(100);
        // Call numbers begin anew.
        let acquiring: Vec<Value> = std::mem::take(&mut self.acquiring).into_values().collect();
        let releasing: Vec<_> = std::mem::take(&mut self.releasing).into_values().collect();
        self.others.clear();
        for due in self.due.values_mut() {
            match due {
                Due::Spawned { token, .. }
                | Due::SpawnFails { token, .. }
                | Due::Unloaded { token, .. } => *token = None,
                Due::Probed { .. } => {}
            }
        }
        self.due.retain(|_, due| !matches!(due, Due::Probed { .. }));
        self.resync_with(releasing.iter().map(|(lease, _)| lease.clone()).collect());
        for (lease, request) in releasing {
            let call = self.rig.send("release", &request);
            self.releasing.insert(call, (lease, request));
        }
        for request in acquiring {
            if self.dice.once_in(3) {
                continue;
            }
            self.send_acquire(request);
        }
    }

    /// What a power cut may leave behind the last record.
    fn tear(&mut self) {
        let storage = self.rig.storage.clone();
        let mut file = storage.bytes(FILE);
        let torn: Vec<u8> = match self.dice.below(4) {
            0 => vec![],
            1 => vec![0; 1 + self.dice.below(100) as usize],
            2 => [&[40_u8, 0, 0, 0][..], &[7; 20]].concat(),
            _ => vec![9, 0],
        };
        file.extend(torn);
        storage.put(FILE, file);
    }

    /// The kernel's process ends; another one finds some of its instances still there.
    fn restart_kernel(&mut self) {
        let calls: Vec<CallId> = self.acquiring.keys().copied().collect();
        for call in calls {
            self.rig.cancel(call);
        }
        self.hear_answers();
        let lost = || Err(BusError::new(Code::Crashed, "the kernel is gone"));
        for (_, due) in std::mem::take(&mut self.due) {
            match due {
                Due::Spawned { token, instance } | Due::SpawnFails { token, instance } => {
                    self.instances.remove(&instance);
                    token.into_iter().for_each(|token| self.rig.hear(token, lost()));
                }
                Due::Unloaded { token, .. } => {
                    token.into_iter().for_each(|token| self.rig.hear(token, lost()));
                }
                Due::Probed { token, .. } => self.rig.hear(token, lost()),
            }
        }
        // Whatever the pool wanted meanwhile it asked nobody.
        for asked in std::mem::take(&mut self.rig.asked) {
            self.rig.hear(asked.token, lost());
        }
        let _ = self.rig.flush();
        for asked in std::mem::take(&mut self.rig.asked) {
            self.rig.hear(asked.token, lost());
        }
        let all_die = self.dice.once_in(2);
        let mut dead = vec![];
        for name in self.instances.keys() {
            if all_die || self.dice.once_in(3) {
                dead.push(name.clone());
            }
        }
        for name in &dead {
            self.instances.remove(name);
        }
        self.lose(|name, _| dead.iter().any(|dead| dead == name));
        // It may have forgotten some of its own leases too.
        let forgotten: Vec<String> =
            self.held.keys().filter(|_| self.dice.once_in(4)).cloned().collect();
        for lease in forgotten {
            let held = self.held.remove(&lease).unwrap();
            self.lost.insert(lease);
            if let Some(instance) = self.instances.get_mut(&held.instance) {
                instance.never_again = true;
            }
        }
        let waiting = self.releasing.values().map(|(lease, _)| lease.clone()).collect();
        self.resync_with(waiting);
    }

    fn resync(&mut self) {
        self.resync_with(vec![]);
    }

    fn resync_with(&mut self, mut releasing: Vec<String>) {
        releasing.extend(self.held.keys().cloned());
        let in_use = |name: &str| self.held.values().any(|held| held.instance == name);
        let listed: Vec<Value> = self
            .instances
            .iter()
            .map(|(name, it)| {
                let state = match (it.loading, in_use(name)) {
                    (true, _) => "loading",
                    _ if it.unloading => "leaving",
                    (_, true) => "active",
                    _ => "warm",
                };
                json!({"instance": name, "kind": it.kind, "tenant": it.tenant, "state": state,
                    "id": it.spawn})
            })
            .collect();
        let request = json!({"instances": listed, "leases": releasing, "ts": TS});
        self.rig.storage.set_syncs_fail(false);
        let reply = loop {
            let call = self.rig.send("resync", &request);
            let _ = self.rig.flush();
            if let Some(Ok(reply)) = self.rig.answers.remove(&call) {
                break reply;
            }
        };
        for lost in reply["lost"].as_array().unwrap() {
            let lost = lost.as_str().unwrap();
            assert!(!self.held.contains_key(lost), "{lost} was acknowledged and is lost");
            self.lost.insert(lost.to_owned());
        }
        for name in reply["kill"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert!(!self.held.values().any(|held| held.instance == name), "{name} is leased");
            let instance = self.instances.get_mut(name).unwrap();
            (instance.never_again, instance.unloading) = (true, true);
        }
        self.look();
    }

    fn act(&mut self) {
        match self.dice.below(100) {
            0..35 => self.acquire(),
            35..62 => self.release(),
            62..66 => self.repeat(),
            66..70 => {
                let calls: Vec<CallId> = self.acquiring.keys().copied().collect();
                if let Some(call) = self.dice.pick(&calls) {
                    self.rig.cancel(call);
                }
            }
            70..73 => {
                let alive: Vec<String> = self.instances.keys().cloned().collect();
                if let Some(name) = self.dice.pick(&alive) {
                    let loading = self.instances[&name].loading;
                    if !loading {
                        self.die(&name);
                    }
                }
            }
            73..75 => {
                let next = json!([{"kind": "plain", "in_ms": self.dice.below(9_000), "chance": 900},
                    {"kind": "shared", "in_ms": 1, "chance": self.dice.below(1_001)}]);
                let call = self.rig.send("expect", &json!({"run": "r", "next": next}));
                self.others.insert(call);
            }
            75..77 => {
                let name = KINDS[self.dice.below(KINDS.len() as u64) as usize].name;
                let pin = self.dice.once_in(2) && name == "probed";
                // A pin that the disk does not take is none.
                let request = json!({"kind": name, "pinned": pin});
                if self.rig.call_or_wait("pin", &request).is_some_and(|reply| reply.is_ok()) {
                    let states = self.rig.states();
                    for (instance, it) in &mut self.instances {
                        // What drains already is not saved by a pin.
                        it.doomed = states.get(instance).is_some_and(|it| it == "draining");
                    }
                    if pin {
                        self.pinned.insert(name.to_owned());
                    } else {
                        self.pinned.remove(name);
                    }
                }
            }
            77..78 => {
                let alive: Vec<String> = self.instances.keys().cloned().collect();
                if let Some(name) = self.dice.pick(&alive) {
                    if !self.instances[&name].loading {
                        let call = self.rig.send("drain", &json!({"instance": name}));
                        self.others.insert(call);
                    }
                }
            }
            78..80 => self.rig.storage.set_syncs_fail(true),
            80..82 => self.restart_pool(),
            82..84 => self.restart_kernel(),
            _ => {
                let span = [50, 500, 5_000, 40_000][self.dice.below(4) as usize];
                let ms = self.dice.below(span);
                self.pass(ms);
            }
        }
        // Several calls may share a flush.
        if !self.dice.once_in(3) {
            let _ = self.rig.flush();
            self.rig.storage.set_syncs_fail(false);
            let _ = self.rig.flush();
            self.look();
        }
    }

    /// A history of so many acts; then everything that can be answered must be.
    pub fn live(&mut self, acts: u64) {
        for _ in 0..acts {
            self.act();
        }
        self.rig.storage.set_syncs_fail(false);
        let _ = self.rig.flush();
        self.look();
        for turn in 0.. {
            let leases: Vec<String> = self.held.keys().cloned().collect();
            for lease in leases {
                self.release_as(&lease, "ok");
            }
            let _ = self.rig.flush();
            self.look();
            if self.acquiring.is_empty() && self.releasing.is_empty() && self.held.is_empty() {
                break;
            }
            let list = self.rig.ok("list", json!({}));
            assert!(turn < 400, "still waiting: {:?} {list}", self.acquiring.values());
            self.pass(5_000);
        }
        self.pass(100_000);
        assert!(self.others.is_empty());
        self.compare();
    }

    /// At rest the pool's list is the kernel's.
    fn compare(&mut self) {
        let listed = self.rig.ok("list", json!({}));
        let used: u64 = self.instances.values().map(|it| memory_of(&it.kind)).sum();
        assert_eq!(listed["memory"]["used_mib"], used);
        let states = self.rig.states();
        let loaded = self.instances.iter().filter(|(_, it)| !it.loading).map(|(name, _)| name);
        for name in loaded {
            assert!(states.contains_key(name), "{name} is unknown to the pool: {states:?}");
        }
    }
}

fn memory_of(kind: &str) -> u64 {
    KINDS.iter().find(|spec| spec.name == kind).unwrap().memory
}
