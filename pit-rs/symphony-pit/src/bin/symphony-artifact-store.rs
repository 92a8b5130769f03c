//! The Artifact Store as a process.

use std::process::ExitCode;

use symphony_artifacts::service::ArtifactService;
use symphony_pit::{run, Member};

const MEMBER: Member = Member {
    name: "symphony-artifact-store",
    about: "Keeps immutable, content-addressed artifacts with their lineage",
    capability: "pit.artifacts/1",
    open: |store| Ok(Box::new(ArtifactService::open(store)?)),
    journals: false,
};

fn main() -> ExitCode {
    run(&MEMBER, std::env::args_os())
}
