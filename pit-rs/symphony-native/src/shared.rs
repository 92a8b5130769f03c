//! What the threads share with the interpreter's side.

use std::any::Any;
use std::sync::Arc;

use rustix::io::Errno;
use symphony_switch::{Counters, UpcallQueue};

use crate::commands::Command;
use crate::door::Order;
use crate::frame::Wire;
use crate::mailbox::Mailbox;

pub struct Shared {
    /// For the hub.
    pub commands: Mailbox<Command>,
    /// For its door.
    pub orders: Mailbox<Order>,
    pub counters: Arc<Counters>,
    pub upcalls: Arc<UpcallQueue<Wire>>,
}

impl Shared {
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            commands: Mailbox::new()?,
            orders: Mailbox::new()?,
            counters: Arc::default(),
            upcalls: Arc::default(),
        })
    }

    /// Tells both threads to end.
    pub fn stop(&self) {
        self.commands.give(Command::Stop);
        self.orders.give(Order::Stop);
    }
}

/// Why a thread panicked.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked").to_owned()
}
