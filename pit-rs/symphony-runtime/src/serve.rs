//! Serving a [`Service`]: calls are answered on the thread that owns the socket, in batches with one flush each.

use std::time::Instant;

use symphony_wire::body::Activate;
use symphony_wire::service::{Answer, Call, Outcome, Service};
use symphony_wire::{Header, Ticket};

use crate::session::{self, Ended, Outgoing, Provider};
use crate::{RuntimeError, Stop};

/// Joins the hub as provider of `capability` and serves until the hub or `stop` ends it.
/// `service` is left as the last flush left it: nothing that was answered is unflushed.
pub fn serve(
    ticket: &Ticket,
    capability: &str,
    service: &mut dyn Service,
    stop: &Stop,
) -> Result<Ended, RuntimeError> {
    session::run(ticket, &[capability.to_owned()], stop, |link| Direct {
        service,
        unflushed: Vec::new(),
        max_body: link.max_body(),
    })
}

struct Direct<'a> {
    service: &'a mut dyn Service,
    unflushed: Vec<(Header, Outcome)>,
    max_body: usize,
}

impl Provider for Direct<'_> {
    fn call(&mut self, header: Header, call: Call<'_>, out: &mut Vec<Outgoing>) {
        match self.service.call(call) {
            Answer::Now(outcome) => out.push(Outgoing::answer(&header, outcome, self.max_body)),
            Answer::AfterFlush(outcome) => self.unflushed.push((header, outcome)),
        }
    }

    fn settle(&mut self, out: &mut Vec<Outgoing>) {
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
    fn cancel(&mut self, _: &Header) {}

    fn activate(&mut self, _: Activate) {}

    fn busy(&self) -> bool {
        false
    }

    fn hung(&self, _: Instant) -> bool {
        false
    }
}
