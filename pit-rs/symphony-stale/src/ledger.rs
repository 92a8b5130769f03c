//! What the curator may never forget: a fold over its records, the same in operation and after a crash.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use symphony_member::{short, Fold, Print, Reference};
use symphony_wire::{BusError, Code};

use crate::config::Config;
use crate::record::{
    Action, Cite, Event, Hold, Last, Mark, Proof, Record, Subject, Taught, Totals, Word,
};
use crate::value::Ended;

/// Requests that are remembered: a repetition comes within minutes.
const MAX_IDS: usize = 20_000;
/// Bytes of their replies together.
const MAX_ID_BYTES: usize = 32 << 20;
/// Ended runs whose outcome is remembered; the tracker knows the others.
const MAX_NOTED: usize = 100_000;
/// Subjects of feedback, the oldest forgotten first.
const MAX_FEEDBACK: usize = 100_000;
/// Beyond it a new one is refused, for none of these may be forgotten.
pub const MAX_PINS: usize = 100_000;
pub const MAX_HOLDS: usize = 10_000;
/// References and runs of all holds together.
pub const MAX_HELD: usize = 1_000_000;
pub const MAX_PROOFS: usize = 1_000_000;
pub const MAX_MARKS: usize = 100_000;
/// Plans that can still be run.
const MAX_PLANS: u64 = 2;
const MAX_PACKED: usize = 200_000;
/// With up to [`MAX_LESSON`](crate::requests::MAX_LESSON) artifacts each.
const MAX_TAUGHT: usize = 1_000;
/// Events that can be looked up.
const MAX_TOLD: usize = 1_000;
/// Items of one record of a plan: it must fit into a frame.
pub const PLAN_PART: usize = 4_096;

/// A map that forgets what was put in first.
#[derive(Clone, Debug, PartialEq)]
struct Recent<K, V> {
    map: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Clone, V> Recent<K, V> {
    fn entry(&mut self, key: K, most: usize, new: impl FnOnce() -> V) -> Option<&mut V> {
        if !self.map.contains_key(&key) {
            if self.order.len() >= most {
                if let Some(oldest) = self.order.pop_front() {
                    self.map.remove(&oldest);
                }
            }
            self.order.push_back(key.clone());
            self.map.insert(key.clone(), new());
        }
        self.map.get_mut(&key)
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|key| self.map.get_key_value(key))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub config: Config,
    digest: String,
    noted: Recent<String, Ended>,
    feedback: Recent<Subject, (u64, u64)>,
    pub pins: BTreeMap<Subject, Word>,
    pub holds: BTreeMap<String, Hold>,
    /// How many holds there are on each; what is held is asked for every artifact.
    held: HashMap<Subject, usize>,
    plans: BTreeMap<u64, BTreeMap<Reference, Action>>,
    pub proofs: BTreeMap<u64, Proof>,
    proof_of: HashMap<Reference, u64>,
    pub marks: BTreeMap<Reference, Mark>,
    packed: Recent<Reference, u64>,
    taught: VecDeque<Taught>,
    ids: Recent<String, (Print, Vec<u8>)>,
    id_bytes: usize,
    pub last: Option<Last>,
    /// The newest, oldest first.
    pub told: VecDeque<Event>,
    pub totals: Totals,
}

impl Ledger {
    pub fn noted(&self, run: &str) -> Option<Ended> {
        self.noted.map.get(run).copied()
    }

    /// The mean of all scores of the artifact and of its runs.
    pub fn feedback<'a>(
        &self,
        reference: Reference,
        runs: impl Iterator<Item = &'a str>,
    ) -> Option<u64> {
        let subjects = std::iter::once(Subject::Ref(reference))
            .chain(runs.map(|run| Subject::Run(run.to_owned())));
        let (sum, count) = subjects
            .filter_map(|subject| self.feedback.map.get(&subject))
            .fold((0_u64, 0_u64), |(sum, count), (more, times)| (sum + more, count + times));
        sum.checked_div(count)
    }

