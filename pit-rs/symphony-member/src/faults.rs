//! Everything that is wrong with a request, said at once.

use symphony_wire::{BusError, Code};

use crate::instant;

/// Names of requests, runs, tenants and the like, bytes: replies repeat them.
pub const MAX_NAME: usize = 128;
/// Other texts that are written down, bytes.
pub const MAX_TEXT: usize = 1_024;
/// Faults that one error names; more would not be read.
const SHOWN: usize = 32;
/// Letters of what came that are shown again.
const MAX_SHOWN: usize = 64;

#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<(String, String)>,
    more: usize,
}

impl Faults {
    /// Notes that something is wrong at this place.
    pub fn add(&mut self, place: &str, what: impl Into<String>) {
        if self.list.len() < SHOWN {
            self.list.push((place.to_owned(), what.into()));
        } else {
            self.more += 1;
        }
    }

    pub fn unless(&mut self, right: bool, place: &str, what: &str) {
        if !right {
            self.add(place, what);
        }
    }

    pub fn name(&mut self, name: &str, place: &str) {
        if !is_name(name) {
            let what = format!("{:?} is no name (1 to {MAX_NAME} bytes of text)", short(name));
            self.add(place, what);
        }
    }

    pub fn maybe_name(&mut self, name: Option<&String>, place: &str) {
        if let Some(name) = name {
            self.name(name, place);
        }
    }

    /// A text that may be empty: up to 1,024 bytes.
    pub fn text(&mut self, text: &str, place: &str) {
        self.unless(text.len() <= MAX_TEXT, place, "over 1024 bytes");
    }

    /// When the caller says it is.
    pub fn ts(&mut self, ts: &str) {
        let known = instant::read(ts).is_some();
        self.unless(known, "ts", "not RFC 3339 in UTC, as 2026-01-31T12:00:00.000Z");
    }

    /// `bad-request` with all of them in message and `where`, if there are any.
    pub fn finish(self) -> Result<(), BusError> {
        if self.list.is_empty() {
            return Ok(());
        }
        let mut said: Vec<String> =
            self.list.iter().map(|(place, what)| format!("{place}: {what}")).collect();
        if self.more > 0 {
            said.push(format!("and {} more", self.more));
        }
        let places: Vec<&str> = self.list.iter().map(|(place, _)| place.as_str()).collect();
        Err(BusError::new(Code::BadRequest, said.join("; ")).at(places.join(", ")))
    }
}

/// 1 to 128 bytes without control characters.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The beginning of a text that may be anything.
pub fn short(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_with_its_place_up_to_a_bound() {
        let mut faults = Faults::default();
        faults.name("ok", "id");
        faults.name("", "run");
        faults.name("a\nb", "tenant");
        faults.ts("2026-01-31T12:00:00.000Z");
        faults.ts("yesterday");
        let error = faults.finish().err();
        let places = error.as_ref().and_then(|error| error.where_.as_deref());
        assert_eq!(places, Some("run, tenant, ts"));

        let mut faults = Faults::default();
        (0..SHOWN + 2).for_each(|_| faults.add("x", "wrong"));
        let message = faults.finish().err().map(|error| error.message);
        assert!(message.is_some_and(|message| message.ends_with("; and 2 more")));
        assert!(Faults::default().finish().is_ok());
    }
}
