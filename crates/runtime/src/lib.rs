//! Programs: plain processes and the shim that outlives the daemon.
