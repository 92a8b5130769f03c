//! What every member of the Pit does around its library: command line, store, ticket, serving, exit code.

mod lock;
mod member;
mod stores;

pub use member::{run, Member};
