//! The Rust client: follows the leader, retries with request ids, resumes streams.
