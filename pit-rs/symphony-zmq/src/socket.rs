//! A socket: one thread uses it at a time, which `&mut self` and the missing `Sync` keep.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::os::raw::{c_int, c_void};
use std::sync::Arc;

use crate::context::Inner;
use crate::{sys, Error, Message};

/// Give [`Error::AGAIN`] instead of waiting.
pub const DONTWAIT: i32 = sys::DONTWAIT;
/// More frames of this message follow.
pub const SNDMORE: i32 = sys::SNDMORE;

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    Pair = 0,
    Dealer = 5,
    Router = 6,
}

/// Socket options by their numbers in `zmq.h`. The comment says the type of the value.
pub mod opt {
    /// bytes, 1 to 255
    pub const ROUTING_ID: i32 = 5;
    /// descriptor, read only
    pub const FD: i32 = 14;
    /// i32, milliseconds; -1: for ever
    pub const LINGER: i32 = 17;
    /// i32, milliseconds between two attempts to connect
    pub const RECONNECT_IVL: i32 = 18;
    /// i32, messages held for one peer before a send to it would have to wait
    pub const SNDHWM: i32 = 23;
    /// i32, messages held of one peer before it has to wait
    pub const RCVHWM: i32 = 24;
    /// i64, bytes of one frame
    pub const MAXMSGSIZE: i32 = 22;
    /// i32, milliseconds
    pub const RCVTIMEO: i32 = 27;
    /// i32, milliseconds
    pub const SNDTIMEO: i32 = 28;
    /// bytes, read only
    pub const LAST_ENDPOINT: i32 = 32;
    /// i32, 0 or 1
    pub const ROUTER_MANDATORY: i32 = 33;
    /// i32, 0 or 1
    pub const CURVE_SERVER: i32 = 47;
    /// text, Z85, or 32 bytes
    pub const CURVE_PUBLICKEY: i32 = 48;
    /// text, Z85, or 32 bytes
    pub const CURVE_SECRETKEY: i32 = 49;
    /// text, Z85, or 32 bytes
    pub const CURVE_SERVERKEY: i32 = 50;
    /// text; with one, libzmq asks at `inproc://zeromq.zap.01` (ZAP, RFC 27) about whoever connects
    pub const ZAP_DOMAIN: i32 = 55;
    /// i32, milliseconds that a connection may take until messages can pass
    pub const HANDSHAKE_IVL: i32 = 66;
    /// i32, a descriptor that listens already and becomes libzmq's; -1: none
    pub const USE_FD: i32 = 89;
}

/// What a socket can be asked to tell of, by the numbers in `zmq.h`.
pub mod event {
    /// a connection ended before it was one, for whatever reason that has no event of its own
    pub const HANDSHAKE_FAILED_NO_DETAIL: i32 = 0x0800;
    /// the same: the other side does not speak what it must
    pub const HANDSHAKE_FAILED_PROTOCOL: i32 = 0x2000;
}

pub struct Socket {
    raw: *mut c_void,
    /// Keeps the context alive until this socket is closed.
    _context: Arc<Inner>,
}

// SAFETY: a socket may move to another thread with a full memory barrier in between (zmq_socket(3)), which every way
// of moving a value between threads in Rust has. It is not Sync.
unsafe impl Send for Socket {}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: opened in open and closed only here.
        unsafe { sys::zmq_close(self.raw) };
    }
}

impl Socket {
    pub(crate) fn open(context: Arc<Inner>, kind: Kind) -> Result<Self, Error> {
        // SAFETY: the context is alive: we hold it.
        let raw = unsafe { sys::zmq_socket(context.0, kind as c_int) };
        if raw.is_null() {
            return Err(Error::last());
        }
        let mut socket = Self { raw, _context: context };
        socket.set(opt::LINGER, 0)?;
        Ok(socket)
    }

    pub(crate) fn raw(&self) -> *mut c_void {
        self.raw
    }

