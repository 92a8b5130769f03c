//! What carries a frame's bytes: the switch moves it and reads it, and makes a new one for what it says itself.

use std::ops::Deref;

pub trait Frame: Deref<Target = [u8]> + Sized {
    /// A new frame that holds a copy of the bytes.
    fn copy_from(bytes: &[u8]) -> Self;

    /// A second frame with the same bytes.
    fn share(&mut self) -> Self;
}

impl Frame for Vec<u8> {
    fn copy_from(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }

    fn share(&mut self) -> Self {
        self.clone()
    }
}
