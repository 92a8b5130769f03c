//! What reaches a call that is being served: its end, credit for chunks, replies to its own calls. The session's
//! thread puts it in, the thread that serves waits for it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use symphony_wire::body::Progress;
use symphony_wire::constants::MAX_CREDIT;
use symphony_wire::{BusError, Code};

use crate::asking::Reply;

pub struct Mailbox {
    /// When the caller stops waiting.
    deadline: Option<Instant>,
    state: Mutex<State>,
    changed: Condvar,
    /// What the call reported last of its progress.
    told: Mutex<Progress>,
}

#[derive(Default)]
struct State {
    begun: bool,
    cancelled: bool,
    /// Chunks that may still be sent; `None`: the caller takes none.
    credit: Option<u32>,
    replies: VecDeque<(u64, Reply)>,
}

impl Mailbox {
    pub fn new(deadline: Option<Instant>, credit: Option<u32>) -> Self {
        let state = State { credit, ..State::default() };
        let (changed, told) = (Condvar::new(), Mutex::default());
        Self { deadline, state: Mutex::new(state), changed, told }
    }

    /// Has the report changed and told, one at a time.
    pub fn report(&self, change: impl FnOnce(&mut Progress), tell: impl FnOnce(&Progress)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut told);
        tell(&told);
    }

    /// The function of the call begins; false if the call was cancelled, and answered, before.
    pub fn begin(&self) -> bool {
        let mut state = self.lock();
        state.begun = !state.cancelled;
        state.begun
    }

    /// Nobody waits for the call any more; true if nobody else will answer it.
    pub fn cancel(&self) -> bool {
        let mut state = self.lock();
        let first = !std::mem::replace(&mut state.cancelled, true);
        self.changed.notify_all();
        first && !state.begun
    }

    /// The caller takes so many more chunks.
    pub fn give(&self, chunks: u32) {
        let mut state = self.lock();
        state.credit = state.credit.map(|credit| credit.saturating_add(chunks).min(MAX_CREDIT));
        self.changed.notify_all();
    }

    pub fn deliver(&self, request: u64, reply: Reply) {
        self.lock().replies.push_back((request, reply));
        self.changed.notify_all();
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Why nobody waits for the call any more, if so.
    pub fn check(&self) -> Result<(), BusError> {
        self.ended(&self.lock())
    }

    /// Whether the caller takes chunks.
    pub fn streams(&self) -> bool {
        self.lock().credit.is_some()
    }

    /// Waits for credit and takes one chunk's worth.
    pub fn take_credit(&self) -> Result<(), BusError> {
        self.wait(None, |state| {
            let credit = state.credit.as_mut().filter(|credit| **credit > 0)?;
            *credit -= 1;
            Some(())
        })
        .map(drop)
    }

    /// Waits for the next reply to a call that this one makes; `None` at `until`.
    pub fn reply(&self, request: u64, until: Option<Instant>) -> Result<Option<Reply>, BusError> {
        self.wait(until, |state| {
            let at = state.replies.iter().position(|(asked, _)| *asked == request)?;
            state.replies.remove(at).map(|(_, reply)| reply)
        })
    }

    /// Replies to this request are of no more interest.
    pub fn forget(&self, request: u64) {
        self.lock().replies.retain(|(asked, _)| *asked != request);
    }

    /// Waits until the time is over; fails as soon as nobody waits for the call any more.
    pub fn pause(&self, until: Option<Instant>) -> Result<(), BusError> {
        self.wait(until, |_| None::<()>).map(drop)
    }

    fn wait<T>(
        &self,
        until: Option<Instant>,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<Option<T>, BusError> {
        let mut state = self.lock();
        loop {
            self.ended(&state)?;
            if let Some(found) = ready(&mut state) {
                return Ok(Some(found));
            }
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return Ok(None);
            }
            state = match [until, self.deadline].into_iter().flatten().min() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(now);
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn ended(&self, state: &State) -> Result<(), BusError> {
        // The hub is about to say the same; whichever comes first must not differ.
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(BusError::new(Code::Deadline, "the call was not answered in time"));
        }
        if state.cancelled {
            return Err(BusError::new(Code::Cancelled, "the call was cancelled"));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use std::thread;
    use std::time::Duration;

    proptest! {
        #[test]
        fn no_more_chunks_go_out_than_were_credited(start in 0..50u32, gifts in proptest::collection::vec(1..20u32, 0..20)) {
            let mailbox = Mailbox::new(None, Some(start));
            let given: u32 = start + gifts.iter().sum::<u32>();
            thread::scope(|scope| {
                let taker = scope.spawn(|| {
                    let mut taken = 0;
                    while mailbox.take_credit().is_ok() {
                        taken += 1;
                        if taken == given {
                            mailbox.cancel();
                        }
                    }
                    taken
                });
                gifts.iter().for_each(|gift| mailbox.give(*gift));
                if given == 0 {
                    mailbox.cancel();
                }
                assert_eq!(taker.join().unwrap(), given);
            });
        }
    }

    #[test]
    fn credit_is_bounded() {
        let mailbox = Mailbox::new(None, Some(MAX_CREDIT));
        mailbox.give(u32::MAX);
        for _ in 0..MAX_CREDIT {
            mailbox.take_credit().unwrap();
        }
        assert_eq!(mailbox.lock().credit, Some(0));
        let none = Mailbox::new(None, None);
        none.give(1);
        assert!(!none.streams());
    }

    #[test]
    fn a_call_is_answered_by_whoever_has_it_and_only_once() {
        let waiting = Mailbox::new(None, None);
        assert!(waiting.cancel() && !waiting.cancel() && !waiting.begin());
        let running = Mailbox::new(None, None);
        assert!(running.begin() && !running.cancel());
        assert_eq!(running.check().unwrap_err().code, Code::Cancelled);
    }

    #[test]
    fn a_deadline_ends_every_wait() {
        let late = Mailbox::new(Some(Instant::now() + Duration::from_millis(5)), Some(0));
        assert_eq!(late.take_credit().unwrap_err().code, Code::Deadline);
        assert_eq!(late.reply(1, None).unwrap_err().code, Code::Deadline);
    }
}
