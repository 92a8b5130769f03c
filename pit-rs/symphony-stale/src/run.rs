//! A plan, and a run: pack, archive with proof, mark, look again, sweep.
//!
//! Between what was seen and what is done others act. So everything is seen twice: before anything is done, and
//! again once the store has marked what is to go. From then on whoever uses it undoes the mark, and the store
//! sweeps only what still bears one. The tracker is asked once more right before every sweep.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use symphony_member::Reference;
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code};

use crate::copying::{archive, has_room, is_there, read_back, Fail, Piece};
use crate::decide::{decide, totals, Item};
use crate::desk::{Desk, Disk, Kept, Miss, Told};
use crate::ledger::split;
use crate::look::{look, needs};
use crate::record::{Action, Amount, Amounts, Cite, Kind, Last, Mark, Record};
use crate::replies::{Done, Failed, Moving, PlanItem, Planned, Progress};
use crate::requests::{Plan, Run};
use crate::survey::{self, Survey};

/// Artifacts of one sweep: between two of them the tracker is asked.
const BATCH: usize = 256;
/// Failures that a reply names.
const MAX_FAILED: usize = 1_000;
/// Bytes of the items of a page: it must fit in a body.
pub const PAGE_BYTES: usize = 1 << 20;

pub fn plan_name(number: u64) -> String {
    format!("p-{number}")
}

pub fn plan_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("p-")?.parse().ok()?;
    (plan_name(number) == name).then_some(number)
}

pub async fn plan<S: Disk>(desk: &Desk<S>, request: Plan, now_ms: i64) -> Outcome {
    let Some(after) = &request.after else {
        let seen = look(desk).await;
        let mut core = desk.lock();
        let (items, stopped) = match &seen {
            Ok(survey) => {
                let items = decide(survey, &core.ledger, &core.ledger.config, now_ms);
                let with = |item: Item| {
                    let thing = survey.things.get(&item.reference);
                    let name = thing.and_then(|thing| thing.name.clone());
                    let run = thing.and_then(|thing| thing.runs().next().map(str::to_owned));
                    (item, name, run)
                };
                (items.into_iter().map(with).collect(), None)
            }
            Err(miss) => (Vec::new(), Some(miss.to_string())),
        };
        let number = core.ledger.totals.plans + 1;
        let acts: Vec<(Reference, Action)> = items
            .iter()
            .map(|(item, _, _): &(Item, _, _)| (item.reference, item.action))
            .filter(|(_, action)| *action != Action::Keep)
            .collect();
        for record in split(number, &acts) {
            core.commit(record)?;
        }
        core.plan = Some(Kept { number, items, stopped });
        return page(&core, 0, request.limit);
    };
    let core = desk.lock();
    let place = after.split_once('/').and_then(|(name, at)| {
        let known = core.plan.as_ref().is_some_and(|kept| plan_name(kept.number) == name);
        at.parse::<usize>().ok().filter(|_| known)
    });
    let place = place.ok_or_else(|| {
        BusError::new(Code::NotFound, "the plan of this cursor is not kept any more")
            .at("after")
            .help("ask for a new plan")
    })?;
    page(&core, place, request.limit)
}

fn page<S: Disk>(core: &crate::desk::Core<S>, from: usize, limit: usize) -> Outcome {
    let Some(kept) = &core.plan else {
        return Err(BusError::new(Code::NotFound, "there is no plan"));
    };
    let mut size = 0;
    let end = kept.items.iter().enumerate().skip(from).take(limit);
    let end = end.take_while(|(_, (item, name, run))| {
        size += 300
            + item.reason.len()
            + [name, run].into_iter().flatten().map(String::len).sum::<usize>();
        size <= PAGE_BYTES
    });
    let end = end.last().map_or(from, |(place, _)| place + 1);
    let items = kept.items.get(from..end).unwrap_or(&[]).iter().map(|(item, name, run)| PlanItem {
        reference: item.reference,
        name: name.as_deref(),
        run: run.as_deref(),
        bytes: item.bytes,
        tier: if core.ledger.is_packed(&item.reference) { "packed" } else { "hot" },
        action: item.action,
        value: item.value,
        reason: &item.reason,
        proof: core.ledger.proof(&item.reference).map(|proof| proof.number),
    });
    let all: Vec<Item> = kept.items.iter().map(|(item, _, _)| item.clone()).collect();
    reply(&Planned {
        plan: plan_name(kept.number),
        items: items.collect(),
        totals: totals(&all),
        stopped: kept.stopped.as_deref(),
        next: (end < kept.items.len()).then(|| format!("{}/{end}", plan_name(kept.number))),
    })
}

