//! The DAG Tracker as a process.

use std::process::ExitCode;

use symphony_dag::{DagService, CAPABILITY};
use symphony_pit::{run, Member};

const MEMBER: Member = Member {
    name: "symphony-dag-tracker",
    about: "Holds the journal of every run and the state rebuilt from it",
    capability: CAPABILITY,
    open: |store| Ok(Box::new(DagService::open(store)?)),
    journals: true,
};

fn main() -> ExitCode {
    run(&MEMBER, std::env::args_os())
}
