//! A player that answers in parts, calls others while it is being called, and waits to be cancelled.

use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use symphony_runtime::{Ask, BusError, Context, Extension};

#[derive(Deserialize)]
struct Count {
    upto: u64,
}

#[derive(Deserialize, Serialize)]
struct Text {
    text: String,
}

/// One number a chunk; the result is how many there were.
fn count(context: &Context, args: Count) -> Result<u64, BusError> {
    for number in 0..args.upto {
        context.chunk(&number)?;
    }
    Ok(args.upto)
}

/// What `text.upper/1` makes of the text, and the trace in which it was asked.
fn relay(context: &Context, args: Text) -> Result<(String, String), BusError> {
    let upper: String = context.call("text.upper/1", &args)?;
    Ok((upper, context.trace().unwrap_or_default().to_owned()))
}

/// The words of `text.words/1`, passed on one by one.
fn words(context: &Context, args: Text) -> Result<u64, BusError> {
    let mut stream = context.stream(Ask::of("text.words/1").credit(2), &args)?;
    for word in &mut stream {
        context.chunk::<String>(&word?)?;
    }
    stream.result()
}

/// Says that it is there and waits until nobody waits for it.
fn wait(context: &Context, _: serde::de::IgnoredAny) -> Result<(), BusError> {
    context.progress(0.0, None, "waiting");
    loop {
        context.wait(Duration::from_secs(60))?;
    }
}

fn main() -> ExitCode {
    Extension::new()
        .provides("parts.count/1", count)
        .provides("parts.relay/1", relay)
        .provides("parts.words/1", words)
        .provides("parts.wait/1", wait)
        .run()
}