#[derive(Serialize)]
struct MarkRefs<'a> {
    refs: &'a [Reference],
    why: &'a str,
    ts: &'a str,
}

#[derive(Serialize)]
struct Refs<'a> {
    refs: &'a [Reference],
    ts: &'a str,
}

#[derive(Deserialize)]
struct Anything {}

#[derive(Deserialize)]
struct Marked {
    marked: u64,
}

#[derive(Deserialize)]
struct Packed {
    packed: Vec<Piled>,
}

#[derive(Deserialize)]
struct Piled {
    #[serde(rename = "ref")]
    reference: Reference,
    bytes: u64,
}

#[derive(Deserialize)]
struct Swept {
    freed: Vec<Piled>,
    revived: Vec<Reference>,
}

/// What a sweep shows for each artifact: its proof, or the plan and the pressure.
#[derive(Serialize)]
struct Citation<'a> {
    #[serde(rename = "ref")]
    reference: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'a crate::record::Proof>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure: Option<Want<'a>>,
}

/// The plan or run, and what was used of how much.
#[derive(Serialize)]
struct Want<'a> {
    plan: &'a str,
    used: u64,
    bytes: u64,
    value: u64,
}

#[derive(Serialize)]
struct Sweep<'a> {
    refs: &'a [Reference],
    proofs: Vec<Citation<'a>>,
    ts: &'a str,
}

/// Takes marks back at the store. Known to be undone only once the store said so.
pub async fn unmark<S: Disk>(
    desk: &Desk<S>,
    refs: &[Reference],
    why: &str,
    ts: &str,
) -> Result<(), Miss> {
    for batch in refs.chunks(BATCH) {
        let _: Anything = desk.store("unmark", &Refs { refs: batch, ts }).await?;
        for reference in batch {
            desk.commit(Record::Unmarked { reference: *reference, why: why.to_owned() })?;
        }
    }
    Ok(())
}

struct Running<'d, S: symphony_journal::Storage> {
    desk: &'d Desk<S>,
    request: &'d Run,
    now_ms: i64,
    chosen: Option<BTreeMap<Reference, Action>>,
    done: Amounts,
    failed: Vec<Failed>,
}

pub async fn run<S: Disk>(desk: &Desk<S>, request: Run, now_ms: i64) -> Outcome {
    let print = request.print()?;
    if let Some(reply) = desk.lock().ledger.known(&request.id, &print)? {
        return Ok(reply);
    }
    let chosen = match &request.plan {
        None => None,
        Some(name) => {
            let core = desk.lock();
            let plan = plan_number(name).and_then(|number| core.ledger.plan(number));
            Some(plan.cloned().ok_or_else(|| {
                BusError::new(Code::NotFound, "there is no such plan any more")
                    .at("plan")
                    .help("ask for a new plan")
            })?)
        }
    };
    let mut running = Running {
        desk,
        request: &request,
        now_ms,
        chosen,
        done: Amounts::new(),
        failed: Vec::new(),
    };
    let missed = running.go().await.err();
    let code = missed.as_ref().map(|miss| miss.code);
    let stopped = missed.map(|miss| miss.what);
    let Running { done, failed, .. } = running;
    let mut core = desk.lock();
    if stopped.is_some() {
        core.stats.stopped += 1;
    }
    let before = core.ledger.told.back().filter(|last| last.kind == Kind::Ran);
    let same = before.is_some_and(|last| stopped.is_some() && last.why == stopped);
    if !same && (stopped.is_some() || !done.is_empty() || !failed.is_empty()) {
        let mut all = Amount::default();
        for amount in done.values() {
            all.items += amount.items;
            all.bytes = all.bytes.saturating_add(amount.bytes);
        }
        let (name, ts) = (request.id.as_str(), request.ts.as_str());
        core.tell(Kind::Ran, Told { name, ts, who: None, why: stopped.as_deref() }, all)?;
    }
    core.commit(Record::Ran(Last {
        id: request.id.clone(),
        ts: request.ts.clone(),
        done: done.clone(),
        failed: failed.len() as u64,
        stopped: stopped.clone(),
    }))?;
    let bytes = reply(&Done { done, failed, stopped: stopped.as_deref(), code })?;
    // What was stopped goes on when it is asked for again, so its reply is not kept.
    if stopped.is_none() {
        core.commit(Record::Did { id: request.id.clone(), print, reply: bytes.clone() })?;
    }
    Ok(bytes)
}

