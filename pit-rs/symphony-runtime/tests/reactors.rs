//! A reactor over a real socket: answers that come later, questions, wake-ups, effects that wait for a flush.

#![allow(clippy::unwrap_used)]

mod hub;

use std::thread::{self, JoinHandle};

use hub::{call, Hub};
use serde::{Deserialize, Serialize};
use symphony_runtime::{serve, BusError, Code, Ended, RuntimeError, Stop};
use symphony_wire::body::{self, Progress};
use symphony_wire::reactor::{Ask, CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{parse, reply, Call, Outcome};
use symphony_wire::{Header, Kind, Target};

/// Does what its calls say.
#[derive(Default)]
struct Obedient {
    waiting: Vec<CallId>,
    wake: Option<(u64, CallId)>,
    full: bool,
    given: u64,
    heard: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Wish {
    capability: String,
    ms: u32,
    durable: bool,
}

impl Reactor for Obedient {
    fn call(&mut self, id: CallId, call: Call<'_>, now: Now, out: &mut Effects) {
        let wish: Wish = parse(call.body).unwrap();
        let answer = |outcome| Effect::Answer { call: id, outcome };
        match call.method {
            "wait" => self.waiting.push(id),
            "give" => {
                self.given += 1;
                for waiting in self.waiting.drain(..) {
                    let outcome = reply(&self.given);
                    out.after_flush(Effect::Answer { call: waiting, outcome });
                }
                out.now(answer(reply(&"given")));
            }
            "twice" => {
                out.now(answer(reply(&1)));
                out.now(answer(reply(&2)));
            }
            "later" => self.wake = Some((now.mono_ms + u64::from(wish.ms), id)),
            "fill" => {
                self.full = true;
                out.now(answer(reply(&())));
            }
            "tell" => {
                out.now(Effect::Publish { topic: "No topic".to_owned(), body: reply(&0).unwrap() });
                out.now(Effect::Publish { topic: "news".to_owned(), body: reply(&1).unwrap() });
                out.now(answer(reply(&())));
            }
            "ask" => {
                let ask = Ask {
                    capability: wish.capability,
                    method: "spawn".to_owned(),
                    body: reply(&"please").unwrap(),
                    ttl_ms: wish.ms,
                };
                let effect = Effect::Ask { token: id, ask };
                if wish.durable {
                    out.after_flush(effect);
                    out.after_flush(answer(reply(&())));
                } else {
                    out.now(effect);
                }
            }
            "heard" => out.now(answer(reply(&self.heard))),
            other => panic!("{other}"),
        }
    }

    fn cancelled(&mut self, id: CallId, _: Now, out: &mut Effects) {
        self.waiting.retain(|waiting| *waiting != id);
        let outcome = Err(BusError::new(Code::Cancelled, "as you wish"));
        out.now(Effect::Answer { call: id, outcome });
    }

    fn heard(&mut self, token: Token, outcome: Outcome, _: Now, out: &mut Effects) {
        self.heard += 1;
        out.now(Effect::Answer { call: token, outcome });
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        let (at, id) = self.wake.take().unwrap();
        assert!(at <= now.mono_ms);
        out.now(Effect::Answer { call: id, outcome: reply(&(now.mono_ms - at)) });
    }

    fn wakeup(&self) -> Option<u64> {
        self.wake.map(|(at, _)| at)
    }

    fn flush(&mut self) -> Result<(), BusError> {
        if self.full {
            return Err(BusError::new(Code::Io, "disk full"));
        }
        Ok(())
    }
}

type Served = JoinHandle<Result<Ended, RuntimeError>>;

fn obey(hub: &mut Hub) -> Served {
    let (ticket, stop) = (hub.ticket.clone(), Stop::new().unwrap());
    let served =
        thread::spawn(move || serve(&ticket, "pit.test/1", &mut Obedient::default(), &stop));
    hub.welcome(1_000);
    served
}

fn end(mut hub: Hub, served: Served) {
    hub.unload();
    hub.expect_bye("unload");
    assert_eq!(served.join().unwrap().unwrap(), Ended::Unloaded);
}

fn wish(hub: &mut Hub, request: u64, method: &str, wish: &Wish) {
    hub.call(1, request, Some(method), reply(wish).unwrap());
}

fn ask(hub: &mut Hub, request: u64, ms: u32) -> Header {
    let capability = "kernel.test/1".to_owned();
    wish(hub, request, "ask", &Wish { capability, ms, durable: false });
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.method.as_deref()), (Kind::Call, Some("spawn")));
    assert_eq!((header.ttl, body), (ms, reply(&"please").unwrap()));
    header
}

fn result<T: for<'a> Deserialize<'a>>(hub: &mut Hub, request: u64) -> T {
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Result, request));
    assert_eq!(header.target, Target::Flow(1));
    body::read_value(&body).unwrap()
}

fn error(hub: &mut Hub, request: u64) -> BusError {
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Error, request));
    BusError::from_body(&body)
}

#[test]
fn a_call_stays_open_until_it_is_answered_and_is_answered_once() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    hub.call(1, 1, Some("wait"), Vec::new());
    hub.send_welcome(1_000, 2);
    let again = Header { again: true, ..call(1, 1, Some("wait")) };
    hub.send(&again, Vec::new());
    hub.call(1, 2, Some("give"), Vec::new());
    assert_eq!(result::<String>(&mut hub, 2), "given");
    assert_eq!(result::<u64>(&mut hub, 1), 1);
    hub.send(&again, Vec::new());
    assert_eq!(result::<u64>(&mut hub, 1), 1, "from memory");
    hub.call(1, 3, Some("twice"), Vec::new());
    assert_eq!(result::<u64>(&mut hub, 3), 1);
    hub.call(1, 4, Some("wait"), Vec::new());
    hub.call(1, 5, Some("give"), Vec::new());
    assert_eq!(result::<String>(&mut hub, 5), "given");
    assert_eq!(result::<u64>(&mut hub, 4), 2, "each answer came once");
    end(hub, served);
}

