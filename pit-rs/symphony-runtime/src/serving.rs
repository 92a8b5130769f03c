//! What is asked of a provider: which calls are running, what their flows stand for, how past ones were answered.
//! Messages go in and come out; there is no socket and no clock.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use symphony_wire::{BusError, Code, Fault, Header, Kind, Target};

use crate::answers::Answers;
use crate::outgoing::Outgoing;

/// Flow and request of a call.
pub type Key = (u32, u64);

/// The key of a message about a call; `None` if it is about none.
pub fn key(header: &Header) -> Option<Key> {
    match header.target {
        Target::Flow(flow) if header.request > 0 => Some((flow, header.request)),
        _ => None,
    }
}

/// What becomes of a call that arrived.
#[derive(Debug)]
pub enum Taken {
    /// It is to be served, as a call of this capability.
    Serve(Arc<str>),
    /// It is answered already.
    Answered(Outgoing),
    /// It is running, and answered once for both.
    Running,
    /// It cannot be served.
    Refused(BusError),
    /// Not even an answer would arrive.
    Nonsense,
}

pub struct Serving {
    capabilities: Vec<Arc<str>>,
    /// Which capability a flow stands for: kept only where there are several.
    flows: HashMap<u32, Arc<str>>,
    running: HashSet<Key>,
    answers: Answers,
}

impl Serving {
    pub fn new(capabilities: &[String]) -> Self {
        Self {
            capabilities: capabilities.iter().map(|name| name.as_str().into()).collect(),
            flows: HashMap::default(),
            running: HashSet::default(),
            answers: Answers::default(),
        }
    }

    pub fn take(&mut self, header: &mut Header) -> Taken {
        let Some(key) = key(header) else { return Taken::Nonsense };
        let capability = self.capability(key.0, header.cap.take());
        if header.again {
            if self.running.contains(&key) {
                return Taken::Running;
            }
            if let Some((kind, body)) = self.answers.recall(key) {
                return Taken::Answered(Outgoing { header: header.answer(kind), body });
            }
        }
        self.running.insert(key);
        capability.map_or_else(
            || {
                let text = "the hub did not say which capability is called";
                let error = BusError::new(Code::Protocol, text);
                Taken::Refused(error.fault(Fault::Kernel).at("options.cap"))
            },
            Taken::Serve,
        )
    }

    fn capability(&mut self, flow: u32, named: Option<String>) -> Option<Arc<str>> {
        match (self.capabilities.as_slice(), named) {
            ([only], _) => Some(Arc::clone(only)),
            (_, Some(named)) => {
                let named: Arc<str> = named.into();
                self.flows.insert(flow, Arc::clone(&named));
                Some(named)
            }
            (_, None) => self.flows.get(&flow).map(Arc::clone),
        }
    }

    /// Remembers a message that goes out, if it is an answer.
    pub fn answering(&mut self, outgoing: &mut Outgoing) {
        let kind = outgoing.header.kind;
        if let (Some(key), Kind::Result | Kind::Error) = (key(&outgoing.header), kind) {
            self.running.remove(&key);
            self.answers.keep(key, kind, outgoing.body.share());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(request: u64, again: bool) -> Header {
        Header { target: Target::Flow(7), request, again, ..Header::new(Kind::Call) }
    }

    #[test]
    fn a_call_made_again_is_served_once() {
        let mut serving = Serving::new(&["a/1".to_owned()]);
        assert!(matches!(serving.take(&mut call(1, true)), Taken::Serve(name) if &*name == "a/1"));
        assert!(matches!(serving.take(&mut call(1, true)), Taken::Running));
        let header = call(1, false).answer(Kind::Result);
        serving.answering(&mut Outgoing { header, body: vec![1, 2, 3].into() });
        let Taken::Answered(answer) = serving.take(&mut call(1, true)) else {
            panic!("it was answered before");
        };
        assert_eq!((answer.header.kind, &*answer.body), (Kind::Result, &[1, 2, 3][..]));
        assert_eq!((answer.header.target, answer.header.request), (Target::Flow(7), 1));
        assert!(matches!(serving.take(&mut call(1, false)), Taken::Serve(_)), "the number is new");
        assert!(matches!(serving.take(&mut call(0, false)), Taken::Nonsense));
    }

    #[test]
    fn of_several_capabilities_the_hub_says_which() {
        let mut serving = Serving::new(&["a/1".to_owned(), "b/1".to_owned()]);
        assert!(matches!(serving.take(&mut call(1, false)), Taken::Refused(_)));
        let mut named = Header { cap: Some("b/1".to_owned()), ..call(2, false) };
        assert!(matches!(serving.take(&mut named), Taken::Serve(name) if &*name == "b/1"));
        assert!(matches!(serving.take(&mut call(3, false)), Taken::Serve(name) if &*name == "b/1"));
    }
}
