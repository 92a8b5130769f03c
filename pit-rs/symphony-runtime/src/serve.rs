//! Serving a [`Service`]: calls are answered on the thread that owns the socket, in batches with one flush each.

use std::sync::Arc;
use std::time::Instant;

use symphony_wire::body::Activate;
use symphony_wire::constants::DEFAULT_METHOD;
use symphony_wire::service::{Answer, Call, Outcome, Service};
use symphony_wire::{Header, Ticket};

use crate::asking::{Asking, Reply};
use crate::outgoing::Outgoing;
use crate::serving::Key;
use crate::session::{Ended, Provider, Session, Turn};
use crate::{Body, RuntimeError, Stop};

/// Joins the hub as provider of `capability` and serves until the hub or `stop` ends it.
/// `service` is left as the last flush left it: nothing that was answered is unflushed.
pub fn serve(
    ticket: &Ticket,
    capability: &str,
    service: &mut dyn Service,
    stop: &Stop,
) -> Result<Ended, RuntimeError> {
    let joined = Session::join(ticket, &[capability.to_owned()], stop, |_, max_body| Direct {
        service,
        unflushed: Vec::new(),
        max_body,
    })?;
    let Some(mut session) = joined else { return Ok(Ended::Stopped) };
    loop {
        match session.turn(stop)? {
            Turn::Again => {}
            Turn::Rest(limit) => session.rest(limit, stop)?,
            Turn::Ended(ended) => return Ok(ended),
        }
    }
}

struct Direct<'a> {
    service: &'a mut dyn Service,
    unflushed: Vec<(Header, Outcome)>,
    max_body: usize,
}

impl Provider for Direct<'_> {
    /// Those that come together share a flush.
    const BATCH: usize = 256;

    fn call(&mut self, header: Header, capability: Arc<str>, body: Body, out: &mut Vec<Outgoing>) {
        let method = header.method.as_deref().unwrap_or(DEFAULT_METHOD);
        let call = Call { capability: &capability, method, body: &body };
        match self.service.call(call) {
            Answer::Now(outcome) => out.push(Outgoing::answer(&header, outcome, self.max_body)),
            Answer::AfterFlush(outcome) => self.unflushed.push((header, outcome)),
        }
    }

    fn settle(&mut self, _: &mut Asking, out: &mut Vec<Outgoing>) {
        if self.unflushed.is_empty() {
            return;
        }
        let flushed = self.service.flush();
        for (header, outcome) in self.unflushed.drain(..) {
            let outcome = flushed.clone().and(outcome);
            out.push(Outgoing::answer(&header, outcome, self.max_body));
        }
    }

    /// Every call is over before the next message is looked at.
    fn cancel(&mut self, _: Key, _: &mut Vec<Outgoing>) {}

    /// A service answers in one piece.
    fn credit(&mut self, _: Key, _: u32) {}

    fn lose_streams(&mut self, _: &mut Vec<Outgoing>) {}

    /// A service calls nobody.
    fn heard(&mut self, _: u64, _: Reply) {}

    fn activate(&mut self, _: Activate) {}

    fn busy(&self) -> bool {
        false
    }

    fn hung(&self, _: Instant) -> bool {
        false
    }
}
