//! What is known: lists, searches, versions, differences, lineage, labels, the audit trail, and whether all is whole.

use symphony_wire::service::parse;

use super::{after_flush, bad, instant, limited, now, ArtifactService, Handled, Page, Who};
use crate::audit::Link;
use crate::messages::{
    Artifacts, AuditArguments, AuditLink, Audited, DiffArguments, DiffReply, EdgeReply,
    LineageArguments, LineageFormat, LineageReply, LineageWay, ListArguments, NodeReply,
    OpenLineage, ScoreArguments, ScoreReply, SearchArguments, SearchItem, Searched, StatArguments,
    TagArguments, TagCount, Tagged, Tags, TagsArguments, UseArguments, Used, VerifyArguments,
    VerifyReply, VersionReply, Versions, VersionsArguments,
};
use crate::openlineage;
use crate::quality::Score;
use crate::store::{Query, Search, Version, Way};

const MAX_LIST: usize = 1_000;
const MAX_DEPTH: usize = 100;
const MAX_DIFF: usize = 1024 * 1024;
const MAX_CONTEXT: usize = 1_000;

impl ArtifactService {
    pub(super) fn stat(&mut self, body: &[u8]) -> Handled {
        let StatArguments { refs } = parse(body)?;
        let infos: Result<Vec<_>, _> = refs.iter().map(|each| self.store.stat(each)).collect();
        now(&Artifacts { artifacts: infos?, next: None })
    }

    pub(super) fn list(&mut self, body: &[u8]) -> Handled {
        let ListArguments { name, run, step, player, limit, after } = parse(body)?;
        let limit = limited(limit, MAX_LIST)?;
        let before = match after {
            None => None,
            Some(cursor) => Some(cursor.parse().map_err(|_| bad("after", "this is no cursor"))?),
        };
        let (mut artifacts, mut last, mut next) = (Vec::new(), 0, None);
        let mut page = Page::new(limit);
        self.store.list(&Query { name, run, step, player, before }, |number, info| {
            if !page.has_room(&info) {
                next = Some(format!("{last}"));
                return Ok(false);
            }
            artifacts.push(info);
            last = number;
            Ok(true)
        })?;
        now(&Artifacts { artifacts, next })
    }

    pub(super) fn search(&mut self, body: &[u8]) -> Handled {
        let SearchArguments { name, tag, player, quality, text, limit, after } = parse(body)?;
        let limit = limited(limit, 100)?;
        let search = Search { name, tag, player, quality, text, limit, after };
        let found = self.store.search(&search)?;
        let artifacts = found.artifacts.into_iter().map(|(info, fit)| SearchItem { info, fit });
        now(&Searched { artifacts: artifacts.collect(), next: found.next })
    }

    pub(super) fn versions(&mut self, body: &[u8]) -> Handled {
        let VersionsArguments { name, before, limit } = parse(body)?;
        let limit = limited(limit, MAX_LIST)?;
        let (mut versions, mut next, mut last) = (Vec::new(), None, 0);
        let mut page = Page::new(limit);
        self.store.versions(&name, before.unwrap_or(u64::MAX), |each| {
            let Version { version, reference, created, info } = each;
            let there = info.is_some();
            let reply = VersionReply { version, reference, created, there, info };
            if !page.has_room(&reply) {
                next = Some(last);
                return Ok(false);
            }
            versions.push(reply);
            last = version;
            Ok(true)
        })?;
        now(&Versions { versions, next })
    }

