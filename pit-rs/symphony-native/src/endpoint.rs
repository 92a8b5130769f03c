//! Where the hub listens. The socket file of an ipc endpoint is its owner's alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use symphony_zmq::{Error, Socket};

/// Why an endpoint cannot be had: an errno with its text.
pub struct BindError {
    pub errno: i32,
    pub text: String,
}

impl From<Error> for BindError {
    fn from(error: Error) -> Self {
        Self { errno: error.errno(), text: error.to_string() }
    }
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or_default(), text: error.to_string() }
    }
}

pub fn bind(router: &mut Socket, endpoint: &str) -> Result<(), BindError> {
    let path = socket_path(endpoint);
    // Binding would silently take the path from a process that listens there.
    if path.is_some_and(|path| UnixStream::connect(path).is_ok()) {
        let text = "another process listens there".to_owned();
        return Err(BindError { errno: Error::IN_USE.errno(), text });
    }
    router.bind(endpoint)?;
    if let Some(path) = path {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

pub fn unbind(router: &mut Socket, endpoint: &str) {
    // What fails was not bound, or is gone already: either way it is as it should be.
    let _ = router.unbind(endpoint);
    if let Some(path) = socket_path(endpoint) {
        let _ = fs::remove_file(path);
    }
}

fn socket_path(endpoint: &str) -> Option<&Path> {
    endpoint.strip_prefix("ipc://").map(Path::new)
}
