//! Providers, players and clients over real sockets, against a hub that the test plays by hand.

#![allow(clippy::unwrap_used)]

mod hub;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hub::{call, Hub, LIMIT};
use serde::{Deserialize, Serialize};
use symphony_runtime::{
    serve, Ask, BusError, Client, Code, Context, Ended, Event, Extension, File, Published,
    RuntimeError, Stop,
};
use symphony_wire::body::{self, Activate, Bye, Hello, Progress};
use symphony_wire::service::{parse, reply, Answer, Call, Service};
use symphony_wire::{Header, Kind, Target};
use symphony_zmq::Message;

/// Counts its flushes; `put` answers after one, `get` at once.
struct Counter {
    flushes: u64,
    full: bool,
    batches: mpsc::Sender<u64>,
    waiting: u64,
}

impl Service for Counter {
    fn call(&mut self, call: Call<'_>) -> Answer {
        assert_eq!(call.capability, "pit.count/1");
        match call.method {
            "put" => {
                self.waiting += 1;
                Answer::AfterFlush(reply(&self.flushes))
            }
            "large" => Answer::Now(reply(&"x".repeat(100_000))),
            "fill" => {
                self.full = true;
                Answer::Now(reply(&()))
            }
            other => Answer::Now(Err(BusError::new(Code::NotFound, other))),
        }
    }

    fn flush(&mut self) -> Result<(), BusError> {
        self.flushes += 1;
        self.batches.send(std::mem::take(&mut self.waiting)).unwrap();
        if self.full {
            return Err(BusError::new(Code::Io, "disk full"));
        }
        Ok(())
    }
}

type Served = JoinHandle<Result<Ended, RuntimeError>>;

fn count(hub: &Hub) -> (Served, mpsc::Receiver<u64>, Stop) {
    let (batches, flushed) = mpsc::channel();
    let (ticket, stop) = (hub.ticket.clone(), Stop::new().unwrap());
    let theirs = stop.clone();
    let served = thread::spawn(move || {
        let mut service = Counter { flushes: 0, full: false, batches, waiting: 0 };
        serve(&ticket, "pit.count/1", &mut service, &theirs)
    });
    (served, flushed, stop)
}

#[test]
fn waiting_calls_share_a_flush_and_are_answered_after_it() {
    let mut hub = Hub::new();
    let (served, flushed, _stop) = count(&hub);
    // The calls wait on the socket before the welcome lets the service look at them.
    let (hello, hello_body) = hub.receive();
    assert_eq!(hello.kind, Kind::Hello);
    assert_eq!(body::read::<Hello>(&hello_body).unwrap().provides, ["pit.count/1"]);
    hub.send_welcome(1_000, 1);
    for request in 1..=300 {
        hub.call(7, request, Some("put"), Vec::new());
    }
    hub.call(7, 301, Some("nothing"), Vec::new());
    let mut answered: Vec<u64> = (0..301)
        .map(|_| {
            let (header, body) = hub.receive();
            assert_eq!(header.target, Target::Flow(7));
            let kind = if header.request == 301 { Kind::Error } else { Kind::Result };
            assert_eq!(header.kind, kind);
            if kind == Kind::Error {
                assert_eq!(BusError::from_body(&body).code, Code::NotFound);
            }
            header.request
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=301).collect::<Vec<_>>());
    hub.unload();
    hub.expect_bye("unload");
    assert_eq!(served.join().unwrap().unwrap(), Ended::Unloaded);
    let batches: Vec<u64> = flushed.iter().collect();
    assert_eq!(batches.iter().sum::<u64>(), 300);
    assert!(batches.len() < 300, "{} flushes for 300 calls", batches.len());
    assert!(batches.iter().all(|batch| *batch <= 256));
}

