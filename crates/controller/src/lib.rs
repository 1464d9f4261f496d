//! The cluster controller: everything about Spiderpool's objects that is decided once for the whole cluster.
//!
//! [`webhook`] and [`certificates`] run on every replica; the rest on the leader.

pub mod certificates;
pub mod coordinator;
pub mod events;
pub mod networks;
pub mod pools;
pub mod reconcile;
pub mod webhook;
