//! A model of a cluster for tests and figures: the other side of [`crate::Store`], as the fake kernel is of the kernel.
//!
//! [`Api`] is the API server's part: objects with versions and conditional writes, no time, no faults. [`ApiStore`]
//! offers it to a running allocator.

mod api;
mod store;

pub use api::{Api, Sabotage};
pub use store::ApiStore;
