//! The node agent: services that the replaced systems run as daemons of their own, composed in one process.
//!
//! [`command`] reads command lines: of one service under its replaced name, or of several (`polynic agent`). Each service keeps the
//! configuration of what it replaces, and becomes a [`Part`]; [`compose`] runs parts side by side, from the start to the end.
//!
//! [`flannel`] is flannel's daemon.
//!
//! [`addresses`] is the address service that the `spiderpool` plugin asks, [`cni`] the CNI endpoint that `multus-shim` asks, [`dhcp`] the
//! daemon that the `dhcp` plugin asks, [`ip_reconciler`] what gives whereabouts' addresses back when pods are gone, [`node_slices`] what
//! cuts its ranges for nodes, [`policy`] what keeps MultiNetworkPolicies in force.
//!
//! Everything here waits, translates and answers: allocation is decided in `ipam`, attachments in `attach`.

pub mod addresses;
pub mod cni;
pub mod command;
pub mod compose;
pub mod dhcp;
pub mod error;
pub mod flannel;
pub mod ip_reconciler;
pub mod node_slices;
pub mod part;
pub mod policy;
mod whereabouts;

pub use error::{CommandError, Failure};
pub use part::{Part, Surroundings};
