//! Finding artifacts: by name, tag, player, quality and words; the versions of a name; what changed between two.

use std::collections::BTreeMap;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::{Query, Store};
use crate::error::{Result, StoreError};
use crate::info::{Blob, Info};
use crate::words::{self, MAX_TEXT};
use crate::Reference;

/// Different words of one search.
pub const MAX_QUERY: usize = 16;
/// Documents that are looked at for one word, the newest ones.
const MAX_DOCUMENTS: usize = 100_000;
/// Entries or contents that one search looks at before it answers with a cursor.
const MAX_LOOKED: usize = 10_000;
/// How long a diff may look for the shortest one; then it takes what it has.
const DIFF_TIME: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default)]
pub struct Search {
    pub name: Option<String>,
    pub tag: Option<String>,
    pub player: Option<String>,
    /// The least quality.
    pub quality: Option<u64>,
    pub text: Option<String>,
    pub limit: usize,
    pub after: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Found {
    /// With how well the words fit, where words were asked for.
    pub artifacts: Vec<(Info, Option<u64>)>,
    /// Where the search goes on.
    pub next: Option<String>,
}

/// One version of a name. `info` is `None` where its content was swept.
#[derive(Clone, Debug)]
pub struct Version {
    pub version: u64,
    pub reference: Reference,
    pub created: String,
    pub info: Option<Info>,
}

/// What changed from one text to another.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub text: String,
    pub added: u64,
    pub removed: u64,
    /// Whether the text was cut off.
    pub more: bool,
}

impl Store {
    /// Searches what is there: with words by how well they fit, else by tag, else newest first.
    pub fn search(&mut self, search: &Search) -> Result<Found> {
        self.ready()?;
        if let Some(text) = &search.text {
            return self.by_words(search, text);
        }
        if let Some(tag) = &search.tag {
            return self.by_tag(search, tag);
        }
        let before = match &search.after {
            None => None,
            Some(after) => Some(after.parse().map_err(|_| cursor())?),
        };
        let query = Query {
            name: search.name.clone(),
            player: search.player.clone(),
            before,
            ..Query::default()
        };
        let (mut found, mut looked, mut last) = (Found::default(), 0, 0);
        self.list(&query, |number, info| {
            if found.artifacts.len() == search.limit || looked == MAX_LOOKED {
                found.next = Some(last.to_string());
                return Ok(false);
            }
            (looked, last) = (looked + 1, number);
            if search.fits(&info) {
                found.artifacts.push((info, None));
            }
            Ok(true)
        })?;
        Ok(found)
    }

    fn by_tag(&mut self, search: &Search, tag: &str) -> Result<Found> {
        let after = match &search.after {
            None => None,
            Some(after) => Some(after.parse::<Reference>().map_err(|_| cursor())?),
        };
        let (mut found, mut looked, mut last) = (Found::default(), 0, after);
        self.index()?.tagged(tag, after.as_ref(), |reference| {
            if found.artifacts.len() == search.limit || looked == MAX_LOOKED {
                found.next = last.map(|last: Reference| last.to_string());
                return Ok(false);
            }
            (looked, last) = (looked + 1, Some(reference));
            found.artifacts.extend(self.fitting(search, &reference)?.map(|info| (info, None)));
            Ok(true)
        })?;
        Ok(found)
    }

    /// All words must be there. Each counts as often as it stands in the text, times how rare it is: the whole
    /// part of the binary logarithm of all documents ÷ those that hold it, plus one.
    fn by_words(&mut self, search: &Search, text: &str) -> Result<Found> {
        let from = match &search.after {
            None => 0,
            Some(after) => after.parse::<usize>().map_err(|_| cursor())?,
        };
        let words = self.hasher()?.query(text);
        if words.is_empty() || words.len() > MAX_QUERY {
            return Err(StoreError::bad("text", "there are not 1 to 16 words in it"));
        }
        let index = self.index()?;
        let all = index.documents()?;
        let mut fits: Option<BTreeMap<u64, u64>> = None;
        for word in words {
            let holding = index.holding(word, MAX_DOCUMENTS)?;
            let rare = u64::from((all / (holding.len() as u64).max(1)).max(1).ilog2()) + 1;
            let now = holding.into_iter().filter_map(|(document, often)| {
                let before = match &fits {
                    None => 0,
                    Some(fits) => *fits.get(&document)?,
                };
                Some((document, before + u64::from(often) * rare))
            });
            fits = Some(now.collect());
        }
        let fits = fits.unwrap_or_default();
        let mut order: Vec<(u64, u64)> =
            fits.into_iter().map(|(document, fit)| (fit, document)).collect();
        order.sort_unstable_by(|one, other| other.cmp(one));
        let mut found = Found::default();
        for (place, (fit, document)) in order.into_iter().enumerate().skip(from) {
            if found.artifacts.len() == search.limit || place - from == MAX_LOOKED {
                found.next = Some(place.to_string());
                break;
            }
            let Some(reference) = self.index()?.document(document)? else { continue };
            let info = self.fitting(search, &reference)?;
            found.artifacts.extend(info.map(|info| (info, Some(fit))));
        }
        Ok(found)
    }

