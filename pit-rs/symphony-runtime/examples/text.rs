//! A player with two capabilities. Its manifest names the built binary as `entry = { command = ["text"] }`.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use symphony_runtime::{BusError, Context, Extension};

#[derive(Deserialize)]
struct Args {
    text: String,
}

#[derive(Serialize)]
struct Out {
    text: String,
}

fn upper(_: &Context, args: Args) -> Result<Out, BusError> {
    Ok(Out { text: args.text.to_uppercase() })
}

fn reverse(context: &Context, args: Args) -> Result<Out, BusError> {
    let total = args.text.chars().count() as f64;
    let mut text = String::with_capacity(args.text.len());
    for (done, letter) in args.text.chars().rev().enumerate() {
        context.check()?;
        context.progress(done as f64, Some(total), "reversing");
        text.push(letter);
    }
    Ok(Out { text })
}

fn main() -> ExitCode {
    Extension::new().provides("text.upper/1", upper).provides("text.reverse/1", reverse).run()
}
