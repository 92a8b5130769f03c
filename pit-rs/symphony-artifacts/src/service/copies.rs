//! `backup`: the one call that is answered later, when its copy has ended.

use symphony_wire::reactor::{CallId, Effect, Effects, Now};
use symphony_wire::service::{parse, reply, Outcome};
use symphony_wire::BusError;

use super::{bad, ArtifactService, Who};
use crate::backup::{Backed, Order};
use crate::instant;
use crate::messages::{BackupArguments, BackupReply};
use crate::relative::absolute;

/// How often it is looked whether a copy has ended, milliseconds.
const POLL_MS: u64 = 20;
/// Longest id, bytes.
const MAX_ID: usize = 128;

/// The calls that wait for the copy that is being made.
#[derive(Default)]
pub(super) struct Waiting {
    calls: Vec<CallId>,
    poll: Option<u64>,
}

impl Waiting {
    pub fn wakeup(&self) -> Option<u64> {
        self.poll
    }
}

impl ArtifactService {
    pub(super) fn backup(&mut self, call: CallId, body: &[u8], now: Now, out: &mut Effects) {
        self.now = now;
        let outcome = match self.begin_backup(body) {
            Ok(None) => {
                self.copies.calls.push(call);
                self.copies.poll = Some(now.mono_ms.saturating_add(POLL_MS));
                return;
            }
            Ok(Some(backed)) => told(backed),
            Err(error) => Err(error),
        };
        out.now(Effect::Answer { call, outcome });
    }

    fn begin_backup(&mut self, body: &[u8]) -> Result<Option<Backed>, BusError> {
        let BackupArguments { id, to, ts, by } = parse(body)?;
        if id.is_empty() || id.len() > MAX_ID {
            return Err(bad("id", "the id has not 1 to 128 bytes"));
        }
        let who = Who::new(by, None, ts.as_deref())?;
        let ts = ts.unwrap_or_else(|| instant::write(self.now.wall_ms));
        let to = absolute(&to).map_err(|error| bad("to", &error.to_string()))?;
        let record = who.record("backup", who.at(self.now.wall_ms), &[]);
        Ok(self.store.begin_backup(&Order { id, to, ts }, record)?)
    }

    /// Answers those who wait, once the copy has ended.
    pub(super) fn poll_backup(&mut self, now: Now, out: &mut Effects) {
        if self.copies.poll.is_none_or(|at| at > now.mono_ms) {
            return;
        }
        self.copies.poll = Some(now.mono_ms.saturating_add(POLL_MS));
        let Some(ended) = self.store.poll_backup() else { return };
        self.copies.poll = None;
        let outcome = ended.map_err(BusError::from).and_then(told);
        for call in self.copies.calls.drain(..) {
            out.now(Effect::Answer { call, outcome: outcome.clone() });
        }
    }
}

fn told(Backed { artifacts, bytes, damaged, named, .. }: Backed) -> Outcome {
    reply(&BackupReply { artifacts, bytes, damaged: (damaged > 0).then_some(damaged), named })
}
