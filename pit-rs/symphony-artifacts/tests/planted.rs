//! What an untrusted program may plant in an outbox or inbox is refused by name and leads nowhere.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::{relative, tree, wanted, Bench};
use rustix::fs::{mknodat, FileType, Mode, CWD};
use symphony_artifacts::collect::Limits;
use symphony_artifacts::StoreError;

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// `place` is refused, whether it is asked for itself or found inside a folder.
fn assert_refused(bench: &mut Bench, outbox: &Path, item: &str, place: &str) {
    match bench.collect(outbox, &[item]) {
        Err(StoreError::Bad { place: found, .. }) => assert_eq!(found, place),
        other => panic!("{item} gave {other:?}"),
    }
    assert_eq!(common::files(&bench.path()), (vec![], vec![]), "something was taken");
}

#[test]
fn whatever_is_neither_file_nor_folder_is_refused_by_name() {
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    let secret = bench.folder.path().join("secret");
    fs::write(&secret, "of the host").unwrap();
    fs::create_dir(outbox.join("d")).unwrap();
    fs::write(outbox.join("d/a-good-one"), "x").unwrap();

    symlink(&secret, outbox.join("d/link")).unwrap();
    assert_refused(&mut bench, &outbox, "d", "d/link");
    assert_refused(&mut bench, &outbox, "d/link", "d/link");
    fs::remove_file(outbox.join("d/link")).unwrap();

    fs::hard_link(&secret, outbox.join("d/hard")).unwrap();
    assert_refused(&mut bench, &outbox, "d", "d/hard");
    assert_refused(&mut bench, &outbox, "d/hard", "d/hard");
    fs::remove_file(outbox.join("d/hard")).unwrap();

    make_fifo(&outbox.join("d/fifo"));
    assert_refused(&mut bench, &outbox, "d", "d/fifo");
    assert_refused(&mut bench, &outbox, "d/fifo", "d/fifo");
    fs::remove_file(outbox.join("d/fifo")).unwrap();

    let _listener = UnixListener::bind(outbox.join("d/socket")).unwrap();
    assert_refused(&mut bench, &outbox, "d", "d/socket");
    fs::remove_file(outbox.join("d/socket")).unwrap();

    // Only root can make a device; what is refused is the same kind check.
    let device = outbox.join("d/null");
    if mknodat(CWD, &device, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))
        .is_ok()
    {
        assert_refused(&mut bench, &outbox, "d", "d/null");
        assert_refused(&mut bench, &outbox, "d/null", "d/null");
        fs::remove_file(device).unwrap();
    }
    assert_eq!(bench.collect(&outbox, &["d"]).unwrap()[0].files, 1);
}

#[test]
fn symlinks_on_the_way_are_not_followed() {
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    let elsewhere = bench.make("elsewhere");
    fs::write(elsewhere.join("file"), "of the host").unwrap();
    symlink(&elsewhere, outbox.join("way")).unwrap();
    assert_refused(&mut bench, &outbox, "way/file", "way/file");
    // Nor may the named folder itself be one: its parent may be writable for the extension.
    assert_refused(&mut bench, &outbox.join("way"), "file", "folder");
}

