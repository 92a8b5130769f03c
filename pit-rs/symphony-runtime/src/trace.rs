//! W3C trace context, level 1: the `traceparent` of a call and of those that it makes.
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

/// Characters of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The first span of a new trace, sampled; `None` if the system gives no random bytes.
pub fn begin() -> Option<String> {
    let (trace, span) = (random::<16>()?, random::<8>()?);
    Some(format!("00-{}-{}-01", hex(&trace), hex(&span)))
}

/// A span below `parent`; the first of a new trace if that is none or is not valid.
pub fn child(parent: Option<&str>) -> Option<String> {
    match parent.filter(|parent| is_valid(parent)) {
        None => begin(),
        Some(parent) => {
            Some(format!("00-{}-{}-{}", &parent[3..35], hex(&random::<8>()?), &parent[53..55]))
        }
    }
}

/// Whether this is a `traceparent` whose trace can be continued. Of a later version than 00, what
/// follows the flags is ignored, as the standard asks.
pub fn is_valid(text: &str) -> bool {
    let Some(known) = text.get(..LENGTH) else { return false };
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return false };
    let lengths = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
    let digits = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &str| part.bytes().any(|digit| digit != b'0');
    let end = text.len() == LENGTH || (*version != "00" && text[LENGTH..].starts_with('-'));
    lengths && *version != "ff" && parts.iter().all(digits) && some(trace) && some(span) && end
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn a_child_keeps_trace_and_flags_and_has_a_span_of_its_own() {
        let child = child(Some(PARENT)).unwrap();
        assert!(is_valid(&child));
        assert_eq!((&child[..36], &child[52..]), (&PARENT[..36], "-00"));
        assert_ne!(child[36..52], PARENT[36..52]);
    }

    #[test]
    fn what_cannot_be_continued_begins_anew() {
        let later = format!("01{}-more", &PARENT[2..]);
        assert!(is_valid(PARENT) && is_valid(&later));
        let zero_trace = PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let bad = [
            "",
            "00-ü",
            &PARENT[..54],
            &PARENT.to_uppercase(),
            &format!("ff{}", &PARENT[2..]),
            &format!("{PARENT}-more"),
            &zero_trace,
        ];
        for text in bad {
            assert!(!is_valid(text), "{text}");
            let new = child(Some(text)).unwrap();
            assert!(is_valid(&new) && new[3..35] != PARENT[3..35]);
        }
        assert_ne!(begin(), begin());
    }
}
