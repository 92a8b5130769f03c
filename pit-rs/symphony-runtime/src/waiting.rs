//! The calls that a reactor has not answered yet.

use foldhash::HashMap;
use symphony_wire::reactor::CallId;

use crate::serving::Key;

struct Waiting {
    key: Key,
    /// Of the hub that last said that it is wanted.
    epoch: u64,
    cancelled: bool,
}

/// As many as the callers have open, which the hub bounds.
#[derive(Default)]
pub struct WaitingCalls {
    calls: HashMap<CallId, Waiting>,
    ids: HashMap<Key, CallId>,
    last: CallId,
    epoch: u64,
    /// When callers that did not ask anew count as gone.
    sift_at: Option<u64>,
}

impl WaitingCalls {
    pub fn open(&mut self, key: Key) -> CallId {
        self.last += 1;
        self.calls.insert(self.last, Waiting { key, epoch: self.epoch, cancelled: false });
        self.ids.insert(key, self.last);
        self.last
    }

    /// Ends a call; `None` if it is not open.
    pub fn close(&mut self, id: CallId) -> Option<Key> {
        let Waiting { key, .. } = self.calls.remove(&id)?;
        if self.ids.get(&key) == Some(&id) {
            self.ids.remove(&key);
        }
        Some(key)
    }

    /// The call that its caller no longer wants; `None` if that was said before, or it is over.
    pub fn cancel(&mut self, key: Key) -> Option<CallId> {
        let id = *self.ids.get(&key)?;
        let call = self.calls.get_mut(&id)?;
        (!std::mem::replace(&mut call.cancelled, true)).then_some(id)
    }

    /// Another hub: whoever still wants his answer says so before `until`.
    pub fn renew(&mut self, until: u64) {
        self.epoch += 1;
        self.sift_at = (!self.calls.is_empty()).then_some(until);
    }

    /// The caller still wants his answer.
    pub fn confirm(&mut self, key: Key) {
        let call = self.ids.get(&key).and_then(|id| self.calls.get_mut(id));
        if let Some(call) = call {
            call.epoch = self.epoch;
        }
    }

    /// The calls whose callers went with an older hub, once that is sure; each is given once.
    pub fn orphans(&mut self, now: u64) -> Vec<CallId> {
        if self.sift_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.sift_at = None;
        let epoch = self.epoch;
        let left = self.calls.iter_mut().filter(|(_, call)| call.epoch < epoch);
        let left = left.filter_map(|(id, call)| {
            (!std::mem::replace(&mut call.cancelled, true)).then_some(*id)
        });
        let mut orphans: Vec<CallId> = left.collect();
        orphans.sort_unstable();
        orphans
    }

    /// When [`orphans`](Self::orphans) is to be asked.
    pub fn wakeup(&self) -> Option<u64> {
        self.sift_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_cancelled_and_closed_once() {
        let mut calls = WaitingCalls::default();
        let id = calls.open((1, 1));
        assert_eq!(calls.cancel((1, 2)), None);
        assert_eq!([calls.cancel((1, 1)), calls.cancel((1, 1))], [Some(id), None]);
        assert_eq!([calls.close(id), calls.close(id)], [Some((1, 1)), None]);
        assert_eq!(calls.cancel((1, 1)), None);
        assert!(calls.calls.is_empty() && calls.ids.is_empty());
    }

    #[test]
    fn a_number_that_is_used_again_is_another_call() {
        let mut calls = WaitingCalls::default();
        let (first, second) = (calls.open((1, 1)), calls.open((1, 1)));
        assert_ne!(first, second);
        assert_eq!(calls.close(first), Some((1, 1)));
        assert_eq!(calls.cancel((1, 1)), Some(second));
    }

    #[test]
    fn whoever_does_not_ask_the_new_hub_is_gone() {
        let mut calls = WaitingCalls::default();
        calls.renew(5);
        assert_eq!(calls.wakeup(), None, "nobody waits");
        let [kept, gone, told] = [1, 2, 3].map(|request| calls.open((1, request)));
        assert_eq!(calls.cancel((1, 3)), Some(told));
        calls.renew(100);
        let late = calls.open((1, 4));
        calls.confirm((1, 1));
        assert!(calls.orphans(99).is_empty());
        assert_eq!(calls.orphans(100), [gone], "what was told is not told again");
        assert!(calls.orphans(200).is_empty());
        calls.renew(300);
        assert_eq!(calls.orphans(300), [kept, late]);
    }
}
