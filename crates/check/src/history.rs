//! What clients know of their operations.

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<Call, Answer> {
    /// What was asked.
    pub call: Call,
    /// When it was asked, in units of any one clock.
    pub start: u64,
    /// What came of it.
    pub outcome: Outcome<Answer>,
}

/// What came of an operation. One that was certainly not done is no part of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<Answer> {
    /// It was answered.
    Answered {
        /// With what.
        answer: Answer,
        /// When, by the clock of the operation's start, and not before it.
        end: u64,
    },
    /// It may have been done at any moment after its start, or not at all.
    Unknown,
}

impl<Call, Answer> Operation<Call, Answer> {
    /// An operation that was answered.
    pub fn answered(call: Call, answer: Answer, start: u64, end: u64) -> Self {
        Self {
            call,
            start,
            outcome: Outcome::Answered { answer, end },
        }
    }

    /// An operation whose outcome stayed unknown.
    pub fn unknown(call: Call, start: u64) -> Self {
        Self {
            call,
            start,
            outcome: Outcome::Unknown,
        }
    }

    /// The answer, if there was one.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered { answer, .. } => Some(answer),
            Outcome::Unknown => None,
        }
    }
}
