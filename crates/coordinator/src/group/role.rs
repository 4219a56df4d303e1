//! The part that a member plays in its group.

use raft::StateRole;

/// The part that a member plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It decides.
    Leader,
    /// It follows, or waits for somebody to follow.
    #[default]
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows and has no vote.
    Learner,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Leader, Role::Follower, Role::Candidate, Role::Learner];

    /// The role of a member that raft knows in this state, and that may or may not vote.
    pub(super) fn of(state: StateRole, votes: bool) -> Self {
        match state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if votes => Role::Follower,
            StateRole::Follower => Role::Learner,
        }
    }

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
        }
    }
}
