//! A folder as an artifact: the listing whose hash is the folder's reference.
//!
//! `symphony-folder 1`, then a msgpack array of `[path, mode, reference, bytes]` sorted bytewise by
//! path. Equal trees give equal bytes, whatever the order in which their files were made.

use serde::{Deserialize, Serialize};

use crate::relative::RelativePath;
use crate::Reference;

const PREFIX: &[u8; 17] = b"symphony-folder 1";

pub const PLAIN: u32 = 0o644;
pub const EXECUTABLE: u32 = 0o755;

/// One regular file of a folder. Serialized as an array in the listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub path: RelativePath,
    /// [`PLAIN`] or [`EXECUTABLE`].
    pub mode: u32,
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
}

/// The canonical listing of these files.
pub fn encode(mut members: Vec<Member>) -> Result<Vec<u8>, String> {
    members.sort_by(|a, b| a.path.cmp(&b.path));
    let mut listing = PREFIX.to_vec();
    rmp_serde::encode::write(&mut listing, &members).map_err(|error| error.to_string())?;
    Ok(listing)
}

/// Reads a listing, trusting nothing: a hash only proves that the bytes are those once stored.
pub fn decode(listing: &[u8]) -> Result<Vec<Member>, String> {
    let array = listing.strip_prefix(PREFIX).ok_or("it is not the listing of a folder")?;
    let members: Vec<Member> = rmp_serde::from_slice(array).map_err(|error| error.to_string())?;
    for member in &members {
        RelativePath::parse(member.path.as_str(), "path").map_err(|error| error.to_string())?;
        if member.mode != PLAIN && member.mode != EXECUTABLE {
            return Err(format!("{} has mode {:o}", member.path, member.mode));
        }
    }
    if members.windows(2).any(|pair| pair[0].path >= pair[1].path) {
        return Err("its paths are not sorted".to_owned());
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(path: &str, mode: u32) -> Member {
        let path = RelativePath::parse(path, "path").unwrap();
        Member { path, mode, reference: Reference::of(b""), bytes: 0 }
    }

    #[test]
    fn the_listing_has_the_bytes_of_the_contract() {
        let listing = encode(vec![member("b", PLAIN), member("a", EXECUTABLE)]).unwrap();
        let mut expected = b"symphony-folder 1\x92\x94\xa1a\xcd\x01\xed\xd9\x47".to_vec();
        let reference = Reference::of(b"").to_string();
        expected.extend_from_slice(reference.as_bytes());
        expected.extend_from_slice(b"\x00\x94\xa1b\xcd\x01\xa4\xd9\x47");
        expected.extend_from_slice(reference.as_bytes());
        expected.push(0);
        assert_eq!(listing, expected);
        assert_eq!(decode(&listing).unwrap().len(), 2);
    }

    #[test]
    fn a_listing_from_elsewhere_cannot_lead_outside() {
        let tampered = |members: Vec<Member>| {
            let mut listing = PREFIX.to_vec();
            rmp_serde::encode::write(&mut listing, &members).unwrap();
            decode(&listing).unwrap_err()
        };
        let mut outside = member("x", PLAIN);
        outside.path = serde_path("../x");
        assert!(tampered(vec![outside]).contains(".."));
        assert!(tampered(vec![member("b", PLAIN), member("a", PLAIN)]).contains("sorted"));
        assert!(tampered(vec![member("a", 0o4755)]).contains("4755"));
        assert!(decode(b"\x90").is_err());
    }

    /// A path past its own check, as a tampered listing would hold it.
    fn serde_path(text: &str) -> RelativePath {
        rmp_serde::from_slice(&rmp_serde::to_vec(text).unwrap()).unwrap()
    }
}
