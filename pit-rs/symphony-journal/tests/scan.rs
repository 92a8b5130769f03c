//! Reading a log that somebody else is writing to.
#![allow(clippy::unwrap_used)] // A test may panic.

use std::cell::RefCell;
use std::io;

use proptest::prelude::*;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::{frame, scan, Log, LogError, Medium, Scan, Storage};

const NAME: &str = "log";

fn file_of(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    payloads.iter().for_each(|payload| frame::encode(payload, &mut bytes));
    bytes
}

fn read<M: Medium>(file: &M) -> Result<(Scan, Vec<Vec<u8>>), LogError> {
    let mut found = Vec::new();
    let said = scan(file, None, |payload, end| {
        found.push((payload.to_vec(), end));
        Ok(())
    })?;
    let ends: Vec<u64> = found.iter().map(|(_, end)| *end).collect();
    let payloads: Vec<Vec<u8>> = found.into_iter().map(|(payload, _)| payload).collect();
    for (count, end) in ends.iter().enumerate() {
        assert_eq!(*end, file_of(&payloads[..=count]).len() as u64);
    }
    Ok((said, payloads))
}

/// A file to which its owner writes a few bytes each time that it is read.
struct Growing {
    bytes: RefCell<Vec<u8>>,
    coming: RefCell<Vec<u8>>,
    step: usize,
}

impl Medium for Growing {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes.borrow()[start..start + buffer.len()]);
        let mut coming = self.coming.borrow_mut();
        let part = self.step.min(coming.len());
        self.bytes.borrow_mut().extend(coming.drain(..part));
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_is_read_while_it_grows_is_a_prefix(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..2000), 1..40),
        known in 0_usize..40,
        torn in 0_usize..2000,
        step in 1_usize..5000,
    ) {
        let known = known.min(payloads.len() - 1) + 1;
        let whole = file_of(&payloads);
        let first = file_of(&payloads[..known]).len();
        let length = (first + torn).min(whole.len());
        let growing = Growing {
            bytes: RefCell::new(whole[..length].to_vec()),
            coming: RefCell::new(whole[length..].to_vec()),
            step,
        };
        let (said, found) = read(&growing).unwrap();
        prop_assert!(found.len() >= known);
        prop_assert_eq!(&found[..], &payloads[..found.len()]);
        prop_assert_eq!(said.records, found.len() as u64);
        prop_assert_eq!(said.whole + said.torn.len() as u64, length as u64);
    }

    #[test]
    fn it_says_what_opening_says(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 1..6),
        at in 0_usize..400,
        bit in 0_u8..8,
        length in 0_usize..400,
    ) {
        let mut bytes = file_of(&payloads);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        bytes.truncate(length.max(1));
        let storage = MemoryStorage::new();
        storage.put(NAME, bytes);
        let scanned = read(&storage.open(NAME).unwrap().unwrap());
        match Log::open(storage.open(NAME).unwrap().unwrap()) {
            Ok((log, torn)) => {
                let (said, _) = scanned.unwrap();
                prop_assert_eq!((said.records, said.whole), (log.count() as u64, log.bytes()));
                prop_assert_eq!(said.torn, torn);
            }
            Err(_) => prop_assert!(scanned.is_err()),
        }
    }
}