    pub(super) fn diff(&mut self, body: &[u8]) -> Handled {
        let DiffArguments { a, b, context, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        if context > MAX_CONTEXT {
            return Err(bad("context", "there are at most 1000 lines of context"));
        }
        let found = self.store.diff(&a, &b, context, MAX_DIFF)?;
        self.note_read("diff", &who, &[a, b]);
        now(&DiffReply {
            same: a == b,
            diff: found.text,
            added: found.added,
            removed: found.removed,
            more: found.more,
        })
    }

    pub(super) fn lineage(&mut self, body: &[u8]) -> Handled {
        let LineageArguments { reference, depth, way, format } = parse(body)?;
        if depth > MAX_DEPTH {
            return Err(bad("depth", "the depth is over 100"));
        }
        let way = match way {
            LineageWay::Both => Way::Both,
            LineageWay::Inputs => Way::Inputs,
            LineageWay::Outputs => Way::Outputs,
        };
        let lineage = self.store.lineage(&reference, depth, way)?;
        if format == LineageFormat::Openlineage {
            let events = openlineage::events(&lineage.entries);
            return now(&OpenLineage { events, more: lineage.more });
        }
        let nodes = lineage.nodes.into_iter().map(NodeReply::from);
        let edges = lineage.edges.into_iter().map(EdgeReply::from);
        now(&LineageReply { nodes: nodes.collect(), edges: edges.collect(), more: lineage.more })
    }

    pub(super) fn tag(&mut self, body: &[u8]) -> Handled {
        let TagArguments { reference, add, remove, ts, by } = parse(body)?;
        let who = Who::new(by, None, Some(&ts))?;
        let tags = self.store.tag(&reference, &add, &remove)?;
        self.note_write("tag", &who, &[reference]);
        after_flush(&Tagged { tags })
    }

    pub(super) fn tags(&mut self, body: &[u8]) -> Handled {
        let TagsArguments { reference, after, limit } = parse(body)?;
        if let Some(reference) = reference {
            return now(&Tagged { tags: self.store.tags(&reference)? });
        }
        let limit = limited(limit, MAX_LIST)?;
        let (mut tags, mut next) = (Vec::<TagCount>::new(), None);
        self.store.all_tags(&after.unwrap_or_default(), |tag, artifacts| {
            if tags.len() == limit {
                next = tags.last().map(|last| last.tag.clone());
                return Ok(false);
            }
            tags.push(TagCount { tag: tag.to_owned(), artifacts });
            Ok(true)
        })?;
        now(&Tags { tags, next })
    }

    pub(super) fn score(&mut self, body: &[u8]) -> Handled {
        let ScoreArguments { reference, structure, semantics, utility, ts, by } = parse(body)?;
        let who = Who::new(by, None, Some(&ts))?;
        let given = Score { structure, semantics, utility, uses: 0 };
        let score = self.store.score(&reference, &given)?;
        self.note_write("score", &who, &[reference]);
        let utility = score.utility();
        let Score { structure, semantics, uses, .. } = score;
        let quality = score.quality();
        after_flush(&ScoreReply { quality, structure, semantics, utility, uses })
    }

    pub(super) fn used(&mut self, body: &[u8]) -> Handled {
        let UseArguments { reference, by, ts } = parse(body)?;
        let who = Who::new(Some(by.clone()), None, Some(&ts))?;
        let uses = self.store.used(&reference, &by)?;
        self.note_write("use", &who, &[reference]);
        after_flush(&Used { uses })
    }

    pub(super) fn audit(&mut self, body: &[u8]) -> Handled {
        let AuditArguments { after, limit } = parse(body)?;
        let limit = limited(limit, MAX_LIST)?;
        let (mut records, mut next) = (Vec::<AuditLink>::new(), None);
        let mut page = Page::new(limit);
        self.store.audit(after, |Link { number, hash, record, .. }| {
            let hash = blake3::Hash::from_bytes(hash).to_hex().to_string();
            let crate::audit::Record { at, method, by, run, step, refs } = record;
            let link =
                AuditLink { number, at: instant::write(at), method, by, run, step, refs, hash };
            if !page.has_room(&link) {
                next = records.last().map(|last| last.number);
                return Ok(false);
            }
            records.push(link);
            Ok(true)
        })?;
        now(&Audited { records, next })
    }

    pub(super) fn verify(&mut self, body: &[u8]) -> Handled {
        let VerifyArguments { after, limit } = parse(body)?;
        if limit == Some(0) {
            return Err(bad("limit", "the limit is 0"));
        }
        let report = self.store.verify(after.as_ref(), limit.unwrap_or(u64::MAX))?;
        now(&VerifyReply {
            blobs: report.blobs,
            bytes: report.bytes,
            bad: report.bad,
            locked: (report.locked > 0).then_some(report.locked),
            broken: report.broken,
            next: report.next,
        })
    }
}
