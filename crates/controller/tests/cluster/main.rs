//! The controller against the embedded API server: one binary, because kube takes long to link.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod coordinator;
mod daemon;
mod gc;
mod kill;
mod mortal;
mod networks;
mod pools;
mod steps;
mod subnets;
mod support;
mod tables;
mod webhooks;
mod wire;
