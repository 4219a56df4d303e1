//! Files and sled: raft log, snapshots, feed segments, blob files.
