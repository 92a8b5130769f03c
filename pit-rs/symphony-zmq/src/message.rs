//! One frame, owned by libzmq: small ones lie inside it, large ones are shared without a copy.

use std::ops::Deref;
use std::os::raw::c_void;
use std::slice;

use crate::{sys, Error};

/// One frame. Reads as a byte slice.
pub struct Message(pub(crate) sys::Msg);

// SAFETY: a message has one owner and what it shares inside libzmq is counted atomically (zmq_msg_init(3): a message
// may be handed from one thread to another).
unsafe impl Send for Message {}
// SAFETY: a shared message is only read: its bytes, their number and whether more follow.
unsafe impl Sync for Message {}

impl Message {
    /// An empty frame, to receive into.
    pub fn new() -> Self {
        let mut msg = sys::Msg([0; 64]);
        // SAFETY: msg is writable memory of the size and alignment of zmq_msg_t; this call cannot fail.
        unsafe { sys::zmq_msg_init(&mut msg) };
        Self(msg)
    }

    /// A frame that holds a copy of the bytes.
    pub fn copy_from(bytes: &[u8]) -> Result<Self, Error> {
        let mut msg = sys::Msg([0; 64]);
        // SAFETY: as in new; on failure msg stays uninitialised and is not used.
        Error::check(unsafe { sys::zmq_msg_init_size(&mut msg, bytes.len()) })?;
        let mut message = Self(msg);
        // SAFETY: the frame was just made with room for exactly these bytes and nobody else has it.
        unsafe {
            let data = sys::zmq_msg_data(&mut message.0).cast::<u8>();
            data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Ok(message)
    }

    /// A frame that takes over the bytes without copying them.
    pub fn from_vec(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::from_owner(bytes)
    }

    /// A frame of the bytes that `owner` gives, which must be the same each time; they are not copied. It is dropped,
    /// on any thread, once they are no longer needed.
    pub fn from_owner<T: AsRef<[u8]> + Send + 'static>(owner: T) -> Result<Self, Error> {
        let owner = Box::new(owner);
        let bytes = (*owner).as_ref();
        let (data, size) = (bytes.as_ptr().cast_mut().cast::<c_void>(), bytes.len());
        let hint = Box::into_raw(owner).cast::<c_void>();
        let mut msg = sys::Msg([0; 64]);
        // SAFETY: the bytes belong to the owner, which neither moves nor changes until libzmq calls release with hint,
        // once, from any thread. A message is read only.
        let made =
            unsafe { sys::zmq_msg_init_data(&mut msg, data, size, Some(release::<T>), hint) };
        if let Err(error) = Error::check(made) {
            // SAFETY: the call failed, so libzmq does not own the bytes.
            unsafe { release::<T>(data, hint) };
            return Err(error);
        }
        Ok(Self(msg))
    }

    /// A second owner of the same bytes, which are copied only where they lie inside the frame.
    pub fn share(&mut self) -> Result<Self, Error> {
        let mut second = Self::new();
        // SAFETY: two initialised messages. Large contents become shared and are counted atomically; neither owner can
        // change them: a message is read as a slice only.
        Error::check(unsafe { sys::zmq_msg_copy(&mut second.0, &mut self.0) })?;
        Ok(second)
    }

    /// Whether further frames of the same message follow.
    pub fn more(&self) -> bool {
        // SAFETY: self is an initialised message.
        unsafe { sys::zmq_msg_more(&self.0) != 0 }
    }
}

unsafe extern "C" fn release<T>(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: hint is the Box that from_owner gave away, returned exactly once.
    drop(unsafe { Box::from_raw(hint.cast::<T>()) });
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: zmq_msg_data and zmq_msg_size only read the message, whatever their signature says; the bytes live
        // and stay unchanged as long as the message is borrowed.
        unsafe {
            let data = sys::zmq_msg_data(std::ptr::from_ref(&self.0).cast_mut());
            let size = sys::zmq_msg_size(&self.0);
            if size == 0 {
                return &[];
            }
            slice::from_raw_parts(data.cast::<u8>(), size)
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: initialised and closed only here; sending leaves an empty message behind.
        unsafe { sys::zmq_msg_close(&mut self.0) };
    }
}
