//! Real servers on loopback over fakes of the host, spoken to through the public client, a worker's link and raw calls;
//! connections are cut by a proxy where a test wants it, never by a timer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod refusals;

mod required;

mod lists;

mod watches;

mod logs;

mod blobs;

mod links;

mod members;

mod follows;

mod http;

mod servers;

mod secure;

mod meter;

mod probes;
