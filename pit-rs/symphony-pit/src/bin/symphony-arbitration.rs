//! Arbitration as a process.

use std::process::ExitCode;

use symphony_arbitration::{open, CAPABILITY};
use symphony_pit::{run, Member};

const MEMBER: Member = Member {
    name: "symphony-arbitration",
    about: "Decides who gets scarce things, and says why",
    capability: CAPABILITY,
    open: |store| Ok(Box::new(open(store)?)),
    journals: true,
};

fn main() -> ExitCode {
    run(&MEMBER, std::env::args_os())
}
