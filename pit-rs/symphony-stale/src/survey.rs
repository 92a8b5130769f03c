//! What there is and who needs it, as store and tracker said just now. Nothing here asks or decides.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::ledger::Ledger;
use crate::value::{Ended, Signals, Worth};
use symphony_member::instant;
use symphony_member::Reference;

/// Artifacts and files of folders in one survey: about 300 bytes each. More of them stop it.
pub const MAX_THINGS: usize = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    File,
    Folder,
}

/// One entry of the store's `list`.
#[derive(Debug, Deserialize)]
pub struct Info {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub kind: Kind,
    pub bytes: u64,
    #[serde(default)]
    pub media: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    pub created: String,
    #[serde(default)]
    pub made: Option<Made>,
    /// What the gate gave it, 0 to 1000.
    #[serde(default)]
    pub quality: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Made {
    #[serde(default)]
    pub run: Option<String>,
    #[serde(default)]
    pub step: Option<String>,
    #[serde(default)]
    pub player: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub inputs: Vec<Reference>,
}

/// One content, with all that its entries say.
#[derive(Clone, Debug)]
pub struct Thing {
    pub kind: Kind,
    /// Of a folder: its listing and its files, each once.
    pub bytes: u64,
    /// As the store tells it: of a folder without its listing.
    pub told_bytes: u64,
    pub name: Option<String>,
    pub player: Option<Arc<str>>,
    pub runs: Vec<Arc<str>>,
    /// When it was last put; `None` if that cannot be read.
    pub put: Option<i64>,
    pub quality: Option<u64>,
    /// Entries that were made from it.
    pub uses: u64,
    /// Its player, step and media type.
    like: Arc<str>,
    /// The files of a folder, with their lengths.
    pub parts: Arc<[(Reference, u64)]>,
}

impl Thing {
    pub fn runs(&self) -> impl Iterator<Item = &str> + Clone {
        self.runs.iter().map(AsRef::as_ref)
    }
}

/// What the tracker says.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Named anywhere in the state of an open run.
    pub referenced: HashSet<Reference>,
    pub open: HashSet<String>,
    pub ended: HashMap<String, Ended>,
}

#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub things: BTreeMap<Reference, Thing>,
    pub needs: Needs,
    /// In how many folders each file is.
    part_of: HashMap<Reference, usize>,
    /// What an open run's products were made from.
    inputs_of_open: HashSet<Reference>,
    alike: HashMap<Arc<str>, u64>,
    /// Bytes of everything, each content once.
    pub used: u64,
}

/// Builds a survey from the pages of a listing.
#[derive(Default)]
pub struct Builder {
    things: BTreeMap<Reference, Thing>,
    uses: HashMap<Reference, u64>,
    inputs: Vec<(Reference, Arc<str>)>,
    words: HashSet<Arc<str>>,
    pub count: usize,
}

impl Builder {
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.words.get(text) {
            return word.clone();
        }
        let word: Arc<str> = text.into();
        self.words.insert(word.clone());
        word
    }

    pub fn add(&mut self, info: Info) {
        self.count += 1;
        let made = info.made.unwrap_or_default();
        let run = made.run.map(|run| self.word(&run));
        for input in made.inputs {
            self.count += 1;
            *self.uses.entry(input).or_default() += 1;
            if let Some(run) = &run {
                self.inputs.push((input, run.clone()));
            }
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let like = [text(&made.player), text(&made.step), text(&info.media)].join("\n");
        let like = self.word(&like);
        let player = made.player.map(|player| self.word(&player));
        let put = instant::read(&info.created);
        let thing = self.things.entry(info.reference).or_insert_with(|| Thing {
            kind: info.kind,
            bytes: info.bytes,
            told_bytes: info.bytes,
            name: info.name,
            player,
            runs: Vec::new(),
            put,
            quality: None,
            uses: 0,
            like,
            parts: Arc::new([]),
        });
        thing.put = thing.put.zip(put).map(|(one, other)| one.max(other));
        thing.quality = thing.quality.max(info.quality);
        if info.kind == Kind::Folder {
            thing.kind = Kind::Folder;
        }
        if let Some(run) = run.filter(|run| !thing.runs.contains(run)) {
            thing.runs.push(run);
        }
    }

    pub fn folders(&self) -> Vec<Reference> {
        let folders = self.things.iter().filter(|(_, thing)| thing.kind == Kind::Folder);
        folders.map(|(reference, _)| *reference).collect()
    }

    /// Says what a folder is made of, and how long its listing is.
    pub fn fill(&mut self, folder: &Reference, listing: u64, parts: Vec<(Reference, u64)>) {
        self.count += parts.len();
        if let Some(thing) = self.things.get_mut(folder) {
            thing.bytes = parts.iter().fold(listing, |sum, part| sum.saturating_add(part.1));
            thing.parts = parts.into();
        }
    }

    pub fn finish(mut self, needs: Needs) -> Survey {
        let mut survey = Survey::default();
        let mut files = HashMap::new();
        for (reference, thing) in &mut self.things {
            thing.uses = self.uses.get(reference).copied().unwrap_or(0);
            *survey.alike.entry(thing.like.clone()).or_default() += 1;
            let mut own = thing.bytes;
            for (part, bytes) in thing.parts.iter() {
                *survey.part_of.entry(*part).or_default() += 1;
                own = own.saturating_sub(*bytes);
                files.insert(*part, *bytes);
            }
            files.insert(*reference, own);
        }
        survey.used = files.values().fold(0, |sum, bytes| sum.saturating_add(*bytes));
        let open = self.inputs.into_iter().filter(|(_, run)| needs.open.contains(&**run));
        survey.inputs_of_open = open.map(|(reference, _)| reference).collect();
        survey.things = self.things;
        survey.needs = needs;
        survey
    }
}

