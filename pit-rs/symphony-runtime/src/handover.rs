//! Who keeps a player's socket: the player's own thread, or the relief while that one runs functions for too long.
//!
//! The player's thread takes calls from the socket and runs them itself, so that a quick call costs no hand-over. It is
//! *away* meanwhile. The relief sleeps until the player has been away for [`PATIENCE`], or until a running function wants
//! something of the bus; then it keeps the socket, its heartbeats, cancels and credit, until the player is back.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::session::Ended;
use crate::worker::Command;
use crate::{RuntimeError, Stop};

/// How long a function may run before somebody looks after the socket; at most twice that.
const PATIENCE: Duration = Duration::from_millis(5);

/// How the session ended, or the panic that ended it.
pub type Outcome = thread::Result<Result<Ended, RuntimeError>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relief {
    /// Until the player goes away.
    Sleeps,
    /// Whether the player comes back in time; until nothing was run for a while.
    Watches,
    /// Has the socket, and looks here before it waits.
    Keeps,
    /// Has the socket and waits for it or for the bell.
    Waits,
}

/// What the relief does next.
pub enum Duty {
    Keep,
    Wait,
    /// The player has the socket or wants it.
    GiveWay,
    Over(Outcome),
}

struct State {
    commands: Vec<Command>,
    away: bool,
    /// How often the player went away.
    rounds: u64,
    /// A function that runs wants something at once.
    called: bool,
    relief: Relief,
    outcome: Option<Outcome>,
}

pub struct Handover {
    state: Mutex<State>,
    changed: Condvar,
    bell: Stop,
}

impl Handover {
    pub fn new(bell: &Stop) -> Self {
        let state = State {
            commands: Vec::new(),
            away: false,
            rounds: 0,
            called: false,
            relief: Relief::Sleeps,
            outcome: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), bell: bell.clone() }
    }

    // For running functions.

    /// Leaves a command that must not wait until the function is over.
    pub fn want(&self, command: Command) {
        let mut state = self.lock();
        state.commands.push(command);
        match state.relief {
            Relief::Keeps => {}
            Relief::Waits => self.bell.ring(),
            Relief::Sleeps | Relief::Watches => {
                state.called = true;
                self.changed.notify_one();
            }
        }
    }

    // For whoever keeps the socket.

    /// Exchanges the commands that wait for an empty list.
    pub fn take(&self, empty: &mut Vec<Command>) {
        mem::swap(&mut self.lock().commands, empty);
    }

    // For the player.

    /// Leaves a command for whoever keeps the socket next, soon the player itself.
    pub fn leave(&self, command: Command) {
        self.lock().commands.push(command);
    }

    /// The player goes to run functions.
    pub fn away(&self) {
        let mut state = self.lock();
        state.away = true;
        state.rounds += 1;
        if state.relief == Relief::Sleeps {
            state.relief = Relief::Watches;
            self.changed.notify_one();
        }
    }

    /// The player wants the socket.
    pub fn back(&self) {
        let mut state = self.lock();
        state.away = false;
        state.called = false;
        if state.relief == Relief::Waits {
            self.bell.ring();
        }
    }

    /// The player has seen the end.
    pub fn over(&self, outcome: Outcome) {
        self.lock().outcome = Some(outcome);
        self.changed.notify_one();
    }

    // For the relief.

    /// Waits until the relief has something to do: [`Duty::Keep`] or [`Duty::Over`].
    pub fn watch(&self) -> Duty {
        let mut state = self.lock();
        // The round in which a whole time of patience has passed.
        let mut seen = 0;
        loop {
            if let Some(outcome) = state.outcome.take() {
                return Duty::Over(outcome);
            }
            if state.away && (state.called || seen == state.rounds) {
                state.relief = Relief::Keeps;
                return Duty::Keep;
            }
            if seen == state.rounds {
                state.relief = Relief::Sleeps;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.relief = Relief::Watches;
            let round = state.rounds;
            let woken = self.changed.wait_timeout(state, PATIENCE);
            let (guard, time) = woken.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if time.timed_out() {
                seen = round;
            }
        }
    }

    /// Whether the relief goes on with the socket in its hands, and how: [`Duty::Wait`] only after `idle`, when nothing
    /// was left to do.
    pub fn next(&self, idle: bool) -> Duty {
        let mut state = self.lock();
        if !state.away {
            state.relief = Relief::Watches;
            return Duty::GiveWay;
        }
        let waits = idle && state.commands.is_empty();
        state.relief = if waits { Relief::Waits } else { Relief::Keeps };
        if waits {
            Duty::Wait
        } else {
            Duty::Keep
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
