//! What the two ends of a chain agree on.

use serde::{Deserialize, Serialize};

pub const ECHO: &str = "bench.echo/1";

/// The arguments of a call.
#[derive(Serialize, Deserialize)]
pub struct Echo {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}
