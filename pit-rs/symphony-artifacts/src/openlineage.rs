//! Lineage as OpenLineage events (spec 2-0-2): one `COMPLETE` of a job for each step that made something.
//!
//! <https://openlineage.io/spec/2-0-2/OpenLineage.json>. A run there is one execution of a job, so it is one attempt
//! of a step here; the Melody's run is its parent. A run's id has to be a UUID: it is made from a hash of run, step,
//! attempt, player and version (version 8 of RFC 9562), so the same step has the same one in every export.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::info::{Entry, Made};
use crate::Reference;

const PRODUCER: &str = "urn:symphony:artifact-store";
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const PARENT: &str =
    "https://openlineage.io/spec/facets/1-0-1/ParentRunFacet.json#/$defs/ParentRunFacet";
const NAMESPACE: &str = "symphony";

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub event_type: &'static str,
    pub event_time: String,
    pub run: Run,
    pub job: Job,
    pub inputs: Vec<Dataset>,
    pub outputs: Vec<Dataset>,
    pub producer: &'static str,
    #[serde(rename = "schemaURL")]
    pub schema_url: &'static str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub run_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facets: Option<Facets>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Facets {
    pub parent: Parent,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Parent {
    #[serde(rename = "_producer")]
    pub producer: &'static str,
    #[serde(rename = "_schemaURL")]
    pub schema_url: &'static str,
    pub run: ParentRun,
    pub job: Job,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRun {
    pub run_id: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    pub namespace: &'static str,
    pub name: String,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Dataset {
    pub namespace: &'static str,
    pub name: String,
}

impl Dataset {
    fn of(reference: &Reference) -> Self {
        Self { namespace: NAMESPACE, name: reference.to_string() }
    }
}

/// The events of these entries, in the order of their time.
pub fn events(entries: &[Entry]) -> Vec<Event> {
    type Key = (String, [Option<String>; 4], Option<u64>);
    let mut steps: BTreeMap<Key, (BTreeSet<Dataset>, BTreeSet<Dataset>, Made)> = BTreeMap::new();
    for entry in entries {
        let Some(made) = &entry.made else { continue };
        let Made { run, step, player, version, attempt, .. } = made.clone();
        let key = (entry.created.clone(), [run, step, player, version], attempt);
        let (inputs, outputs, _) = steps.entry(key).or_insert_with(|| {
            (BTreeSet::new(), BTreeSet::new(), Made { inputs: None, ..made.clone() })
        });
        inputs.extend(made.inputs.iter().flatten().map(Dataset::of));
        outputs.insert(Dataset::of(&entry.reference));
    }
    let event = |((created, ..), (inputs, outputs, made)): (Key, (_, _, Made))| {
        let inputs: BTreeSet<Dataset> = inputs;
        let outputs: BTreeSet<Dataset> = outputs;
        let step = made.step.clone().unwrap_or_else(|| "put".to_owned());
        let name = match &made.player {
            Some(player) => format!("{step}.{player}"),
            None => step,
        };
        let facets = made.run.as_ref().map(|run| Facets {
            parent: Parent {
                producer: PRODUCER,
                schema_url: PARENT,
                run: ParentRun { run_id: uuid(&[Some(run)]) },
                job: Job { namespace: NAMESPACE, name: run.clone() },
            },
        });
        let attempt = made.attempt.map(|attempt| attempt.to_string());
        let own = [&made.run, &made.step, &attempt, &made.player, &made.version];
        Event {
            event_type: "COMPLETE",
            event_time: created,
            run: Run { run_id: uuid(&own.map(Option::as_ref)), facets },
            job: Job { namespace: NAMESPACE, name },
            inputs: inputs.into_iter().collect(),
            outputs: outputs.into_iter().collect(),
            producer: PRODUCER,
            schema_url: SCHEMA,
        }
    };
    steps.into_iter().map(event).collect()
}

fn uuid(parts: &[Option<&String>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // With its length, so that no two lists of parts look alike.
        let text = part.map_or("", String::as_str);
        hasher.update(&[u8::from(part.is_some())]);
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let hash = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_event_with_all_it_took_and_gave() {
        let made = |attempt| Made {
            run: Some("r-1".to_owned()),
            step: Some("draft".to_owned()),
            player: Some("writer".to_owned()),
            attempt: Some(attempt),
            inputs: Some(vec![Reference::of(b"in")]),
            ..Made::default()
        };
        let entry = |content: &[u8], attempt| Entry {
            reference: Reference::of(content),
            name: None,
            media: None,
            made: Some(made(attempt)),
            created: "2026-01-01T00:00:00.000Z".to_owned(),
        };
        let events = events(&[entry(b"a", 1), entry(b"b", 1), entry(b"a", 2)]);
        assert_eq!(events.len(), 2);
        let first = &events[0];
        assert_eq!((first.inputs.len(), first.outputs.len()), (1, 2));
        assert_eq!(first.job.name, "draft.writer");
        assert_eq!(events[1].outputs, [Dataset::of(&Reference::of(b"a"))]);
        assert_ne!(first.run.run_id, events[1].run.run_id);
        assert_eq!(first.run.facets, events[1].run.facets);
        let id = &first.run.run_id;
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
        assert!("89ab".contains(&id[19..20]));
    }
}
