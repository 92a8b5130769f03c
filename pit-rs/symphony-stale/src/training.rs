//! What is worth learning from, the most valuable first; each content once, for the store has it once.

use std::cmp::Reverse;

use symphony_member::Reference;
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code};

use crate::desk::{Desk, Disk};
use crate::look;
use crate::replies::{Lesson, Training as Reply};
use crate::requests::Training;

pub async fn training<S: Disk>(desk: &Desk<S>, request: Training) -> Outcome {
    let survey = look::look(desk).await?;
    let core = desk.lock();
    let after = request.after.as_deref().map(cursor).transpose()?;
    let mut ranked: Vec<_> = survey
        .things
        .iter()
        .filter(|(_, thing)| {
            let player = thing.player.as_deref();
            request.kinds.as_ref().is_none_or(|kinds| {
                player.is_some_and(|player| kinds.iter().any(|kind| kind == player))
            })
        })
        .map(|(reference, thing)| {
            let (value, signals) =
                survey.value(&core.ledger, &core.ledger.config.worth, reference, thing);
            (Reverse(value), *reference, signals)
        })
        .filter(|(value, _, _)| value.0 >= request.least)
        .filter(|(value, reference, _)| after.is_none_or(|after| (*value, *reference) > after))
        .collect();
    ranked.sort_by_key(|(value, reference, _)| (*value, *reference));
    let more = ranked.len() > request.limit;
    ranked.truncate(request.limit);
    let last = ranked.last().map(|(value, reference, _)| format!("{}/{reference}", value.0));
    let taught = core.ledger.taught();
    let items = ranked.iter().filter_map(|(value, reference, signals)| {
        let thing = survey.things.get(reference)?;
        let run = thing.runs().next();
        let ended = |run| core.ledger.noted(run).or_else(|| survey.needs.ended.get(run).copied());
        let teaches = taught.get(reference).into_iter().flatten().copied();
        Some(Lesson {
            reference: *reference,
            value: value.0,
            signals: *signals,
            player: thing.player.as_deref(),
            run,
            outcome: run.and_then(ended),
            teaches: teaches.collect(),
        })
    });
    reply(&Reply { items: items.collect(), next: last.filter(|_| more) })
}

fn cursor(text: &str) -> Result<(Reverse<u64>, Reference), BusError> {
    let read = |text: &str| {
        let (value, reference) = text.split_once('/')?;
        Some((Reverse(value.parse().ok()?), reference.parse().ok()?))
    };
    read(text).ok_or_else(|| BusError::new(Code::BadRequest, "this is no cursor").at("after"))
}
