//! Golden vectors in `bus/vectors/contracts`: one session through every method of a contract, byte for byte, for
//! whoever writes another implementation, and so that text and code cannot drift. Of this crate, the Pool Manager
//! and the Stale Manager.
//!
//! `SYMPHONY_WRITE_VECTORS=1` writes the file anew; whoever does so reads the difference.
#![allow(dead_code)] // Each test binary uses its part.
#![allow(clippy::unwrap_used)] // A test may panic.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{json, Value};
use symphony_wire::service::Outcome;

/// What happens: its name, and a method with its arguments, or milliseconds that pass.
pub enum Act {
    Call(&'static str, Value),
    Pass(u64),
}

pub type Session = Vec<(&'static str, Act)>;

pub fn call(name: &'static str, method: &'static str, arguments: Value) -> (&'static str, Act) {
    (name, Act::Call(method, arguments))
}

pub fn pass(name: &'static str, ms: u64) -> (&'static str, Act) {
    (name, Act::Pass(ms))
}

/// A question to another capability, and what the test answered.
pub struct Asked {
    pub capability: String,
    pub method: String,
    pub body: Vec<u8>,
    pub answer: Outcome,
}

/// What followed from one act.
#[derive(Default)]
pub struct Told {
    /// By the numbers of the acts that were answered.
    pub answers: Vec<(usize, Outcome)>,
    pub asks: Vec<Asked>,
    /// Topics.
    pub events: Vec<String>,
}

/// A member with everything around it.
pub trait Player {
    /// Does the act with this number.
    fn call(&mut self, number: usize, method: &str, body: &[u8]) -> Told;
    fn pass(&mut self, ms: u64) -> Told;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// JSON with `{"$bin": "HEX"}` for bytes.
struct Packed(Value);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Object(fields) => match fields.get("$bin").and_then(Value::as_str) {
                Some(text) => to.serialize_bytes(&unhex(text)),
                None => {
                    let mut map = to.serialize_map(Some(fields.len()))?;
                    for (key, value) in fields {
                        map.serialize_entry(key, &Packed(value.clone()))?;
                    }
                    map.end()
                }
            },
            Value::Array(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Packed(item.clone()))?;
                }
                list.end()
            }
            plain => plain.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Packed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Packed, E> {
                Ok(Packed(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Packed, E> {
                Ok(Packed(json!(value)))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Packed, E> {
                Ok(Packed(json!(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Packed, E> {
                Ok(Packed(json!(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Packed, E> {
                Ok(Packed(json!(value)))
            }
            fn visit_bytes<E>(self, value: &[u8]) -> Result<Packed, E> {
                Ok(Packed(json!({"$bin": hex(value)})))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Packed, A::Error> {
                let mut items = Vec::new();
                while let Some(Packed(item)) = list.next_element()? {
                    items.push(item);
                }
                Ok(Packed(Value::Array(items)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Packed, A::Error> {
                let mut fields = serde_json::Map::new();
                while let Some((key, Packed(value))) = map.next_entry()? {
                    fields.insert(key, value);
                }
                Ok(Packed(Value::Object(fields)))
            }
        }
        from.deserialize_any(Any)
    }
}

pub fn pack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(&Packed(value.clone())).unwrap()
}

pub fn unpack(bytes: &[u8]) -> Value {
    rmp_serde::from_slice::<Packed>(bytes).unwrap().0
}

/// Adds what was answered, as a value and to the byte.
fn put_outcome(vector: &mut Value, outcome: &Outcome) {
    let (key, bytes) = match outcome {
        Ok(reply) => ("reply", reply.clone()),
        Err(error) => ("error", rmp_serde::to_vec_named(error).unwrap()),
    };
    vector[key] = unpack(&bytes);
    vector[format!("{key}_hex")] = json!(hex(&bytes));
}

/// What the acts come to now.
fn play(session: &Session, player: &mut impl Player) -> Vec<Value> {
    let mut vectors: Vec<Value> = Vec::new();
    for (number, (name, act)) in session.iter().enumerate() {
        let mut vector = json!({"name": name});
        let told = match act {
            Act::Call(method, arguments) => {
                let body = pack(arguments);
                vector["method"] = json!(method);
                vector["request"] = arguments.clone();
                vector["request_hex"] = json!(hex(&body));
                player.call(number, method, &body)
            }
            Act::Pass(ms) => {
                vector["passes_ms"] = json!(ms);
                player.pass(*ms)
            }
        };
        let mut later: Vec<Value> = Vec::new();
        for (of, outcome) in &told.answers {
            if *of == number {
                put_outcome(&mut vector, outcome);
            } else {
                let mut answer = json!({"to": session[*of].0});
                put_outcome(&mut answer, outcome);
                later.push(answer);
            }
        }
        let asks: Vec<Value> = told
            .asks
            .iter()
            .map(|asked| {
                let mut ask = json!({"capability": asked.capability, "method": asked.method,
                    "request": unpack(&asked.body), "request_hex": hex(&asked.body)});
                put_outcome(&mut ask, &asked.answer);
                ask
            })
            .collect();
        for (key, list) in [("answers", later), ("asks", asks)] {
            if !list.is_empty() {
                vector[key] = json!(list);
            }
        }
        if !told.events.is_empty() {
            vector["events"] = json!(told.events);
        }
        vectors.push(vector);
    }
    vectors
}

/// Plays the session and compares it with the file of this name.
pub fn check(file: &str, session: &Session, player: &mut impl Player) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../bus/vectors/contracts");
    let path = path.join(file);
    let found = play(session, player);
    if std::env::var_os("SYMPHONY_WRITE_VECTORS").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
        return;
    }
    let vectors: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (vector, found) in vectors.iter().zip(&found) {
        assert_eq!(vector, found, "{}", vector["name"]);
    }
    assert_eq!(vectors.len(), found.len());
}