    /// Why the curator was told to leave it alone, if it was.
    pub fn protected<'a>(
        &self,
        reference: Reference,
        mut runs: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<&'static str> {
        let own = Subject::Ref(reference);
        let named = |run: &str| Subject::Run(run.to_owned());
        if self.held.contains_key(&own)
            || runs.clone().any(|run| self.held.contains_key(&named(run)))
        {
            return Some("under hold");
        }
        let pinned =
            self.pins.contains_key(&own) || runs.any(|run| self.pins.contains_key(&named(run)));
        pinned.then_some("pinned")
    }

    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// What a plan that can still be run said.
    pub fn plan(&self, number: u64) -> Option<&BTreeMap<Reference, Action>> {
        self.plans.get(&number)
    }

    pub fn proof(&self, reference: &Reference) -> Option<&Proof> {
        self.proof_of.get(reference).and_then(|number| self.proofs.get(number))
    }

    fn proof_mut(&mut self, reference: &Reference) -> Option<&mut Proof> {
        self.proof_of.get(reference).and_then(|number| self.proofs.get_mut(number))
    }

    pub fn is_packed(&self, reference: &Reference) -> bool {
        self.packed.map.contains_key(reference)
    }

    /// Which policies learned from it, in order of their names.
    pub fn taught(&self) -> HashMap<Reference, BTreeSet<&str>> {
        let mut policies: HashMap<Reference, BTreeSet<&str>> = HashMap::new();
        for taught in self.taught.iter().filter(|taught| taught.gain > 0) {
            for reference in &taught.refs {
                policies.entry(*reference).or_default().insert(&taught.policy);
            }
        }
        policies
    }

    /// What was replied to a request of this id; an error if that was another request.
    pub fn known(&self, id: &str, print: &Print) -> Result<Option<Vec<u8>>, BusError> {
        match self.ids.map.get(id) {
            None => Ok(None),
            Some((first, reply)) if first == print => Ok(Some(reply.clone())),
            Some(_) => Err(BusError::new(
                Code::Conflict,
                format!("{:?} was used with other arguments", short(id)),
            )
            .at("id")
            .help("give every request an id of its own")),
        }
    }

    fn hold(&mut self, name: String, hold: Option<Hold>) {
        let subjects = |hold: &Hold| {
            let runs = hold.runs.iter().cloned().map(Subject::Run);
            hold.refs.iter().copied().map(Subject::Ref).chain(runs).collect::<Vec<_>>()
        };
        if let Some(former) = self.holds.remove(&name) {
            for subject in subjects(&former) {
                if let Some(count) = self.held.get_mut(&subject) {
                    *count -= 1;
                    if *count == 0 {
                        self.held.remove(&subject);
                    }
                }
            }
        }
        if let Some(hold) = hold {
            for subject in subjects(&hold) {
                *self.held.entry(subject).or_default() += 1;
            }
            self.holds.insert(name, hold);
        }
    }

    fn prove(&mut self, proof: Proof) {
        if let Some(former) = self.proof_of.insert(proof.reference, proof.number) {
            if former != proof.number {
                self.proofs.remove(&former);
            }
        }
        if proof.number > self.totals.proofs {
            self.totals.proofs = proof.number;
            self.totals.archived.add(proof.bytes);
        }
        self.proofs.insert(proof.number, proof);
    }

    fn free(&mut self, reference: Reference, bytes: u64, ts: String) {
        let Some(mark) = self.marks.remove(&reference) else { return };
        match mark.cite {
            Cite::Proof(_) => {
                self.totals.freed.add(bytes);
                if let Some(proof) = self.proof_mut(&reference) {
                    proof.freed = Some(ts);
                }
            }
            Cite::Pressure { .. } => self.totals.deleted.add(bytes),
        }
    }

    fn remember(&mut self, id: String, print: Print, reply: Vec<u8>) {
        if self.ids.map.contains_key(&id) {
            return;
        }
        self.id_bytes += reply.len();
        while self.id_bytes > MAX_ID_BYTES || self.ids.order.len() >= MAX_IDS {
            let Some(oldest) = self.ids.order.pop_front() else { break };
            if let Some((_, reply)) = self.ids.map.remove(&oldest) {
                self.id_bytes -= reply.len();
            }
        }
        self.ids.entry(id, MAX_IDS, || (print, reply));
    }
}

impl Fold for Ledger {
    type Record = Record;
    const FILE: &'static str = "curator.journal";
    const REPAIR: &'static str =
        "restore the file from a backup and remove curator.journal.synced beside it: it holds \
         pins, holds and proofs; to begin anew without them, move both away";

