//! What a player listens to: its topics, and events on their way to their handlers.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use symphony_wire::{BusError, Header, Target};

use crate::asking::Asking;
use crate::client::Handler;
use crate::outgoing::Outgoing;
use crate::session::NIL;
use crate::Body;

/// Events that wait for their handlers; as many as the hub keeps for a peer that does not read.
const CAPACITY: usize = 256;

/// An event that waits for its handler.
pub struct Notice {
    header: Header,
    body: Body,
    /// Counts those that wait.
    _room: Arc<()>,
}

impl Notice {
    /// Runs the handler of the event.
    pub fn run(self, handlers: &mut HashMap<String, Handler>) {
        let Target::Name(topic) = &self.header.target else { return };
        let Some(handler) = handlers.get_mut(topic) else { return };
        let handled = panic::catch_unwind(AssertUnwindSafe(|| handler(&self.header, &self.body)));
        if handled.is_err() {
            tracing::error!(topic, "the handler of an event panicked");
        }
    }
}

/// An activation that is answered once it is known which topics can be had.
struct Activation {
    header: Header,
    asked: Vec<u64>,
    outcome: Result<(), BusError>,
}

pub struct Events {
    /// Those that are still to be subscribed to.
    topics: Vec<String>,
    activation: Option<Activation>,
    room: Arc<()>,
    /// Events of a topic that found no room.
    missed: HashMap<String, u64>,
}

impl Events {
    pub fn of(topics: Vec<String>) -> Self {
        Self { topics, activation: None, room: Arc::new(()), missed: HashMap::new() }
    }

    /// Asks for the topics; false if there are none to ask for.
    pub fn begin(&mut self, header: &Header, asking: &mut Asking, out: &mut Vec<Outgoing>) -> bool {
        if self.topics.is_empty() {
            return false;
        }
        let mut activation =
            Activation { header: header.clone(), asked: Vec::new(), outcome: Ok(()) };
        for topic in std::mem::take(&mut self.topics) {
            match asking.subscribe(&topic, true) {
                Ok((request, outgoing)) => {
                    activation.asked.push(request);
                    out.push(outgoing);
                }
                Err(error) => activation.outcome = Err(error),
            }
        }
        self.activation = Some(activation);
        true
    }

    /// Takes the answer to a subscription; false if it is to something else.
    pub fn answered(&mut self, request: u64, outcome: Result<(), BusError>) -> bool {
        let Some(activation) = &mut self.activation else { return false };
        let Some(at) = activation.asked.iter().position(|asked| *asked == request) else {
            return false;
        };
        activation.asked.swap_remove(at);
        activation.outcome = std::mem::replace(&mut activation.outcome, Ok(())).and(outcome);
        true
    }

    /// The answer to the activation, once.
    pub fn ready(&mut self, max_body: usize) -> Option<Outgoing> {
        let activation = self.activation.take_if(|waiting| waiting.asked.is_empty())?;
        let outcome = activation.outcome.map(|()| NIL.to_vec());
        Some(Outgoing::answer(&activation.header, outcome, max_body))
    }

    /// Takes an event; `None` if there is no room for it, which the next one's gap counts.
    pub fn admit(&mut self, mut header: Header, body: Body) -> Option<Notice> {
        let Target::Name(topic) = &header.target else { return None };
        let before = self.missed.remove(topic).unwrap_or(0) + header.gap.unwrap_or(0);
        if Arc::strong_count(&self.room) > CAPACITY {
            self.missed.insert(topic.clone(), before + 1);
            return None;
        }
        header.gap = Some(before).filter(|gap| *gap > 0);
        Some(Notice { header, body, _room: Arc::clone(&self.room) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use symphony_wire::Kind;

    #[test]
    fn what_has_no_room_is_in_the_gap_of_the_next_event_of_its_topic() {
        let mut events = Events::of(Vec::new());
        let event = |topic: &str, gap| {
            let target = Target::Name(topic.to_owned());
            Header { target, gap, ..Header::new(Kind::Event) }
        };
        let mut admit = |topic: &str, gap| events.admit(event(topic, gap), Body::default());
        let mut waiting: Vec<Notice> = (0..CAPACITY).map(|_| admit("a", None).unwrap()).collect();
        assert!(waiting.iter().all(|notice| notice.header.gap.is_none()));
        assert!(admit("a", None).is_none() && admit("a", Some(5)).is_none());
        assert!(admit("b", None).is_none());
        waiting.truncate(CAPACITY - 3);
        let gaps = [("a", Some(2)), ("b", None), ("a", None)]
            .map(|(topic, gap)| admit(topic, gap).map(|notice| notice.header.gap));
        assert_eq!(gaps, [Some(Some(9)), Some(Some(1)), Some(None)]);
    }
}