    /// A content as its newest entry tells it, if it is there and fits.
    fn fitting(&self, search: &Search, reference: &Reference) -> Result<Option<Info>> {
        let Some(blob) = self.index()?.blob(reference)? else { return Ok(None) };
        let mut fitting = None;
        let mut any = false;
        self.each_entry(reference, |entry| {
            any = true;
            let info = self.info(*reference, blob.clone(), Some(entry))?;
            fitting = search.fits(&info).then_some(info);
            Ok(fitting.is_none())
        })?;
        if !any {
            let info = self.info(*reference, blob, None)?;
            fitting = search.fits(&info).then_some(info);
        }
        Ok(fitting)
    }

    /// Versions of a name older than `before`, newest first, while `each` says to go on.
    pub fn versions(
        &mut self,
        name: &str,
        before: u64,
        mut each: impl FnMut(Version) -> Result<bool>,
    ) -> Result<()> {
        self.ready()?;
        let index = self.index()?;
        index.versions(name, before, |version, entry, created| {
            let (reference, created) = (entry.reference, created.to_owned());
            let blob = index.blob(&reference)?;
            let info = blob.map(|blob| self.info(reference, blob, Some(entry))).transpose()?;
            each(Version { version, reference, created, info })
        })
    }

    /// What changed from text `a` to text `b`, as a unified diff of at most `limit` bytes.
    pub fn diff(
        &mut self,
        a: &Reference,
        b: &Reference,
        context: usize,
        limit: usize,
    ) -> Result<Difference> {
        let (one, other) = (self.text_of(a, "a")?, self.text_of(b, "b")?);
        let diff =
            TextDiff::configure().timeout(DIFF_TIME).diff_lines(one.as_str(), other.as_str());
        let mut difference = Difference::default();
        for change in diff.iter_all_changes() {
            match change.tag() {
                ChangeTag::Insert => difference.added += 1,
                ChangeTag::Delete => difference.removed += 1,
                ChangeTag::Equal => {}
            }
        }
        let (a, b) = (a.to_string(), b.to_string());
        let text = diff.unified_diff().context_radius(context).header(&a, &b).to_string();
        difference.more = text.len() > limit;
        difference.text = text;
        if difference.more {
            let lines = &difference.text.as_bytes()[..limit];
            let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            difference.text.truncate(end);
        }
        Ok(difference)
    }

    fn text_of(&mut self, reference: &Reference, place: &str) -> Result<String> {
        let blob: Blob = self.blob(reference)?;
        if blob.bytes > MAX_TEXT as u64 {
            return Err(StoreError::limit(place, "only texts up to 1 MiB are compared"));
        }
        let content = self.content(reference, &blob)?;
        let text = words::text(&content, blob.media.as_deref());
        text.map(str::to_owned)
            .ok_or_else(|| StoreError::bad(place, format!("{reference} is no text")))
    }
}

impl Search {
    /// Words and a tag that lead are not asked for again.
    fn fits(&self, info: &Info) -> bool {
        let same = |wanted: &Option<String>, has: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted))
        };
        same(&self.name, info.name.as_ref())
            && same(&self.player, info.made.as_ref().and_then(|made| made.player.as_ref()))
            && self.tag.as_ref().is_none_or(|tag| info.tags.contains(tag))
            && self.quality.is_none_or(|least| info.quality.is_some_and(|has| has >= least))
    }
}

fn cursor() -> StoreError {
    StoreError::bad("after", "this is no cursor of such a search")
}
