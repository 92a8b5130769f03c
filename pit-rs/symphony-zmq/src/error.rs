//! What libzmq refused, by its errno.

use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_int;

use crate::sys;

/// An errno of libzmq or of the system beneath it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(c_int);

impl Error {
    /// The call would have to wait.
    pub const AGAIN: Self = Self(libc::EAGAIN);
    /// A signal arrived during the call.
    pub const INTERRUPTED: Self = Self(libc::EINTR);
    /// No peer has the routing id (a ROUTER with `ROUTER_MANDATORY`).
    pub const UNROUTABLE: Self = Self(libc::EHOSTUNREACH);
    /// Someone else is bound to the endpoint.
    pub const IN_USE: Self = Self(libc::EADDRINUSE);
    /// Nobody bound or connected this endpoint.
    pub const UNKNOWN_ENDPOINT: Self = Self(libc::ENOENT);
    /// A value that cannot be: a NUL in an endpoint, an option of another type.
    pub const INVALID: Self = Self(libc::EINVAL);

    /// The error of the call that just failed on this thread.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local number.
        Self(unsafe { sys::zmq_errno() })
    }

    /// `Ok` with the value unless a libzmq call returned -1.
    pub(crate) fn check(returned: c_int) -> Result<c_int, Self> {
        if returned == -1 {
            Err(Self::last())
        } else {
            Ok(returned)
        }
    }

    pub fn errno(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: libzmq gives a NUL-terminated string for every number; it lives long enough to be copied here.
        let text = unsafe { CStr::from_ptr(sys::zmq_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {self})", self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::from_raw_os_error(error.0)
    }
}
