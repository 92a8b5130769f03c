//! What jobs share with the curator: memory, questions to others, time. A job is a future that waits for
//! answers and for time only; whoever polls it carries out what it wants in between. There is no thread and
//! no lock is ever waited for: the mutex is there because a reactor may be moved between threads.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use serde::de::DeserializeOwned;
use serde::Serialize;
use symphony_journal::Storage;
use symphony_member::{Fold, Folded};
use symphony_wire::reactor::{Ask, Effect, Now, Token};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{body, BusError, Code};

use crate::archive::Archive;
use crate::decide::Item;
use crate::ledger::Ledger;
use crate::record::{Amount, Event, Kind, Record};
use crate::replies::Stats;
use crate::{ARTIFACTS, BUILT_IN, DAG};

/// How long an answer may take. Late is the same as missing.
const TTL_MS: u32 = 30_000;
/// How often a question is asked again that was answered with `overloaded`.
const TRIES: u32 = 5;
const MAX_WAIT_MS: u32 = 60_000;
const WAIT_MS: u32 = 100;

/// Where the records live. What a journal and an archive need of a disk.
pub trait Disk: Storage<File: Send> + Send + 'static {}
impl<S: Storage<File: Send> + Send + 'static> Disk for S {}

/// An answer that did not come, or not as one could be sure of it.
#[derive(Clone, Debug)]
pub struct Miss {
    pub what: String,
    pub code: Code,
}

impl Miss {
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { what: what.into(), code }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<Miss> for BusError {
    fn from(miss: Miss) -> Self {
        Self::new(miss.code, miss.what)
    }
}

/// About what an event is, when, and by whose word.
pub struct Told<'a> {
    pub name: &'a str,
    pub ts: &'a str,
    pub who: Option<&'a str>,
    pub why: Option<&'a str>,
}

/// The last plan, whole.
pub struct Kept {
    pub number: u64,
    pub items: Vec<(Item, Option<String>, Option<String>)>,
    pub stopped: Option<String>,
}

pub struct Core<S: Storage> {
    pub ledger: Ledger,
    pub store: Folded<S, Ledger>,
    archive: Archive<S>,
    pub plan: Option<Kept>,
    pub stats: Stats,
    pub now: Now,
    /// With whether it rests on records that are not durable yet.
    effects: Vec<(Effect, bool)>,
    asked: HashMap<Token, Option<Outcome>>,
    tokens: Token,
    /// When each sleeping job is to wake up.
    timers: BTreeMap<u64, u64>,
}

impl<S: Storage> Core<S> {
    /// Writes a record down and applies it. Whatever is said or asked from here on waits for the flush.
    pub fn commit(&mut self, record: Record) -> Result<(), BusError> {
        self.store.write(&record)?;
        self.ledger.apply(record);
        Ok(())
    }

    /// Writes down what people should be able to look up.
    pub fn tell(&mut self, kind: Kind, what: Told<'_>, amount: Amount) -> Result<(), BusError> {
        let number = self.ledger.told.back().map_or(1, |event| event.number + 1);
        let Told { name, ts, who, why } = what;
        let (who, why) = (who.map(str::to_owned), why.map(str::to_owned));
        let (name, ts, Amount { items, bytes }) = (name.to_owned(), ts.to_owned(), amount);
        self.commit(Record::Told(Event { number, kind, ts, name, items, bytes, who, why }))
    }

    pub fn push(&mut self, effect: Effect) {
        let rests = self.store.is_waiting();
        self.effects.push((effect, rests));
    }

    pub fn publish(&mut self, topic: &str, body: &impl Serialize) {
        let body = body::write(body);
        self.push(Effect::Publish { topic: topic.to_owned(), body });
    }

    pub fn take_effects(&mut self) -> Vec<(Effect, bool)> {
        std::mem::take(&mut self.effects)
    }

    /// Takes the answer to a question that somebody still waits for.
    pub fn hear(&mut self, token: Token, outcome: Outcome) {
        if let Some(place) = self.asked.get_mut(&token) {
            *place = Some(outcome);
        }
    }

    pub fn wakeup(&self) -> Option<u64> {
        self.timers.values().min().copied()
    }
}

pub struct Desk<S: Storage>(Mutex<Core<S>>);

/// A question that is waited for; forgotten with the job.
struct Waiting<'d, S: Storage>(&'d Desk<S>, Token);

