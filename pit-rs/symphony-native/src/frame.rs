//! libzmq's messages as the switch's frames.

use std::alloc::{handle_alloc_error, Layout};
use std::ops::Deref;

use symphony_switch::Frame;
use symphony_zmq::{Account, Message};

pub struct Wire(pub Message);

impl Wire {
    /// Books the frame as lent to libzmq.
    pub fn lend(&mut self, account: Account) {
        let layout = Layout::for_value(&**self);
        let lent = account.lend(std::mem::take(&mut self.0));
        self.0 = lent.unwrap_or_else(|_| handle_alloc_error(layout));
    }
}

impl Deref for Wire {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Frame for Wire {
    fn copy_from(bytes: &[u8]) -> Self {
        // Memory is all that libzmq can lack here: end as Rust's own allocations do.
        Self(
            Message::copy_from(bytes)
                .unwrap_or_else(|_| handle_alloc_error(Layout::for_value(bytes))),
        )
    }

    fn share(&mut self) -> Self {
        Self(self.0.share().unwrap_or_else(|_| handle_alloc_error(Layout::for_value(&**self))))
    }
}
