//! Steps as a caller describes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a dependency asks of the step that is waited for. Ordered by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dependency {
    /// What it made is used if it is there.
    Optional,
    /// It must have ended; its absence is worked around.
    Soft,
    /// It must have succeeded.
    Hard,
}

/// One dependency: `[step, kind]`, or `[step, kind, transfer_ms]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Triple")]
pub struct Link {
    pub step: String,
    pub kind: Dependency,
    /// What it takes to bring the other's outputs here, for the ranks alone.
    pub transfer_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Triple(String, Dependency, #[serde(default)] Option<f64>);

impl From<Triple> for Link {
    fn from(Triple(step, kind, transfer_ms): Triple) -> Self {
        Self { step, kind, transfer_ms }
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.transfer_ms {
            None => (&self.step, self.kind).serialize(serializer),
            Some(transfer_ms) => (&self.step, self.kind, transfer_ms).serialize(serializer),
        }
    }
}

/// How many of its dependencies a step waits for: `all`, `any` or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    #[default]
    All,
    Any,
    Of(u32),
}

impl Join {
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// How many of `count` dependencies must be satisfied, if so many can be.
    pub fn needed(self, count: u32) -> Option<u32> {
        let needed = match self {
            Self::All => return Some(count),
            Self::Any => 1,
            Self::Of(needed) => needed,
        };
        (1..=count).contains(&needed).then_some(needed)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    All,
    Any,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WordOrCount {
    Word(Word),
    Count(u32),
}

impl Serialize for Join {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match self {
            Self::All => WordOrCount::Word(Word::All),
            Self::Any => WordOrCount::Word(Word::Any),
            Self::Of(count) => WordOrCount::Count(*count),
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Join {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WordOrCount::deserialize(deserializer)? {
            WordOrCount::Word(Word::All) => Self::All,
            WordOrCount::Word(Word::Any) => Self::Any,
            WordOrCount::Count(count) => Self::Of(count),
        })
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    pub id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Link>,
    #[serde(default, skip_serializing_if = "Join::is_all")]
    pub join: Join,
    /// What is done, e.g. a capability: steps of one kind take alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_ms: Option<f64>,
}

/// What was learned when steps were journaled, and is their estimate where nobody told one: player (where one is named),
/// kind, milliseconds.
pub type Learned = Vec<(Option<String>, String, u64)>;

/// Further dependencies of steps that are there.
pub type After = BTreeMap<String, Vec<Link>>;
