//! The Pool Manager as a process.

use std::process::ExitCode;

use symphony_pit::{run, Member};
use symphony_pool::{open, CAPABILITY};

const MEMBER: Member = Member {
    name: "symphony-pool-manager",
    about: "Decides over the life of every model process",
    capability: CAPABILITY,
    open: |store| Ok(Box::new(open(store)?)),
    journals: true,
};

fn main() -> ExitCode {
    run(&MEMBER, std::env::args_os())
}
