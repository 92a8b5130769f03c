//! Solvers of Function Quest levels, the same as `fqg/solving` in Python and much faster.
//!
//! Pure: no files, no clock, no randomness, no Python. A [`Level`] holds facts and functions, a [`State`] is a bit set
//! of facts in as many words as needed. [`Space`] enumerates, [`solve`] searches, [`greedy`] plays on h_add.
//! Ties are broken as the reference does, so that both enumerate in the same order and play the same.

mod distances;
mod exact;
mod hadd;
mod landmarks;
mod level;
mod order;
mod space;
mod states;

pub use exact::{solve, Outcome};
pub use hadd::{greedy, HAdd};
pub use level::{Function, Level, LevelError};
pub use space::Space;
pub use states::State;
