//! Contents from 1 MiB on: in chunks, each once, whole again whatever becomes of the others.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{at, chunk_files, files, noise, relative, Bench};
use proptest::prelude::*;
use symphony_artifacts::{Reference, StoreError};

fn taken(bench: &Bench) -> u64 {
    chunk_files(&bench.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_two_contents_share_is_there_once() {
    let mut bench = Bench::new();
    let one = noise(1, 12_000_000);
    let other = [&one[..5_000_000], b"something else", &one[5_000_000..]].concat();
    let first = bench.put(&one);
    let before = taken(&bench);
    let second = bench.put(&other);
    let more = taken(&bench) - before;
    assert!(more < 6_000_000, "{more} bytes for a small change");
    // The same from a file, and from memory.
    let outbox = bench.make("outbox");
    fs::write(outbox.join("f"), &one).unwrap();
    let count = chunk_files(&bench.path()).len();
    let collected = bench.collect(&outbox, &["f"]).unwrap()[0];
    assert_eq!((collected.put.reference, collected.put.new), (first, false));
    assert_eq!(chunk_files(&bench.path()).len(), count);
    let mut bench = bench.reopen();
    assert_eq!(bench.read(&first).unwrap(), one);
    assert_eq!(bench.read(&second).unwrap(), other);
    assert_eq!(files(&bench.path()).0.len(), 0, "no content is kept whole besides");
    let inbox = bench.make("inbox");
    bench.store.stage(&inbox, &[(second, relative("s"))], false).unwrap();
    assert_eq!(fs::read(inbox.join("s")).unwrap(), other);
}

#[test]
fn a_damaged_chunk_is_never_handed_out_and_is_mended_by_putting_the_content_again() {
    let mut bench = Bench::new();
    let content = noise(2, 6_000_000);
    let reference = bench.put(&content);
    let good = bench.put(b"good");
    for damage in 0..3 {
        // Read first, so that nothing is checked anew.
        assert_eq!(bench.read(&reference).unwrap(), content);
        let chunk = chunk_files(&bench.path()).remove(0);
        match damage {
            0 => flip(&chunk, 100_000),
            1 => fs::remove_file(&chunk).unwrap(),
            _ => fs::write(&chunk, b"\0short").unwrap(),
        }
        assert!(matches!(bench.read(&reference), Err(StoreError::Corrupt { .. })), "{damage}");
        let inbox = bench.make(&format!("inbox-{damage}"));
        let staged = bench.store.stage(&inbox, &[(reference, relative("a"))], false);
        assert!(matches!(staged, Err(StoreError::Corrupt { .. })));
        assert!(common::tree(&inbox).is_empty());
        assert_eq!(bench.store.verify(None, u64::MAX).unwrap().bad, [reference]);
        assert_eq!(bench.put(&content), reference);
        assert_eq!(bench.read(&reference).unwrap(), content);
        assert!(bench.store.verify(None, u64::MAX).unwrap().bad.is_empty());
    }
    assert_eq!(bench.read(&good).unwrap(), b"good");
}

#[test]
fn verify_can_go_in_steps() {
    let mut bench = Bench::new();
    for seed in 0..10 {
        bench.put(&noise(seed, 10_000));
    }
    bench.put(&noise(99, 2_000_000));
    let (mut after, mut blobs, mut bytes, mut steps) = (None, 0, 0, 0);
    loop {
        let report = bench.store.verify(after.as_ref(), 25_000).unwrap();
        (blobs, bytes, steps) = (blobs + report.blobs, bytes + report.bytes, steps + 1);
        after = report.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((blobs, bytes), (11, 2_100_000));
    assert!((3..=5).contains(&steps), "{steps}");
}

/// Contents that share stretches: pieces of one long noise, with small changes.
fn content() -> impl Strategy<Value = Vec<u8>> {
    (0..6usize, 1_000_000..5_000_000usize, prop::option::of(0..5_000_000usize)).prop_map(
        |(start, length, change)| {
            let all = noise(5, 9_000_000);
            let start = start * 700_000;
            let mut content = all[start..(start + length).min(all.len())].to_vec();
            if let Some(at) = change {
                let at = at % content.len();
                content[at] ^= 1;
            }
            content
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deduplication_of_chunks_never_loses_or_mixes_up_anything(
        contents in prop::collection::vec((content(), any::<bool>()), 1..6),
        reads in prop::collection::vec((0..5_000_000u64, 1..1_500_000usize), 1..6)
    ) {
        let mut bench = Bench::new();
        let mut kept = BTreeMap::new();
        for (content, flush) in &contents {
            let put = bench.store.put(&[(content.as_slice(), at("1"))]).unwrap()[0];
            kept.insert(put.reference, content.clone());
            if *flush {
                bench.store.flush().unwrap();
            }
        }
        bench.store.flush().unwrap();
        let mut bench = bench.reopen();
        for (reference, content) in &kept {
            prop_assert_eq!(*reference, Reference::of(content));
            prop_assert!(&bench.read(reference).unwrap() == content);
            for (offset, limit) in &reads {
                let offset = (*offset).min(content.len() as u64);
                let (piece, _) = bench.store.get(reference, offset, *limit).unwrap();
                let rest = &content[offset as usize..];
                prop_assert!(piece == rest[..rest.len().min(*limit)]);
            }
        }
        prop_assert_eq!(bench.store.verify(None, u64::MAX).unwrap().bad, vec![]);
    }
}