#[test]
fn a_file_swapped_for_a_symlink_while_we_look_leads_nowhere() {
    use rustix::fs::{renameat_with, RenameFlags};
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    let host = bench.make("host");
    fs::write(host.join("file"), "of the host").unwrap();
    fs::create_dir_all(outbox.join("folder")).unwrap();
    fs::write(outbox.join("folder/file"), "inside").unwrap();
    symlink(&host, outbox.join("trap")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, two) = (outbox.join("folder"), outbox.join("trap"));
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for round in 0..500 {
            let item = ["folder/file", "folder"][round % 2];
            match bench.collect(&outbox, &[item]) {
                Ok(_) | Err(StoreError::Bad { .. }) => (),
                other => panic!("{other:?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let secret = symphony_artifacts::Reference::of(b"of the host");
    assert!(matches!(bench.store.stat(&secret), Err(StoreError::NotFound { .. })));
}

#[test]
fn names_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    fs::create_dir(outbox.join("d")).unwrap();
    fs::write(outbox.join("d").join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
    assert_refused(&mut bench, &outbox, "d", "d/\u{fffd}");
}

#[test]
fn staging_never_follows_or_replaces_what_stands_in_the_way() {
    let mut bench = Bench::new();
    let artifact = bench.put(b"content");
    let inbox = bench.make("inbox");
    let elsewhere = bench.make("elsewhere");
    symlink(&elsewhere, inbox.join("way")).unwrap();
    symlink(elsewhere.join("new"), inbox.join("link")).unwrap();
    make_fifo(&inbox.join("fifo"));
    fs::write(inbox.join("file"), "old").unwrap();
    fs::hard_link(inbox.join("file"), inbox.join("hard")).unwrap();
    let _listener = UnixListener::bind(inbox.join("socket")).unwrap();
    for (path, place) in [
        ("way/x", "way/x"),
        ("way/y/x", "way/y"),
        ("link", "link"),
        ("fifo", "fifo"),
        ("fifo/x", "fifo/x"),
        ("file", "file"),
        ("hard", "hard"),
        ("socket", "socket"),
    ] {
        let items = [(artifact, relative("sub/good")), (artifact, relative(path))];
        match bench.store.stage(&inbox, &items, true) {
            Err(StoreError::Exists { place: found }) => assert_eq!(found, place),
            other => panic!("{path} gave {other:?}"),
        }
        assert!(!inbox.join("sub").exists(), "half of a refused call stayed");
    }
    assert!(tree(&elsewhere).is_empty());
    assert_eq!(fs::read(inbox.join("file")).unwrap(), b"old");
    let through = bench.store.stage(&inbox.join("way"), &[(artifact, relative("x"))], false);
    assert!(matches!(through, Err(StoreError::Bad { place, .. }) if place == "folder"));
}

#[test]
fn special_mode_bits_are_never_kept() {
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    fs::create_dir(outbox.join("d")).unwrap();
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2711), ("open", 0o666), ("none", 0o000)] {
        let path = outbox.join("d").join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    if !rustix::process::geteuid().is_root() {
        fs::remove_file(outbox.join("d/none")).unwrap();
    }
    let folder = bench.collect(&outbox, &["d"]).unwrap()[0].put.reference;
    for (name, writable, plain, executable) in
        [("read", false, 0o444, 0o555), ("write", true, 0o644, 0o755)]
    {
        let inbox = bench.make(name);
        bench.store.stage(&inbox, &[(folder, relative("a/d"))], writable).unwrap();
        for (path, (mode, _)) in tree(&inbox) {
            let expected = match path.as_str() {
                "a" | "a/d" => 0o755,
                "a/d/setuid" | "a/d/setgid" => executable,
                _ => plain,
            };
            assert_eq!(mode, expected, "{path} has mode {mode:o}");
        }
    }
}

#[test]
fn limits_stop_a_collection_and_leave_nothing() {
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    for name in ["a", "b", "c"] {
        fs::create_dir_all(outbox.join("d").join(name)).unwrap();
        fs::write(outbox.join("d").join(name).join("f"), [b'x'; 100]).unwrap();
    }
    let limits = |bytes, files| Limits { bytes, files };
    for (limits, fits) in [
        (limits(300, 3), true),
        (limits(299, 3), false),
        (limits(300, 2), false),
        (limits(0, 0), false),
    ] {
        let outcome = bench.store.collect(&outbox, &[wanted("d")], limits);
        assert_eq!(outcome.is_ok(), fits, "{limits:?} gave {outcome:?}");
        assert!(fits || matches!(outcome, Err(StoreError::Limit { .. })));
    }
    // A sparse file has its length, not its blocks; it is refused before it is read.
    let sparse = fs::File::create(outbox.join("sparse")).unwrap();
    sparse.set_len(1 << 42).unwrap();
    let outcome = bench.collect(&outbox, &["sparse"]);
    assert!(matches!(outcome, Err(StoreError::Limit { place, .. }) if place == "sparse"));
    // Empty folders count as well, however many or deep they are.
    let mut deep = outbox.join("deep");
    for _ in 0..150 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    assert!(matches!(bench.collect(&outbox, &["deep"]), Err(StoreError::Limit { .. })));
    fs::create_dir(outbox.join("many")).unwrap();
    for number in 0..20 {
        fs::create_dir(outbox.join("many").join(number.to_string())).unwrap();
    }
    let outcome = bench.store.collect(&outbox, &[wanted("many")], limits(1, 5));
    assert!(matches!(outcome, Err(StoreError::Limit { .. })));
}

#[test]
fn a_refused_item_takes_the_whole_call_with_it() {
    let mut bench = Bench::new();
    let outbox = bench.make("outbox");
    fs::write(outbox.join("good"), "x").unwrap();
    let outcome = bench.collect(&outbox, &["good", "absent"]);
    assert!(matches!(outcome, Err(StoreError::Missing { place }) if place == "absent"));
    bench.store.flush().unwrap();
    assert_eq!(common::files(&bench.path()), (vec![], vec![]));
}
