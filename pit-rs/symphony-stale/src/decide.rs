//! What is to be done with each artifact: a pure function of what was seen and what is remembered.
//!
//! The first reason to keep wins. What is left is old and needed by nobody: what is proven to be in the
//! archive is freed, what is valuable is archived. What is neither is deleted only under pressure, the least
//! worth first, and never the last one of its player, step and media type: that one is archived.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::ledger::Ledger;
use crate::record::{Action, Amounts};
use crate::survey::Survey;
use symphony_member::instant::{self, DAY_MS};
use symphony_member::Reference;

/// What was put within this time stays, whatever the configuration says.
pub const GRACE_MS: i64 = DAY_MS;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub reference: Reference,
    pub action: Action,
    /// As the store tells it.
    pub bytes: u64,
    pub value: u64,
    pub reason: String,
}

/// In order of the references.
pub fn decide(survey: &Survey, ledger: &Ledger, config: &Config, now_ms: i64) -> Vec<Item> {
    let mut items = Vec::with_capacity(survey.things.len());
    // What may be deleted if there is no room: value, age, place in the list.
    let mut poor: Vec<(u64, Option<i64>, usize)> = Vec::new();
    let mut going: u64 = 0;
    for (reference, thing) in &survey.things {
        let (value, signals) = survey.value(ledger, &config.worth, reference, thing);
        let restored = ledger.proof(reference).and_then(|proof| proof.restored.as_deref());
        let restored = restored.and_then(instant::read);
        let age =
            thing.put.map(|put| now_ms.saturating_sub(restored.map_or(put, |at| at.max(put))));
        let days =
            |days: u64| i64::try_from(days).map_or(i64::MAX, |days| days.saturating_mul(DAY_MS));
        let local = days(config.local_days).max(GRACE_MS);
        let because = |why: &str| format!("{why}; {}", signals.reason());
        let (action, reason) = if let Some(why) = survey.protected(ledger, reference) {
            (Action::Keep, because(why))
        } else if survey.is_part(reference) {
            (Action::Keep, because("a file of a folder that is kept"))
        } else if age.is_none() {
            (Action::Keep, because("its age is not known"))
        } else if age < Some(local) {
            let packs = age >= Some(days(config.pack_days).max(GRACE_MS));
            match packs && !ledger.is_packed(reference) {
                true => (Action::Pack, because("old enough to be packed")),
                false => (Action::Keep, because("too young")),
            }
        } else if is_proven(survey, ledger, config, reference) {
            (Action::Free, because("its copy is proven"))
        } else if value >= config.valuable {
            (Action::Archive, because("valuable and old"))
        } else {
            poor.push((value, thing.put, items.len()));
            (Action::Keep, because("of little worth, but there is room"))
        };
        if matches!(action, Action::Free | Action::Archive) {
            going = going.saturating_add(freed(survey, reference));
        }
        let bytes = thing.told_bytes;
        items.push(Item { reference: *reference, action, bytes, value, reason });
    }
    poor.sort();
    let mut excess = config.pressure.excess(survey.used).saturating_sub(going);
    let mut left: HashMap<&Arc<str>, u64> = HashMap::new();
    for (_, _, place) in poor {
        if excess == 0 {
            break;
        }
        let item = &mut items[place];
        let Some(thing) = survey.things.get(&item.reference) else { continue };
        let alike = left.entry(survey.like(thing)).or_insert_with(|| survey.alike(thing));
        let (action, why) = if *alike > 1 {
            *alike -= 1;
            (Action::Delete, "of little worth, one of several, and there is no room")
        } else {
            (Action::Archive, "of little worth, but the last of its kind, and there is no room")
        };
        item.action = action;
        item.reason = item.reason.replacen("of little worth, but there is room", why, 1);
        excess = excess.saturating_sub(freed(survey, &item.reference));
    }
    items
}

/// Whether it can be had back from the archive that is in use now, with its files.
fn is_proven(survey: &Survey, ledger: &Ledger, config: &Config, reference: &Reference) -> bool {
    let proven = |it: &Reference| ledger.proof(it).is_some_and(|it| it.place == config.place());
    let parts = survey.things.get(reference).map(|thing| thing.parts.iter());
    proven(reference) && parts.into_iter().flatten().all(|(part, _)| proven(part))
}

/// Bytes that there are less if it goes.
pub fn freed(survey: &Survey, reference: &Reference) -> u64 {
    let Some(thing) = survey.things.get(reference) else { return 0 };
    let files = thing.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.1));
    survey
        .own_parts(thing)
        .fold(thing.bytes.saturating_sub(files), |sum, part| sum.saturating_add(part.1))
}

pub fn totals(items: &[Item]) -> Amounts {
    let mut totals = Amounts::new();
    for item in items {
        totals.entry(item.action).or_default().add(item.bytes);
    }
    totals
}
