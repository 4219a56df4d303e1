//! A file system that forgets what was not synced, for tests of what a power cut leaves behind.
//!
//! [`Disk`] is what a disk under a file system would hold: of every file what was synced and what was written since, of every
//! directory the names that were synced and the changes since. When the power fails, each is decided by chance, and as badly as
//! the rules of file systems allow: of a file's writes since its last sync none, all, the first few, or any sectors of any of them
//! come true; of the changes of names the first few do, in their order. Syncing a file does not sync its name: that is for a sync
//! of its directory.
//!
//! A [`Mount`] puts one into the tree by FUSE, in memory, for real programs. It needs `/dev/fuse` and the right to mount, and no
//! library of the system.

mod file;

mod disk;

mod mount;

pub use disk::{Counts, Disk, Failure, Kind, ROOT, Status};
pub use mount::Mount;
