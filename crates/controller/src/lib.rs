//! The cluster controller: everything about Spiderpool's objects that is decided once for the whole cluster.
//!
//! [`daemon`] puts the parts together: [`webhook`] and [`certificates`] run on every replica, the others on the leader. Each part decides in
//! pure functions and acts on what is there now, so it can be killed at any moment and goes on where it stopped.

pub mod certificates;
pub mod clean;
pub mod command;
pub mod coordinator;
pub mod daemon;
pub mod events;
pub mod gc;
pub mod init;
pub mod metrics;
pub mod networks;
pub mod pools;
pub mod reconcile;
pub mod settings;
pub mod subnets;
pub mod webhook;