impl<S: Disk> Running<'_, S> {
    fn wants(&self, action: Action) -> bool {
        self.request.actions.as_ref().is_none_or(|actions| actions.contains(&action))
    }

    /// Whether plan and request let this be done. What a plan wanted to archive may since have been proven.
    fn is_chosen(&self, reference: &Reference, action: Action) -> bool {
        let Some(plan) = &self.chosen else { return self.wants(action) };
        let planned = plan.get(reference);
        let fits = planned == Some(&action)
            || (action == Action::Free && planned == Some(&Action::Archive));
        fits && self.wants(action)
    }

    fn decide(&self, survey: &Survey) -> Vec<Item> {
        let core = self.desk.lock();
        decide(survey, &core.ledger, &core.ledger.config, self.now_ms)
    }

    fn fail(&mut self, reference: Reference, action: Action, miss: &Miss) {
        if self.failed.len() < MAX_FAILED {
            self.failed.push(Failed {
                reference,
                action,
                error: miss.to_string(),
                code: miss.code,
            });
        }
    }

    fn publish(&self, topic: &str, done: usize, of: usize) {
        let id = self.request.id.as_str();
        self.desk.lock().publish(topic, &Progress { id, done, of });
    }

    async fn go(&mut self) -> Result<(), Miss> {
        let survey = look(self.desk).await?;
        let items = self.decide(&survey);
        self.announce(&items).map_err(|error| Miss::new(error.code, error.message))?;
        self.pack(&items).await?;
        self.archive(&survey, &items).await?;
        let items = self.decide(&survey);
        self.mark(&survey, &items).await?;
        if !self.wants(Action::Free) && !self.wants(Action::Delete) {
            return Ok(());
        }
        let survey = look(self.desk).await?;
        self.sweep(survey).await
    }

    /// Says what valuable is about to move, before any of it does.
    fn announce(&self, items: &[Item]) -> Result<(), BusError> {
        let sum = |action: Action| {
            let mut sum = Amount::default();
            let going = items.iter().filter(|item| item.action == action);
            let going = going.filter(|item| self.is_chosen(&item.reference, action));
            going.for_each(|item| sum.add(item.bytes));
            sum
        };
        let (archive, free) = (sum(Action::Archive), sum(Action::Free));
        let mut core = self.desk.lock();
        if archive.items + free.items == 0 || !core.ledger.config.notify {
            return Ok(());
        }
        let Run { id, ts, .. } = self.request;
        let both = Amount {
            items: archive.items + free.items,
            bytes: archive.bytes.saturating_add(free.bytes),
        };
        core.tell(Kind::Moving, Told { name: id, ts, who: None, why: None }, both)?;
        let place = core.ledger.config.place().to_owned();
        core.publish("pit.stale.moving", &Moving { id, archive, free, place: &place });
        Ok(())
    }

    async fn pack(&mut self, items: &[Item]) -> Result<(), Miss> {
        let packs = items.iter().filter(|item| item.action == Action::Pack);
        let packs: Vec<Reference> = packs
            .map(|item| item.reference)
            .filter(|reference| self.is_chosen(reference, Action::Pack))
            .collect();
        for batch in packs.chunks(BATCH) {
            let refs = Refs { refs: batch, ts: &self.request.ts };
            match self.desk.store::<Packed>("pack", &refs).await {
                Ok(packed) => {
                    for Piled { reference, bytes } in packed.packed {
                        self.desk.commit(Record::Packed { reference, bytes })?;
                        self.done.entry(Action::Pack).or_default().add(bytes);
                    }
                }
                // It frees nothing, so what is not certain of it stops nothing.
                Err(miss) => batch.iter().for_each(|it| self.fail(*it, Action::Pack, &miss)),
            }
        }
        Ok(())
    }

    async fn archive(&mut self, survey: &Survey, items: &[Item]) -> Result<(), Miss> {
        let items: Vec<&Item> = items
            .iter()
            .filter(|it| it.action == Action::Archive && self.is_chosen(&it.reference, it.action))
            .collect();
        let place = self.desk.lock().ledger.config.place().to_owned();
        for (number, item) in items.iter().enumerate() {
            let protected = survey.protected(&self.desk.lock().ledger, &item.reference);
            if protected.is_some() {
                continue;
            }
            match self.archive_item(survey, &place, &item.reference).await {
                Ok(()) => self.done.entry(Action::Archive).or_default().add(item.bytes),
                Err(Fail::Item(miss)) => self.fail(item.reference, Action::Archive, &miss),
                Err(Fail::Stop(miss)) => {
                    self.fail(item.reference, Action::Archive, &miss);
                    return Err(miss);
                }
            }
            self.publish("pit.stale.progress", number + 1, items.len());
        }
        Ok(())
    }

    /// The files first: the proof of a folder says that all of it is there.
    async fn archive_item(
        &self,
        survey: &Survey,
        place: &str,
        item: &Reference,
    ) -> Result<(), Fail> {
        let Some(thing) = survey.things.get(item) else { return Ok(()) };
        let runs: Vec<String> = thing.runs().map(str::to_owned).collect();
        let parts = thing.parts.iter().map(|(part, _)| (*part, Some(*item)));
        let pieces: Vec<(Reference, Option<Reference>)> = parts.chain([(*item, None)]).collect();
        for (reference, whole) in pieces {
            let piece = Piece { reference, runs: runs.clone(), whole };
            archive(self.desk, place, piece, &self.request.ts).await?;
        }
        Ok(())
    }

    /// Writes down what each deletion rests on, then lets the store mark.
    async fn mark(&mut self, survey: &Survey, items: &[Item]) -> Result<(), Miss> {
        let used = survey.used;
        for item in items {
            if !matches!(item.action, Action::Free | Action::Delete)
                || !self.is_chosen(&item.reference, item.action)
            {
                continue;
            }
            let Some(thing) = survey.things.get(&item.reference) else { continue };
            let own: Vec<(Reference, u64)> = survey.own_parts(thing).collect();
            if !has_room(self.desk, own.len() + 1) {
                break;
            }
            if item.action == Action::Free && !self.still_there(survey, &item.reference).await? {
                continue;
            }
            let runs: Vec<String> = thing.runs().map(str::to_owned).collect();
            let listing = thing.bytes.saturating_sub(thing.parts.iter().map(|part| part.1).sum());
            let whole = Some(item.reference);
            let pieces = own.into_iter().map(|(part, bytes)| (part, bytes, whole));
            let pieces: Vec<_> = pieces.chain([(item.reference, listing, None)]).collect();
            {
                let mut core = self.desk.lock();
                if survey.protected(&core.ledger, &item.reference).is_some() {
                    continue;
                }
                for (reference, bytes, whole) in &pieces {
                    let cite = match item.action {
                        Action::Free => {
                            core.ledger.proof(reference).map(|it| Cite::Proof(it.number))
                        }
                        _ => Some(Cite::Pressure {
                            plan: self
                                .request
                                .plan
                                .clone()
                                .unwrap_or_else(|| self.request.id.clone()),
                            used,
                            bytes: core.ledger.config.pressure.bytes.unwrap_or(0),
                            value: item.value,
                        }),
                    };
                    let Some(cite) = cite else { continue };
                    let mark = Mark {
                        reference: *reference,
                        bytes: *bytes,
                        whole: *whole,
                        runs: runs.clone(),
                        cite,
                        ts: self.request.ts.clone(),
                    };
                    core.commit(Record::Marked(mark))
                        .map_err(|error| Miss::new(error.code, error.message))?;
                }
            }
            let refs: Vec<Reference> = pieces.iter().map(|piece| piece.0).collect();
            for batch in refs.chunks(BATCH) {
                let why = match item.action {
                    Action::Free => "archived, with proof",
                    _ => "of little worth, and there is no room",
                };
                let refs = MarkRefs { refs: batch, why, ts: &self.request.ts };
                let reply: Marked = self.desk.store("mark", &refs).await?;
                if reply.marked > batch.len() as u64 {
                    let what = "the store marked more than it was asked to";
                    return Err(Miss::new(Code::WrongOutput, what));
                }
            }
        }
        Ok(())
    }

    /// Whether the archive has what is to be freed, folder and files, by proofs that are fresh. What it lost is
    /// copied anew by the next run.
    async fn still_there(&mut self, survey: &Survey, item: &Reference) -> Result<bool, Miss> {
        let parts = survey.things.get(item).map(|thing| thing.parts.clone());
        let parts = parts.iter().flat_map(|parts| parts.iter().map(|part| part.0));
        let pieces: Vec<Reference> = parts.chain([*item]).collect();
        let mut all = true;
        for reference in pieces {
            all &= self.is_proven(&reference).await?;
        }
        Ok(all)
    }

    async fn is_proven(&mut self, reference: &Reference) -> Result<bool, Miss> {
        let proof = self.desk.lock().ledger.proof(reference).cloned();
        let Some(mut proof) = proof else { return Ok(false) };
        // What an earlier run read back may have been damaged since.
        let there = match proof.read_back == self.request.ts {
            true => is_there(self.desk, &proof).await?,
            false => match read_back(self.desk, &proof.place, reference, proof.bytes).await {
                Ok(hash) => {
                    (proof.hash, proof.read_back) = (hash, self.request.ts.clone());
                    self.desk.commit(Record::Proved(proof.clone()))?;
                    true
                }
                Err(miss) if matches!(miss.code, Code::NotFound | Code::WrongOutput) => false,
                Err(miss) => return Err(miss),
            },
        };
        if !there {
            let why = format!("{} does not have it any more", proof.place);
            self.fail(*reference, Action::Free, &Miss::new(Code::Corrupt, why.clone()));
            self.desk.commit(Record::Disproved { reference: *reference, why })?;
        }
        Ok(there)
    }

    async fn sweep(&mut self, mut survey: Survey) -> Result<(), Miss> {
        let decided = self.decide(&survey);
        let go: BTreeMap<Reference, Action> = decided
            .iter()
            .filter(|item| matches!(item.action, Action::Free | Action::Delete))
            .map(|item| (item.reference, item.action))
            .collect();
        let marks: Vec<Mark> = self.desk.lock().ledger.marks.values().cloned().collect();
        // A decision of another kind than the one it was marked for is no longer that one.
        let fits = |mark: &Mark| {
            let whole = mark.whole.unwrap_or(mark.reference);
            let there = survey.things.contains_key(&whole);
            let same = matches!(
                (go.get(&whole), &mark.cite),
                (Some(Action::Free), Cite::Proof(_))
                    | (Some(Action::Delete), Cite::Pressure { .. })
            );
            let alone = mark.whole.is_some()
                && (survey.things.contains_key(&mark.reference)
                    || (!there && survey.is_part(&mark.reference)));
            (same || !there) && !alone
        };
        let (fit, unfit): (Vec<Mark>, Vec<Mark>) = marks.into_iter().partition(|mark| fits(mark));
        let unfit: Vec<Reference> = unfit.iter().map(|mark| mark.reference).collect();
        unmark(self.desk, &unfit, "it is to be kept after all", &self.request.ts).await?;
        let mut wholes = Vec::new();
        let mut parts = Vec::new();
        for mark in fit {
            let cite = match mark.cite {
                Cite::Proof(_) => Action::Free,
                Cite::Pressure { .. } => Action::Delete,
            };
            let whole = mark.whole.unwrap_or(mark.reference);
            // What is gone by its listing was begun: its rest goes with it.
            let begun = !survey.things.contains_key(&whole) && self.wants(cite);
            if begun || self.is_chosen(&whole, cite) {
                if mark.whole.is_some() {
                    parts.push(mark)
                } else {
                    wholes.push(mark)
                }
            }
        }
        // A folder goes before its files: one that is used again keeps all of them.
        self.sweep_all(&mut survey, &wholes).await?;
        let (gone, kept): (Vec<Mark>, Vec<Mark>) = parts.into_iter().partition(|mark| {
            let core = self.desk.lock();
            mark.whole.is_some_and(|whole| {
                !core.ledger.marks.contains_key(&whole)
                    && (wholes.iter().any(|it| it.reference == whole)
                        || !survey.things.contains_key(&whole))
                    && core.ledger.marks.contains_key(&mark.reference)
            })
        });
        let revived: BTreeSet<Reference> = {
            let core = self.desk.lock();
            let left = kept.iter().filter(|mark| {
                mark.whole.is_some_and(|whole| !core.ledger.marks.contains_key(&whole))
            });
            left.map(|mark| mark.reference).collect()
        };
        let revived: Vec<Reference> = revived.into_iter().collect();
        unmark(self.desk, &revived, "its folder is used again", &self.request.ts).await?;
        self.sweep_all(&mut survey, &gone).await
    }

    async fn sweep_all(&mut self, survey: &mut Survey, marks: &[Mark]) -> Result<(), Miss> {
        for batch in marks.chunks(BATCH) {
            survey.needs = needs(self.desk).await?;
            let mut going = Vec::new();
            for mark in batch {
                if matches!(mark.cite, Cite::Proof(_)) && !self.is_proven(&mark.reference).await? {
                    continue;
                }
                going.push(mark.reference);
            }
            let (refs, sweep) = {
                // From here to the question nothing else happens: a pin that comes later waits for its unmark,
                // which the store hears after this.
                let core = self.desk.lock();
                let free = |reference: &Reference| {
                    let Some(mark) = core.ledger.marks.get(reference) else { return false };
                    let runs = mark.runs.iter().map(String::as_str);
                    let whole = mark.whole.unwrap_or(mark.reference);
                    let proven = match mark.cite {
                        Cite::Proof(number) => {
                            core.ledger.proof(reference).is_some_and(|it| it.number == number)
                        }
                        Cite::Pressure { .. } => true,
                    };
                    let open = mark.runs.iter().any(|run| survey.needs.open.contains(run));
                    proven
                        && !open
                        && core.ledger.protected(*reference, runs.clone()).is_none()
                        && core.ledger.protected(whole, runs).is_none()
                        && survey.protected(&core.ledger, reference).is_none()
                        && survey.protected(&core.ledger, &whole).is_none()
                };
                let refs: Vec<Reference> = going.into_iter().filter(free).collect();
                let proofs = refs.iter().filter_map(|reference| {
                    let mark = core.ledger.marks.get(reference)?;
                    let (proof, pressure) = match &mark.cite {
                        Cite::Proof(_) => (core.ledger.proof(reference), None),
                        Cite::Pressure { plan, used, bytes, value } => {
                            (None, Some(Want { plan, used: *used, bytes: *bytes, value: *value }))
                        }
                    };
                    Some(Citation { reference: *reference, proof, pressure })
                });
                let sweep = Sweep { proofs: proofs.collect(), refs: &refs, ts: &self.request.ts };
                let sweep = symphony_wire::body::write(&sweep);
                (refs, sweep)
            };
            if refs.is_empty() {
                continue;
            }
            let swept: Swept = self.desk.store_body("sweep", sweep).await?;
            self.note(survey, &refs, swept)?;
        }
        Ok(())
    }

    /// Counts artifacts as the store tells of them: a folder is one, of as many bytes as its files have.
    fn note(&mut self, survey: &Survey, refs: &[Reference], swept: Swept) -> Result<(), Miss> {
        let known: BTreeSet<&Reference> = refs.iter().collect();
        let mut told = swept.freed.iter().map(|it| &it.reference).chain(&swept.revived);
        if !told.all(|reference| known.contains(reference)) {
            return Err(Miss::new(Code::WrongOutput, "the store swept what it was not asked to"));
        }
        for Piled { reference, bytes } in swept.freed {
            let Some(mark) = self.desk.lock().ledger.marks.get(&reference).cloned() else {
                continue;
            };
            let action = match mark.cite {
                Cite::Proof(_) => Action::Free,
                Cite::Pressure { .. } => Action::Delete,
            };
            let thing = survey.things.get(&reference);
            let is_listing = thing.is_some_and(|thing| thing.kind == survey::Kind::Folder);
            let done = self.done.entry(action).or_default();
            done.items += u64::from(mark.whole.is_none());
            done.bytes = done.bytes.saturating_add(if is_listing { 0 } else { bytes });
            self.desk.commit(Record::Freed { reference, bytes, ts: self.request.ts.clone() })?;
        }
        for reference in swept.revived {
            let why = "it was used again".to_owned();
            self.desk.commit(Record::Unmarked { reference, why })?;
        }
        Ok(())
    }
}