impl Survey {
    pub fn alike(&self, thing: &Thing) -> u64 {
        self.alike.get(&thing.like).copied().unwrap_or(0)
    }

    pub fn like<'a>(&self, thing: &'a Thing) -> &'a Arc<str> {
        &thing.like
    }

    /// Why nobody may touch this content, or one that holds it, if so.
    fn needed(&self, reference: &Reference) -> Option<&'static str> {
        if self.needs.referenced.contains(reference) {
            Some("referenced by an open run")
        } else if self.inputs_of_open.contains(reference) {
            Some("an open run made something from it")
        } else {
            None
        }
    }

    /// Why this content, with its files, must stay, if so. Its age is not looked at.
    pub fn protected(&self, ledger: &Ledger, reference: &Reference) -> Option<&'static str> {
        let thing = self.things.get(reference);
        let runs: &[Arc<str>] = thing.map_or(&[], |thing| &thing.runs);
        if runs.iter().any(|run| self.needs.open.contains(&**run)) {
            return Some("made by an open run");
        }
        let names = runs.iter().map(AsRef::as_ref);
        let own = ledger.protected(*reference, names).or_else(|| self.needed(reference));
        own.or_else(|| {
            let mut parts = thing.map(|thing| thing.parts.iter()).into_iter().flatten();
            parts.find_map(|(part, _)| self.part_protected(ledger, part))
        })
    }

    /// Why a file of a folder must stay, if so.
    pub fn part_protected(&self, ledger: &Ledger, part: &Reference) -> Option<&'static str> {
        let made: &[Arc<str>] = self.things.get(part).map_or(&[], |thing| &thing.runs);
        let names = made.iter().map(AsRef::as_ref);
        ledger.protected(*part, names).or_else(|| self.needed(part))
    }

    pub fn is_part(&self, reference: &Reference) -> bool {
        self.part_of.contains_key(reference)
    }

    /// The files that are in this folder and nowhere else.
    pub fn own_parts<'a>(
        &'a self,
        thing: &'a Thing,
    ) -> impl Iterator<Item = (Reference, u64)> + 'a {
        let own = |part: &&(Reference, u64)| {
            self.part_of.get(&part.0) == Some(&1) && !self.things.contains_key(&part.0)
        };
        thing.parts.iter().filter(own).copied()
    }

    /// The signals of a thing and what they come to.
    pub fn value(
        &self,
        ledger: &Ledger,
        worth: &Worth,
        reference: &Reference,
        thing: &Thing,
    ) -> (u64, Signals) {
        let ended = |run: &str| ledger.noted(run).or_else(|| self.needs.ended.get(run).copied());
        let signals = Signals::new(
            thing.runs().filter_map(ended).max(),
            self.alike(thing),
            thing.quality,
            ledger.feedback(*reference, thing.runs()),
            thing.uses,
        );
        (signals.value(worth), signals)
    }
}
