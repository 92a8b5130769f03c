//! A player: its session, shared by the thread that runs its functions and the one that relieves it of the socket.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use symphony_wire::Ticket;

use crate::events::Events;
use crate::extension::Functions;
use crate::handover::{Duty, Handover};
use crate::session::{Ended, Session, Turn};
use crate::turns::Turns;
use crate::worker::{Desk, Job, Worker};
use crate::{RuntimeError, Stop};

/// How long functions are run before what they answered is sent, if no single one takes longer.
const SLICE: Duration = Duration::from_micros(200);

type Served = Result<Ended, RuntimeError>;

struct Player {
    /// Whoever has it locked keeps the socket; `None` once it is over.
    session: Mutex<Option<Session<Worker>>>,
    handover: Arc<Handover>,
    stop: Stop,
}

/// Joins and serves until the hub or `stop` ends it. This thread is the relief.
pub fn serve(
    functions: Functions,
    capabilities: &[String],
    ticket: &Ticket,
    stop: &Stop,
) -> Served {
    let handover = Arc::new(Handover::new(stop));
    let mut topics: Vec<String> = functions.handlers.keys().cloned().collect();
    topics.sort_unstable();
    let desk = Arc::clone(&handover);
    let joined = Session::join(ticket, capabilities, stop, |numbers, max_body| {
        let desk = Desk { numbers: numbers.clone(), max_body, handover: desk };
        Worker::new(ticket, desk, Events::of(topics))
    })?;
    let Some(session) = joined else { return Ok(Ended::Stopped) };
    let session = Mutex::new(Some(session));
    let player = Arc::new(Player { session, handover, stop: stop.clone() });
    let theirs = Arc::clone(&player);
    // Not joined: a function that hangs must not keep the process.
    thread::spawn(move || {
        let played = panic::catch_unwind(AssertUnwindSafe(|| theirs.play(functions)));
        if let Some(outcome) = played.transpose() {
            theirs.handover.over(outcome);
        }
    });
    player.relieve()
}

impl Player {
    /// Takes calls and runs them, those of all callers in turn; `None` if the relief has seen the end.
    fn play(&self, mut functions: Functions) -> Option<Served> {
        let mut jobs = Turns::default();
        loop {
            self.handover.back();
            {
                let mut place = self.session.lock().ok()?;
                if let Err(ended) = self.fetch(place.as_mut()?, &mut jobs) {
                    *place = None;
                    return Some(ended);
                }
                self.handover.away();
            }
            let begun = Instant::now();
            while let Some(job) = jobs.take() {
                if let Some(answer) = job.run(&mut functions) {
                    self.handover.leave(answer);
                }
                if begun.elapsed() >= SLICE {
                    break;
                }
            }
        }
    }

    /// Sends what was answered and waits until there are calls to run. `Err`: how it ended.
    fn fetch(&self, session: &mut Session<Worker>, jobs: &mut Turns<Job>) -> Result<(), Served> {
        loop {
            let turn = session.turn(&self.stop).map_err(Err)?;
            for job in session.provider.jobs.drain(..) {
                jobs.put(job.lane(), job);
            }
            match turn {
                Turn::Ended(ended) => return Err(Ok(ended)),
                _ if !jobs.is_empty() => return Ok(()),
                Turn::Again => {}
                Turn::Rest(limit) => session.rest(limit, &self.stop).map_err(Err)?,
            }
        }
    }

    /// Keeps the socket whenever the player cannot, until the end.
    fn relieve(&self) -> Served {
        loop {
            match self.handover.watch() {
                Duty::Over(outcome) => {
                    return outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
                }
                _ => {
                    if let Some(ended) = self.keep() {
                        return ended;
                    }
                }
            }
        }
    }

    /// Keeps the socket until the player wants it; gives how it ended, if it did.
    fn keep(&self) -> Option<Served> {
        // The player's panic is reported by the hand-over.
        let mut place = self.session.lock().ok()?;
        let session = place.as_mut()?;
        let mut idle = None;
        let ended = loop {
            match (self.handover.next(idle.is_some()), idle) {
                (Duty::GiveWay, _) => return None,
                (Duty::Wait, Some(limit)) => {
                    if let Err(error) = session.rest(limit, &self.stop) {
                        break Err(error);
                    }
                    idle = None;
                }
                _ => match session.turn(&self.stop) {
                    Err(error) => break Err(error),
                    Ok(Turn::Ended(ended)) => break Ok(ended),
                    Ok(Turn::Again) => idle = None,
                    Ok(Turn::Rest(limit)) => idle = Some(limit),
                },
            }
        };
        *place = None;
        Some(ended)
    }
}
