//! Builds libzmq 4.3.5 as a static library, with CURVE from libsodium and a bound on what one message may hold.
//!
//! The sources are those of the crate zeromq-src, compiled without its own build function, for two reasons: that one
//! runs no configure and lets nobody say what configure would have found out about Linux, and it leaves no room for the
//! edits below, which are made to a copy.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod limits {
    include!("src/limits.rs");
}

const SOURCE_CRATE: &str = "zeromq-src";

/// Without these libzmq falls back to socket pairs for wake-ups, the wall clock for its timers, descriptors that leak
/// into children, and no credentials over ipc. HAVE_FORK is left out: it asks for the process's number at each wake-up,
/// for the sake of sockets that are used on both sides of a fork, which ours never are.
const LINUX_HAS: &[&str] = &[
    "HAVE_ACCEPT4",
    "HAVE_CLOCK_GETTIME",
    "HAVE_IF_NAMETOINDEX",
    "HAVE_MKDTEMP",
    "HAVE_STRNLEN",
    "ZMQ_HAVE_EVENTFD",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    "ZMQ_HAVE_IFADDRS",
    "ZMQ_HAVE_IPC",
    "ZMQ_HAVE_LINUX",
    "ZMQ_HAVE_O_CLOEXEC",
    "ZMQ_HAVE_PTHREAD_SETNAME_2",
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_SO_PEERCRED",
    "ZMQ_HAVE_STRUCT_SOCKADDR_UN",
    "ZMQ_HAVE_TCP_KEEPCNT",
    "ZMQ_HAVE_TCP_KEEPIDLE",
    "ZMQ_HAVE_TCP_KEEPINTVL",
    "ZMQ_HAVE_UIO",
];

/// How it is to be built.
const CHOSEN: &[&str] = &[
    "ZMQ_HAVE_CURVE",
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL",
    "ZMQ_POLL_BASED_ON_POLL",
    "ZMQ_STATIC",
    "ZMQ_USE_CV_IMPL_STL11",
    "ZMQ_USE_LIBSODIUM",
];

/// What configure would write as platform.hpp, but for what is said by definitions.
const PLATFORM: &str = "#include <features.h>\n\
    #if !defined __GLIBC__ || __GLIBC_PREREQ (2, 38)\n#define ZMQ_HAVE_STRLCPY 1\n#endif\n";

/// One change to a source file: `find` must occur exactly once.
struct Edit {
    file: &'static str,
    find: &'static str,
    replace: &'static str,
}

