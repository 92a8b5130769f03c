//! A player that publishes what it is told, and tells what it has heard.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::IgnoredAny;
use serde::Deserialize;
use symphony_runtime::{BusError, Context, Extension, Published};

const TOPIC: &str = "herald.words";

#[derive(Deserialize)]
struct Words {
    words: Vec<String>,
}

fn publish(context: &Context, args: Words) -> Result<(), BusError> {
    for word in &args.words {
        context.publish(TOPIC, word)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    Extension::new()
        .provides("herald.publish/1", publish)
        .provides("herald.heard/1", move |_: &Context, _: IgnoredAny| {
            Ok(heard.lock().unwrap_or_else(PoisonError::into_inner).clone())
        })
        .subscribes(TOPIC, move |event: Published<String>| {
            hearing.lock().unwrap_or_else(PoisonError::into_inner).push(event.value);
        })
        .run()
}
