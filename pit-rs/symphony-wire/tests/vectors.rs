//! The golden bytes in `bus/vectors`, which the Python side is tested against too.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{json, Value as Json};
use symphony_wire::body::{self, Activate, Bye, Context, Hello, Progress, Unload, Welcome};
use symphony_wire::{is_foreign_hello, BusError, Code, Header, Target, Ticket};

struct Vector {
    name: String,
    bytes: Vec<u8>,
    valid: bool,
    /// Whether our own encoder must give exactly these bytes.
    canonical: bool,
    json: Json,
}

fn vectors(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bus/vectors").join(file);
    let all: Vec<Json> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(!all.is_empty());
    all.into_iter()
        .map(|json| Vector {
            name: json["name"].as_str().unwrap().to_owned(),
            bytes: unhex(json["hex"].as_str().unwrap()),
            valid: json["valid"].as_bool().unwrap(),
            canonical: json["canonical"].as_bool().unwrap_or(false),
            json,
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

const OPTIONS: [&str; 8] = ["idem", "trace", "cap", "stream", "again", "keep", "snapshot", "gap"];

fn header_json(header: &Header) -> Json {
    let target = match &header.target {
        Target::None => Json::Null,
        Target::Flow(id) => json!(id),
        Target::Name(name) => json!(name),
    };
    let given = [
        json!(header.idem),
        json!(header.trace),
        json!(header.cap),
        json!(header.stream),
        json!(header.again.then_some(true)),
        json!(header.keep.then_some(true)),
        json!(header.snapshot.then_some(true)),
        json!(header.gap),
    ];
    let options: serde_json::Map<String, Json> = OPTIONS
        .iter()
        .zip(given)
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| ((*key).to_owned(), value))
        .collect();
    json!({
        "version": 1, "kind": header.kind as u8, "target": target, "request": header.request,
        "ttl": header.ttl, "method": header.method,
        "options": if options.is_empty() { Json::Null } else { Json::Object(options) },
    })
}

#[test]
fn headers() {
    for vector in vectors("headers.json") {
        let foreign = vector.json["foreign_hello"].as_bool().unwrap_or(false);
        assert_eq!(is_foreign_hello(&vector.bytes), foreign, "{}", vector.name);
        let decoded = Header::decode(&vector.bytes);
        assert_eq!(decoded.is_ok(), vector.valid, "{}: {decoded:?}", vector.name);
        let Ok(header) = decoded else { continue };
        let mut expected = vector.json["value"].clone();
        if let Some(options) = expected["options"].as_object_mut() {
            options.retain(|key, _| OPTIONS.contains(&key.as_str()));
        }
        assert_eq!(header_json(&header), expected, "{}", vector.name);
        if vector.canonical {
            assert_eq!(header.encode(), vector.bytes, "{}", vector.name);
        }
    }
}

#[test]
fn fixed_bodies() {
    for vector in vectors("bodies.json") {
        match vector.json["type"].as_str().unwrap() {
            "hello" => check::<Hello>(&vector),
            "welcome" => check::<Welcome>(&vector),
            "progress" => check::<Progress>(&vector),
            "activate" => check::<Activate>(&vector),
            "unload" => check::<Unload>(&vector),
            "bye" => check::<Bye>(&vector),
            "context" => check::<Context>(&vector),
            other => panic!("{}: unknown body {other}", vector.name),
        }
    }
}

fn check<T: DeserializeOwned + Serialize>(vector: &Vector) {
    let decoded = body::read::<T>(&vector.bytes);
    assert_eq!(decoded.is_ok(), vector.valid, "{}: {:?}", vector.name, decoded.err());
    let Ok(decoded) = decoded else { return };
    let (found, expected) = (serde_json::to_value(&decoded).unwrap(), &vector.json["value"]);
    assert_eq!(plain(&found), plain(expected), "{}", vector.name);
    // Numbers of progress are floats here and whatever they were there: equal, in other bytes.
    if vector.canonical && vector.json["type"] != "progress" {
        assert_eq!(rmp_serde::to_vec_named(&decoded).unwrap(), vector.bytes, "{}", vector.name);
    }
}

/// The same value with every number a float, as JSON does not tell 3 from 3.0.
fn plain(value: &Json) -> Json {
    match value {
        Json::Number(number) => json!(number.as_f64()),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(pairs) => pairs.iter().map(|(k, v)| (k.clone(), plain(v))).collect(),
        other => other.clone(),
    }
}

#[test]
fn errors() {
    for vector in vectors("errors.json") {
        let error = BusError::from_body(&vector.bytes);
        if !vector.valid {
            assert_eq!(error.code, Code::Protocol, "{}", vector.name);
            continue;
        }
        assert_eq!(serde_json::to_value(&error).unwrap(), vector.json["value"], "{}", vector.name);
        if vector.canonical {
            assert_eq!(error.to_body(), vector.bytes, "{}", vector.name);
        }
    }
}

#[test]
fn tickets() {
    for vector in vectors("tickets.json") {
        let ticket = Ticket::parse(&vector.bytes);
        assert_eq!(ticket.is_ok(), vector.valid, "{}: {ticket:?}", vector.name);
        let Ok(ticket) = ticket else { continue };
        let value = &vector.json["value"];
        assert_eq!(value["endpoint"], json!(ticket.endpoint), "{}", vector.name);
        assert_eq!(value["instance"], json!(ticket.instance), "{}", vector.name);
        assert_eq!(value["inbox"].as_str(), ticket.inbox.as_deref().and_then(Path::to_str));
        let curve = ticket.curve.as_ref();
        assert_eq!(value["curve"]["secret"].as_str(), curve.map(|curve| &*curve.secret));
        if let Some(curve) = curve {
            assert_eq!(value["curve"]["server"], json!(curve.server), "{}", vector.name);
            assert_eq!(value["curve"]["public"], json!(curve.public), "{}", vector.name);
            assert!(!format!("{ticket:?}{curve:?}").contains(&curve.secret), "{}", vector.name);
        }
        let identity = value["identity"].as_str().unwrap();
        let id = ticket.routing_id().unwrap();
        assert_eq!(id[..16], unhex(identity), "{}", vector.name);
        assert_eq!(id.len(), if ticket.is_console() { 32 } else { 16 });
        assert!(!format!("{ticket:?}").contains(identity), "the secret is not printed");
    }
}
