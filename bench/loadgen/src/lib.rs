//! Black-box load benchmark for Matrix homeservers.
pub mod client;
pub mod procstat;
pub mod report;
pub mod scenarios;
pub mod share;
pub mod stats;
pub mod targets;
