//! The Stale Manager as a process.

use std::process::ExitCode;

use symphony_pit::{run, Member};
use symphony_stale::{open, CAPABILITY};

const MEMBER: Member = Member {
    name: "symphony-stale-manager",
    about: "Keeps what teaches, frees what does not, loses nothing",
    capability: CAPABILITY,
    open: |store| Ok(Box::new(open(store)?)),
    journals: true,
};

fn main() -> ExitCode {
    run(&MEMBER, std::env::args_os())
}
