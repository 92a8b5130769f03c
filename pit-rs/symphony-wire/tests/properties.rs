//! Whatever bytes arrive, the codec answers; whatever it writes, it reads back.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde::Deserialize;
use symphony_wire::service::{parse, reply};
use symphony_wire::{BusError, Code, Header, Kind, Target, Ticket};

fn header() -> impl Strategy<Value = Header> {
    let target = prop_oneof![
        Just(Target::None),
        (1..=u32::MAX).prop_map(Target::Flow),
        "[a-z][a-z0-9-]{0,40}(\\.[a-z][a-z0-9-]{0,9}){0,2}(/[1-9][0-9]{0,2})?"
            .prop_map(Target::Name),
    ];
    let option = |pattern| proptest::option::of(pattern);
    (
        1..=15u64,
        target,
        0..1u64 << 53,
        any::<u32>(),
        option("[a-z][a-z0-9_]{0,40}"),
        option(".{0,128}"),
        option("[ -~]{0,300}"),
        option("[a-z]{1,9}/[1-9]"),
        (proptest::option::of(0..=1_024u32), proptest::option::of(any::<u64>())),
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(kind, target, request, ttl, method, idem, trace, cap, (stream, gap), flags)| Header {
                kind: Kind::from_number(kind).unwrap(),
                target,
                request,
                ttl,
                method,
                idem,
                trace,
                cap,
                stream,
                again: flags[0],
                keep: flags[1],
                snapshot: flags[2],
                gap,
            },
        )
}

proptest! {
    #[test]
    fn a_header_is_read_back(header in header()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::decode(&bytes);
        let _ = Ticket::parse(&bytes);
        let _ = BusError::from_body(&bytes);
        let _ = parse::<std::collections::BTreeMap<String, u64>>(&bytes);
    }

    #[test]
    fn a_damaged_header_never_panics(header in header(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = header.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let _ = Header::decode(&bytes);
    }
}

#[derive(Debug, Deserialize)]
struct Arguments {
    #[allow(dead_code)]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[allow(dead_code)]
    size: u32,
}

#[test]
fn a_wrong_argument_is_named() {
    let body = reply(&serde_json::json!({"items": [{"size": 1}, {"size": "two"}]})).unwrap();
    let error = parse::<Arguments>(&body).unwrap_err();
    assert_eq!((error.code, error.where_.as_deref()), (Code::BadRequest, Some("items[1].size")));
    let error = parse::<Arguments>(&[]).unwrap_err();
    assert!(error.message.contains("items"), "{error}");
    assert_eq!(parse::<Arguments>(&[0x90]).unwrap_err().code, Code::BadRequest);
    let mut trailing = reply(&serde_json::json!({"items": []})).unwrap();
    assert!(parse::<Arguments>(&trailing).is_ok());
    trailing.push(0);
    assert!(parse::<Arguments>(&trailing).is_err());
}
