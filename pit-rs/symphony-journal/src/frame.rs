//! One record on disk: `length: u32 LE`, `crc32c(payload): u32 LE`, payload. Never empty: a hole of
//! zeros, which a file system may leave behind after a power cut, would otherwise read as records.

/// Bytes before the payload.
pub const HEADER: usize = 8;
/// Largest payload, bytes.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Adds the frame of `payload` (1 to [`MAX_PAYLOAD`] bytes) to `out`.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload's length as a header says it, if it can be one.
pub fn length(header: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(header.get(..4)?.try_into().ok()?) as usize;
    (1..=MAX_PAYLOAD).contains(&length).then_some(length)
}

/// The payload of the whole and undamaged frame that `bytes` begins with.
pub fn decode(bytes: &[u8]) -> Option<&[u8]> {
    let payload = bytes.get(HEADER..HEADER + length(bytes)?)?;
    let sum = u32::from_le_bytes(bytes.get(4..HEADER)?.try_into().ok()?);
    (crc32c::crc32c(payload) == sum).then_some(payload)
}

/// Whether `bytes` can be what is left of one frame whose write was cut short: the beginning of it, and zeros
/// where the file system made the file longer before it wrote.
pub fn is_torn(bytes: &[u8]) -> bool {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    written < HEADER || length(bytes).is_some_and(|length| written < HEADER + length)
}

/// Whether an undamaged frame begins anywhere in `bytes`.
pub fn any_in(bytes: &[u8]) -> bool {
    (0..bytes.len().saturating_sub(HEADER)).any(|start| decode(&bytes[start..]).is_some())
}
