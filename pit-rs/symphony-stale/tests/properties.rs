//! What holds of every decision, whatever there is and whatever was said about it.
#![allow(clippy::unwrap_used)] // A test may panic.

use std::collections::BTreeMap;

use proptest::prelude::*;
use symphony_member::instant::DAY_MS;
use symphony_member::{decode, encode, Fold, Reference};
use symphony_stale::config::{Config, Pressure};
use symphony_stale::decide::{decide, freed, Item};
use symphony_stale::ledger::Ledger;
use symphony_stale::record::{Action, Hold, Proof, Record, Subject, Word};
use symphony_stale::survey::{Builder, Info, Kind, Made, Needs, Survey};
use symphony_stale::value::{Ended, Signals, Worth};

const TODAY: i64 = 60;

#[derive(Clone, Debug)]
struct One {
    run: usize,
    player: usize,
    day: i64,
    bytes: u64,
    input: Option<usize>,
    folder_of: Option<(usize, usize)>,
    pinned: bool,
    held_run: bool,
    referenced: bool,
    proven: bool,
}

fn one() -> impl Strategy<Value = One> {
    let ends = (0..6_usize, 0..3_usize, 0..TODAY, 1..1_000_u64);
    let rare = || prop::bool::weighted(0.15);
    let folder = prop::option::weighted(0.2, (0..12_usize, 0..12_usize));
    (ends, prop::option::of(0..12_usize), folder, rare(), rare(), rare(), rare()).prop_map(
        |((run, player, day, bytes), input, folder_of, pinned, held_run, referenced, proven)| One {
            run,
            player,
            day,
            bytes,
            input,
            folder_of,
            pinned,
            held_run,
            referenced,
            proven,
        },
    )
}

fn name(number: usize) -> Reference {
    Reference::of(&[number as u8])
}

fn day(day: i64) -> String {
    format!("2026-{:02}-{:02}T00:00:00.000Z", 1 + day / 28, 1 + day % 28)
}

