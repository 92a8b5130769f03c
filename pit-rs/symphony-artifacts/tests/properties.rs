//! What holds for any contents, trees and orders.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{at, noise, relative, tree, Bench};
use proptest::prelude::*;
use symphony_artifacts::info::{About, Kind};
use symphony_artifacts::Reference;

/// A file as a test makes it: contents of all sizes that the store treats differently.
#[derive(Clone, Debug)]
struct Made {
    seed: u64,
    length: usize,
    text: bool,
    executable: bool,
}

impl Made {
    fn content(&self) -> Vec<u8> {
        if self.text {
            let line = format!("line {} of a text\n", self.seed);
            line.bytes().cycle().take(self.length).collect()
        } else {
            noise(self.seed, self.length)
        }
    }
}

fn made() -> impl Strategy<Value = Made> {
    let length = prop_oneof![4 => 0..300usize, 2 => 4_090..4_100usize, 1 => 250_000..550_000usize];
    (0..4u64, length, any::<bool>(), any::<bool>())
        .prop_map(|(seed, length, text, executable)| Made { seed, length, text, executable })
}

/// A tree by path. Folders are called `dN`, files `fN`, so that no name is both.
fn files_of_tree() -> impl Strategy<Value = BTreeMap<String, Made>> {
    prop::collection::btree_map("(d[0-3]/){0,3}(f[0-9ü .-]{1,4})", made(), 0..12)
}

fn build<'f>(root: &Path, files: impl Iterator<Item = (&'f String, &'f Made)>) {
    fs::create_dir(root).unwrap();
    for (path, made) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made.content()).unwrap();
        let mode = if made.executable { 0o700 } else { 0o640 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_folder_comes_back_as_it_was(files in files_of_tree(), writable: bool) {
        let mut bench = Bench::new();
        let outbox = bench.make("outbox");
        build(&outbox.join("t"), files.iter());
        let collected = bench.collect(&outbox, &["t"]).unwrap()[0];
        let bytes: u64 = files.values().map(|made| made.length as u64).sum();
        prop_assert_eq!(
            (collected.kind, collected.files, collected.bytes),
            (Kind::Folder, files.len() as u64, bytes)
        );
        let mut bench = bench.reopen();
        let inbox = bench.make("inbox");
        let items = [(collected.put.reference, relative("t"))];
        bench.store.stage(&inbox, &items, writable).unwrap();
        let staged: BTreeMap<_, _> = tree(&inbox.join("t"))
            .into_iter()
            .filter_map(|(path, (mode, content))| Some((path, (mode, content?))))
            .collect();
        let expected: BTreeMap<_, _> = files
            .iter()
            .map(|(path, made)| {
                let mode = match (writable, made.executable) {
                    (false, false) => 0o444,
                    (false, true) => 0o555,
                    (true, false) => 0o644,
                    (true, true) => 0o755,
                };
                (path.clone(), (mode, made.content()))
            })
            .collect();
        prop_assert_eq!(staged, expected);
    }

    #[test]
    fn equal_trees_are_one_artifact_whatever_the_order_they_were_made_in(files in files_of_tree()) {
        let mut bench = Bench::new();
        let outbox = bench.make("outbox");
        build(&outbox.join("one"), files.iter());
        build(&outbox.join("two"), files.iter().rev());
        let collected = bench.collect(&outbox, &["one", "two"]).unwrap();
        prop_assert_eq!(collected[0].put.reference, collected[1].put.reference);
        prop_assert!(collected[0].put.new && !collected[1].put.new);
        let listing = bench.store.listing(&collected[0].put.reference).unwrap();
        let paths: Vec<_> = listing.iter().map(|member| member.path.as_str().as_bytes()).collect();
        prop_assert!(paths.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn deduplication_never_loses_or_mixes_up_anything(
        puts in prop::collection::vec((made(), prop::option::of(0..3u8), any::<bool>()), 1..25)
    ) {
        let mut bench = Bench::new();
        let mut contents = BTreeMap::new();
        let mut entries = BTreeSet::new();
        for (made, name, flush) in &puts {
            let content = made.content();
            let about = About { name: name.map(|name| name.to_string()), ..at("1") };
            let put = bench.store.put(&[(content.as_slice(), about)]).unwrap()[0];
            prop_assert_eq!(put.reference, Reference::of(&content));
            prop_assert_eq!(put.new, contents.insert(put.reference, content).is_none());
            entries.extend(name.map(|name| (put.reference, name.to_string())));
            if *flush {
                bench.store.flush().unwrap();
            }
        }
        bench.store.flush().unwrap();
        let mut bench = bench.reopen();
        for (reference, content) in &contents {
            prop_assert_eq!(&bench.read(reference).unwrap(), content);
        }
        let mut listed = BTreeSet::new();
        bench.store.list(&Default::default(), |_, info| {
            assert!(listed.insert((info.reference, info.name.unwrap())), "an entry came twice");
            Ok(true)
        }).unwrap();
        prop_assert_eq!(listed, entries);
        let report = bench.store.verify(None, u64::MAX).unwrap();
        prop_assert_eq!((report.blobs, report.bad.len()), (contents.len() as u64, 0));
    }

    #[test]
    fn any_piece_of_an_artifact_is_the_right_one(
        made in made(),
        reads in prop::collection::vec((0..600_000u64, 1..400_000usize), 1..10)
    ) {
        let mut bench = Bench::new();
        let content = made.content();
        let reference = bench.put(&content);
        for (offset, limit) in reads {
            let offset = offset.min(content.len() as u64);
            let (piece, _) = bench.store.get(&reference, offset, limit).unwrap();
            let rest = &content[offset as usize..];
            prop_assert!(piece == rest[..rest.len().min(limit)]);
        }
    }
}
