//! A peer's socket: what `bus/dealer.py` does with pyzmq, at a fraction of its cost for each message.
//!
//! Nothing here waits but `close`, so the interpreter's lock is kept. Large bodies are not copied on their way: libzmq
//! sends the bytes of the object itself, and what it received is lent out through the buffer protocol.

use std::os::fd::{AsRawFd, RawFd};
use std::os::raw::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyMemoryView};
use symphony_zmq::{opt, Context, Error, Kind, Message, Socket, DONTWAIT, SNDMORE};

use crate::datapath::os_error;

/// Bytes from which handing a body over beats copying it.
const UNCOPIED: usize = 65_536;

/// See `bus/link.py`, SocketLink; wrapped by `bus/nativedealer.py`.
#[pyclass(frozen)]
pub struct Dealer {
    /// None once it is closed. One thread uses it at a time.
    socket: Mutex<Option<Socket>>,
    #[pyo3(get)]
    fileno: RawFd,
}

#[pymethods]
impl Dealer {
    /// `curve`: the hub's public key and this peer's public and secret one, in Z85. Raises ValueError for what is
    /// no key, OSError.
    #[new]
    fn new(
        endpoint: &str,
        identity: &[u8],
        curve: Option<(String, String, String)>,
        linger_ms: i32,
        high_water: i32,
        reconnect_ms: i32,
        max_body: i64,
    ) -> PyResult<Self> {
        let opened = || -> Result<Socket, Error> {
            let mut socket = Context::new()?.socket(Kind::Dealer)?;
            socket.set_bytes(opt::ROUTING_ID, identity)?;
            socket.set(opt::LINGER, linger_ms)?;
            socket.set(opt::SNDHWM, high_water)?;
            socket.set(opt::RCVHWM, high_water)?;
            socket.set(opt::RECONNECT_IVL, reconnect_ms)?;
            socket.set_i64(opt::MAXMSGSIZE, max_body)?;
            Ok(socket)
        };
        let mut socket = opened().map_err(refused)?;
        if let Some((server, public, secret)) = &curve {
            let mut encrypt = || -> Result<(), Error> {
                socket.set_bytes(opt::CURVE_SERVERKEY, server.as_bytes())?;
                socket.set_bytes(opt::CURVE_PUBLICKEY, public.as_bytes())?;
                socket.set_bytes(opt::CURVE_SECRETKEY, secret.as_bytes())
            };
            encrypt().map_err(|_| PyValueError::new_err("a key is not Z85 of 32 bytes"))?;
        }
        socket.connect(endpoint).map_err(refused)?;
        let fileno = socket.descriptor().map_err(refused)?.as_raw_fd();
        Ok(Self { socket: Mutex::new(Some(socket)), fileno })
    }

    /// Sends one message; false if the transport is full for now.
    fn send(&self, header: &Bound<'_, PyBytes>, body: Bound<'_, PyBytes>) -> PyResult<bool> {
        let mut header = Message::copy_from(header.as_bytes()).map_err(refused)?;
        let mut body = if body.as_bytes().len() < UNCOPIED {
            Message::copy_from(body.as_bytes())
        } else {
            Message::from_owner(PyBackedBytes::from(body))
        }
        .map_err(refused)?;
        let mut place = self.place();
        let socket = place.as_mut().ok_or_else(closed)?;
        let mut sent = || -> Result<(), Error> {
            repeated(|| socket.send(&mut header, DONTWAIT | SNDMORE))?;
            repeated(|| socket.send(&mut body, DONTWAIT))
        };
        match sent() {
            Ok(()) => Ok(true),
            Err(Error::AGAIN) => Ok(false),
            Err(error) => Err(refused(error)),
        }
    }

    /// The oldest messages of two frames, as header and body; fewer than `limit` if there are no more.
    fn take<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let mut place = self.place();
        let socket = place.as_mut().ok_or_else(closed)?;
        let taken = PyList::empty(py);
        while taken.len() < limit {
            match receive(socket) {
                Ok((header, body)) => {
                    taken.append((PyBytes::new(py, &header), to_python(py, body)?))?;
                }
                Err(Error::AGAIN) => break,
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(taken)
    }

    /// Closes the connection; what was sent gets its time to leave.
    fn close(&self, py: Python<'_>) {
        let socket = self.place().take();
        py.detach(move || drop(socket));
    }
}

impl Dealer {
    fn place(&self) -> MutexGuard<'_, Option<Socket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest message of two frames; others are dropped.
fn receive(socket: &mut Socket) -> Result<(Message, Message), Error> {
    loop {
        let mut header = Message::new();
        repeated(|| socket.recv(&mut header, DONTWAIT))?;
        let mut frames = 1;
        let mut body = Message::new();
        let mut more = header.more();
        while more {
            // The frames after the first are there with it.
            repeated(|| socket.recv(&mut body, DONTWAIT))?;
            more = body.more();
            frames += 1;
        }
        if frames == 2 {
            return Ok((header, body));
        }
    }
}

/// Calls again what a signal has ended.
fn repeated(mut call: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    loop {
        match call() {
            Err(Error::INTERRUPTED) => {}
            done => return done,
        }
    }
}

fn to_python(py: Python<'_>, body: Message) -> PyResult<Bound<'_, PyAny>> {
    if body.len() < UNCOPIED {
        return Ok(PyBytes::new(py, &body).into_any());
    }
    let lent = Bound::new(py, Lent(body))?;
    Ok(PyMemoryView::from(&lent)?.into_any())
}

/// A received body whose bytes can be read where they are.
#[pyclass(frozen)]
struct Lent(Message);

#[pymethods]
impl Lent {
    /// # Safety
    /// Python's own: `view` is to be filled.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes: &[u8] = &slf.get().0;
        let data = bytes.as_ptr().cast::<c_void>().cast_mut();
        // A slice is never longer than isize::MAX.
        let length = bytes.len() as ffi::Py_ssize_t;
        // SAFETY: the bytes neither move nor change while the object lives, which the view keeps alive; read only.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), data, length, 1, flags) };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

fn refused(error: Error) -> PyErr {
    os_error(Some(error.errno()), &error.to_string())
}

fn closed() -> PyErr {
    PyRuntimeError::new_err("the connection is closed")
}
