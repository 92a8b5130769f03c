//! All reachable states of a level, in the order of `fqg/solving/reachable.py`.

use crate::level::Level;
use crate::states::States;

/// State 0 is the start; the others as breadth-first search meets them, calls ascending.
pub struct Space {
    states: States,
    depths: Vec<u32>,
    /// Edges of state i are those from `offsets[i]` to `offsets[i + 1]`.
    offsets: Vec<u32>,
    calls: Vec<u32>,
    after: Vec<u32>,
    /// The same edges by the state that they lead to, as places in `calls`.
    into_offsets: Vec<u32>,
    into: Vec<(u32, u32)>,
}

impl Space {
    /// None if more than `cap` states can be reached.
    #[must_use]
    pub fn reach(level: &Level, cap: usize) -> Option<Self> {
        let cap = cap.min(1 << 31);
        let mut states = States::new(level.words);
        states.push(level.start());
        let mut space = Self {
            states,
            depths: vec![0],
            offsets: vec![0],
            calls: vec![],
            after: vec![],
            into_offsets: vec![],
            into: vec![],
        };
        let (mut state, mut after) = (level.start().to_vec(), level.start().to_vec());
        let mut at = 0;
        while (at as usize) < space.states.len() {
            state.copy_from_slice(space.states.get(at));
            for call in 0..level.size() {
                if !level.legal(call, &state) {
                    continue;
                }
                level.step(call, &state, &mut after);
                let index = match space.states.find(&after) {
                    Some(index) => index,
                    None if space.states.len() == cap => return None,
                    None => {
                        space.depths.push(space.depths[at as usize] + 1);
                        space.states.push(&after)
                    }
                };
                space.calls.push(call as u32);
                space.after.push(index);
            }
            space.offsets.push(space.calls.len() as u32);
            at += 1;
        }
        space.turn();
        Some(space)
    }

    #[must_use]
    pub fn size(&self) -> usize {
        self.states.len()
    }

    /// # Panics
    /// If there is no such state.
    #[must_use]
    pub fn state(&self, at: u32) -> &[u64] {
        self.states.get(at)
    }

    /// The fewest calls from the start, per state.
    #[must_use]
    pub fn depths(&self) -> &[u32] {
        &self.depths
    }

    /// Pairs (function, state after it), functions ascending.
    pub fn edges(&self, at: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let range = self.offsets[at as usize] as usize..self.offsets[at as usize + 1] as usize;
        self.calls[range.clone()].iter().copied().zip(self.after[range].iter().copied())
    }

    /// Pairs (function, state before it).
    pub(crate) fn into(&self, at: u32) -> &[(u32, u32)] {
        let (from, to) = (self.into_offsets[at as usize], self.into_offsets[at as usize + 1]);
        &self.into[from as usize..to as usize]
    }

    fn turn(&mut self) {
        let mut counts = vec![0_u32; self.size() + 1];
        for after in &self.after {
            counts[*after as usize + 1] += 1;
        }
        for at in 1..counts.len() {
            counts[at] += counts[at - 1];
        }
        self.into_offsets.clone_from(&counts);
        self.into = vec![(0, 0); self.after.len()];
        for before in 0..self.size() {
            for edge in self.offsets[before] as usize..self.offsets[before + 1] as usize {
                let place = &mut counts[self.after[edge] as usize];
                self.into[*place as usize] = (self.calls[edge], before as u32);
                *place += 1;
            }
        }
    }
}
