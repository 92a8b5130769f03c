//! The life of a step: what is not in this table does not happen.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Waits for other steps.
    Pending,
    Ready,
    Running,
    Succeeded,
    Failed,
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything that the step waited for has ended.
    Unblocked,
    Started,
    /// One attempt failed; another may follow.
    AttemptFailed,
    /// The run was resumed: whoever ran the step is gone.
    Interrupted,
    Completed,
    /// Failed for good.
    Failed,
    Skipped,
    /// It is to run again, or it waits for something that does.
    Redone,
}

const TABLE: &[(StepState, Event, StepState)] = &[
    (StepState::Pending, Event::Unblocked, StepState::Ready),
    (StepState::Pending, Event::Skipped, StepState::Skipped),
    (StepState::Ready, Event::Started, StepState::Running),
    (StepState::Ready, Event::Failed, StepState::Failed),
    (StepState::Ready, Event::Skipped, StepState::Skipped),
    (StepState::Running, Event::AttemptFailed, StepState::Ready),
    (StepState::Running, Event::Interrupted, StepState::Ready),
    (StepState::Running, Event::Completed, StepState::Succeeded),
    (StepState::Running, Event::Failed, StepState::Failed),
    (StepState::Running, Event::Skipped, StepState::Skipped),
    (StepState::Ready, Event::Redone, StepState::Pending),
    (StepState::Running, Event::Redone, StepState::Pending),
    (StepState::Succeeded, Event::Redone, StepState::Pending),
    (StepState::Failed, Event::Redone, StepState::Pending),
    (StepState::Skipped, Event::Redone, StepState::Pending),
];

impl StepState {
    /// Where the event leads from here, if it may happen here.
    pub fn after(self, event: Event) -> Option<Self> {
        TABLE.iter().find(|row| (row.0, row.1) == (self, event)).map(|row| row.2)
    }

    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}