#[test]
fn a_failed_flush_fails_the_calls_that_wait_for_it() {
    let mut hub = Hub::new();
    let (served, _flushed, _stop) = count(&hub);
    hub.welcome(1_000);
    hub.call(1, 1, Some("fill"), Vec::new());
    hub.call(1, 2, Some("put"), Vec::new());
    assert_eq!(hub.receive().0.kind, Kind::Result);
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Error, 2));
    assert_eq!(BusError::from_body(&body).message, "disk full");
    hub.unload();
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn a_result_over_the_limit_is_an_error_and_bad_messages_are_dropped() {
    let mut hub = Hub::new();
    let (served, _flushed, _stop) = count(&hub);
    hub.welcome(1_000);
    let mut no_flow = call(1, 5, None);
    no_flow.target = Target::None;
    hub.send(&no_flow, Vec::new());
    let mut garbage = [Message::copy_from(&hub.peer).unwrap(), Message::copy_from(b"?").unwrap()];
    hub.router.send_all(&mut garbage, 0).unwrap();
    hub.call(1, 1, Some("large"), Vec::new());
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Error, 1));
    assert_eq!(BusError::from_body(&body).code, Code::WrongOutput);
    hub.unload();
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn heartbeats_are_sent_and_a_silent_hub_ends_it() {
    let mut hub = Hub::new();
    let (served, _flushed, _stop) = count(&hub);
    hub.welcome(20);
    for _ in 0..2 {
        let frames = hub.router.recv_all(0).unwrap();
        assert_eq!(Header::decode(&frames[1]).unwrap().kind, Kind::Heartbeat);
    }
    assert!(matches!(served.join().unwrap(), Err(RuntimeError::HubLost)));
}

#[test]
fn a_stop_says_bye_even_while_it_waits_for_the_welcome() {
    let mut hub = Hub::new();
    let (served, _flushed, stop) = count(&hub);
    hub.welcome(60_000);
    hub.call(1, 1, Some("nothing"), Vec::new());
    hub.receive();
    stop.raise();
    hub.expect_bye("stop");
    assert_eq!(served.join().unwrap().unwrap(), Ended::Stopped);

    let mut hub = Hub::new();
    let (served, _flushed, stop) = count(&hub);
    assert_eq!(hub.receive().0.kind, Kind::Hello);
    stop.raise();
    hub.expect_bye("stop");
    assert_eq!(served.join().unwrap().unwrap(), Ended::Stopped);
}

#[test]
fn a_hub_of_another_protocol_is_incompatible() {
    let mut hub = Hub::new();
    let (served, _flushed, _stop) = count(&hub);
    assert_eq!(hub.receive().0.kind, Kind::Hello);
    hub.send(&Header::new(Kind::Bye), body::write(&Bye { reason: "protocol".into() }));
    let error = served.join().unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::Incompatible));
    assert_eq!(error.exit_code(), 5);
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

fn play(hub: &Hub, extension: Extension) -> (Served, Stop) {
    let (ticket, stop) = (hub.ticket.clone(), Stop::new().unwrap());
    let theirs = stop.clone();
    (thread::spawn(move || extension.serve(&ticket, &theirs)), stop)
}

fn arguments(pairs: &[(&str, &str)]) -> Vec<u8> {
    reply(&pairs.iter().copied().collect::<BTreeMap<_, _>>()).unwrap()
}

