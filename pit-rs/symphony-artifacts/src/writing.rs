//! Writes the files of a large content in threads of their own, so that encoding them, and the disk, overlap with
//! cutting and hashing what comes next.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{channel, sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::blobs::{Manner, NewBlob, Pen};
use crate::chunking::Piece;
use crate::direct::Aligned;
use crate::error::{Result, StoreError};
use crate::layout::Place;

/// A disk wants more than one file at a time.
const WRITERS: usize = 3;

struct Job {
    place: Place,
    tmp: PathBuf,
    content: Piece,
    direct: bool,
}

type Done = (Place, Result<u64>);

/// Takes files to be written.
pub struct Writers {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    written: Result<BTreeMap<Place, u64>>,
}

/// Lets `work` have files written with this media type. Gives what it gives, and the lengths of the files.
pub fn with<T>(
    pen: &Pen,
    media: Option<&str>,
    work: impl FnOnce(&mut Writers) -> Result<T>,
) -> Result<(T, BTreeMap<Place, u64>)> {
    thread::scope(|scope| {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (tell, done) = channel();
        let todo = Arc::new(Mutex::new(todo));
        for _ in 0..WRITERS {
            let (todo, tell) = (Arc::clone(&todo), tell.clone());
            scope.spawn(move || {
                let mut aligned = Aligned::default();
                loop {
                    // Nothing panics while it is held.
                    let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { place, tmp, content, direct }) = job else { break };
                    let manner = Manner { direct, ..Manner::fast(media) };
                    let stored = pen.write(&tmp, &content, manner, &mut aligned);
                    let stored = stored.map_err(StoreError::io("write a blob", &tmp));
                    if tell.send((place, stored)).is_err() {
                        break;
                    }
                }
            });
        }
        drop((todo, tell));
        let written = Ok(BTreeMap::new());
        let mut writers = Writers { jobs, done, written };
        let outcome = work(&mut writers);
        let Writers { jobs, done, mut written } = writers;
        drop(jobs);
        done.into_iter().for_each(|done| note(&mut written, done));
        Ok((outcome?, written?))
    })
}

fn note(written: &mut Result<BTreeMap<Place, u64>>, (place, stored): Done) {
    match (written.as_mut(), stored) {
        (Ok(written), Ok(stored)) => {
            written.insert(place, stored);
        }
        (Ok(_), Err(error)) => *written = Err(error),
        // The first error counts.
        (Err(_), _) => {}
    }
}

impl Writers {
    /// Has a file written; an error may be that of an earlier one.
    pub fn write(&mut self, blob: &NewBlob, content: Piece, direct: bool) -> Result<()> {
        for done in self.done.try_iter() {
            note(&mut self.written, done);
        }
        if self.written.is_err() {
            std::mem::replace(&mut self.written, Ok(BTreeMap::new()))?;
        }
        let job = Job { place: blob.place, tmp: blob.tmp.clone(), content, direct };
        self.jobs.send(job).map_err(|_| StoreError::Bug("nobody writes any more".to_owned()))
    }
}