fn build(all: &[One], open: &[bool]) -> (Survey, Ledger) {
    let mut builder = Builder::default();
    let mut ledger = Ledger::default();
    let mut needs = Needs::default();
    for (number, open) in open.iter().enumerate() {
        let run = format!("r{number}");
        if *open {
            needs.open.insert(run);
        } else {
            needs.ended.insert(run, Ended::Failed);
        }
    }
    let word = Word::default();
    for (number, it) in all.iter().enumerate() {
        let kind = if it.folder_of.is_some() { Kind::Folder } else { Kind::File };
        builder.add(Info {
            reference: name(number),
            kind,
            bytes: it.bytes,
            media: None,
            name: None,
            created: day(it.day),
            made: Some(Made {
                run: Some(format!("r{}", it.run)),
                player: Some(format!("p{}", it.player)),
                inputs: it.input.map(name).into_iter().collect(),
                ..Made::default()
            }),
            quality: None,
        });
        if let Some((one, other)) = it.folder_of {
            // Some of its files are artifacts, some are not.
            let parts = BTreeMap::from([(name(one), 5), (name(100 + other), 7)]);
            builder.fill(&name(number), 50, parts.into_iter().collect());
        }
        if it.pinned {
            ledger.apply(Record::Pinned {
                subject: Subject::Ref(name(number)),
                word: Some(word.clone()),
            });
        }
        if it.held_run {
            let runs = [format!("r{}", it.run)].into();
            let hold = Some(Hold { refs: [].into(), runs, word: word.clone() });
            ledger.apply(Record::Held { name: number.to_string(), hold });
        }
        if it.referenced {
            needs.referenced.insert(name(number));
        }
        if it.proven {
            ledger.apply(Record::Proved(Proof {
                number: number as u64 + 1,
                reference: name(number),
                bytes: it.bytes,
                place: "built-in".into(),
                archived: day(0),
                read_back: day(0),
                hash: name(number),
                runs: vec![],
                whole: None,
                freed: None,
                restored: None,
                lost: None,
            }));
        }
    }
    (builder.finish(needs), ledger)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_decision_touches_what_must_stay(
        all in prop::collection::vec(one(), 1..12),
        open in prop::collection::vec(prop::bool::weighted(0.2), 6),
        local_days in 0..40_u64,
        valuable in 0..1_000_u64,
        room in prop::option::of(1..4_000_u64),
    ) {
        let (survey, ledger) = build(&all, &open);
        let pressure = Pressure { bytes: room, low_ppm: 500_000, ..Pressure::default() };
        let config = Config { local_days, valuable, pressure, ..Config::default() };
        let now = symphony_member::instant::read(&day(TODAY)).unwrap();
        let items = decide(&survey, &ledger, &config, now);
        prop_assert_eq!(items.len(), all.len());
        let moves = |item: &Item| matches!(item.action, Action::Archive | Action::Free | Action::Delete);
        let held: Vec<usize> = all.iter().filter(|it| it.held_run).map(|it| it.run).collect();
        let fixed = |number: usize| {
            let it = &all[number];
            let inputs = all.iter().any(|other| open[other.run] && other.input == Some(number));
            it.pinned || held.contains(&it.run) || it.referenced || inputs
        };
        for (number, it) in all.iter().enumerate() {
            let item = items.iter().find(|item| item.reference == name(number)).unwrap();
            if !moves(item) {
                continue;
            }
            prop_assert!(!fixed(number) && !open[it.run], "{item:?}");
            let put = symphony_member::instant::read(&day(it.day)).unwrap();
            let age = (now - put) / DAY_MS;
            prop_assert!(age >= 1 && age as u64 >= local_days, "{item:?}");
            prop_assert!(!all.iter().any(|other| other.folder_of.is_some_and(|of| of.0 == number)));
            if let Some((part, _)) = it.folder_of.filter(|of| of.0 < all.len()) {
                prop_assert!(!fixed(part), "{item:?}");
            }
            match item.action {
                Action::Free => prop_assert!(it.proven),
                Action::Delete => prop_assert!(room.is_some() && item.value < valuable),
                _ => {}
            }
        }
        // Of each kind something is left, unless it has gone into the archive.
        for player in 0..3 {
            let alike: Vec<&Item> = all.iter().enumerate().filter(|(_, it)| it.player == player)
                .map(|(number, _)| items.iter().find(|item| item.reference == name(number)).unwrap())
                .collect();
            prop_assert!(alike.is_empty() || alike.iter().any(|item| item.action != Action::Delete));
        }
        // No more goes for want of room than is needed: without the last there would be too much. The last is one of
        // the worthiest.
        let going = items.iter().filter(|item| moves(item)).map(|item| freed(&survey, &item.reference)).sum::<u64>();
        let pressed: Vec<&Item> = items.iter().filter(|item| item.reason.contains("there is no room")).collect();
        if let Some(worthiest) = pressed.iter().map(|item| item.value).max() {
            let excess = config.pressure.excess(survey.used);
            let mut last = pressed.iter().filter(|item| item.value == worthiest);
            prop_assert!(last.any(|item| going - freed(&survey, &item.reference) < excess), "{going} of {excess}");
        }
        prop_assert!(items.iter().all(|item| item.action != Action::Delete || pressed.contains(&item)));
        prop_assert_eq!(decide(&survey, &ledger, &config, now), items);
    }

    #[test]
    fn a_value_is_0_to_1000_and_never_falls_when_a_signal_rises(
        ended in prop::option::of(prop::sample::select(vec![Ended::Aborted, Ended::Failed, Ended::Succeeded])),
        alike in 1..1_000_000_u64,
        quality in 0..1_000_u64,
        feedback in 0..1_000_u64,
        uses in 0..u64::MAX,
        weights in prop::array::uniform5(1..=100_u64),
    ) {
        let [outcome, rarity, quality_weight, feedback_weight, reuse] = weights;
        let worth = Worth { outcome, rarity, quality: quality_weight, feedback: feedback_weight, reuse };
        let value = |alike, quality, feedback, uses| {
            Signals::new(ended, alike, Some(quality), Some(feedback), uses).value(&worth)
        };
        let base = value(alike, quality, feedback, uses);
        prop_assert!(base <= 1_000);
        prop_assert!(value(alike + 1, quality, feedback, uses) <= base);
        prop_assert!(value(alike, quality + 1, feedback, uses) >= base);
        prop_assert!(value(alike, quality, feedback + 1, uses) >= base);
        prop_assert!(value(alike, quality, feedback, uses.saturating_add(1)) >= base);
    }

    #[test]
    fn a_snapshot_makes_the_same_ledger(
        all in prop::collection::vec(one(), 1..12),
    ) {
        let (_, ledger) = build(&all, &[false; 6]);
        let mut again = Ledger::default();
        ledger.snapshot().for_each(|record| again.apply(decode(&encode(&record).unwrap()).unwrap()));
        prop_assert_eq!(again, ledger);
    }
}

#[test]
fn a_day_is_as_long_as_the_grace() {
    assert_eq!(symphony_stale::decide::GRACE_MS, DAY_MS);
}
