//! The near end of a chain: `bench-caller BYTES IN_FLIGHT SECONDS` prints what load.c prints,
//! measured as it does.

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use symphony_bench::{Echo, ECHO};
use symphony_runtime::{Client, Code, Event, Stop, Ticket};
use symphony_wire::service::reply;

/// More than are ever in flight.
const SLOTS: usize = 1 << 12;

struct Caller {
    client: Client,
    body: Vec<u8>,
    /// When, by request.
    sent: [Instant; SLOTS],
}

impl Caller {
    fn call(&mut self) -> Result<(), Box<dyn Error>> {
        let request = self.client.send(ECHO, None, self.body.clone(), None)?;
        self.sent[slot(request)] = Instant::now();
        Ok(())
    }

    /// How long the call took that was answered next; `None`: the hub refused it as it had too many.
    fn answer(&mut self) -> Result<Option<Duration>, Box<dyn Error>> {
        loop {
            let (request, outcome) = match self.client.next(None)? {
                Some(Event::Answer(request, outcome)) => (request, outcome),
                Some(Event::Progress(..)) => continue,
                None => return Err("stopped".into()),
            };
            return match outcome {
                Ok(_) => Ok(Some(self.sent[slot(request)].elapsed())),
                Err(error) if error.code == Code::Overloaded => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
    }
}

fn slot(request: u64) -> usize {
    request as usize % SLOTS
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [bytes, in_flight, seconds] = arguments.as_slice() else {
        return Err("usage: bench-caller BYTES IN_FLIGHT SECONDS".into());
    };
    let body = reply(&Echo { data: vec![0; bytes.parse()?] })?;
    let (in_flight, limit): (usize, _) =
        (in_flight.parse()?, Duration::from_secs_f64(seconds.parse()?));
    let client = Client::join(&Ticket::load()?, &Stop::on_signals()?)?;
    let mut caller = Caller { client, body, sent: [Instant::now(); SLOTS] };
    caller.call()?;
    caller.answer()?;
    for _ in 0..in_flight {
        caller.call()?;
    }
    let (mut taken, mut back, mut shed, mut begun) = (Vec::new(), 0, 0, Instant::now());
    while back < 2 * in_flight || begun.elapsed() < limit {
        let answer = caller.answer()?;
        back += 1;
        if back == in_flight {
            begun = Instant::now();
        }
        if let Some(time) = answer {
            if back > in_flight {
                taken.push(time);
            }
            caller.call()?;
        } else {
            shed += 1;
            if shed == in_flight {
                return Err("every call was refused".into());
            }
        }
    }
    let rate = taken.len() as f64 / begun.elapsed().as_secs_f64();
    taken.sort_unstable();
    let at = |percent: usize| taken.get(taken.len() * percent / 100).copied().unwrap_or_default();
    let micros = |percent: usize| 1e6 * at(percent).as_secs_f64();
    println!("{rate} {} {} {shed} {back}", micros(50), micros(99));
    Ok(())
}
