//! Addresses by whereabouts' objects (spec/whereabouts.md), for the `whereabouts` plugin in any process.
//!
//! [`Direct`] is the plugin's side: blocking calls, served on one thread of their own. `lane` puts everybody who wants something of one
//! pool at the same time into one write; `work` is that write; `objects` are the requests. [`collect`] gives back what pods left,
//! [`slice()`] cuts ranges for nodes.
//!
//! No leader is needed. A pool is written only in the version that was read, and with overlap protection an address is another range's
//! unless its reservation could be created: so processes of the replaced program may write the same objects at the same time.

mod collect;
mod direct;
mod lane;
mod objects;
mod slices;
mod work;

pub use collect::{Collected, Freed, Whose, collect};
pub use direct::Direct;
pub use slices::{Sliced, slice};

/// Where the objects are if the kubeconfig names no namespace.
pub const DEFAULT_NAMESPACE: &str = "kube-system";
