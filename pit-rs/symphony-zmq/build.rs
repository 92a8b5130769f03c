//! Builds libzmq 4.3.5 as a static library, with CURVE from libsodium.
//!
//! zeromq-src compiles the sources without running configure, so what configure would have found out
//! about Linux is said here. Without these libzmq falls back to socket pairs for wake-ups, the wall
//! clock for its timers, descriptors that leak into children, and no credentials over ipc.

use std::env;
use std::error::Error;

const LINUX_HAS: &[&str] = &[
    "HAVE_ACCEPT4",
    "HAVE_CLOCK_GETTIME",
    "HAVE_FORK",
    "HAVE_IF_NAMETOINDEX",
    "HAVE_MKDTEMP",
    "ZMQ_HAVE_EVENTFD",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    "ZMQ_HAVE_IFADDRS",
    "ZMQ_HAVE_O_CLOEXEC",
    "ZMQ_HAVE_PTHREAD_SETNAME_2",
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_SO_PEERCRED",
    "ZMQ_HAVE_TCP_KEEPCNT",
    "ZMQ_HAVE_TCP_KEEPIDLE",
    "ZMQ_HAVE_TCP_KEEPINTVL",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // The crate cc, which zeromq-src builds with, reads its further flags from here.
    for variable in ["CFLAGS", "CXXFLAGS"] {
        let mut flags = env::var(variable).unwrap_or_default();
        for name in LINUX_HAS {
            flags.push_str(&format!(" -D{name}=1"));
        }
        env::set_var(variable, flags);
    }
    let sodium =
        zeromq_src::LibLocation::new(env::var("DEP_SODIUM_LIB")?, env::var("DEP_SODIUM_INCLUDE")?);
    zeromq_src::Build::new().with_libsodium(Some(sodium)).build();
    Ok(())
}
