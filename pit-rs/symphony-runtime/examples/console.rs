//! A client on standard input and output: one JSON object a line in, what came of it as one a line out.
//! It joins with the ticket that `SYMPHONY_TICKET` points to, which must be a file as standard input is in use.

use std::error::Error;
use std::io::{stdin, BufRead};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{json, Map, Value};
use symphony_runtime::{Ask, BusError, Client, Published, Retry, Stop, Ticket};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Line {
    Call(Call),
    /// As a call, giving up after so many chunks.
    Stream {
        #[serde(flatten)]
        call: Call,
        credit: u32,
        take: Option<usize>,
    },
    Publish {
        topic: String,
        value: Value,
        keep: bool,
    },
    Subscribe {
        topic: String,
    },
    Unsubscribe {
        topic: String,
    },
    /// Waits for so many events.
    Events {
        count: usize,
    },
}

#[derive(Deserialize)]
struct Call {
    capability: String,
    method: Option<String>,
    #[serde(default)]
    args: Map<String, Value>,
    limit_ms: Option<u64>,
    idem: Option<String>,
    trace: Option<String>,
    attempts: Option<u32>,
}

impl Call {
    fn ask(&self) -> Ask<'static> {
        let mut ask = Ask::of(&self.capability);
        if let Some(method) = &self.method {
            ask = ask.method(method);
        }
        if let Some(limit) = self.limit_ms {
            ask = ask.limit(Duration::from_millis(limit));
        }
        if let Some(key) = &self.idem {
            ask = ask.idem(key);
        }
        if let Some(traceparent) = &self.trace {
            ask = ask.trace(traceparent);
        }
        if let Some(attempts) = self.attempts {
            ask = ask.retry(Retry { attempts, ..Retry::default() });
        }
        ask.on_progress(|progress| println!("{}", json!({ "progress": progress.message })))
    }
}

struct Console {
    client: Client,
    heard: Receiver<Value>,
    tell: Sender<Value>,
}

impl Console {
    fn act(&mut self, line: Line) -> Result<Value, BusError> {
        match line {
            Line::Call(call) => self.client.call(call.ask(), &call.args),
            Line::Stream { call, credit, take } => {
                let mut stream =
                    self.client.stream::<Value>(call.ask().credit(credit), &call.args)?;
                let limit = take.unwrap_or(usize::MAX);
                let chunks: Vec<Value> =
                    stream.by_ref().take(limit).collect::<Result<_, BusError>>()?;
                if take.is_some() {
                    return Ok(json!({ "chunks": chunks }));
                }
                Ok(json!({ "chunks": chunks, "result": stream.result::<Value>()? }))
            }
            Line::Publish { topic, value, keep: false } => {
                self.client.publish(&topic, &value).map(|()| Value::Null)
            }
            Line::Publish { topic, value, keep: true } => {
                self.client.publish_kept(&topic, &value).map(|()| Value::Null)
            }
            Line::Subscribe { topic } => {
                let tell = self.tell.clone();
                let handler = move |event: Published<Value>| {
                    let Published { topic, value, sequence, gap, snapshot } = event;
                    let event = json!({
                        "topic": topic, "value": value, "sequence": sequence,
                        "gap": gap, "snapshot": snapshot,
                    });
                    // The console that listens lives as long as its client.
                    let _ = tell.send(event);
                };
                self.client.subscribe(&topic, handler).map(|()| Value::Null)
            }
            Line::Unsubscribe { topic } => self.client.unsubscribe(&topic).map(|()| Value::Null),
            Line::Events { count } => {
                let mut events = Vec::new();
                while events.len() < count {
                    let rested = self.client.rest(Duration::from_millis(10));
                    rested.map_err(|error| {
                        BusError::new(symphony_runtime::Code::Unavailable, error.to_string())
                    })?;
                    events.extend(self.heard.try_iter());
                }
                Ok(Value::Array(events))
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::join(&Ticket::load()?, &Stop::on_signals()?)?;
    let (tell, heard) = channel();
    let mut console = Console { client, heard, tell };
    for line in stdin().lock().lines() {
        let outcome = console.act(serde_json::from_str(&line?)?);
        match outcome {
            Ok(value) => println!("{}", json!({ "ok": value })),
            Err(error) => println!("{}", json!({ "error": error })),
        }
    }
    Ok(console.client.close()?)
}
