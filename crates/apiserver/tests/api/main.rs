//! The server from outside: over HTTPS, with its own small client and with kubectl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking; helpers here are tests too"
)]
mod client;
mod crash;
mod custom;
mod deletion;
mod full_disk;
mod hook_server;
mod kubectl;
mod model;
mod robustness;
mod verbs;
mod watch;
mod webhooks;
