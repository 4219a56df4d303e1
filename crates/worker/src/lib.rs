//! A worker's mind: desired against actual.
//!
//! Participants: the **coordinator** says, whenever it likes, the whole of what this worker should have ([`Input::Desired`]); the **host**
//! (the daemon around this mind) tells what happens on the machine and does what is asked. Goals: a message may be repeated,
//! lost or overtaken without harm; a program is started at most once per fence; an attempt counts as finished only when its outputs and
//! every record of its feed are stored elsewhere; programs outlive the daemon and the link. No goal: deciding what runs where.
//!
//! ```text
//!            Desired ──>┌────────┐──> Prepare, Launch, Stop, Collect, Remove
//!  Prepared, Launched,  │ Worker │──> Push, ReadFeed
//!  FeedGrew, Ended, … ─>└────────┘──> Report: the whole state, every few seconds and when it changed
//! ```
//!
//! What is indeterminate: between [`Output::Launch`] and the mark that the host makes durable for it, whether the program was started is not known
//! to this mind; the host tells it after a restart by [`Found`]. Programs whose shim vanished are lost and said to be.
//!
//! Beside the mind are two pure functions that its host needs: [`placement`] (which name each input file gets) and [`program`] (what the
//! program finds in its environment and configuration).

mod worker;

mod input;
mod output;

mod fence;

mod attempt;
mod verdict;

mod condition;
mod copies;
mod printed;

mod clock;
mod contact;
mod report;

pub mod placement;
pub mod program;

mod json;

pub use fence::{Fence, FenceError};
pub use input::{Adopted, CollectError, Exit, ExitReason, Found, Input, PrepareError, Prepared};
pub use output::{Output, Stop};
pub use worker::{Cluster, Config, Coordinator, Worker};
