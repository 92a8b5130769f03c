//! The part of `zmq.h` (4.3.5) that this crate calls.

use std::os::raw::{c_char, c_int, c_long, c_short, c_void};

/// `zmq_msg_t`: 64 bytes, aligned as a pointer, which libzmq moves by plain copy.
#[repr(C)]
#[repr(align(8))]
pub struct Msg(pub [u8; 64]);

#[repr(C)]
pub struct PollItem {
    pub socket: *mut c_void,
    pub fd: c_int,
    pub events: c_short,
    pub revents: c_short,
}

pub const DONTWAIT: c_int = 1;
pub const SNDMORE: c_int = 2;

extern "C" {
    pub fn zmq_errno() -> c_int;
    pub fn zmq_strerror(errno: c_int) -> *const c_char;
    pub fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
    pub fn zmq_has(capability: *const c_char) -> c_int;

    /// Of our own making: see `build.rs`.
    pub static symphony_zmq_cut: u64;

    pub fn zmq_ctx_new() -> *mut c_void;
    pub fn zmq_ctx_term(context: *mut c_void) -> c_int;

    pub fn zmq_msg_init(msg: *mut Msg) -> c_int;
    pub fn zmq_msg_init_size(msg: *mut Msg, size: usize) -> c_int;
    pub fn zmq_msg_init_data(
        msg: *mut Msg,
        data: *mut c_void,
        size: usize,
        free: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
        hint: *mut c_void,
    ) -> c_int;
    pub fn zmq_msg_send(msg: *mut Msg, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_recv(msg: *mut Msg, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_close(msg: *mut Msg) -> c_int;
    pub fn zmq_msg_copy(destination: *mut Msg, source: *mut Msg) -> c_int;
    pub fn zmq_msg_data(msg: *mut Msg) -> *mut c_void;
    pub fn zmq_msg_size(msg: *const Msg) -> usize;
    pub fn zmq_msg_more(msg: *const Msg) -> c_int;

    pub fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    pub fn zmq_close(socket: *mut c_void) -> c_int;
    pub fn zmq_setsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *const c_void,
        length: usize,
    ) -> c_int;
    pub fn zmq_getsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *mut c_void,
        length: *mut usize,
    ) -> c_int;
    pub fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_unbind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_socket_monitor(socket: *mut c_void, address: *const c_char, events: c_int) -> c_int;
    pub fn zmq_poll(items: *mut PollItem, count: c_int, timeout_ms: c_long) -> c_int;

    pub fn zmq_curve_keypair(public: *mut c_char, secret: *mut c_char) -> c_int;
}
