//! A coordinator's mind: raft, ledger, schedule, worker sessions, feeds held.
