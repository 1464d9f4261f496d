//! The agent against an API server: over its socket, as plugins call it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod answers;
mod away;
mod crowd;
mod fixed;
mod interfaces;
mod kill;
mod machines;
mod pools;
mod site;
#[allow(dead_code, reason = "the other test binary uses the rest")]
mod world;
