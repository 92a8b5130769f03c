//! libzmq's messages as the switch's frames.

use std::alloc::{handle_alloc_error, Layout};
use std::ops::Deref;

use symphony_switch::Frame;
use symphony_zmq::Message;

pub struct Wire(pub Message);

impl Deref for Wire {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Frame for Wire {
    fn copy_from(bytes: &[u8]) -> Self {
        match Message::copy_from(bytes) {
            Ok(message) => Self(message),
            // Memory is all that libzmq can lack here: end as Rust's own allocations do.
            Err(_) => handle_alloc_error(Layout::for_value(bytes)),
        }
    }
}
