//! DHCPv4 for the interfaces of pods: the IPAM plugin `dhcp` and its daemon (spec/plugins.md 2.3).
//!
//! [`client`] is the lease of one interface as a state machine, pure; [`message`], [`options`] and [`frame`] are the bytes, [`lease`] what a
//! server gave, [`wishes`] what a configuration asks for. [`daemon`] puts it to work: one thread for all leases, which are kept on disk.
//! [`rpc`] is how plugins call it.
//!
//! The replaced daemon's socket speaks Go's net/rpc, and so do we: either side can be swapped. No async runtime, no Kubernetes.

use std::time::Duration;

mod apply;
mod bell;
pub mod client;
mod clock;
pub mod daemon;
mod engine;
pub mod frame;
mod gob;
pub mod lease;
pub mod message;
pub mod options;
mod retry;
pub mod rpc;
mod site;
mod store;
pub mod wishes;

pub use retry::Timing;

/// A moment: the time since the machine was started, which is never set.
pub type Time = Duration;
