//! What libzmq holds for each peer, in bytes: it bounds only their messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::{Error, Message};

/// The bytes of the messages that were lent to libzmq and not given back, by peer.
pub struct Lending {
    bound: usize,
    by_peer: HashMap<Vec<u8>, Arc<AtomicUsize>>,
}

impl Lending {
    /// No more than `bound` bytes are to be lent for one peer.
    pub fn new(bound: usize) -> Self {
        Self { bound, by_peer: HashMap::new() }
    }

    /// Where a message of this size for a peer is to be booked; None if it has to wait until some of what is lent comes
    /// back. Where nothing is lent, one of any size need not wait.
    pub fn account(&mut self, peer: &[u8], size: usize) -> Option<Account> {
        if let Some(lent) = self.by_peer.get(peer) {
            let bytes = lent.load(Ordering::Relaxed);
            let room = bytes == 0 || bytes.saturating_add(size) <= self.bound;
            return room.then(|| Account(Arc::clone(lent)));
        }
        // Nobody is kept for whom nothing is lent.
        self.by_peer.retain(|_, lent| lent.load(Ordering::Relaxed) > 0);
        Some(Account(Arc::clone(self.by_peer.entry(peer.to_vec()).or_default())))
    }

    /// For how many peers something is lent, and no more than one other.
    pub fn peers(&self) -> usize {
        self.by_peer.len()
    }
}

/// What is lent for one peer; libzmq's thread takes off what it has written.
pub struct Account(Arc<AtomicUsize>);

impl Account {
    /// The same bytes as a message that is booked here until libzmq needs it no longer.
    pub fn lend(self, message: Message) -> Result<Message, Error> {
        self.0.fetch_add(message.len(), Ordering::Relaxed);
        Message::from_owner(Loan { message, account: self })
    }
}

struct Loan {
    message: Message,
    account: Account,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.message.len(), Ordering::Relaxed);
    }
}
