//! From a journal to a state.
//!
//! A rollback ends a branch: the records between the one that it names and its own are abandoned. So the state
//! after any record rests on the *branch* that leads to it, and a journal without rollbacks is one branch. What was
//! abandoned is still read, for the attempts and ids in it that must never be used again.

use std::ops::RangeInclusive;

use serde::Deserialize;
use symphony_journal::{Log, LogError, Medium};
use symphony_wire::{BusError, Code};

use crate::record::{Kind, Record, RolledBack};
use crate::state::Run;

/// Why a journal makes no state.
#[derive(Debug)]
pub enum Unreadable {
    Log(LogError),
    /// A record that cannot stand where it does, and why.
    Record(String),
}

impl From<LogError> for Unreadable {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// As much of a record as says where it stands.
#[derive(Deserialize)]
struct Place {
    index: u64,
}

/// The indexes of a branch: ascending, without overlap.
type Branch = Vec<RangeInclusive<u64>>;

/// Reads the first `count` records one after another until `visit` returns false.
fn pass<M: Medium>(
    log: &Log<M>,
    count: u64,
    mut visit: impl FnMut(&Record) -> Result<bool, BusError>,
) -> Result<(), Unreadable> {
    let mut index = 0;
    let mut fault = None;
    log.read(0..usize::try_from(count).unwrap_or(usize::MAX), |payload| {
        index += 1;
        let visited = Record::decode(index, payload).and_then(|record| visit(&record));
        fault = visited.as_ref().err().map(|error| format!("record {index}: {error}"));
        visited.unwrap_or(false)
    })?;
    fault.map_or(Ok(()), |fault| Err(Unreadable::Record(fault)))
}

/// The state after the last record.
pub fn replay<M: Medium>(log: &Log<M>) -> Result<Run, Unreadable> {
    let count = log.count() as u64;
    let mut run: Option<Run> = None;
    let mut is_one_branch = true;
    pass(log, count, |record| {
        is_one_branch = record.kind != Kind::RolledBack;
        if is_one_branch {
            step(&mut run, record)?;
        }
        Ok(is_one_branch)
    })?;
    match run {
        Some(run) if is_one_branch => Ok(run),
        _ => after(log, count),
    }
}

/// Where the end begins (0 is the first record) that says once more, byte by byte, what stands right before it: a
/// write that reached the disk twice.
pub fn doubled<M: Medium>(log: &Log<M>) -> Result<Option<usize>, LogError> {
    let (mut place, mut first) = (0, None);
    log.read(0..log.count(), |payload| {
        let index = rmp_serde::from_slice::<Place>(payload).map_or(0, |place| place.index);
        if index != place as u64 + 1 {
            first = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
        }
        place += 1;
        first.is_none() && index != 0
    })?;
    // The last record that was read is the one out of place.
    let Some((begin, end)) = first.map(|begin| (begin, place - 1)) else { return Ok(None) };
    let length = log.count() - end;
    if begin >= end || begin + length != end {
        return Ok(None);
    }
    let mut once = Vec::with_capacity(length);
    log.read(begin..end, |payload| {
        once.push(payload.to_vec());
        true
    })?;
    let (mut twice, mut once) = (true, once.iter());
    log.read(end..log.count(), |payload| {
        twice = once.next().is_some_and(|former| former == payload);
        twice
    })?;
    Ok(twice.then_some(end))
}

/// The state after the record of this index, with the attempts and ids of all records behind it noted.
pub fn after<M: Medium>(log: &Log<M>, index: u64) -> Result<Run, Unreadable> {
    let mut rollbacks = Vec::new();
    pass(log, index, |record| {
        if record.kind == Kind::RolledBack {
            rollbacks.push((record.index, record.read::<RolledBack>()?.to));
        }
        Ok(true)
    })?;
    let branch = branch_to(index, &rollbacks);
    let mut run: Option<Run> = None;
    let mut parts = branch.iter().peekable();
    pass(log, log.count() as u64, |record| {
        while parts.next_if(|part| *part.end() < record.index).is_some() {}
        match (parts.peek(), &mut run) {
            (Some(part), _) if part.contains(&record.index) => step(&mut run, record)?,
            (_, Some(run)) => run.witness(record)?,
            (_, None) => return Err(BusError::new(Code::Corrupt, "it precedes the first record")),
        }
        Ok(true)
    })?;
    run.ok_or_else(|| Unreadable::Record("record 1: missing".to_owned()))
}

/// Which records lead to this one.
fn branch_to(index: u64, rollbacks: &[(u64, u64)]) -> Branch {
    let mut branch = Vec::new();
    let mut end = index;
    for (at, to) in rollbacks.iter().rev() {
        if *at <= end {
            branch.push(*at..=end);
            end = (*to).min(at - 1);
        }
    }
    branch.push(1..=end);
    branch.reverse();
    branch
}

fn step(run: &mut Option<Run>, record: &Record) -> Result<(), BusError> {
    match run {
        None => *run = Some(Run::open(record)?),
        Some(run) => {
            run.apply(record)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_leaves_out_what_rollbacks_left_behind() {
        assert_eq!(branch_to(9, &[]), [1..=9]);
        assert_eq!(branch_to(9, &[(5, 2)]), [1..=2, 5..=9]);
        assert_eq!(branch_to(9, &[(5, 2), (8, 6)]), [1..=2, 5..=6, 8..=9]);
        // Back before the first rollback: it is abandoned itself.
        assert_eq!(branch_to(9, &[(5, 2), (8, 3)]), [1..=3, 8..=9]);
        // Before a rollback was: the branch that it left.
        assert_eq!(branch_to(4, &[(5, 2), (8, 3)]), [1..=4]);
    }
}
