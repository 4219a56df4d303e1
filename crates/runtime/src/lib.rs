//! Programs: the shim that outlives the daemon, the runtimes of plain processes and of containers, and the files that steps
//! leave behind.
//!
//! Participants: the **host** (the worker daemon), the **spawner** (a small process that the host keeps, which only
//! forks), a **shim** for each attempt that runs (the parent of its program; afterwards it serves another, as long as the host
//! is there), and the **program**. Once an attempt is launched, host and shim talk by files in its directory, by signals, and by
//! datagrams that say "look again". None of them needs the other to be alive:
//!
//! ```text
//!  host ── launch ────────────────────────> shim ── posix_spawn ──> bash -c SCRIPT
//!   ^ ^└── another shim ──> spawner ─ fork ─^ | ^                        |
//!   | └──────── datagram: directory ──────────┘ └──── stdout, stderr ────┘
//!   └── reads `feed`, `exit.json`; `shim.lock` is held as long as the attempt runs
//! ```
//!
//! Goals: a killed or upgraded daemon takes its steps back with nothing lost; the limits of a step hold while the
//! daemon is down; a step costs little more than its shell. No goal: containing hostile programs (that is the container
//! runtime's part), surviving a power cut (the attempt is then lost and said to be).
//!
//! What is indeterminate: after the shim itself was killed, how the program would have ended. Such an attempt is
//! [`AttemptState::Gone`] until [`AttemptDir::bury`] has killed what it left and written that down.
//!
//! Everything but [`docker`] is synchronous; no call waits for a program.

mod program;

mod runtime;

mod attempts;

mod attempt;

mod run_file;

mod bury;

mod launcher;

mod notify;

mod tail;

pub mod devices;
pub mod docker;

pub mod inputs;

pub mod measure;

pub mod outputs;

pub mod workspace;

pub mod shim;

mod beneath;

mod folder;

mod clock;

mod procfs;

mod sys;

pub use attempt::{AttemptDir, AttemptState, Stop};
pub use attempts::{Attempts, Kept, Scanned};
pub use folder::Folder;
pub use launcher::{LaunchError, Launcher};
pub use notify::NotifySocket;
pub use program::{EndReason, Exit, Interpreter, Metrics, Program, View};
pub use runtime::{Launched, OverQuota, Processes, Runtime, Told};
pub use tail::FeedTail;
