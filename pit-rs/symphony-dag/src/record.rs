//! The records of a journal: what is written, once, and never changed.

use serde::{Deserialize, Serialize};
use symphony_wire::{BusError, Code, Value};

use crate::spec::{After, Learned, StepSpec};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Opened,
    Resumed,
    Started,
    Decision,
    Gate,
    Completed,
    Failed,
    Skipped,
    Noted,
    /// Steps, or dependencies, were added.
    Grown,
    /// Steps that had not started were replaced.
    Rerouted,
    /// Steps that had ended are to run again, with what was made from them.
    Redone,
    /// The run is as it was after an earlier record; what lies between is an abandoned branch.
    RolledBack,
    Finished,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the journal, from 1.
    pub index: u64,
    pub kind: Kind,
    pub ts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Of `failed`: true where no attempt follows.
    #[serde(default, rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub for_good: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The `data` of `opened`: everything that the run is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    pub melody: String,
    pub version: String,
    pub digest: String,
    pub document: Value,
    pub inputs: Value,
    pub steps: Vec<StepSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Learned,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Succeeded,
    Failed,
    Aborted,
}

/// The `data` of `finished`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The `data` of `completed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    pub outputs: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The `data` of `failed` for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub error: Value,
}

/// The `data` of `skipped`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    pub reason: String,
}

/// The `data` of `grown` and `rerouted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    pub id: String,
    pub steps: Vec<StepSpec>,
    #[serde(default, skip_serializing_if = "After::is_empty")]
    pub after: After,
    /// Of `rerouted`: the steps that are replaced; nothing: all that have not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Vec<String>>,
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub round: Option<Loop>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Learned,
}

/// One round of a bounded loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    pub name: String,
    /// So many rounds at most, the same in every round.
    pub most: u32,
}

/// The `data` of `redone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redone {
    pub id: String,
    pub steps: Vec<String>,
}

/// The `data` of `rolledback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    pub id: String,
    /// The record after which the run was as it is again.
    pub to: u64,
}

impl Record {
    /// A record without step or data; its index is set when it is journaled.
    pub fn new(kind: Kind, ts: &str) -> Self {
        Self {
            index: 0,
            kind,
            ts: ts.to_owned(),
            step: None,
            attempt: None,
            for_good: false,
            data: None,
        }
    }

    pub fn step(mut self, step: &str) -> Self {
        self.step = Some(step.to_owned());
        self
    }

    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Sets `data` to one of the structs above, as a map with string keys.
    pub fn data(mut self, data: impl Serialize) -> Result<Self, BusError> {
        let no_record = |error: &dyn std::fmt::Display| {
            BusError::new(Code::Internal, format!("failed to form a record: {error}"))
        };
        let bytes = rmp_serde::to_vec_named(&data).map_err(|error| no_record(&error))?;
        let data = rmp_serde::from_slice(&bytes).map_err(|error| no_record(&error))?;
        self.data = Some(data);
        Ok(self)
    }

    /// Reads `data` as one of the structs above.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, BusError> {
        let bytes = rmp_serde::to_vec(&self.data).map_err(|error| malformed(self.index, &error))?;
        rmp_serde::from_slice(&bytes).map_err(|error| malformed(self.index, &error))
    }

    pub fn encode(&self) -> Result<Vec<u8>, BusError> {
        rmp_serde::to_vec_named(self)
            .map_err(|error| BusError::new(Code::Internal, format!("no record: {error}")))
    }

    /// Reads the payload of the record with this index.
    pub fn decode(index: u64, payload: &[u8]) -> Result<Self, BusError> {
        let record: Self =
            rmp_serde::from_slice(payload).map_err(|error| malformed(index, &error))?;
        if record.index != index {
            let found = record.index;
            return Err(malformed(index, &format_args!("it says that it is {found}")));
        }
        Ok(record)
    }
}

fn malformed(index: u64, error: &dyn std::fmt::Display) -> BusError {
    BusError::new(Code::Corrupt, format!("record {index} is malformed: {error}"))
        .at(format!("record {index}"))
}

/// Whether two values mean the same: maps are equal in any order of their keys.
pub fn same(left: &Value, right: &Value) -> bool {
    left == right || sorted(left) == sorted(right)
}

/// The value with every map in the order of its keys' bytes.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let mut pairs: Vec<(Value, Value)> =
                pairs.iter().map(|(key, value)| (sorted(key), sorted(value))).collect();
            pairs.sort_by_cached_key(|(key, _)| rmp_serde::to_vec(key).unwrap_or_default());
            Value::Map(pairs)
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_says_nothing_but_that_of_items_does() {
        let pair = |key: &str, value: i64| (Value::from(key), Value::from(value));
        let map = |pairs: &[(Value, Value)]| Value::Array(vec![Value::Map(pairs.to_vec())]);
        let one = map(&[pair("a", 1), pair("b", 2)]);
        assert!(same(&one, &map(&[pair("b", 2), pair("a", 1)])));
        assert!(!same(&one, &map(&[pair("b", 1), pair("a", 2)])));
        assert!(!same(&one, &map(&[pair("a", 1)])));
        assert!(!same(
            &Value::Array(vec![1.into(), 2.into()]),
            &Value::Array(vec![2.into(), 1.into()])
        ));
    }
}
