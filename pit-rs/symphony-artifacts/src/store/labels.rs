//! What is thought of artifacts: tags, scores, uses. They stay when a content is swept, and hold again once it is put.

use super::Store;
use crate::error::{Result, StoreError};
use crate::quality::{Score, MOST};
use crate::Reference;

/// Tags of one content.
pub const MAX_TAGS: usize = 64;
pub const MAX_TAG: usize = 128;
/// Users of one content that are remembered; further ones do not make it better.
const MAX_USES: u64 = 10_000;

impl Store {
    /// Adds and removes tags; those there will be.
    pub fn tag(
        &mut self,
        reference: &Reference,
        add: &[String],
        remove: &[String],
    ) -> Result<Vec<String>> {
        self.writable()?;
        self.exists(reference)?;
        for tag in add.iter().chain(remove) {
            if tag.is_empty() || tag.len() > MAX_TAG {
                return Err(StoreError::bad("tags", "a tag has 1 to 128 bytes"));
            }
        }
        let mut tags: std::collections::BTreeSet<String> =
            self.index()?.tags(reference)?.into_iter().collect();
        let waits = self.batch.change.tags.range((*reference, String::new())..);
        for ((_, tag), there) in waits.take_while(|((owner, _), _)| owner == reference) {
            if *there {
                tags.insert(tag.clone());
            } else {
                tags.remove(tag);
            }
        }
        tags.retain(|tag| !remove.contains(tag));
        tags.extend(add.iter().cloned());
        if tags.len() > MAX_TAGS {
            return Err(StoreError::limit("add", "an artifact has at most 64 tags"));
        }
        let changes =
            remove.iter().map(|tag| (tag, false)).chain(add.iter().map(|tag| (tag, true)));
        for (tag, there) in changes {
            self.batch.change.tags.insert((*reference, tag.clone()), there);
        }
        Ok(tags.into_iter().collect())
    }

    pub fn tags(&mut self, reference: &Reference) -> Result<Vec<String>> {
        self.blob(reference)?;
        self.index()?.tags(reference)
    }

    /// All tags behind `after`, with how many contents bear each, while `each` says to go on.
    pub fn all_tags(
        &mut self,
        after: &str,
        each: impl FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        self.ready()?;
        self.index()?.all_tags(after, each)
    }

    /// Sets what is given of a score; what is known of it then.
    pub fn score(&mut self, reference: &Reference, given: &Score) -> Result<Score> {
        self.writable()?;
        self.exists(reference)?;
        for (part, place) in [
            (given.structure, "structure"),
            (given.semantics, "semantics"),
            (given.utility, "utility"),
        ] {
            if part.is_some_and(|part| part > MOST) {
                return Err(StoreError::bad(place, "a score is within 0 to 1000"));
            }
        }
        let waits = self.batch.change.scores.entry(*reference).or_default();
        waits.set(given);
        let waits = *waits;
        let mut score = self.index()?.score(reference)?.unwrap_or_default();
        score.set(&waits);
        Ok(score)
    }

    /// Notes who used an artifact; by how many it was used then.
    pub fn used(&mut self, reference: &Reference, by: &str) -> Result<u64> {
        self.writable()?;
        self.exists(reference)?;
        if by.is_empty() || by.len() > MAX_TAG {
            return Err(StoreError::bad("by", "the user has not 1 to 128 bytes"));
        }
        let known = self.index()?.score(reference)?.unwrap_or_default().uses;
        let waits = &self.batch.change.uses;
        let new: Vec<String> = waits
            .range((*reference, String::new())..)
            .take_while(|(owner, _)| owner == reference)
            .map(|(_, by)| by.clone())
            .collect();
        let mut uses = known;
        for other in new.iter().filter(|other| *other != by) {
            uses += u64::from(!self.index()?.was_used(reference, other)?);
        }
        if known < MAX_USES {
            uses += u64::from(!self.index()?.was_used(reference, by)?);
            self.batch.change.uses.insert((*reference, by.to_owned()));
        }
        Ok(uses)
    }

    /// Refuses what is said of a content that is neither there nor about to be.
    fn exists(&self, reference: &Reference) -> Result<()> {
        let known = self.lookup(&super::Batch::default(), reference)?;
        known.map(drop).ok_or(StoreError::NotFound { reference: *reference })
    }
}
