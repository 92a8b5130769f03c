//! What every member of the Pit does around its library: command line, store, ticket, serving, exit code.

mod lock;
mod member;

pub use member::{run, Member};
