//! What the ends of a chain agree on, and the C programs of the benchmark as this crate links them.

use std::env;
use std::ffi::{c_char, c_int, CString};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::ptr;

use serde::{Deserialize, Serialize};
// What the C programs call is linked through this crate.
use symphony_zmq as _;

pub const ECHO: &str = "bench.echo/1";

/// The arguments of a call.
#[derive(Serialize, Deserialize)]
pub struct Echo {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

extern "C" {
    fn bench_hub(argc: c_int, argv: *mut *mut c_char) -> c_int;
    fn bench_load(argc: c_int, argv: *mut *mut c_char) -> c_int;
}

/// `scripts/benchmarks/bus/hub.c` with the arguments of this process.
pub fn c_hub() -> ExitCode {
    run(bench_hub)
}

/// `scripts/benchmarks/bus/load.c` with the arguments of this process.
pub fn c_load() -> ExitCode {
    run(bench_load)
}

fn run(main: unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int) -> ExitCode {
    // No argument of a process has a zero byte in it.
    let arguments: Vec<CString> =
        env::args_os().filter_map(|argument| CString::new(argument.into_vec()).ok()).collect();
    let count = arguments.len() as c_int;
    let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    pointers.push(ptr::null_mut());
    // SAFETY: `pointers` holds what C's `main` is promised: `count` strings that it may write to and
    // that live as long as the process, and a null after them.
    let code = unsafe { main(count, pointers.as_mut_ptr()) };
    ExitCode::from(code as u8)
}
