//! The near end of a chain: `bench-caller BYTES IN_FLIGHT SECONDS` prints round trips per second.

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use symphony_bench::{Echo, ECHO};
use symphony_runtime::{Client, Event, Stop, Ticket};
use symphony_wire::service::reply;

/// The next answer; progress, of which there is none here, is passed over.
fn answer(client: &mut Client) -> Result<(), Box<dyn Error>> {
    loop {
        match client.next(None)? {
            Some(Event::Answer(_, outcome)) => return Ok(outcome.map(drop)?),
            Some(Event::Progress(..)) => {}
            None => return Err("stopped".into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [bytes, in_flight, seconds] = arguments.as_slice() else {
        return Err("usage: bench-caller BYTES IN_FLIGHT SECONDS".into());
    };
    let body = reply(&Echo { data: vec![0; bytes.parse()?] })?;
    let (in_flight, limit): (u32, _) =
        (in_flight.parse()?, Duration::from_secs_f64(seconds.parse()?));
    let mut client = Client::join(&Ticket::load()?, &Stop::on_signals()?)?;
    client.send(ECHO, None, body.clone(), None)?;
    answer(&mut client)?;
    for _ in 0..in_flight {
        client.send(ECHO, None, body.clone(), None)?;
    }
    let (mut done, begun) = (0u32, Instant::now());
    while begun.elapsed() < limit {
        answer(&mut client)?;
        client.send(ECHO, None, body.clone(), None)?;
        done += 1;
    }
    println!("{}", f64::from(done) / begun.elapsed().as_secs_f64());
    Ok(())
}
