//! Events that the hub sends: their topic, and the gap that is put into a header.

use rmp::encode::{write_map_len, write_str, write_uint};

use crate::msgpack::{Read, Reader, Token, Undecodable};

const GAP: &str = "gap";
const HEADER_WITH_OPTIONS: u8 = 0x97;

/// What an event's header is about, as text.
pub(crate) fn topic(header: &[u8]) -> Read<String> {
    let mut reader = Reader(header);
    reader.array()?;
    reader.raw()?;
    reader.raw()?;
    Ok(match reader.token()? {
        Token::Str(text) => String::from_utf8_lossy(text).into_owned(),
        Token::Uint(number) => number.to_string(),
        _ => "None".to_owned(),
    })
}

/// The same header with this `gap` among its options.
pub(crate) fn with_gap(header: &[u8], gap: u64) -> Read<Vec<u8>> {
    let mut reader = Reader(header);
    let length = reader.array()?;
    let mut written = vec![HEADER_WITH_OPTIONS];
    for _ in 0..6 {
        written.extend_from_slice(reader.raw()?);
    }
    let mut options = Vec::new();
    if length > 6 {
        if let Token::Map(pairs) = reader.token()? {
            for _ in 0..pairs {
                let (key, value) = (reader.str()?, reader.raw()?);
                options.push((key, value.to_vec()));
            }
        }
    }
    let mut number = Vec::new();
    write_uint(&mut number, gap).map_err(|_| Undecodable)?;
    match options.iter_mut().find(|(key, _)| *key == GAP) {
        Some((_, value)) => *value = number,
        None => options.push((GAP, number)),
    }
    let pairs = u32::try_from(options.len()).map_err(|_| Undecodable)?;
    write_map_len(&mut written, pairs).map_err(|_| Undecodable)?;
    for (key, value) in options {
        write_str(&mut written, key).map_err(|_| Undecodable)?;
        written.extend_from_slice(&value);
    }
    Ok(written)
}