impl<S: Storage> Drop for Waiting<'_, S> {
    fn drop(&mut self) {
        let mut core = self.0.lock();
        core.asked.remove(&self.1);
        core.timers.remove(&self.1);
    }
}

impl<S: Storage> Desk<S> {
    pub fn new(ledger: Ledger, store: Folded<S, Ledger>, archive: Archive<S>) -> Self {
        Self(Mutex::new(Core {
            ledger,
            store,
            archive,
            plan: None,
            stats: Stats::default(),
            now: Now::default(),
            effects: Vec::new(),
            asked: HashMap::new(),
            tokens: 0,
            timers: BTreeMap::new(),
        }))
    }

    /// Never held while a job waits.
    pub fn lock(&self) -> MutexGuard<'_, Core<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn commit(&self, record: Record) -> Result<(), Miss> {
        self.lock().commit(record).map_err(|error| Miss::new(error.code, error.message))
    }

    /// Asks the store.
    pub async fn store<R: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<R, Miss> {
        self.ask(ARTIFACTS, method, arguments).await
    }

    /// Asks the store with arguments that are written already.
    pub async fn store_body<R: DeserializeOwned>(
        &self,
        method: &str,
        body: Vec<u8>,
    ) -> Result<R, Miss> {
        let outcome = self.outcome(ARTIFACTS, method, body).await;
        let bytes = outcome.map_err(|error| missed(ARTIFACTS, method, &error))?;
        read(ARTIFACTS, method, &bytes)
    }

    /// Asks the tracker; the reply with its bytes as they came.
    pub async fn dag<R: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<(R, Vec<u8>), Miss> {
        let bytes = self.outcome(DAG, method, body::write(arguments)).await;
        let bytes = bytes.map_err(|error| missed(DAG, method, &error))?;
        Ok((read(DAG, method, &bytes)?, bytes))
    }

    pub async fn ask<R: DeserializeOwned>(
        &self,
        capability: &str,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<R, Miss> {
        let outcome = self.outcome(capability, method, body::write(arguments)).await;
        let bytes = outcome.map_err(|error| missed(capability, method, &error))?;
        read(capability, method, &bytes)
    }

    async fn outcome(&self, capability: &str, method: &str, body: Vec<u8>) -> Outcome {
        let mut tries = 0;
        loop {
            let outcome = if capability == BUILT_IN {
                // A large artifact is many parts: others have their turn in between.
                self.sleep(0).await;
                self.lock().archive.answer(Call { capability, method, body: &body })
            } else {
                self.question(capability, method, body.clone()).await
            };
            tries += 1;
            match outcome {
                Err(error) if error.code == Code::Overloaded && tries < TRIES => {
                    let wait = error.retry_after_ms.unwrap_or(WAIT_MS).min(MAX_WAIT_MS);
                    self.sleep(u64::from(wait)).await;
                }
                other => return other,
            }
        }
    }

    async fn question(&self, capability: &str, method: &str, body: Vec<u8>) -> Outcome {
        let ask = Ask {
            capability: capability.to_owned(),
            method: method.to_owned(),
            body,
            ttl_ms: TTL_MS,
        };
        let waiting = {
            let mut core = self.lock();
            core.tokens += 1;
            let token = core.tokens;
            core.asked.insert(token, None);
            core.push(Effect::Ask { token, ask });
            Waiting(self, token)
        };
        poll_fn(|_| match self.lock().asked.get_mut(&waiting.1).and_then(Option::take) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        })
        .await
    }

    async fn sleep(&self, ms: u64) {
        let (at, waiting) = {
            let mut core = self.lock();
            core.tokens += 1;
            let (token, at) = (core.tokens, core.now.mono_ms.saturating_add(ms));
            core.timers.insert(token, at);
            (at, Waiting(self, token))
        };
        let mut first = true;
        poll_fn(|_| {
            let passed = !std::mem::take(&mut first) && self.lock().now.mono_ms >= at;
            if passed {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        drop(waiting);
    }
}

fn missed(capability: &str, method: &str, error: &BusError) -> Miss {
    Miss::new(error.code, format!("{capability} did not give a result of `{method}`: {error}"))
}

fn read<R: DeserializeOwned>(capability: &str, method: &str, bytes: &[u8]) -> Result<R, Miss> {
    body::read(bytes).map_err(|error| {
        Miss::new(
            Code::WrongOutput,
            format!("the result of `{method}` of {capability} is not in its form: {error}"),
        )
    })
}
