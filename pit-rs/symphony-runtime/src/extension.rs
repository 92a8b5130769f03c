//! A player in a few lines: plain functions, each for one method of one capability.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use symphony_runtime::{BusError, Context, Extension};
//!
//! #[derive(Deserialize)]
//! struct Args { text: String }
//! #[derive(Serialize)]
//! struct Out { upper: String }
//!
//! fn main() -> std::process::ExitCode {
//!     Extension::new()
//!         .provides("text.upper/1", |_: &Context, args: Args| -> Result<Out, BusError> {
//!             Ok(Out { upper: args.text.to_uppercase() })
//!         })
//!         .run()
//! }
//! ```

use std::collections::HashMap;
use std::process::ExitCode;

use serde::de::DeserializeOwned;
use serde::Serialize;
use symphony_wire::constants::DEFAULT_METHOD;
use symphony_wire::service::{parse, reply, Outcome};
use symphony_wire::{BusError, Ticket};

use crate::client::{handler, Handler, Published};
use crate::session::Ended;
use crate::{log_to_stderr, shift, Context, RuntimeError, Stop};

pub(crate) type Function = Box<dyn FnMut(&Context, &[u8]) -> Outcome + Send>;

/// What runs on the player's thread.
#[derive(Default)]
pub(crate) struct Functions {
    /// By capability, then by method.
    pub calls: HashMap<String, HashMap<String, Function>>,
    /// By topic.
    pub handlers: HashMap<String, Handler>,
}

/// Functions by capability and method; [`Extension::run`] serves them.
#[derive(Default)]
pub struct Extension {
    functions: Functions,
    capabilities: Vec<String>,
}

impl Extension {
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves the default method of a capability with a function.
    pub fn provides<A, R>(
        self,
        capability: &str,
        function: impl FnMut(&Context, A) -> Result<R, BusError> + Send + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        self.provides_method(capability, DEFAULT_METHOD, function)
    }

    /// Serves one method of a capability. Arguments that do not fit `A` are refused before `function` is called.
    pub fn provides_method<A, R>(
        mut self,
        capability: &str,
        method: &str,
        mut function: impl FnMut(&Context, A) -> Result<R, BusError> + Send + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        if !self.capabilities.iter().any(|known| known == capability) {
            self.capabilities.push(capability.to_owned());
        }
        self.functions.calls.entry(capability.to_owned()).or_default().insert(
            method.to_owned(),
            Box::new(move |context, body| {
                parse(body)
                    .and_then(|args| function(context, args))
                    .and_then(|result| reply(&result))
            }),
        );
        self
    }

    /// Gives every event of a topic to `handle`, between calls and on the same thread. Without permission for the topic
    /// the activation ends with an error. Events that find 256 waiting are dropped; the next one's `gap` counts them.
    pub fn subscribes<T: DeserializeOwned>(
        mut self,
        topic: &str,
        handle: impl FnMut(Published<T>) + Send + 'static,
    ) -> Self {
        self.functions.handlers.insert(topic.to_owned(), handler(topic, handle));
        self
    }

    /// Serves until the kernel ends it: ticket from the environment, log to stderr, signals heeded.
    pub fn run(self) -> ExitCode {
        log_to_stderr();
        let served = Ticket::load()
            .map_err(RuntimeError::from)
            .and_then(|ticket| self.serve(&ticket, &Stop::on_signals()?));
        match served {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, help = error.help(), "ended");
                ExitCode::from(error.exit_code())
            }
        }
    }

    /// Serves until the hub or `stop` ends it. Calls run one at a time, on another thread than this one.
    pub fn serve(self, ticket: &Ticket, stop: &Stop) -> Result<Ended, RuntimeError> {
        shift::serve(self.functions, &self.capabilities, ticket, stop)
    }
}
