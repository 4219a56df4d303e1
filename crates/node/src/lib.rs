//! Both roles wired: config, clock, event loop, signals, telemetry.

pub mod home;
