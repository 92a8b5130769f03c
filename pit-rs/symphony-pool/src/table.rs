//! The life of an instance: what is not in this table does not happen.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There is no instance: before the first and after the last of its states.
    Idle,
    Loading,
    /// Ready, and nobody has it.
    Warm,
    /// Leased.
    Active,
    /// Given back, kept a moment for its next user.
    Cooldown,
    /// Takes no new lease and leaves when it is free.
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Spawned,
    Loaded,
    /// The spawn failed: there is no instance.
    SpawnFailed,
    Leased,
    /// Its last lease was given back.
    Freed,
    Cooled,
    Drained,
    /// The kernel has unloaded it.
    Unloaded,
    Died,
}

pub const STATES: [State; 6] =
    [State::Idle, State::Loading, State::Warm, State::Active, State::Cooldown, State::Draining];

pub const EVENTS: [Event; 9] = [
    Event::Spawned,
    Event::Loaded,
    Event::SpawnFailed,
    Event::Leased,
    Event::Freed,
    Event::Cooled,
    Event::Drained,
    Event::Unloaded,
    Event::Died,
];

const TABLE: &[(State, Event, State)] = &[
    (State::Idle, Event::Spawned, State::Loading),
    (State::Loading, Event::Loaded, State::Warm),
    (State::Loading, Event::SpawnFailed, State::Idle),
    (State::Loading, Event::Drained, State::Draining),
    (State::Loading, Event::Died, State::Idle),
    (State::Warm, Event::Leased, State::Active),
    (State::Warm, Event::Drained, State::Draining),
    (State::Warm, Event::Died, State::Idle),
    // A kind that allows `share` is leased again while it is leased.
    (State::Active, Event::Leased, State::Active),
    (State::Active, Event::Freed, State::Cooldown),
    (State::Active, Event::Drained, State::Draining),
    (State::Active, Event::Died, State::Idle),
    (State::Cooldown, Event::Leased, State::Active),
    (State::Cooldown, Event::Cooled, State::Warm),
    (State::Cooldown, Event::Drained, State::Draining),
    (State::Cooldown, Event::Died, State::Idle),
    // One that drains while it loads is unloaded once it is there.
    (State::Draining, Event::Loaded, State::Draining),
    (State::Draining, Event::SpawnFailed, State::Idle),
    (State::Draining, Event::Freed, State::Draining),
    (State::Draining, Event::Drained, State::Draining),
    (State::Draining, Event::Unloaded, State::Idle),
    (State::Draining, Event::Died, State::Idle),
];

impl State {
    /// Where the event leads from here, if it may happen here.
    pub fn after(self, event: Event) -> Option<Self> {
        TABLE.iter().find(|row| (row.0, row.1) == (self, event)).map(|row| row.2)
    }

    /// Whether it could be leased, as far as its state goes.
    pub fn is_serving(self) -> bool {
        matches!(self, Self::Warm | Self::Active | Self::Cooldown)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Loading => "loading",
            Self::Warm => "warm",
            Self::Active => "active",
            Self::Cooldown => "cooldown",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table once more, as a matrix: a row per state, a column per event in the order of [`EVENTS`].
    #[test]
    fn every_state_and_event_leads_where_the_contract_says_or_nowhere() {
        use State::{Active, Cooldown, Draining, Idle, Loading, Warm};
        const NO: Option<State> = None;
        let matrix = [
            (Idle, [Some(Loading), NO, NO, NO, NO, NO, NO, NO, NO]),
            (Loading, [NO, Some(Warm), Some(Idle), NO, NO, NO, Some(Draining), NO, Some(Idle)]),
            (Warm, [NO, NO, NO, Some(Active), NO, NO, Some(Draining), NO, Some(Idle)]),
            (
                Active,
                [NO, NO, NO, Some(Active), Some(Cooldown), NO, Some(Draining), NO, Some(Idle)],
            ),
            (Cooldown, [NO, NO, NO, Some(Active), NO, Some(Warm), Some(Draining), NO, Some(Idle)]),
            (
                Draining,
                [
                    NO,
                    Some(Draining),
                    Some(Idle),
                    NO,
                    Some(Draining),
                    NO,
                    Some(Draining),
                    Some(Idle),
                    Some(Idle),
                ],
            ),
        ];
        assert_eq!(matrix.map(|row| row.0), STATES);
        for (state, row) in matrix {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(state.after(event), expected, "{state:?} {event:?}");
            }
        }
        let listed = matrix.iter().flat_map(|row| row.1).flatten().count();
        assert_eq!(TABLE.len(), listed, "a row of the table is there twice");
    }
}