#[test]
fn a_player_serves_functions_of_several_capabilities() {
    let upper = |_: &Context, args: Text| Ok(args.text.to_uppercase());
    let lower = |context: &Context, args: Text| {
        context.progress(1.0, None, "half");
        if args.text == "spend" {
            context.spend("tokens", 70);
            context.spend("tokens", 50);
        }
        if args.text == "panic" {
            panic!("asked to");
        }
        Ok(args.text.to_lowercase())
    };
    let mut hub = Hub::new();
    let extension =
        Extension::new().provides("text.upper/1", upper).provides("text.lower/1", lower);
    let (served, _stop) = play(&hub, extension);
    assert_eq!(hub.welcome(1_000).provides, ["text.upper/1", "text.lower/1"]);

    let activate = Header { request: 1, ..Header::new(Kind::Activate) };
    hub.send(&activate, body::write(&Activate::default()));
    let (header, _) = hub.receive();
    assert_eq!((header.kind, header.target, header.request), (Kind::Result, Target::None, 1));

    let named = |flow, cap: &str, request| Header {
        cap: Some(cap.to_owned()),
        ..call(flow, request, None)
    };
    hub.send(&named(1, "text.upper/1", 2), arguments(&[("text", "Abc")]));
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Result, 2));
    assert_eq!(body::read_value::<String>(&body).unwrap(), "ABC");
    hub.send(&named(2, "text.lower/1", 3), arguments(&[("text", "Abc")]));
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Progress, 3));
    assert_eq!(body::read::<Progress>(&body).unwrap().message, "half");
    assert_eq!(body::read_value::<String>(&hub.receive().1).unwrap(), "abc");
    // From the second call on the flow's number is enough.
    hub.call(1, 4, None, arguments(&[("text", "again")]));
    assert_eq!(body::read_value::<String>(&hub.receive().1).unwrap(), "AGAIN");

    hub.call(2, 5, None, arguments(&[("text", "spend")]));
    let mut said = (0..3).map(|_| body::read::<Progress>(&hub.receive().1).unwrap());
    assert!(said.next().unwrap().spent.is_empty());
    let told: Vec<_> = said.map(|it| (it.message, it.spent["tokens"])).collect();
    assert_eq!(told, [("half".to_owned(), 70), ("half".to_owned(), 120)]);
    assert_eq!(body::read_value::<String>(&hub.receive().1).unwrap(), "spend");

    let mut refuse = |header: Header, body| {
        hub.send(&header, body);
        loop {
            let (header, body) = hub.receive();
            if header.kind == Kind::Error {
                return BusError::from_body(&body);
            }
            assert_eq!(header.kind, Kind::Progress);
        }
    };
    assert_eq!(refuse(call(9, 5, None), arguments(&[])).code, Code::Protocol);
    assert_eq!(refuse(call(1, 6, Some("other")), arguments(&[])).code, Code::NotFound);
    let missing = refuse(call(1, 7, None), arguments(&[]));
    assert_eq!(missing.code, Code::BadRequest);
    assert!(missing.message.contains("text"), "{missing}");
    let panicked = refuse(call(2, 8, None), arguments(&[("text", "panic")]));
    assert_eq!((panicked.code, panicked.class.as_deref()), (Code::Failed, Some("panic")));
    assert!(panicked.message.contains("asked to"));
    hub.unload();
    hub.expect_bye("unload");
    assert_eq!(served.join().unwrap().unwrap(), Ended::Unloaded);
}

#[test]
fn a_cancelled_call_ends_and_unload_waits_for_running_ones() {
    let (entered, running) = mpsc::channel();
    let wait = move |context: &Context, _: BTreeMap<String, String>| -> Result<(), BusError> {
        entered.send(()).unwrap();
        loop {
            context.check()?;
            thread::yield_now();
        }
    };
    let mut hub = Hub::new();
    let (served, _stop) = play(&hub, Extension::new().provides("text.wait/1", wait));
    hub.welcome(1_000);
    hub.call(1, 1, None, Vec::new());
    running.recv_timeout(Duration::from_secs(20)).unwrap();
    hub.unload();
    hub.send(&Header { kind: Kind::Cancel, ..call(1, 1, None) }, Vec::new());
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Error, 1));
    assert_eq!(BusError::from_body(&body).code, Code::Cancelled);
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn the_socket_is_kept_while_a_function_runs_for_long() {
    let (go_on, wait) = mpsc::channel();
    let serve = move |context: &Context, _: BTreeMap<String, String>| -> Result<(), BusError> {
        if context.deadline().is_some() {
            wait.recv_timeout(LIMIT).unwrap();
        }
        Ok(())
    };
    let mut hub = Hub::new();
    let (served, _stop) = play(&hub, Extension::new().provides("text.wait/1", serve));
    hub.welcome(50);
    hub.call(1, 1, None, Vec::new());
    hub.send(&Header { ttl: 60_000, ..call(1, 2, None) }, Vec::new());
    hub.call(1, 3, None, Vec::new());
    let (answer, _) = hub.receive();
    assert_eq!((answer.kind, answer.request), (Kind::Result, 1), "it waits for no other call");
    hub.send(&Header { kind: Kind::Cancel, ..call(1, 3, None) }, Vec::new());
    assert_eq!(error_code(&mut hub), (3, Code::Cancelled));
    hub.beat();
    go_on.send(()).unwrap();
    let (answer, _) = hub.receive();
    assert_eq!((answer.kind, answer.request), (Kind::Result, 2));
    hub.unload();
    hub.expect_bye("unload");
    assert_eq!(served.join().unwrap().unwrap(), Ended::Unloaded);
}

