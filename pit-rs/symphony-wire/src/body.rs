//! Bodies: how one is read strictly, and those that the protocol fixes (PROTOCOL sections 3, 4 and 6).
//! Unknown keys are ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::constants::{FIRST_EPOCH, GRACE_MS};
use crate::reader::{Item, Reader};
use crate::Value;

/// Why a body is not the map it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// The field, as a path from the top; `None` where the body as a whole is wrong.
    pub field: Option<String>,
    pub message: String,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} ({field})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for BodyError {}

/// Reads a body that is one msgpack map and nothing after it.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    // serde would also read a struct from an array, by position; the protocol has maps only.
    if !matches!(body.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(BodyError { field: None, message: "not a map".to_owned() });
    }
    read_value(body)
}

/// Reads a body that is one msgpack item of any type and nothing after it.
pub fn read_value<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    let mut rest = body;
    let value = match T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest)) {
        Ok(value) => value,
        Err(_) => {
            rest = body;
            read_with_place(&mut rest)?
        }
    };
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(BodyError { field: None, message: "bytes follow the body".to_owned() })
    }
}

/// Reads more slowly, to say where the error is.
fn read_with_place<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, BodyError> {
    let mut deserializer = rmp_serde::Deserializer::new(rest);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        BodyError { field: (path != ".").then_some(path), message: error.into_inner().to_string() }
    })
}

/// Whether the arguments of a call hold its [`Context`]; `None` if that cannot be told, as they are not good ones.
pub fn has_context(arguments: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(arguments);
    let Item::Map(pairs) = reader.item().ok()? else { return None };
    for _ in 0..pairs {
        match reader.item().ok()? {
            Item::Str("$") => return Some(true),
            Item::Str(_) => reader.skip(1).ok()?,
            _ => return None,
        }
    }
    reader.is_at_end().then_some(false)
}

/// Writes one of the bodies below.
pub fn write<T: Serialize>(body: &T) -> Vec<u8> {
    // Text, numbers and maps into memory: the serializer has nothing it could refuse.
    rmp_serde::to_vec_named(body).unwrap_or_default()
}

/// The first message of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u64,
    pub sdk: String,
    pub pid: u32,
    pub provides: Vec<String>,
}

/// The hub's answer to a *hello* it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub instance: String,
    pub heartbeat_ms: NonZeroU32,
    pub liveness: NonZeroU16,
    pub max_body: u64,
    pub inline_max: u64,
    /// Another number than before: the hub has started anew.
    #[serde(default = "first_epoch")]
    pub epoch: u64,
    /// How long a provider may take to answer a cancelled call.
    #[serde(default = "default_grace")]
    pub grace_ms: u32,
}

fn first_epoch() -> u64 {
    FIRST_EPOCH
}

fn default_grace() -> u32 {
    GRACE_MS
}

/// How far a call has come, in whatever unit the provider counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub done: f64,
    #[serde(default)]
    pub total: Option<f64>,
    #[serde(default)]
    pub message: String,
    /// What the call has used up so far, by resource; nothing where it is not told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spent: BTreeMap<String, u64>,
}

/// What an instance is configured with before its first call: two maps with string keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activate {
    #[serde(deserialize_with = "map")]
    pub config: Value,
    #[serde(deserialize_with = "map")]
    pub params: Value,
}

fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let named = value.as_map().is_some_and(|pairs| pairs.iter().all(|(key, _)| key.is_str()));
    named.then_some(value).ok_or_else(|| D::Error::custom("not a map with string keys"))
}

impl Default for Activate {
    fn default() -> Self {
        Self { config: Value::Map(Vec::new()), params: Value::Map(Vec::new()) }
    }
}

/// A wish for a clean end within this many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unload {
    pub grace_ms: u32,
}

/// A farewell, from either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    pub reason: String,
}

/// The context of a call, under the key `$` of its arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// This call's own folder below inbox and outbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}
