//! A hub for one peer, which the test plays by hand.

#![allow(clippy::unwrap_used)]
// Every test program uses its part of this.
#![allow(dead_code)]

use std::time::Duration;

use symphony_runtime::Ticket;
use symphony_wire::body::{self, Bye, Hello, Unload, Welcome};
use symphony_wire::{Header, Kind, Target};
use symphony_zmq::{self as zmq, opt, Message, Socket};
use tempfile::TempDir;

/// One peer's hub.
pub struct Hub {
    pub router: Socket,
    pub peer: Vec<u8>,
    pub folder: TempDir,
    pub ticket: Ticket,
}

pub const LIMIT: Duration = Duration::from_secs(20);
const SECRET: &str = "000102030405060708090a0b0c0d0e0f";

impl Hub {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let endpoint = format!("ipc://{}/bus.sock", folder.path().display());
        let mut router = zmq::Context::new().unwrap().socket(zmq::Kind::Router).unwrap();
        router.set(opt::ROUTER_MANDATORY, 1).unwrap();
        router.set(opt::RCVTIMEO, 20_000).unwrap();
        router.bind(&endpoint).unwrap();
        let json = serde_json::json!({
            "v": 1, "endpoint": endpoint, "identity": SECRET, "instance": "one",
            "inbox": folder.path().join("in"), "outbox": folder.path().join("out"),
        });
        let ticket = Ticket::parse(json.to_string().as_bytes()).unwrap();
        Self { router, peer: (0..16).collect(), folder, ticket }
    }

    pub fn send(&mut self, header: &Header, body: Vec<u8>) {
        let mut frames = [
            Message::copy_from(&self.peer).unwrap(),
            Message::copy_from(&header.encode()).unwrap(),
            Message::from_vec(body).unwrap(),
        ];
        self.router.send_all(&mut frames, 0).unwrap();
    }

    /// The next message that is not a heartbeat.
    pub fn receive(&mut self) -> (Header, Vec<u8>) {
        loop {
            let frames = self.router.recv_all(0).unwrap();
            let [peer, header, body] = <[Message; 3]>::try_from(frames).ok().unwrap();
            assert_eq!(&*peer, self.peer);
            let header = Header::decode(&header).unwrap();
            if header.kind != Kind::Heartbeat {
                return (header, body.to_vec());
            }
        }
    }

    /// Waits for a heartbeat, and for nothing else.
    pub fn beat(&mut self) {
        let frames = self.router.recv_all(0).unwrap();
        assert_eq!(Header::decode(&frames[1]).unwrap().kind, Kind::Heartbeat);
    }

    pub fn welcome(&mut self, heartbeat_ms: u32) -> Hello {
        let (header, body) = self.receive();
        assert_eq!(header.kind, Kind::Hello);
        self.send_welcome(heartbeat_ms, 1);
        body::read(&body).unwrap()
    }

    pub fn send_welcome(&mut self, heartbeat_ms: u32, epoch: u64) {
        let welcome = Welcome {
            instance: "one".into(),
            heartbeat_ms: heartbeat_ms.try_into().unwrap(),
            liveness: 5.try_into().unwrap(),
            max_body: 65_536,
            inline_max: 1_024,
            epoch,
            grace_ms: 2_000,
        };
        self.send(&Header::new(Kind::Welcome), body::write(&welcome));
    }

    pub fn call(&mut self, flow: u32, request: u64, method: Option<&str>, body: Vec<u8>) {
        self.send(&call(flow, request, method), body);
    }

    pub fn unload(&mut self) {
        self.send(&Header::new(Kind::Unload), body::write(&Unload { grace_ms: 5_000 }));
    }

    pub fn expect_bye(&mut self, reason: &str) {
        let (header, body) = self.receive();
        assert_eq!(header.kind, Kind::Bye);
        assert_eq!(body::read::<Bye>(&body).unwrap().reason, reason);
    }
}

pub fn call(flow: u32, request: u64, method: Option<&str>) -> Header {
    Header {
        target: Target::Flow(flow),
        request,
        method: method.map(str::to_owned),
        ..Header::new(Kind::Call)
    }
}