#[derive(Deserialize, Serialize)]
struct One {
    file: File,
}

#[test]
fn files_pass_by_reference_below_the_calls_folder() {
    let copy = |context: &Context, args: One| -> Result<One, BusError> {
        let bytes = context.read(&args.file)?;
        Ok(One { file: context.write("made/copy.txt", &bytes)? })
    };
    let mut hub = Hub::new();
    let inbox = hub.folder.path().join("in/c1");
    std::fs::create_dir_all(&inbox).unwrap();
    std::fs::write(inbox.join("a.txt"), "content").unwrap();
    let (served, _stop) = play(&hub, Extension::new().provides("file.copy/1", copy));
    hub.welcome(1_000);
    let body =
        |path| reply(&serde_json::json!({"$": {"folder": "c1"}, "file": {"$file": path}})).unwrap();
    hub.call(1, 1, None, body("a.txt"));
    let made: One = body::read(&hub.receive().1).unwrap();
    assert_eq!(made.file.path, "made/copy.txt");
    let copied = std::fs::read(hub.folder.path().join("out/c1/made/copy.txt")).unwrap();
    assert_eq!(copied, b"content");
    for (request, path) in ["../c2/secret", "/etc/passwd", "a//b", ""].into_iter().enumerate() {
        hub.call(1, 2 + request as u64, None, body(path));
        assert_eq!(BusError::from_body(&hub.receive().1).code, Code::BadRequest, "{path}");
    }
    hub.unload();
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn a_client_calls_by_name_then_by_flow() {
    let mut hub = Hub::new();
    let ticket = hub.ticket.clone();
    let caller = thread::spawn(move || {
        let mut client = Client::join(&ticket, &Stop::new().unwrap()).unwrap();
        let arguments = BTreeMap::from([("text", "a")]);
        let first: String = client.call(Ask::of("text.upper/1").limit(LIMIT), &arguments).unwrap();
        let twice = Ask::of("text.upper/1").method("twice").limit(LIMIT);
        let second: Result<String, _> = client.call(twice, &arguments);
        let third =
            client.send("text.upper/1", None, reply(&arguments).unwrap(), Some(LIMIT)).unwrap();
        let progress = client.next(None).unwrap().unwrap();
        assert!(matches!(progress, Event::Progress(request, _) if request == third));
        assert!(client.next(None).unwrap().is_some());
        client.close().unwrap();
        (first, second.unwrap_err())
    });
    assert!(hub.welcome(1_000).provides.is_empty());
    let (header, body) = hub.receive();
    assert_eq!(header.target, Target::Name("text.upper/1".into()));
    assert_eq!(header.method, None);
    assert!((1..=20_000).contains(&header.ttl));
    assert_eq!(parse::<Text>(&body).unwrap().text, "a");
    let answer = |kind, request| Header { kind, ..call(3, request, None) };
    hub.send(&answer(Kind::Result, header.request), reply(&"A").unwrap());

    let (header, _) = hub.receive();
    assert_eq!((header.target, header.method.as_deref()), (Target::Flow(3), Some("twice")));
    let refused = BusError::new(Code::Refused, "no").at("permissions");
    hub.send(&answer(Kind::Error, header.request), refused.to_body());

    let (header, _) = hub.receive();
    let progress = Progress { done: 1.0, ..Progress::default() };
    hub.send(&answer(Kind::Progress, header.request), body::write(&progress));
    hub.send(&answer(Kind::Result, header.request), reply(&"A").unwrap());
    hub.expect_bye("done");
    let (first, second) = caller.join().unwrap();
    assert_eq!(first, "A");
    assert_eq!(second, refused);
}

fn credit(flow: u32, request: u64, chunks: u32) -> (Header, Vec<u8>) {
    (Header { kind: Kind::Credit, ..call(flow, request, None) }, body::write(&chunks))
}

fn error_code(hub: &mut Hub) -> (u64, Code) {
    let (header, body) = hub.receive();
    assert_eq!(header.kind, Kind::Error);
    (header.request, BusError::from_body(&body).code)
}

/// A player whose one function sends numbers without end and says what stopped it.
fn endless(hub: &Hub) -> (Served, mpsc::Receiver<BusError>) {
    let (stopped, why) = mpsc::channel();
    let count = move |context: &Context, _: BTreeMap<String, String>| -> Result<(), BusError> {
        for number in 0u64.. {
            if let Err(error) = context.chunk(&number) {
                stopped.send(error.clone()).unwrap();
                return Err(error);
            }
        }
        Ok(())
    };
    let (served, _stop) = play(hub, Extension::new().provides("text.count/1", count));
    (served, why)
}

#[test]
fn chunks_never_exceed_the_credit() {
    let mut hub = Hub::new();
    let (served, why) = endless(&hub);
    hub.welcome(1_000);
    hub.send(&Header { stream: Some(3), ..call(1, 1, None) }, Vec::new());
    let expect = |hub: &mut Hub, from: u64, count: u64| {
        for number in from..from + count {
            let (header, body) = hub.receive();
            assert_eq!((header.kind, header.target), (Kind::Chunk, Target::Flow(1)));
            assert_eq!(body::read_value::<u64>(&body).unwrap(), number);
        }
    };
    expect(&mut hub, 0, 3);
    // A bogus credit gives nothing, and nothing that the player sends now could be a chunk.
    let (header, _) = credit(1, 1, 1);
    hub.send(&header, vec![0xc3]);
    hub.send(
        &Header { request: 9, ..Header::new(Kind::Activate) },
        body::write(&Activate::default()),
    );
    assert_eq!(hub.receive().0.request, 9);
    let (header, body) = credit(1, 1, 2);
    hub.send(&header, body);
    expect(&mut hub, 3, 2);
    hub.send(&Header { kind: Kind::Cancel, ..call(1, 1, None) }, Vec::new());
    assert_eq!(error_code(&mut hub), (1, Code::Cancelled));
    assert_eq!(why.recv().unwrap().code, Code::Cancelled);
    hub.unload();
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn a_deadline_ends_a_stream_that_waits_for_credit() {
    let mut hub = Hub::new();
    let (served, why) = endless(&hub);
    hub.welcome(1_000);
    hub.send(&Header { stream: Some(0), ttl: 20, ..call(1, 1, None) }, Vec::new());
    assert_eq!(error_code(&mut hub), (1, Code::Deadline));
    assert_eq!(why.recv().unwrap().code, Code::Deadline);
    hub.unload();
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn a_player_answers_a_repeated_call_once_and_ends_streams_of_an_older_hub() {
    let (entered, running) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel::<()>();
    let mut calls = 0;
    let serve = move |context: &Context, _: BTreeMap<String, String>| -> Result<u64, BusError> {
        calls += 1;
        entered.send(()).unwrap();
        context.chunk(&0)?;
        go_on.recv().unwrap();
        Ok(calls)
    };
    let mut hub = Hub::new();
    let (served, _stop) = play(&hub, Extension::new().provides("text.once/1", serve));
    hub.welcome(1_000);
    hub.call(1, 1, None, Vec::new());
    // It waits behind the first, so that whoever ends it is not the function.
    hub.send(&Header { stream: Some(1), ..call(1, 2, None) }, Vec::new());
    running.recv().unwrap();
    hub.send_welcome(1_000, 2);
    assert_eq!(error_code(&mut hub), (2, Code::Cancelled));
    let again = Header { again: true, ..call(1, 1, None) };
    hub.send(&again, Vec::new());
    let_go.send(()).unwrap();
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Result, 1));
    assert_eq!(body::read_value::<u64>(&body).unwrap(), 1);
    hub.send(&again, Vec::new());
    let (header, body) = hub.receive();
    assert_eq!((header.kind, header.request), (Kind::Result, 1));
    assert_eq!(body::read_value::<u64>(&body).unwrap(), 1, "from memory");
    // The same number without `again` is another call.
    hub.call(1, 1, None, Vec::new());
    running.recv().unwrap();
    let_go.send(()).unwrap();
    assert_eq!(body::read_value::<u64>(&hub.receive().1).unwrap(), 2);
    hub.unload();
    hub.expect_bye("unload");
    served.join().unwrap().unwrap();
}

#[test]
fn a_client_repeats_what_is_open_when_the_hub_starts_anew() {
    let mut hub = Hub::new();
    let ticket = hub.ticket.clone();
    let caller = thread::spawn(move || {
        let mut client = Client::join(&ticket, &Stop::new().unwrap()).unwrap();
        client.subscribe("news", |_: Published<u64>| {}).unwrap();
        let call = client.start(Ask::of("text.upper/1").limit(LIMIT).idem("k"), &()).unwrap();
        let given_up = client.start("text.upper/1", &()).unwrap();
        client.cancel(given_up).unwrap();
        let mut answers = BTreeMap::new();
        while answers.len() < 2 {
            if let Some(Event::Answer(request, outcome)) = client.next(None).unwrap() {
                answers.insert(request, outcome);
            }
        }
        let done = answers.remove(&call).unwrap().unwrap().decode::<u64>().unwrap();
        let ended = answers.remove(&given_up).unwrap().unwrap_err().code;
        let mut stream = client.stream::<u64>("text.count/1", &()).unwrap();
        let broken = stream.next().unwrap().unwrap_err();
        assert!(stream.next().is_none());
        assert_eq!(stream.result::<u64>().unwrap_err(), broken);
        client.close().unwrap();
        (done, ended, broken)
    });
    hub.welcome(1_000);
    let (subscribe, _) = hub.receive();
    hub.send(&subscribe.answer(Kind::Result), vec![0xc0]);
    let (first, _) = hub.receive();
    assert_eq!((first.kind, first.again, first.idem.as_deref()), (Kind::Call, false, Some("k")));
    assert_eq!(hub.receive().0.kind, Kind::Call);
    assert_eq!(hub.receive().0.kind, Kind::Cancel);
    hub.send_welcome(1_000, 1);
    hub.send_welcome(1_000, 2);
    let (repeated, arguments) = hub.receive();
    assert_eq!((repeated.kind, repeated.again), (Kind::Call, true));
    assert_eq!((repeated.request, &repeated.idem), (first.request, &first.idem));
    assert_eq!(repeated.target, first.target);
    assert_eq!(arguments, reply(&()).unwrap());
    assert!((1..=20_000).contains(&repeated.ttl));
    let (subscribe, body) = hub.receive();
    assert_eq!(subscribe.kind, Kind::Subscribe);
    assert_eq!(subscribe.target, Target::Name("news".into()));
    hub.send(&subscribe.answer(Kind::Result), vec![0xc0]);
    assert!(body::read_value::<bool>(&body).unwrap());
    let answer = Header { target: Target::Flow(5), ..repeated.answer(Kind::Result) };
    hub.send(&answer, reply(&7).unwrap());
    let (stream, _) = hub.receive();
    assert_eq!(stream.stream, Some(16));
    hub.send_welcome(1_000, 3);
    let (cancel, _) = hub.receive();
    assert_eq!((cancel.kind, cancel.request), (Kind::Cancel, stream.request));
    let (done, ended, broken) = caller.join().unwrap();
    assert_eq!((done, ended, broken.code), (7, Code::Cancelled, Code::Unavailable));
}

#[test]
fn a_client_gives_credit_back_in_halves_and_cancels_what_it_leaves() {
    let mut hub = Hub::new();
    let ticket = hub.ticket.clone();
    let caller = thread::spawn(move || {
        let mut client = Client::join(&ticket, &Stop::new().unwrap()).unwrap();
        let ask = || Ask::of("text.count/1").credit(4);
        let mut stream = client.stream::<u64>(ask(), &()).unwrap();
        let chunks: Vec<u64> = stream.by_ref().map(Result::unwrap).collect();
        let result: String = stream.result().unwrap();
        let mut stream = client.stream::<u64>(ask(), &()).unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        drop(stream);
        let mut stream = client.stream::<String>(ask(), &()).unwrap();
        let wrong = stream.next().unwrap().unwrap_err();
        drop(stream);
        client.close().unwrap();
        (chunks, result, wrong.code)
    });
    hub.welcome(1_000);
    let chunk = |request| Header { kind: Kind::Chunk, ..call(1, request, None) };
    let (opened, _) = hub.receive();
    assert_eq!(opened.stream, Some(4));
    for number in 0..4u64 {
        hub.send(&chunk(opened.request), reply(&number).unwrap());
    }
    for _ in 0..2 {
        let (header, body) = hub.receive();
        assert_eq!((header.kind, header.target), (Kind::Credit, Target::Flow(1)));
        assert_eq!(body::read_value::<u64>(&body).unwrap(), 2);
    }
    hub.send(&chunk(opened.request).answer(Kind::Result), reply(&"end").unwrap());
    for _ in 0..2 {
        let (opened, _) = hub.receive();
        assert_eq!(opened.target, Target::Flow(1));
        hub.send(&chunk(opened.request), reply(&0).unwrap());
        let (cancel, _) = hub.receive();
        assert_eq!((cancel.kind, cancel.request), (Kind::Cancel, opened.request));
    }
    hub.expect_bye("done");
    let (chunks, result, wrong) = caller.join().unwrap();
    assert_eq!((chunks, result.as_str(), wrong), (vec![0, 1, 2, 3], "end", Code::WrongOutput));
}

#[test]
fn events_say_what_was_lost_and_what_is_old() {
    let mut hub = Hub::new();
    let ticket = hub.ticket.clone();
    let listener = thread::spawn(move || {
        let mut client = Client::join(&ticket, &Stop::new().unwrap()).unwrap();
        let (tell, heard) = mpsc::channel();
        client.subscribe("news", move |event: Published<u64>| tell.send(event).unwrap()).unwrap();
        let refused = client.subscribe("secrets", |_: Published<u64>| {}).unwrap_err();
        client.publish_kept("news", &3).unwrap();
        assert_eq!(client.publish("No topic", &3).unwrap_err().code, Code::BadRequest);
        while client.next(None).is_ok_and(|event| event.is_some()) {}
        drop(client);
        (refused.code, heard.iter().collect::<Vec<_>>())
    });
    hub.welcome(1_000);
    let (subscribe, _) = hub.receive();
    hub.send(&subscribe.answer(Kind::Result), vec![0xc0]);
    let (secrets, _) = hub.receive();
    let event = Header { target: subscribe.target, ..Header::new(Kind::Event) };
    hub.send(&Header { request: 4, snapshot: true, ..event.clone() }, reply(&1).unwrap());
    hub.send(&Header { request: 5, ..event.clone() }, reply(&"no number").unwrap());
    hub.send(&Header { request: 8, gap: Some(3), ..event.clone() }, reply(&2).unwrap());
    hub.send(&Header { target: secrets.target.clone(), ..event }, reply(&9).unwrap());
    let refused = BusError::new(Code::Refused, "no");
    hub.send(&secrets.answer(Kind::Error), refused.to_body());
    let (published, body) = hub.receive();
    assert_eq!((published.kind, published.keep, body), (Kind::Event, true, reply(&3).unwrap()));
    hub.send(&Header::new(Kind::Bye), body::write(&Bye { reason: "end".into() }));
    let (code, events) = listener.join().unwrap();
    assert_eq!(code, Code::Refused);
    let news = |value, sequence, gap, snapshot| Published {
        topic: "news".to_owned(),
        value,
        sequence,
        gap,
        snapshot,
    };
    assert_eq!(events, [news(1, 4, 0, true), news(2, 8, 3, false)]);
}
