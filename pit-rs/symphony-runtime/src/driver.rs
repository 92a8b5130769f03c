//! Drives a [`Reactor`]: messages become calls, cancellations and outcomes, its effects become messages.
//! There is no socket here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_wire::body::Activate;
use symphony_wire::constants::DEFAULT_METHOD;
use symphony_wire::reactor::{Effect, Effects, Reactor};
use symphony_wire::service::Call;
use symphony_wire::{Header, Kind, Target};

use crate::asking::{Asking, Reply};
use crate::calls::late;
use crate::clock::Clock;
use crate::outgoing::Outgoing;
use crate::questions::Questions;
use crate::serving::{key, Key};
use crate::session::Provider;
use crate::waiting::WaitingCalls;
use crate::Body;

pub struct Driver<'a> {
    reactor: &'a mut dyn Reactor,
    clock: Clock,
    calls: WaitingCalls,
    questions: Questions,
    effects: Effects,
    max_body: usize,
}

impl<'a> Driver<'a> {
    pub fn new(reactor: &'a mut dyn Reactor, max_body: usize) -> Self {
        Self {
            reactor,
            clock: Clock::new(),
            calls: WaitingCalls::default(),
            questions: Questions::default(),
            effects: Effects::default(),
            max_body,
        }
    }

    /// How long nothing is to be done unless a message comes.
    pub fn rest(&self) -> Duration {
        let times = [self.reactor.wakeup(), self.questions.wakeup(), self.calls.wakeup()];
        let next = times.into_iter().flatten().min();
        next.map_or(Duration::MAX, |at| self.clock.until(at))
    }

    /// Tells the reactor what time has brought about.
    fn catch_up(&mut self, asking: &mut Asking, out: &mut Vec<Outgoing>) {
        let now = self.clock.now();
        for (token, error) in self.questions.take_refused() {
            self.reactor.heard(token, Err(error), now, &mut self.effects);
        }
        while let Some((request, token)) = self.questions.pop_late(now.mono_ms) {
            out.extend(asking.abandon(request));
            self.reactor.heard(token, Err(late()), now, &mut self.effects);
        }
        for id in self.calls.orphans(now.mono_ms) {
            self.reactor.cancelled(id, now, &mut self.effects);
        }
        if self.reactor.wakeup().is_some_and(|at| at <= now.mono_ms) {
            self.reactor.tick(now, &mut self.effects);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>, asking: &mut Asking, out: &mut Vec<Outgoing>) {
        for effect in effects {
            match effect {
                Effect::Answer { call, outcome } => match self.calls.close(call) {
                    Some((flow, request)) => {
                        let target = Target::Flow(flow);
                        let header = Header { target, request, ..Header::new(Kind::Call) };
                        out.push(Outgoing::answer(&header, outcome, self.max_body));
                    }
                    None => tracing::error!(call, "dropped the answer to a call that is not open"),
                },
                Effect::Ask { token, ask } => {
                    out.extend(self.questions.ask(token, ask, asking, &mut self.clock));
                }
                Effect::Publish { topic, body } => {
                    match asking.publish(&topic, false, body.into()) {
                        Ok(outgoing) => out.push(outgoing),
                        Err(error) => tracing::error!(%error, topic, "dropped an event"),
                    }
                }
            }
        }
    }
}

impl Provider for Driver<'_> {
    /// Those that come together share a flush.
    const BATCH: usize = 256;

    fn call(&mut self, header: Header, capability: Arc<str>, body: Body, _: &mut Vec<Outgoing>) {
        let Some(key) = key(&header) else { return };
        let id = self.calls.open(key);
        let method = header.method.as_deref().unwrap_or(DEFAULT_METHOD);
        let call = Call { capability: &capability, method, body: &body };
        self.reactor.call(id, call, self.clock.now(), &mut self.effects);
    }

    fn repeated(&mut self, call: Key) {
        self.calls.confirm(call);
    }

    fn cancel(&mut self, call: Key, _: &mut Vec<Outgoing>) {
        if let Some(id) = self.calls.cancel(call) {
            self.reactor.cancelled(id, self.clock.now(), &mut self.effects);
        }
    }

    /// A reactor answers in one piece.
    fn credit(&mut self, _: Key, _: u32) {}

    fn renewed(&mut self, silence: Duration, _: &mut Vec<Outgoing>) {
        // A caller that is alive has been heard of, and has repeated its calls, in half of this time.
        let patience = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
        self.calls.renew(self.clock.now().mono_ms.saturating_add(patience));
    }

    fn heard(&mut self, request: u64, reply: Reply) {
        // Neither progress nor chunks are asked for.
        let Reply::Answer(outcome) = reply else { return };
        if let Some(token) = self.questions.answered(request) {
            let outcome = outcome.map(|body| body.to_vec());
            self.reactor.heard(token, outcome, self.clock.now(), &mut self.effects);
        }
    }

    fn activate(&mut self, _: Activate) {}

