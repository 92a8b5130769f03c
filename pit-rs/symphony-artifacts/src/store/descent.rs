//! Where an artifact comes from and what came of it, as the entries say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Store;
use crate::error::Result;
use crate::index::Facet;
use crate::info::{Entry, Made};
use crate::Reference;

/// Artifacts in one answer.
const MAX_NODES: usize = 1_000;
/// Edges in one answer.
const MAX_EDGES: usize = 4_000;
/// Entries of one artifact that are followed, the newest ones.
const MAX_ENTRIES: usize = 100;

/// Which way to go: to what it was made from, to what was made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Inputs,
    Outputs,
    Both,
}

/// One artifact on the way. It may be swept, or known only as somebody's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub reference: Reference,
    /// Steps away from where it began.
    pub depth: usize,
    pub name: Option<String>,
    pub bytes: Option<u64>,
    pub there: bool,
}

/// That `to` was made from `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: Reference,
    pub to: Reference,
    pub made: Made,
}

#[derive(Clone, Debug, Default)]
pub struct Lineage {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Every entry that was met: who made what from what.
    pub entries: Vec<Entry>,
    /// Whether there is more than an answer holds.
    pub more: bool,
}

impl Store {
    /// Everything up to `depth` steps away, breadth first.
    pub fn lineage(&mut self, reference: &Reference, depth: usize, way: Way) -> Result<Lineage> {
        self.ready()?;
        if self.index()?.swept(reference)?.is_none() {
            self.blob(reference)?;
        }
        let mut lineage = Lineage::default();
        let mut queue = VecDeque::new();
        let mut seen = BTreeSet::from([*reference]);
        let mut entries = BTreeMap::new();
        queue.push_back((*reference, 0, way != Way::Outputs, way != Way::Inputs));
        while let Some((current, away, up, down)) = queue.pop_front() {
            lineage.nodes.push(self.node(&current, away)?);
            if away == depth {
                continue;
            }
            let mut met = |other: Reference, up, down, more: &mut bool| {
                if !seen.contains(&other) {
                    if seen.len() == MAX_NODES {
                        *more = true;
                    } else {
                        seen.insert(other);
                        queue.push_back((other, away + 1, up, down));
                    }
                }
            };
            if up {
                for entry in self.entries_of(&current)? {
                    for input in entry.made.iter().flat_map(|made| made.inputs.iter().flatten()) {
                        lineage.edge(*input, current, &entry);
                        met(*input, true, false, &mut lineage.more);
                    }
                    keep(&mut entries, entry);
                }
            }
            if down {
                let made = self.index()?.made_from(&current, MAX_ENTRIES + 1)?;
                lineage.more |= made.len() > MAX_ENTRIES;
                for entry in made.into_iter().take(MAX_ENTRIES) {
                    lineage.edge(current, entry.reference, &entry);
                    met(entry.reference, false, true, &mut lineage.more);
                    keep(&mut entries, entry);
                }
            }
        }
        lineage.entries = entries.into_values().collect();
        Ok(lineage)
    }

    fn node(&self, reference: &Reference, depth: usize) -> Result<Node> {
        let blob = self.index()?.blob(reference)?;
        let there = blob.is_some();
        let known = match blob {
            Some(blob) => Some(blob),
            None => self.index()?.swept(reference)?.map(|swept| swept.blob),
        };
        let mut name = None;
        self.each_entry(reference, |entry| {
            name = entry.name;
            Ok(name.is_none())
        })?;
        let bytes = known.map(|blob| blob.user_bytes());
        Ok(Node { reference: *reference, depth, name, bytes, there })
    }

    /// The newest entries of a content, whether it is there or not.
    fn entries_of(&self, reference: &Reference) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.each_entry(reference, |entry| {
            entries.push(entry);
            Ok(entries.len() < MAX_ENTRIES)
        })?;
        Ok(entries)
    }

    pub(super) fn each_entry(
        &self,
        reference: &Reference,
        mut each: impl FnMut(Entry) -> Result<bool>,
    ) -> Result<()> {
        let own = reference.hex();
        self.index()?.entries(Facet::Reference, &own, u64::MAX, |_, entry| each(entry))
    }
}

impl Lineage {
    fn edge(&mut self, from: Reference, to: Reference, entry: &Entry) {
        // What went in is told by the edges.
        let made = Made { inputs: None, ..entry.made.clone().unwrap_or_default() };
        let edge = Edge { from, to, made };
        if self.edges.len() >= MAX_EDGES {
            self.more = true;
        } else if !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }
}

/// Each entry once, in an order that depends on nothing but the entries.
fn keep(entries: &mut BTreeMap<(String, Reference, String), Entry>, entry: Entry) {
    let made = entry.made.clone().unwrap_or_default();
    let print = format!("{:?}", (&entry.name, &made.run, &made.step, &made.attempt, &made.player));
    entries.insert((entry.created.clone(), entry.reference, print), entry);
}
