//! Whole labs: how they come and go, and the stories told in them.
//!
//! Where the machine forbids namespaces these tests say that they are skipped; with `scenarios` in `POLYNIC_REQUIRE_TIERS` they fail.

mod labs;
mod lifecycle;
mod stories;
