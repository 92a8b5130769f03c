//! Effects wait for a flush, and a flush that fails takes them back.

use symphony_wire::reactor::{Effect, Effects, Now, Reactor};
use symphony_wire::service::{Answer, Call, Outcome, Service};
use symphony_wire::{BusError, Code};

fn answer(call: u64, outcome: Outcome) -> Effect {
    Effect::Answer { call, outcome }
}

fn disk_full() -> BusError {
    BusError::new(Code::Io, "the disk is full")
}

#[test]
fn what_rests_on_a_flush_waits_for_it() {
    let mut effects = Effects::default();
    effects.after_flush(answer(1, Ok(vec![1])));
    effects.now(answer(2, Ok(vec![2])));
    assert_eq!(effects.take_now(), [answer(2, Ok(vec![2]))]);
    assert!(effects.wants_flush());
    assert_eq!(effects.take_flushed(&Ok(())), [answer(1, Ok(vec![1]))]);
    assert!(!effects.wants_flush());
}

#[test]
fn a_flush_that_fails_is_the_answer_and_undoes_the_rest() {
    let mut effects = Effects::default();
    let refusal = BusError::new(Code::NotFound, "no such grant");
    effects.after_flush(answer(1, Ok(vec![1])));
    effects.after_flush(Effect::Publish { topic: "t".to_owned(), body: vec![] });
    effects.after_flush(answer(2, Err(refusal.clone())));
    let done = effects.take_flushed(&Err(disk_full()));
    assert_eq!(done, [answer(1, Err(disk_full())), answer(2, Err(refusal))]);
}

struct Echo {
    flushes: u32,
}

impl Service for Echo {
    fn call(&mut self, call: Call<'_>) -> Answer {
        let outcome = Ok(call.body.to_vec());
        if call.method == "durable" {
            Answer::AfterFlush(outcome)
        } else {
            Answer::Now(outcome)
        }
    }

    fn flush(&mut self) -> Result<(), BusError> {
        self.flushes += 1;
        Ok(())
    }
}

#[test]
fn a_service_is_a_reactor() {
    let (mut echo, mut effects) = (Echo { flushes: 0 }, Effects::default());
    let call = |method| Call { capability: "test.echo/1", method, body: b"x" };
    Reactor::call(&mut echo, 7, call("plain"), Now::default(), &mut effects);
    Reactor::call(&mut echo, 8, call("durable"), Now::default(), &mut effects);
    assert_eq!(effects.take_now(), [answer(7, Ok(b"x".to_vec()))]);
    let flushed = Reactor::flush(&mut echo);
    assert_eq!(effects.take_flushed(&flushed), [answer(8, Ok(b"x".to_vec()))]);
    assert_eq!((echo.flushes, echo.wakeup()), (1, None));
}