    fn settle(&mut self, asking: &mut Asking, out: &mut Vec<Outgoing>) {
        self.catch_up(asking, out);
        let effects = self.effects.take_now();
        self.carry_out(effects, asking, out);
        if self.effects.wants_flush() {
            let flushed = self.reactor.flush();
            let effects = self.effects.take_flushed(&flushed);
            self.carry_out(effects, asking, out);
        }
        self.clock.end_turn();
    }

    /// What waits is not waited for, as it may wait for a call that comes no more. Whoever wants it still hears
    /// from the hub that this provider ended.
    fn busy(&self) -> bool {
        false
    }

    /// Every call was looked at before the next message is.
    fn hung(&self, _: Instant) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphony_wire::constants::{GRACE_MS, MAX_OPEN_CALLS};
    use symphony_wire::reactor::{Ask, CallId, Now, Token};
    use symphony_wire::service::Outcome;
    use symphony_wire::{BusError, Code};

    const TTL_MS: u32 = 1_000;

    /// Asks as often as a call's body is long, never answers, and writes down what it is told.
    #[derive(Default)]
    struct Curious {
        asked: Token,
        heard: Vec<(Token, Option<Code>, u64)>,
        ticks: Vec<u64>,
        wake: Option<u64>,
    }

    impl Reactor for Curious {
        fn call(&mut self, _: CallId, call: Call<'_>, _: Now, out: &mut Effects) {
            for _ in call.body {
                self.asked += 1;
                let ask = Ask {
                    capability: "test.a/1".to_owned(),
                    method: "call".to_owned(),
                    body: vec![0x80],
                    ttl_ms: TTL_MS,
                };
                out.now(Effect::Ask { token: self.asked, ask });
            }
        }

        fn cancelled(&mut self, _: CallId, _: Now, _: &mut Effects) {}

        fn heard(&mut self, token: Token, outcome: Outcome, now: Now, _: &mut Effects) {
            self.heard.push((token, outcome.err().map(|error| error.code), now.mono_ms));
        }

        fn tick(&mut self, now: Now, _: &mut Effects) {
            self.ticks.push(now.mono_ms);
        }

        fn wakeup(&self) -> Option<u64> {
            self.wake
        }

        fn flush(&mut self) -> Result<(), BusError> {
            Ok(())
        }
    }

    fn turn(
        driver: &mut Driver<'_>,
        asking: &mut Asking,
        at: u64,
        questions: Option<usize>,
    ) -> Vec<Outgoing> {
        driver.clock.turn_at(Now { mono_ms: at, wall_ms: 0 });
        let mut out = Vec::new();
        if let Some(questions) = questions {
            let target = Target::Flow(1);
            let header = Header { target, request: at + 1, ..Header::new(Kind::Call) };
            driver.call(header, "test.b/1".into(), vec![0; questions].into(), &mut out);
        }
        driver.settle(asking, &mut out);
        out
    }

    #[test]
    fn a_question_that_nobody_answers_is_over_with_its_time() {
        let (mut curious, mut asking) = (Curious::default(), Asking::new(1_000));
        let mut driver = Driver::new(&mut curious, 1_000);
        assert_eq!(turn(&mut driver, &mut asking, 0, Some(2)).len(), 2);
        driver.heard(1, Reply::Answer(Ok(vec![1].into())));
        let over = u64::from(TTL_MS + GRACE_MS);
        assert!(turn(&mut driver, &mut asking, over - 1, None).is_empty());
        assert!(driver.rest() <= Duration::from_millis(over));
        let cancelled = turn(&mut driver, &mut asking, over, None);
        assert_eq!(cancelled.iter().map(|it| it.header.kind).collect::<Vec<_>>(), [Kind::Cancel]);
        assert_eq!(driver.rest(), Duration::MAX);
        driver.heard(2, Reply::Answer(Ok(vec![2].into())));
        let heard: Vec<_> = curious.heard.iter().map(|(token, code, _)| (*token, *code)).collect();
        assert_eq!(heard, [(1, None), (2, Some(Code::Deadline))]);
    }

    #[test]
    fn questions_above_the_bound_are_refused_in_the_next_turn() {
        let (mut curious, mut asking) = (Curious::default(), Asking::new(1_000));
        let mut driver = Driver::new(&mut curious, 1_000);
        let sent = turn(&mut driver, &mut asking, 5, Some(MAX_OPEN_CALLS + 1));
        assert_eq!(sent.len(), MAX_OPEN_CALLS);
        assert!(driver.rest() <= Duration::from_millis(6), "at once");
        assert!(turn(&mut driver, &mut asking, 6, None).is_empty());
        let token = MAX_OPEN_CALLS as Token + 1;
        assert_eq!(curious.heard, [(token, Some(Code::Overloaded), 6)]);
    }

    #[test]
    fn a_turn_ticks_once_and_rests_for_a_millisecond_whatever_is_asked() {
        let (mut curious, mut asking) = (Curious::default(), Asking::new(1_000));
        curious.wake = Some(7);
        let mut driver = Driver::new(&mut curious, 1_000);
        for at in [6, 7, 8_000] {
            turn(&mut driver, &mut asking, at, Some(0));
        }
        assert!(driver.rest() > Duration::from_secs(5), "the clock stands before 8,001 ms");
        assert_eq!(curious.ticks, [7, 8_000]);
    }
}
