//! The context that sockets live in, and what can be asked of the library itself.

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::{sys, Error, Kind, Socket};

/// Owns libzmq's I/O thread. Clones share it; it ends with the last clone and the last of its sockets.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

pub(crate) struct Inner(pub(crate) *mut c_void);

// SAFETY: "A ØMQ context is thread safe and may be shared among as many application threads as necessary" (zmq_ctx_new(3)).
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the pointer is a live context: this is its only owner. Every socket holds an Arc of it, so all are
        // closed and this waits no longer than their linger time. EINTR is the one error after which it must be repeated.
        while unsafe { sys::zmq_ctx_term(self.0) } == -1 && Error::last() == Error::INTERRUPTED {}
    }
}

impl Context {
    pub fn new() -> Result<Self, Error> {
        // SAFETY: takes nothing; null is checked.
        let raw = unsafe { sys::zmq_ctx_new() };
        if raw.is_null() {
            return Err(Error::last());
        }
        Ok(Self(Arc::new(Inner(raw))))
    }

    /// A new socket with linger 0.
    pub fn socket(&self, kind: Kind) -> Result<Socket, Error> {
        Socket::open(Arc::clone(&self.0), kind)
    }
}

/// Major, minor and patch number of the linked libzmq.
pub fn version() -> (i32, i32, i32) {
    let (mut major, mut minor, mut patch): (c_int, c_int, c_int) = (0, 0, 0);
    // SAFETY: three valid places to write to.
    unsafe { sys::zmq_version(&mut major, &mut minor, &mut patch) };
    (major, minor, patch)
}

/// Whether the linked libzmq has a feature, e.g. `curve` or `ipc`.
pub fn has(feature: &str) -> bool {
    // SAFETY: reads the NUL-terminated string during the call only.
    CString::new(feature).is_ok_and(|name| unsafe { sys::zmq_has(name.as_ptr()) } == 1)
}

/// How many messages of this process were refused because they grew past [`crate::MAX_FRAMES`] or
/// [`crate::MAX_MESSAGE`].
pub fn messages_cut() -> u64 {
    // SAFETY: a number of libzmq that lives for ever and is changed atomically only; AtomicU64 has its layout.
    let count = unsafe { &*std::ptr::addr_of!(sys::symphony_zmq_cut).cast::<AtomicU64>() };
    count.load(Ordering::Relaxed)
}

/// A new CURVE key pair as (public, secret), Z85 text of 40 characters each.
pub fn curve_keypair() -> Result<(String, String), Error> {
    let mut public = [0u8; 41];
    let mut secret = [0u8; 41];
    // SAFETY: both have room for the 40 characters and the NUL that libzmq writes.
    Error::check(unsafe {
        sys::zmq_curve_keypair(
            public.as_mut_ptr().cast::<c_char>(),
            secret.as_mut_ptr().cast::<c_char>(),
        )
    })?;
    let text = |bytes: [u8; 41]| String::from_utf8_lossy(&bytes[..40]).into_owned();
    Ok((text(public), text(secret)))
}
