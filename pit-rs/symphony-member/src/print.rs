//! Telling a repeated request from another one with the same id.

use serde::Serialize;
use symphony_wire::{BusError, Code};

/// Names a method with those of its arguments that count.
pub type Print = [u8; 16];

/// Equal arguments of a method have the same print, and no others are found that have it.
pub fn print(method: &str, arguments: &impl Serialize) -> Result<Print, BusError> {
    let bytes = rmp_serde::to_vec(&(method, arguments)).map_err(|error| {
        BusError::new(Code::Internal, format!("failed to encode the arguments: {error}"))
    })?;
    let mut print = [0; 16];
    print.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    Ok(print)
}

/// Names a configuration: equal ones have the same name.
pub fn digest(config: &impl Serialize) -> Result<String, BusError> {
    let bytes = rmp_serde::to_vec_named(config).map_err(|error| {
        BusError::new(Code::Internal, format!("failed to encode the configuration: {error}"))
    })?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}
