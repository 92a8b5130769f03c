//! The wrapper against the real library: frames, refusals, waiting, encryption.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_zmq::{
    curve_keypair, has, messages_cut, opt, poll, version, Context, Error, Interest, Kind, Lending,
    Message, Socket, DONTWAIT, MAX_FRAMES, MAX_MESSAGE,
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
fn an_owner_of_bytes_is_dropped_with_the_last_frame_that_needs_it() {
    struct Owner(Vec<u8>, #[expect(dead_code, reason = "counts owners")] Arc<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let alive = Arc::new(());
    let mut first = Message::from_owner(Owner(vec![1; 1_000], Arc::clone(&alive))).unwrap();
    let second = first.share().unwrap();
    drop(first);
    assert_eq!(Arc::strong_count(&alive), 2);
    assert_eq!(*second, [1; 1_000]);
    drop(second);
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// A message of so many bytes, lent for a peer if there is room.
fn lend(lending: &mut Lending, peer: &[u8], size: usize) -> Option<Message> {
    let account = lending.account(peer, size)?;
    Some(account.lend(Message::from_vec(vec![7; size]).unwrap()).unwrap())
}

#[test]
fn what_is_lent_is_bounded_for_each_peer_until_it_comes_back() {
    let mut lending = Lending::new(8_000);
    let mut held: Vec<_> = std::iter::from_fn(|| lend(&mut lending, b"slow", 1_000)).collect();
    assert_eq!(held.len(), 8);
    assert!(held.iter().all(|message| **message == [7; 1_000]));
    assert!(lending.account(b"other", 1_000).is_some());
    held.pop();
    assert!(lending.account(b"slow", 1_001).is_none());
    assert!(lending.account(b"slow", 1_000).is_some());
}

#[test]
fn a_message_larger_than_the_bound_is_lent_alone() {
    let mut lending = Lending::new(8_000);
    let huge = lend(&mut lending, b"p", 9_000);
    assert!(huge.is_some() && lending.account(b"p", 1).is_none());
    drop(huge);
    assert!(lending.account(b"p", 9_000).is_some());
}

#[test]
fn only_peers_for_whom_something_is_lent_are_remembered() {
    let mut lending = Lending::new(8_000);
    let _held = lend(&mut lending, b"held", 1_000);
    for number in 0..100_u8 {
        assert!(lend(&mut lending, &[number], 1_000).is_some());
    }
    assert_eq!(lending.peers(), 2);
}

#[test]
fn what_was_lent_comes_back_when_it_is_read() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    router.bind("tcp://127.0.0.1:*").unwrap();
    dealer.connect(&router.last_endpoint().unwrap()).unwrap();
    dealer.send_all(&mut frames(&[b"hello"]), 0).unwrap();
    router.recv_all(0).unwrap();
    let mut lending = Lending::new(1);
    let body = lend(&mut lending, b"one", 1_000_000).unwrap();
    router.send_all(&mut [Message::copy_from(b"one").unwrap(), body], 0).unwrap();
    assert_eq!(*dealer.recv_all(0).unwrap()[0], [7; 1_000_000]);
    let end = Instant::now() + Duration::from_secs(5);
    while lending.account(b"one", 1).is_none() {
        assert!(Instant::now() < end, "it was not given back");
        std::thread::yield_now();
    }
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

/// A peer that speaks ZMTP by hand: the handshake of a DEALER, then whatever frames it likes.
fn raw_peer(endpoint: &str) -> TcpStream {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut greeting = [0u8; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).unwrap();
    let mut theirs = [0u8; 64];
    stream.read_exact(&mut theirs).unwrap();
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
    stream.write_all(&[4, ready.len() as u8]).unwrap();
    stream.write_all(ready).unwrap();
    let mut head = [0u8; 2];
    stream.read_exact(&mut head).unwrap();
    stream.read_exact(&mut vec![0; usize::from(head[1])]).unwrap();
    stream
}

/// How many of these frames, each of one message that does not end, the stream takes before it is cut.
fn write_until_cut(stream: &mut TcpStream, size: usize, most: usize) -> usize {
    let mut frame = vec![3]; // more follows; length of eight bytes
    frame.extend((size as u64).to_be_bytes());
    frame.resize(9 + size, 0);
    (0..most).take_while(|_| stream.write_all(&frame).is_ok()).count()
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    4_096 * pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
}

#[test]
fn a_message_without_end_costs_its_sender_the_connection_and_nobody_memory() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    router.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = router.last_endpoint().unwrap();
    dealer.connect(&endpoint).unwrap();
    let (before, cut) = (resident_bytes(), messages_cut());
    // Each could send 1 GiB; the second reaches the limit of bytes, the first that of frames, by which it is known.
    for size in [1, 1 << 20] {
        let mut stream = raw_peer(&endpoint);
        let taken = write_until_cut(&mut stream, size, (1 << 30) / (size + 9));
        assert!(taken < (1 << 30) / (size + 9), "the connection is cut");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert_eq!(messages_cut() - cut, 2);
    assert!(resident_bytes() < before + (64 << 20));
    let known = router.recv_all(0).unwrap();
    assert_eq!(known.len(), 1 + MAX_FRAMES + 1);
    assert_eq!(known[1].len(), 1);
    assert!(known[1 + MAX_FRAMES].is_empty());
    dealer.send_all(&mut frames(&[b"unharmed"]), 0).unwrap();
    assert_eq!(&*router.recv_all(0).unwrap()[1], b"unharmed");
    assert_eq!(router.recv_all(DONTWAIT).err(), Some(Error::AGAIN));
}

#[test]
fn a_message_may_have_as_many_frames_and_bytes_as_the_limits_say() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    router.bind("tcp://127.0.0.1:*").unwrap();
    dealer.connect(&router.last_endpoint().unwrap()).unwrap();
    let whole = vec![1u8; MAX_MESSAGE / MAX_FRAMES];
    for _ in 0..3 {
        let mut message = frames(&[whole.as_slice(); MAX_FRAMES]);
        dealer.send_all(&mut message, 0).unwrap();
        assert_eq!(router.recv_all(0).unwrap().len(), MAX_FRAMES + 1);
    }
}

#[test]
fn an_endpoint_that_is_unbound_cuts_its_connections() {
    let context = Context::new().unwrap();
    let (mut router, mut dealer) = pair(&context);
    router.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = router.last_endpoint().unwrap();
    dealer.connect(&endpoint).unwrap();
    dealer.send_all(&mut frames(&[b"one"]), 0).unwrap();
    router.recv_all(0).unwrap();
    router.unbind(&endpoint).unwrap();
    assert_eq!(router.unbind(&endpoint), Err(Error::UNKNOWN_ENDPOINT));
    router.set(opt::RCVTIMEO, 50).unwrap();
    dealer.send_all(&mut frames(&[b"two"]), DONTWAIT).unwrap();
    assert_eq!(router.recv_all(0).err(), Some(Error::AGAIN));
}