#[test]
fn a_cancelled_call_is_told_to_the_reactor_once() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    let cancel = Header { kind: Kind::Cancel, ..call(1, 1, None) };
    hub.send(&cancel, Vec::new());
    hub.call(1, 1, Some("wait"), Vec::new());
    hub.send(&cancel, Vec::new());
    hub.send(&cancel, Vec::new());
    assert_eq!(error(&mut hub, 1).code, Code::Cancelled);
    hub.call(1, 2, Some("give"), Vec::new());
    assert_eq!(result::<String>(&mut hub, 2), "given");
    hub.call(1, 3, Some("wait"), Vec::new());
    end(hub, served);
}

#[test]
fn a_caller_that_does_not_ask_the_new_hub_is_gone() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    hub.call(1, 1, Some("wait"), Vec::new());
    hub.call(1, 2, Some("wait"), Vec::new());
    hub.send_welcome(200, 2);
    hub.send(&Header { again: true, ..call(1, 1, Some("wait")) }, Vec::new());
    let mut gone = (0..100).filter_map(|_| {
        let frames = hub.router.recv_all(0).unwrap();
        let header = Header::decode(&frames[1]).unwrap();
        hub.send(&Header::new(Kind::Heartbeat), Vec::new());
        (header.kind != Kind::Heartbeat).then_some((header.kind, header.request))
    });
    assert_eq!(gone.next(), Some((Kind::Error, 2)));
    hub.call(1, 3, Some("give"), Vec::new());
    assert_eq!(result::<String>(&mut hub, 3), "given");
    assert_eq!(result::<u64>(&mut hub, 1), 1);
    end(hub, served);
}

#[test]
fn a_reactor_is_woken_when_it_asked_to_be() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    for (request, ms) in [(1, 0), (2, 30)] {
        wish(&mut hub, request, "later", &Wish { ms, ..Wish::default() });
        let late_ms: u64 = result(&mut hub, request);
        assert!(late_ms < 900, "no heartbeat and no message woke it, {late_ms} ms late");
    }
    end(hub, served);
}

#[test]
fn outcomes_of_questions_are_heard_once() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    let asked = ask(&mut hub, 1, 20_000);
    assert_eq!(asked.target, Target::Name("kernel.test/1".into()));
    let answer = |asked: &Header, kind| Header { target: Target::Flow(9), ..asked.answer(kind) };
    let progress = Progress { done: 1.0, ..Progress::default() };
    hub.send(&answer(&asked, Kind::Progress), body::write(&progress));
    for value in ["first", "second"] {
        hub.send(&answer(&asked, Kind::Result), reply(&value).unwrap());
    }
    assert_eq!(result::<String>(&mut hub, 1), "first");
    let asked = ask(&mut hub, 2, 0);
    assert_eq!(asked.target, Target::Flow(9), "the flow is known");
    let crashed = BusError::new(Code::Crashed, "gone");
    hub.send(&answer(&asked, Kind::Error), crashed.to_body());
    assert_eq!(error(&mut hub, 2), crashed);
    let capability = "No name".to_owned();
    wish(&mut hub, 3, "ask", &Wish { capability, ..Wish::default() });
    assert_eq!(error(&mut hub, 3).code, Code::BadRequest);
    hub.call(1, 4, Some("heard"), Vec::new());
    assert_eq!(result::<u64>(&mut hub, 4), 3);
    end(hub, served);
}

#[test]
fn a_question_outlives_the_hub_it_was_asked() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    let asked = ask(&mut hub, 1, 20_000);
    hub.send_welcome(1_000, 2);
    let (again, body) = hub.receive();
    assert_eq!((again.kind, again.again, again.request), (Kind::Call, true, asked.request));
    assert!((1..=20_000).contains(&again.ttl));
    assert_eq!(body, reply(&"please").unwrap());
    hub.send(&Header { again: true, ..call(1, 1, Some("ask")) }, Vec::new());
    let answer = Header { target: Target::Flow(9), ..again.answer(Kind::Result) };
    hub.send(&answer, reply(&7).unwrap());
    assert_eq!(result::<u64>(&mut hub, 1), 7);
    end(hub, served);
}

#[test]
fn what_waits_for_a_flush_is_undone_when_it_fails() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    let capability = "kernel.test/1".to_owned();
    let durable = Wish { capability, ms: 0, durable: true };
    wish(&mut hub, 1, "ask", &durable);
    assert_eq!(hub.receive().0.kind, Kind::Call);
    assert_eq!(hub.receive().0.kind, Kind::Result);
    hub.call(1, 2, Some("wait"), Vec::new());
    hub.call(1, 3, Some("fill"), Vec::new());
    assert_eq!(hub.receive().0.kind, Kind::Result);
    wish(&mut hub, 4, "ask", &durable);
    assert_eq!(error(&mut hub, 4).message, "disk full");
    hub.call(1, 5, Some("give"), Vec::new());
    assert_eq!(result::<String>(&mut hub, 5), "given");
    assert_eq!(error(&mut hub, 2).message, "disk full");
    end(hub, served);
}

#[test]
fn events_go_out_and_a_bad_topic_harms_nobody() {
    let mut hub = Hub::new();
    let served = obey(&mut hub);
    hub.call(1, 1, Some("tell"), Vec::new());
    let (event, body) = hub.receive();
    assert_eq!((event.kind, event.target), (Kind::Event, Target::Name("news".into())));
    assert_eq!(body, reply(&1).unwrap());
    let () = result(&mut hub, 1);
    end(hub, served);
}