    pub fn bind(&mut self, endpoint: &str) -> Result<(), Error> {
        let endpoint = CString::new(endpoint).map_err(|_| Error::INVALID)?;
        // SAFETY: a live socket; the string is read during the call.
        Error::check(unsafe { sys::zmq_bind(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    /// Stops listening at an endpoint, spelt as it was bound, and cuts the connections that came in through it.
    pub fn unbind(&mut self, endpoint: &str) -> Result<(), Error> {
        let endpoint = CString::new(endpoint).map_err(|_| Error::INVALID)?;
        // SAFETY: as in bind.
        Error::check(unsafe { sys::zmq_unbind(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    pub fn connect(&mut self, endpoint: &str) -> Result<(), Error> {
        let endpoint = CString::new(endpoint).map_err(|_| Error::INVALID)?;
        // SAFETY: as in bind.
        Error::check(unsafe { sys::zmq_connect(self.raw, endpoint.as_ptr()) }).map(drop)
    }

    /// Tells of these events at an `inproc://` address of its own: to a PAIR that connects there, in messages of two
    /// frames, of which the second is the endpoint.
    pub fn monitor(&mut self, address: &str, events: i32) -> Result<(), Error> {
        let address = CString::new(address).map_err(|_| Error::INVALID)?;
        // SAFETY: as in bind.
        let done = unsafe { sys::zmq_socket_monitor(self.raw, address.as_ptr(), events) };
        Error::check(done).map(drop)
    }

    /// Sends one frame and leaves `message` empty; if it fails, `message` is as before.
    pub fn send(&mut self, message: &mut Message, flags: i32) -> Result<(), Error> {
        // SAFETY: a live socket and an initialised message.
        Error::check(unsafe { sys::zmq_msg_send(&mut message.0, self.raw, flags) }).map(drop)
    }

    /// Sends all frames as one message.
    pub fn send_all(&mut self, frames: &mut [Message], flags: i32) -> Result<(), Error> {
        let last = frames.len().saturating_sub(1);
        for (position, frame) in frames.iter_mut().enumerate() {
            // Only the first frame can be refused: libzmq accepts or refuses a message as a whole.
            self.send(frame, if position == last { flags } else { flags | SNDMORE })?;
        }
        Ok(())
    }

    /// Receives one frame into `message`, which is emptied first.
    pub fn recv(&mut self, message: &mut Message, flags: i32) -> Result<(), Error> {
        // SAFETY: a live socket and an initialised message.
        Error::check(unsafe { sys::zmq_msg_recv(&mut message.0, self.raw, flags) }).map(drop)
    }

    /// Receives one whole message, as many of its frames as there is room for, and gives their true number.
    pub fn recv_into(&mut self, frames: &mut [Message], flags: i32) -> Result<usize, Error> {
        let mut number = 0;
        loop {
            let mut excess = None;
            let frame = match frames.get_mut(number) {
                Some(frame) => frame,
                None => excess.insert(Message::new()),
            };
            self.recv(frame, flags)?;
            number += 1;
            if !frame.more() {
                return Ok(number);
            }
        }
    }

    /// Receives one whole message. Waiting and its errors concern the first frame: the others are there with it.
    pub fn recv_all(&mut self, flags: i32) -> Result<Vec<Message>, Error> {
        let mut frames = Vec::with_capacity(3);
        loop {
            let mut frame = Message::new();
            self.recv(&mut frame, flags)?;
            let more = frame.more();
            frames.push(frame);
            if !more {
                return Ok(frames);
            }
        }
    }

    pub fn set(&mut self, option: i32, value: i32) -> Result<(), Error> {
        self.set_bytes(option, &value.to_ne_bytes())
    }

    pub fn set_i64(&mut self, option: i32, value: i64) -> Result<(), Error> {
        self.set_bytes(option, &value.to_ne_bytes())
    }

    pub fn set_bytes(&mut self, option: i32, value: &[u8]) -> Result<(), Error> {
        // SAFETY: a live socket; libzmq checks the length against the option and copies the value.
        Error::check(unsafe {
            sys::zmq_setsockopt(self.raw, option, value.as_ptr().cast(), value.len())
        })
        .map(drop)
    }

    /// A descriptor that becomes readable when the socket has something to do. It tells of what comes after a receive
    /// that gave [`Error::AGAIN`] and only if no other call followed that one: wait for it in no other state.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, Error> {
        let mut descriptor: c_int = -1;
        let mut length = size_of::<c_int>();
        // SAFETY: libzmq writes one int.
        Error::check(unsafe {
            sys::zmq_getsockopt(
                self.raw,
                opt::FD,
                std::ptr::from_mut(&mut descriptor).cast(),
                &mut length,
            )
        })?;
        // SAFETY: open as long as the socket is, which is borrowed.
        Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// The endpoint last bound, with the port that was chosen for `tcp://127.0.0.1:*`.
    pub fn last_endpoint(&self) -> Result<String, Error> {
        let mut buffer = [0u8; 512];
        let mut length = buffer.len();
        // SAFETY: libzmq writes at most length bytes and sets length to what it wrote, the NUL included.
        Error::check(unsafe {
            sys::zmq_getsockopt(
                self.raw,
                opt::LAST_ENDPOINT,
                buffer.as_mut_ptr().cast(),
                &mut length,
            )
        })?;
        Ok(String::from_utf8_lossy(&buffer[..length.saturating_sub(1)]).into_owned())
    }
}