    fn apply(&mut self, record: Record) {
        match record {
            Record::Configured { config, digest } => (self.config, self.digest) = (config, digest),
            Record::Noted { run, outcome } => {
                if let Some(noted) = self.noted.entry(run, MAX_NOTED, || outcome) {
                    *noted = outcome;
                }
            }
            Record::Feedback { subject, sum, count, .. } => {
                if let Some(total) = self.feedback.entry(subject, MAX_FEEDBACK, || (0, 0)) {
                    *total = (total.0 + sum, total.1 + count);
                }
            }
            Record::Pinned { subject, word: Some(word) } => {
                self.pins.insert(subject, word);
            }
            Record::Pinned { subject, word: None } => {
                self.pins.remove(&subject);
            }
            Record::Held { name, hold } => self.hold(name, hold),
            Record::Planned { plan, items } => {
                self.totals.plans = self.totals.plans.max(plan);
                self.plans.entry(plan).or_default().extend(items);
                let newest = self.totals.plans;
                self.plans.retain(|number, _| number + MAX_PLANS > newest);
            }
            Record::Proved(proof) => self.prove(proof),
            Record::Disproved { reference, .. } => {
                if let Some(number) = self.proof_of.remove(&reference) {
                    self.proofs.remove(&number);
                }
            }
            Record::Marked(mark) => {
                self.marks.insert(mark.reference, mark);
            }
            Record::Unmarked { reference, .. } => {
                self.marks.remove(&reference);
            }
            Record::Freed { reference, bytes, ts } => self.free(reference, bytes, ts),
            Record::Packed { reference, bytes } => {
                self.packed.entry(reference, MAX_PACKED, || bytes);
            }
            Record::Restored { reference, bytes, ts } => {
                self.totals.restored.add(bytes);
                if let Some(proof) = self.proof_mut(&reference) {
                    (proof.freed, proof.restored, proof.lost) = (None, Some(ts), None);
                }
            }
            Record::Lost { reference, ts } => {
                if let Some(proof) = self.proof_mut(&reference) {
                    proof.lost = Some(ts);
                }
            }
            Record::Taught(taught) => {
                if self.taught.len() >= MAX_TAUGHT {
                    self.taught.pop_front();
                }
                self.taught.push_back(taught);
            }
            Record::Did { id, print, reply } => self.remember(id, print, reply),
            Record::Ran(last) => self.last = Some(last),
            Record::Told(event) => {
                if self.told.len() >= MAX_TOLD {
                    self.told.pop_front();
                }
                self.told.push_back(event);
            }
            Record::Snapshot(totals) => self.totals = totals,
        }
    }

    fn snapshot(&self) -> impl Iterator<Item = Record> + '_ {
        let configured =
            Record::Configured { config: self.config.clone(), digest: self.digest.clone() };
        let noted = self.noted.iter();
        let noted = noted.map(|(run, ended)| Record::Noted { run: run.clone(), outcome: *ended });
        let feedback = self.feedback.iter().map(|(subject, (sum, count))| Record::Feedback {
            subject: subject.clone(),
            sum: *sum,
            count: *count,
            word: Word::default(),
        });
        let pins = self.pins.iter().map(|(subject, word)| Record::Pinned {
            subject: subject.clone(),
            word: Some(word.clone()),
        });
        let holds = self.holds.iter();
        let holds =
            holds.map(|(name, hold)| Record::Held { name: name.clone(), hold: Some(hold.clone()) });
        let plans = self.plans.iter().flat_map(|(plan, items)| {
            let items: Vec<(Reference, Action)> =
                items.iter().map(|(it, does)| (*it, *does)).collect();
            split(*plan, &items)
        });
        let packed = self.packed.iter();
        let packed = packed.map(|(it, bytes)| Record::Packed { reference: *it, bytes: *bytes });
        let ids = self.ids.iter().map(|(id, (print, reply))| Record::Did {
            id: id.clone(),
            print: *print,
            reply: reply.clone(),
        });
        std::iter::once(configured)
            .chain(noted)
            .chain(feedback)
            .chain(pins)
            .chain(holds)
            .chain(plans)
            .chain(self.proofs.values().cloned().map(Record::Proved))
            .chain(self.marks.values().cloned().map(Record::Marked))
            .chain(packed)
            .chain(self.taught.iter().cloned().map(Record::Taught))
            .chain(ids)
            .chain(self.last.iter().cloned().map(Record::Ran))
            .chain(self.told.iter().cloned().map(Record::Told))
            .chain(std::iter::once(Record::Snapshot(self.totals.clone())))
    }
}

/// The records of a plan, at least one.
pub fn split(plan: u64, items: &[(Reference, Action)]) -> Vec<Record> {
    if items.is_empty() {
        return vec![Record::Planned { plan, items: Vec::new() }];
    }
    items.chunks(PLAN_PART).map(|part| Record::Planned { plan, items: part.to_vec() }).collect()
}
