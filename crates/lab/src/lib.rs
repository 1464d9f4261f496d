//! A cluster on one machine: nodes as namespaces, an underlay with a router, a small kubelet, and stories to run in it.

mod diagnose;
mod error;
mod mounts;
mod namespaces;
mod process;
mod state;
mod underlay;

/// x
pub fn main() -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
