//! `scripts/benchmarks/bus/load.c`, linked with our libzmq.

use std::process::ExitCode;

fn main() -> ExitCode {
    symphony_bench::c_load()
}
