//! Serving a [`Reactor`], or a `Service`, which is one: on the thread that owns the socket, in batches with one flush each.

use symphony_wire::reactor::Reactor;
use symphony_wire::Ticket;

use crate::driver::Driver;
use crate::session::{Ended, Session, Turn};
use crate::{RuntimeError, Stop};

/// Joins the hub as provider of `capability` and serves until the hub or `stop` ends it.
///
/// `reactor` is left as its last flush left it: nothing that was answered is unflushed. What is open then ends with
/// the process: callers hear of it from the hub, and outcomes of questions come no more.
pub fn serve(
    ticket: &Ticket,
    capability: &str,
    reactor: &mut dyn Reactor,
    stop: &Stop,
) -> Result<Ended, RuntimeError> {
    let capabilities = [capability.to_owned()];
    let joined =
        Session::join(ticket, &capabilities, stop, |_, max_body| Driver::new(reactor, max_body))?;
    let Some(mut session) = joined else { return Ok(Ended::Stopped) };
    loop {
        match session.turn(stop)? {
            Turn::Again => {}
            Turn::Rest(limit) => session.rest(limit.min(session.provider.rest()), stop)?,
            Turn::Ended(ended) => return Ok(ended),
        }
    }
}
