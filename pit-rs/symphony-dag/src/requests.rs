//! The arguments of the methods, as they arrive. Unknown keys are ignored.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::Deserialize;
use symphony_wire::{BusError, Code, Value};

use crate::names::check_ts;
use crate::record::{Growth, Kind, Loop, Outcome, Record};
use crate::recovery::Inverse;
use crate::spec::{After, StepSpec};

/// A request about one run.
pub trait Request: DeserializeOwned {
    fn run(&self) -> &str;

    /// What can be checked without the run.
    fn check(&self) -> Result<(), BusError>;
}

#[derive(Deserialize)]
pub struct Open {
    pub run: String,
    pub melody: String,
    pub version: String,
    pub digest: String,
    pub document: Value,
    pub inputs: Value,
    pub steps: Vec<StepSpec>,
    pub ts: String,
}

/// A record that the caller writes itself.
#[derive(Deserialize)]
pub struct Draft {
    kind: Kind,
    ts: String,
    step: Option<String>,
    attempt: Option<u32>,
    data: Option<Value>,
}

#[derive(Deserialize)]
pub struct Append {
    pub run: String,
    #[serde(default)]
    pub durable: bool,
    records: Vec<Draft>,
}

#[derive(Deserialize)]
pub struct Complete {
    pub run: String,
    pub step: String,
    pub attempt: u32,
    pub outputs: Value,
    pub quality: Option<f64>,
    pub data: Option<Value>,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Fail {
    pub run: String,
    pub step: String,
    pub attempt: u32,
    pub error: Value,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Skip {
    pub run: String,
    pub step: String,
    pub reason: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Finish {
    pub run: String,
    pub outcome: Outcome,
    pub data: Option<Value>,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Resume {
    pub run: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Grow {
    pub run: String,
    #[serde(default)]
    steps: Vec<StepSpec>,
    #[serde(default)]
    after: After,
    #[serde(rename = "loop")]
    round: Option<Loop>,
    id: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Reroute {
    pub run: String,
    drop: Option<Vec<String>>,
    #[serde(default)]
    steps: Vec<StepSpec>,
    #[serde(default)]
    after: After,
    id: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Redo {
    pub run: String,
    pub steps: Vec<String>,
    pub id: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Rollback {
    pub run: String,
    pub to: u64,
    pub id: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Plan {
    pub run: String,
    pub broken: Vec<String>,
    /// Other players, by step, instead of the Melody's.
    #[serde(default)]
    pub players: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub inverses: Vec<Inverse>,
    /// Where inputs come from, beside what the Melody says: step, input, from step, output.
    #[serde(default)]
    pub lineage: Vec<(String, String, String, String)>,
}

#[derive(Deserialize)]
pub struct Learned {
    pub player: Option<String>,
    pub kind: Option<String>,
    #[serde(default = "default_runs")]
    pub limit: usize,
    /// A continuation: kind and player of the last pair had.
    pub after: Option<(String, String)>,
}

#[derive(Deserialize)]
pub struct State {
    pub run: String,
    /// A continuation: what follows the first so many steps.
    pub after: Option<usize>,
}

#[derive(Deserialize)]
pub struct Journal {
    pub run: String,
    #[serde(default)]
    pub after: u64,
    #[serde(default = "default_records")]
    pub limit: usize,
}

#[derive(Deserialize)]
pub struct Runs {
    #[serde(default = "default_runs")]
    pub limit: usize,
    pub before: Option<String>,
}

fn default_records() -> usize {
    1_000
}

fn default_runs() -> usize {
    100
}

impl Grow {
    pub fn into_growth(self) -> Growth {
        let Self { id, steps, after, round, .. } = self;
        Growth { id, steps, after, drop: None, round, learned: Vec::new() }
    }
}

impl Reroute {
    pub fn into_growth(self) -> Growth {
        let Self { id, steps, after, drop, .. } = self;
        Growth { id, steps, after, drop, round: None, learned: Vec::new() }
    }
}

impl Append {
    /// The records, if their kinds are ones that a caller may write.
    pub fn into_records(self) -> Result<Vec<Record>, BusError> {
        let record = |(position, draft): (usize, Draft)| match draft.kind {
            Kind::Started | Kind::Failed | Kind::Decision | Kind::Gate | Kind::Noted => {
                let Draft { kind, ts, step, attempt, data } = draft;
                Ok(Record { step, attempt, data, ..Record::new(kind, &ts) })
            }
            kind => Err(BusError::new(Code::BadRequest, format!("{kind:?} cannot be appended"))
                .at(format!("records[{position}].kind"))
                .help("use started, failed, decision, gate or noted, or the method for it")),
        };
        self.records.into_iter().enumerate().map(record).collect()
    }
}

/// A short text: every reply about the run repeats it.
fn check_short(text: &str, place: &str) -> Result<(), BusError> {
    const MOST: usize = 256;
    if text.len() <= MOST {
        return Ok(());
    }
    Err(BusError::new(Code::BadRequest, format!("{place} has over {MOST} bytes")).at(place))
}

fn check_map(value: &Value, place: &str) -> Result<(), BusError> {
    if value.is_map() {
        return Ok(());
    }
    Err(BusError::new(Code::BadRequest, format!("{place} is not a map")).at(place))
}

fn check_some(holds: bool, place: &str, what: &str) -> Result<(), BusError> {
    if holds {
        return Ok(());
    }
    Err(BusError::new(Code::BadRequest, what).at(place))
}

macro_rules! requests {
    ($($name:ident $check:expr;)*) => {$(
        impl Request for $name {
            fn run(&self) -> &str {
                &self.run
            }

            fn check(&self) -> Result<(), BusError> {
                let check: fn(&Self) -> Result<(), BusError> = $check;
                check(self)
            }
        }
    )*};
}

requests! {
    Open |it| {
        check_short(&it.melody, "melody")?;
        check_short(&it.version, "version")?;
        check_short(&it.digest, "digest")?;
        check_ts(&it.ts, "ts")
    };
    Append |it| {
        if it.records.is_empty() {
            return Err(BusError::new(Code::BadRequest, "no records").at("records"));
        }
        let mut places = it.records.iter().enumerate();
        places.try_for_each(|(n, draft)| check_ts(&draft.ts, &format!("records[{n}].ts")))
    };
    Complete |it| check_ts(&it.ts, "ts").and_then(|()| check_map(&it.outputs, "outputs"));
    Fail |it| check_ts(&it.ts, "ts").and_then(|()| check_map(&it.error, "error"));
    Skip |it| check_ts(&it.ts, "ts");
    Finish |it| check_ts(&it.ts, "ts");
    Resume |it| check_ts(&it.ts, "ts");
    Grow |it| {
        check_ts(&it.ts, "ts")?;
        check_some(!it.steps.is_empty() || !it.after.is_empty(), "steps", "nothing to add")
    };
    Reroute |it| check_ts(&it.ts, "ts");
    Redo |it| check_ts(&it.ts, "ts");
    Rollback |it| {
        check_ts(&it.ts, "ts")?;
        check_some(it.to >= 1, "to", "records are numbered from 1")
    };
    Plan |it| {
        const MOST: usize = 10_000;
        check_some(!it.broken.is_empty(), "broken", "nothing is broken")?;
        for (count, place) in [(it.broken.len(), "broken"), (it.inverses.len(), "inverses"),
            (it.lineage.len(), "lineage"), (it.players.len(), "players")]
        {
            check_some(count <= MOST, place, "more than 10,000 entries")?;
        }
        Ok(())
    };
    State |_| Ok(());
    Journal |_| Ok(());
}
