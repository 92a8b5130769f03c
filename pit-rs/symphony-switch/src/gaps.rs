//! How many events of each topic a peer has lost since it was last sent one.

/// Topics, as many as a peer may subscribe to.
const MAX_GAPS: usize = 256;

/// Losses by topic, in the order of the first; of too many topics those that lost first are forgotten.
#[derive(Default)]
pub(crate) struct Gaps(Vec<(String, u64)>);

impl Gaps {
    /// So many more events were lost.
    pub fn add(&mut self, topic: &str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| known == topic) {
            Some((_, lost)) => *lost = lost.saturating_add(count),
            None => {
                if self.0.len() >= MAX_GAPS {
                    self.0.remove(0);
                }
                self.0.push((topic.to_owned(), count));
            }
        }
    }

    /// What was lost, to be told now.
    pub fn take(&mut self, topic: &str) -> u64 {
        let place = self.0.iter().position(|(known, _)| known == topic);
        place.map_or(0, |place| self.0.remove(place).1)
    }
}