/// A session counts frames and bytes of the message that is coming in. One of too many bytes is refused with EMSGSIZE,
/// which its engine takes for a protocol error: the connection is dropped and the frames so far with it. One of too many
/// frames is ended by an empty one and handed on: by one frame more than any other message can have, the socket's owner
/// knows who sent it, and can still say farewell. Its rest is thrown away; when that is too much as well (a frame counts
/// with what it costs), the connection is dropped.
const EDITS: &[Edit] = &[
    Edit {
        file: "session_base.hpp",
        find: "    bool _incomplete_in;\n",
        replace: "    bool _incomplete_in;\n    size_t _message_frames = 0;\n    size_t _message_bytes = 0;\n\
                  \x20   bool _muted = false;\n",
    },
    Edit {
        file: "session_base.cpp",
        find: "int zmq::session_base_t::push_msg (msg_t *msg_)\n",
        replace: "extern \"C\" {\nunsigned long long symphony_zmq_cut = 0;\n}\n\n\
                  int zmq::session_base_t::push_msg (msg_t *msg_)\n",
    },
    Edit {
        file: "session_base.cpp",
        find: "    if (_pipe && _pipe->write (msg_)) {\n",
        replace: "    const bool more = (msg_->flags () & msg_t::more) != 0;\n\
                  \x20   const size_t size = msg_->size ();\n\
                  \x20   if (!_muted && _message_frames == SYMPHONY_MAX_FRAMES) {\n\
                  \x20       __atomic_add_fetch (&symphony_zmq_cut, 1, __ATOMIC_RELAXED);\n\
                  \x20       msg_t last;\n\
                  \x20       last.init ();\n\
                  \x20       if (_pipe)\n\
                  \x20           _pipe->write (&last);\n\
                  \x20       _muted = true;\n\
                  \x20       _message_bytes = 0;\n\
                  \x20   }\n\
                  \x20   const size_t cost = _muted ? size + sizeof (msg_t) : size;\n\
                  \x20   if (cost > SYMPHONY_MAX_MESSAGE - _message_bytes) {\n\
                  \x20       if (!_muted)\n\
                  \x20           __atomic_add_fetch (&symphony_zmq_cut, 1, __ATOMIC_RELAXED);\n\
                  \x20       errno = EMSGSIZE;\n\
                  \x20       return -1;\n\
                  \x20   }\n\
                  \x20   if (_muted) {\n\
                  \x20       _muted = more;\n\
                  \x20       _message_frames = 0;\n\
                  \x20       _message_bytes = more ? _message_bytes + cost : 0;\n\
                  \x20       const int closed = msg_->close ();\n\
                  \x20       errno_assert (closed == 0);\n\
                  \x20       const int made = msg_->init ();\n\
                  \x20       errno_assert (made == 0);\n\
                  \x20       return 0;\n\
                  \x20   }\n\
                  \x20   if (_pipe && _pipe->write (msg_)) {\n\
                  \x20       _message_frames = more ? _message_frames + 1 : 0;\n\
                  \x20       _message_bytes = more ? _message_bytes + size : 0;\n",
    },
    Edit {
        file: "session_base.cpp",
        find: "    _pipe->rollback ();\n    _pipe->flush ();\n",
        replace: "    _pipe->rollback ();\n    _pipe->flush ();\n    _message_frames = _message_bytes = 0;\n    _muted = false;\n",
    },
    // Room for so many frames is set aside at once, in each direction of each connection, and in time all of it is used:
    // 16 KiB with libzmq's own number, 1 KiB with ours.
    Edit {
        file: "config.hpp",
        find: "message_pipe_granularity = 256,",
        replace: "message_pipe_granularity = 16,",
    },
    // Over ipc, unlike tcp, libzmq ends the process when there is no descriptor for whoever connects.
    Edit {
        file: "ipc_listener.cpp",
        find: "                      || errno == ENFILE);\n",
        replace: "                      || errno == ENFILE || errno == EMFILE);\n",
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/limits.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let source = out.join("libzmq");
    let vendor = source_crate()?.join("vendor");
    copy_folder(&vendor.join("src"), &source)?;
    for edit in EDITS {
        apply(edit, &source)?;
    }
    fs::write(source.join("platform.hpp"), PLATFORM)?;

    let mut build = cc::Build::new();
    build.cpp(true).std("c++11").include(&source).warnings(false);
    build.include(vendor.join("include"));
    build.include(env::var("DEP_SODIUM_INCLUDE")?);
    for name in LINUX_HAS.iter().chain(CHOSEN) {
        build.define(name, "1");
    }
    build.define("SYMPHONY_MAX_FRAMES", format!("{}u", limits::MAX_FRAMES).as_str());
    build.define("SYMPHONY_MAX_MESSAGE", format!("{}u", limits::MAX_MESSAGE).as_str());
    let mut files = Vec::new();
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // WebSockets are not built; of their files two cannot be compiled without gnutls.
        if name.ends_with(".cpp") && !name.starts_with("ws") {
            files.push(path);
        }
    }
    files.sort();
    build.files(files).compile("zmq");
    println!("cargo:rustc-link-search=native={}", env::var("DEP_SODIUM_LIB")?);
    println!("cargo:rustc-link-lib=static=sodium");
    Ok(())
}

/// Where cargo keeps the sources of zeromq-src, which has no function that says so.
fn source_crate() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform"])
        .arg(env::var("TARGET")?)
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == SOURCE_CRATE))
        .and_then(|package| package["manifest_path"].as_str())
        .and_then(|manifest| Path::new(manifest).parent())
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("cargo metadata does not name {SOURCE_CRATE}").into())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let copy = to.join(entry.file_name());
            fs::write(copy, fs::read(entry.path())?)?; // not fs::copy: sources may be read-only
        }
    }
    Ok(())
}

fn apply(edit: &Edit, source: &Path) -> Result<(), Box<dyn Error>> {
    let path = source.join(edit.file);
    let text = fs::read_to_string(&path)?;
    let found = text.matches(edit.find).count();
    if found != 1 {
        let what = edit.find.trim();
        return Err(format!(
            "libzmq's {} holds {what:?} {found} times instead of once: this version of {SOURCE_CRATE} needs other edits",
            edit.file
        )
        .into());
    }
    Ok(fs::write(&path, text.replacen(edit.find, edit.replace, 1))?)
}
