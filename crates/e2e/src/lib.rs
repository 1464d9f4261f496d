//! What the end-to-end tests stand on: the built executables, machines made of namespaces, calls as a container runtime
//! makes them, and a view of the kernel's state by `ip` and `nft`, which know nothing of our own observer.
//!
//! Everything here is for tests: whatever goes wrong fails the test that asked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test's helpers fail like the test"
)]

mod call;
pub mod differences;
mod executables;
pub mod mask;
mod node;
mod packets;
mod state;
mod vm;
mod ways;

pub use call::{Answer, Call, Running};
pub use executables::{plugins, reference_plugins};
pub use node::{Node, Pod, has_ipv6};
pub use packets::{Service, client, is_cut_off, reaches, source_seen};
pub use state::State;
pub use vm::{left_to_vm, run_bare_in_vm, run_in_vm, run_in_vm_booted_with};
pub use ways::{Ways, ways};
