//! Where a ticket is read from.

#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use symphony_wire::{Ticket, TicketError};

const TICKET: &str = r#"{"v": 1, "endpoint": "ipc:///run/bus.sock", "identity": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "instance": "a-1"}"#;

fn load_with(mode: u32) -> Result<Ticket, TicketError> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{mode:o}.ticket"));
    fs::write(&path, TICKET).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let found = Ticket::load_from(&format!("file:{}", path.display()));
    fs::remove_file(&path).unwrap();
    found
}

#[test]
fn a_file_of_its_owner_alone_is_read() {
    for mode in [0o600, 0o400] {
        assert_eq!(load_with(mode).unwrap().instance, "a-1");
    }
}

#[test]
fn a_file_that_others_have_too_is_refused_with_the_remedy() {
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let refused = load_with(mode).unwrap_err();
        assert!(matches!(refused, TicketError::Exposed(_, found) if found == mode), "{refused}");
        assert!(refused.to_string().contains("chmod 600 "), "{refused}");
    }
}
