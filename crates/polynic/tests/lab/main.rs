//! Whole labs: how they come and go, and the stories told in them.
//!
//! Where the machine forbids namespaces these tests say that they are skipped; with `scenarios` in `POLYNIC_REQUIRE_TIERS` they fail.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chaos;
mod cluster;
mod credentials;
mod labs;
mod lifecycle;
mod like;
mod nodes;
mod processes;
mod stories;
mod thick;
mod whereabouts;
mod workloads;
