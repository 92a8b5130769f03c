//! The far end of a chain: a player that answers with what it was given.

use std::process::ExitCode;

use serde_bytes::ByteBuf;
use symphony_bench::{Echo, ECHO};
use symphony_runtime::{BusError, Context, Extension};

fn echo(_: &Context, args: Echo) -> Result<ByteBuf, BusError> {
    Ok(ByteBuf::from(args.data))
}

fn main() -> ExitCode {
    Extension::new().provides(ECHO, echo).run()
}
