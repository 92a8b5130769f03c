//! What a reactor asked others and has not heard of yet.

use std::collections::BTreeSet;

use foldhash::HashMap;
use symphony_wire::constants::GRACE_MS;
use symphony_wire::reactor::{Ask, Token};
use symphony_wire::{BusError, Header, Kind, Target};

use crate::asking::Asking;
use crate::clock::Clock;
use crate::outgoing::Outgoing;

/// As many as a peer may have open calls, and those that were refused since the last turn.
#[derive(Default)]
pub struct Questions {
    open: HashMap<u64, (Token, Option<u64>)>,
    /// When not even the hub's own answer is waited for any more, with the request.
    late_at: BTreeSet<(u64, u64)>,
    refused: Vec<(Token, BusError)>,
}

impl Questions {
    /// Asks; gives the message to send. What cannot even be sent is answered in the next turn, not in this one:
    /// a reactor that asks again at once would never end it.
    pub fn ask(
        &mut self,
        token: Token,
        ask: Ask,
        asking: &mut Asking,
        clock: &mut Clock,
    ) -> Option<Outgoing> {
        let request = asking.numbers.next();
        let ends = (ask.ttl_ms > 0).then(|| clock.now().mono_ms + u64::from(ask.ttl_ms));
        let header = Header {
            target: Target::Name(ask.capability),
            request,
            ttl: ask.ttl_ms,
            method: Some(ask.method),
            ..Header::new(Kind::Call)
        };
        let deadline = ends.and_then(|ends| clock.instant(ends));
        match asking.open(header, ask.body.into(), deadline) {
            Ok(outgoing) => {
                let late_at = ends.map(|ends| ends + u64::from(GRACE_MS));
                self.late_at.extend(late_at.map(|at| (at, request)));
                self.open.insert(request, (token, late_at));
                Some(outgoing)
            }
            Err(error) => {
                self.refused.push((token, error));
                None
            }
        }
    }

    /// The question that was answered; `None` if it is none, or nobody waits for it any more.
    pub fn answered(&mut self, request: u64) -> Option<Token> {
        let (token, late_at) = self.open.remove(&request)?;
        if let Some(at) = late_at {
            self.late_at.remove(&(at, request));
        }
        Some(token)
    }

    pub fn take_refused(&mut self) -> Vec<(Token, BusError)> {
        std::mem::take(&mut self.refused)
    }

    /// The next question whose time is over, with its request; it is forgotten.
    pub fn pop_late(&mut self, now: u64) -> Option<(u64, Token)> {
        let (at, request) = *self.late_at.first()?;
        if at > now {
            return None;
        }
        self.answered(request).map(|token| (request, token))
    }

    /// When something is to be told; 0: at once.
    pub fn wakeup(&self) -> Option<u64> {
        let late_at = self.late_at.first().map(|(at, _)| *at);
        if self.refused.is_empty() {
            late_at
        } else {
            Some(0)
        }
    }
}
