//! The bytes of a body, in a frame that libzmq sends and receives without a copy.

use std::alloc::{handle_alloc_error, Layout};
use std::fmt;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use symphony_wire::body;
use symphony_wire::{BusError, Code};
use symphony_zmq::Message;

/// Up to here a copy costs less than what libzmq needs to share bytes.
const COPIED: usize = 1_024;

/// One msgpack item, or nothing. Reads as a byte slice.
#[derive(Default)]
pub struct Body(Message);

impl Body {
    /// The value, read in one go; what is not of the type is `wrong-output`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, BusError> {
        body::read_value(self).map_err(|error| {
            let place = error.field.unwrap_or_else(|| "result".to_owned());
            BusError::new(Code::WrongOutput, error.message).at(place)
        })
    }

    /// A second owner of the same bytes.
    pub(crate) fn share(&mut self) -> Self {
        Self(self.0.share().unwrap_or_else(|_| out_of_memory()))
    }

    pub(crate) fn into_message(self) -> Message {
        self.0
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let message = if bytes.len() <= COPIED {
            Message::copy_from(&bytes)
        } else {
            Message::from_vec(bytes)
        };
        Self(message.unwrap_or_else(|_| out_of_memory()))
    }
}

impl From<Message> for Body {
    fn from(message: Message) -> Self {
        Self(message)
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// The one way in which libzmq refuses a frame; it ends as any other allocation that fails.
fn out_of_memory() -> ! {
    handle_alloc_error(Layout::new::<Message>())
}
