//! States that have been met, each with a number, in one flat list.

use hashbrown::HashTable;

/// Bit `i % 64` of word `i / 64` is fact i.
pub type State = Vec<u64>;

/// Numbers states from 0 in the order in which they are first met.
pub struct States {
    words: usize,
    flat: Vec<u64>,
    table: HashTable<u32>,
}

impl States {
    #[must_use]
    pub fn new(words: usize) -> Self {
        Self { words, flat: vec![], table: HashTable::new() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.flat.len() / self.words
    }

    #[must_use]
    pub fn get(&self, at: u32) -> &[u64] {
        let from = at as usize * self.words;
        &self.flat[from..from + self.words]
    }

    /// The number of a state that has been met.
    #[must_use]
    pub fn find(&self, state: &[u64]) -> Option<u32> {
        self.table.find(hash(state), |&at| self.get(at) == state).copied()
    }

    /// Numbers a state that has not been met.
    pub fn push(&mut self, state: &[u64]) -> u32 {
        let at = self.len() as u32;
        self.flat.extend_from_slice(state);
        let (flat, words) = (&self.flat, self.words);
        self.table.insert_unique(hash(state), at, |&other| {
            let from = other as usize * words;
            hash(&flat[from..from + words])
        });
        at
    }
}

/// A multiply and fold per word (the idea of FxHash and wyhash): states are no adversaries.
fn hash(state: &[u64]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for word in state {
        let product = u128::from(hash ^ word) * 0xa076_1d64_78bd_642f_u128;
        hash = (product as u64) ^ ((product >> 64) as u64) ^ hash.rotate_left(23);
    }
    hash
}
