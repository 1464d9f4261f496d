//! A model of a cluster for tests and figures: the other side of [`crate::Store`], as the fake kernel is of the kernel.
//!
//! [`Api`] is the API server's part: objects with versions and conditional writes, no time, no faults. [`ApiStore`]
//! offers it to a running allocator. [`World`] adds time, nodes with allocators and kubelets, pods that come and go,
//! and everything that goes wrong: latency, conflicts, lost and late writes, stale caches, crashes. Everything in it
//! follows from one seed. [`storm()`] is the world of the scale report: many nodes, one pool, no faults.

mod api;
mod collector;
mod kubelet;
mod network;
mod store;
mod storm;
mod world;

pub use api::{Api, Sabotage};
pub use store::ApiStore;
pub use storm::{Storm, StormReport, storm};
pub use world::{Faults, Tally, UsedBy, World, WorldOptions};
