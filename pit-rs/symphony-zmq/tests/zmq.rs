//! The wrapper against the real library: frames, refusals, waiting, encryption.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use symphony_zmq::{
    curve_keypair, has, opt, poll, version, Context, Error, Interest, Kind, Message, Socket,
    DONTWAIT,
};

const SOON: i32 = 5_000;

fn pair(context: &Context) -> (Socket, Socket) {
    let mut router = context.socket(Kind::Router).unwrap();
    let mut dealer = context.socket(Kind::Dealer).unwrap();
    for socket in [&mut router, &mut dealer] {
        socket.set(opt::RCVTIMEO, SOON).unwrap();
        socket.set(opt::SNDTIMEO, SOON).unwrap();
    }
    router.set(opt::ROUTER_MANDATORY, 1).unwrap();
    dealer.set_bytes(opt::ROUTING_ID, b"one").unwrap();
    (router, dealer)
}

fn frames(bytes: &[&[u8]]) -> Vec<Message> {
    bytes.iter().map(|frame| Message::copy_from(frame).unwrap()).collect()
}

#[test]
fn the_linked_library_is_4_3_5_with_curve_and_ipc() {
    assert_eq!(version(), (4, 3, 5));
    assert!(has("curve") && has("ipc"));
}

#[test]
fn whole_messages_travel_both_ways() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    router.bind("tcp://127.0.0.1:*").unwrap();
    dealer.connect(&router.last_endpoint().unwrap()).unwrap();
    let large = vec![7u8; 1 << 20];
    let mut sent =
        vec![Message::copy_from(b"header").unwrap(), Message::from_vec(large.clone()).unwrap()];
    dealer.send_all(&mut sent, 0).unwrap();
    assert!(sent.iter().all(|frame| frame.is_empty()), "sent frames are given away");

    let [ready] = poll([Interest::Socket(&router)], Duration::from_secs(5)).unwrap();
    assert!(ready);
    let received = router.recv_all(DONTWAIT).unwrap();
    let received: Vec<&[u8]> = received.iter().map(|frame| &**frame).collect();
    assert_eq!(received, [b"one".as_slice(), b"header", &large]);

    router.send_all(&mut frames(&[b"one", b"", b"back"]), 0).unwrap();
    let answer = dealer.recv_all(0).unwrap();
    assert_eq!(answer.iter().map(|frame| frame.len()).collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn refusals_have_their_errno() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    assert_eq!(router.recv_all(DONTWAIT).err(), Some(Error::AGAIN));
    assert_eq!(router.send_all(&mut frames(&[b"nobody", b"x"]), DONTWAIT), Err(Error::UNROUTABLE));
    assert_eq!(router.bind("ipc://a\0b"), Err(Error::INVALID));
    router.bind("tcp://127.0.0.1:*").unwrap();
    assert_eq!(dealer.bind(&router.last_endpoint().unwrap()), Err(Error::IN_USE));
    assert_eq!(Error::AGAIN.to_string(), "Resource temporarily unavailable");
}

#[test]
fn a_refused_message_is_kept() {
    let context = Context::new().unwrap();
    let (_, mut dealer) = pair(&context);
    let mut message = Message::copy_from(b"kept").unwrap();
    assert_eq!(dealer.send(&mut message, DONTWAIT), Err(Error::AGAIN));
    assert_eq!(&*message, b"kept");
}

#[test]
fn poll_ends_with_its_time() {
    let context = Context::new().unwrap();
    let (router, _) = pair(&context);
    let begun = Instant::now();
    assert_eq!(poll([Interest::Socket(&router)], Duration::from_millis(20)).unwrap(), [false]);
    assert!(begun.elapsed() >= Duration::from_millis(19));
}

#[test]
fn a_context_ends_with_undelivered_messages() {
    let context = Context::new().unwrap();
    let (_, mut dealer) = pair(&context);
    dealer.connect("tcp://127.0.0.1:1").unwrap();
    dealer.send_all(&mut frames(&[b"never delivered"]), DONTWAIT).unwrap();
}

#[test]
fn curve_lets_the_right_key_in_and_no_other() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    let (server_public, server_secret) = curve_keypair().unwrap();
    router.set(opt::CURVE_SERVER, 1).unwrap();
    router.set_bytes(opt::CURVE_SECRETKEY, server_secret.as_bytes()).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = router.last_endpoint().unwrap();

    let mut stranger = context.socket(Kind::Dealer).unwrap();
    stranger.connect(&endpoint).unwrap();
    stranger.send_all(&mut frames(&[b"in clear"]), DONTWAIT).unwrap();

    let (public, secret) = curve_keypair().unwrap();
    dealer.set_bytes(opt::CURVE_SERVERKEY, server_public.as_bytes()).unwrap();
    dealer.set_bytes(opt::CURVE_PUBLICKEY, public.as_bytes()).unwrap();
    dealer.set_bytes(opt::CURVE_SECRETKEY, secret.as_bytes()).unwrap();
    dealer.connect(&endpoint).unwrap();
    dealer.send_all(&mut frames(&[b"encrypted"]), 0).unwrap();
    let received = router.recv_all(0).unwrap();
    assert_eq!(&*received[1], b"encrypted");
    assert_eq!(router.recv_all(DONTWAIT).err(), Some(Error::AGAIN));
}
