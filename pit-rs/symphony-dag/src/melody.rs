//! What a run's document tells of its steps, where it is one that the kernel wrote: `document.melody.file.steps`, or
//! `document.steps`. Whatever is missing or has another form says nothing.

use std::collections::HashMap;

use symphony_wire::Value;

use crate::growth;

/// What the Melody says of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note<'a> {
    pub capability: Option<&'a str>,
    pub player: Option<&'a str>,
    pub fallbacks: Vec<&'a str>,
    pub importance: Option<&'a str>,
    /// Inputs that come from other steps: `(input, step, output)`.
    pub inputs: Vec<(&'a str, &'a str, &'a str)>,
}

impl<'a> Note<'a> {
    /// What is done, if that is a name for it.
    pub fn kind(&self) -> Option<&'a str> {
        self.capability.filter(|kind| growth::is_name(kind))
    }
}

fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let pairs = value.as_map()?;
    pairs.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
}

/// The notes by step.
pub fn notes(document: &Value) -> HashMap<&str, Note<'_>> {
    let file = field(document, "melody").and_then(|melody| field(melody, "file"));
    let steps = field(file.unwrap_or(document), "steps").and_then(Value::as_array);
    let named = |step| Some((field(step, "id")?.as_str()?, note(step)));
    steps.into_iter().flatten().filter_map(named).collect()
}

fn note(step: &Value) -> Note<'_> {
    let text = |key| field(step, key).and_then(Value::as_str);
    let fallbacks = field(step, "fallbacks").and_then(Value::as_array);
    let inputs = field(step, "inputs").and_then(Value::as_map);
    Note {
        capability: text("capability"),
        player: text("player"),
        fallbacks: fallbacks.into_iter().flatten().filter_map(Value::as_str).collect(),
        importance: text("importance"),
        inputs: inputs
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| origin(name, value))
            .collect(),
    }
}

/// Of an input that is `$steps.ID.OUTPUT`.
fn origin<'a>(name: &'a Value, value: &'a Value) -> Option<(&'a str, &'a str, &'a str)> {
    let (step, output) = value.as_str()?.strip_prefix("$steps.")?.split_once('.')?;
    Some((name.as_str()?, step, output))
}
