//! The multi-network attachment of one pod: what the `multus` plugin does, apart from how it is started (spec/multus.md).
//!
//! A call goes through these steps: [`Config`] is read, the pod and its NADs are read through the trait [`Cluster`], [`select`] makes
//! the list of [`DelegateConf`]s, and [`add`], [`del`], [`check`], [`status`] or [`gc`] runs them in order through
//! [`polynic_cni::Runtime`] and a [`Delegate`](polynic_cni::Delegate). What needs the kernel (default routes, free names) goes through
//! the trait [`PodNetns`].
//!
//! Network policies on the pod's networks are in force before an ADD attaches anything, through the trait [`Guard`].
//!
//! ADD is all or nothing: whatever fails after the first delegate ran (a later one, a default route, the status annotation), all of
//! them are deleted in reverse order. DEL and CHECK work from the caches on disk and need no API server.
//!
//! [`plug`] makes the networks of running pods follow their annotation, [`one`] attaches a single one.
//!
//! No sockets, no daemon, no async runtime here. [`Thin`] makes the executable `multus` of these functions, [`Shim`] that of `multus-shim`,
//! which asks the node agent and falls back on them.

mod add;
mod check;
pub mod cluster;
pub mod config;
mod container_lock;
pub mod context;
mod default_route;
mod del;
pub mod delegate_conf;
mod device_files;
pub mod devices;
mod door_netns;
mod gc;
pub mod guard;
mod leftovers;
pub mod log;
pub mod one;
pub mod plug;
mod pod_args;
pub mod policy_socket;
mod readiness;
mod rows;
mod runtime_conf;
pub mod scratch;
pub mod select;
pub mod shim;
mod status;
pub mod thin;

use polynic_cni::cause;

pub use add::add;
pub use check::check;
pub use cluster::{Cluster, NadError, NadRef, Patience, PodError, PodInfo, PodNetns, PodRef, StatusError};
pub use config::{Config, ConfigError, RuntimeConfig};
pub use context::Context;
pub use del::del;
pub use delegate_conf::DelegateConf;
pub use device_files::DeviceFiles;
pub use devices::{DeviceError, Devices};
pub use door_netns::DoorNetns;
pub use gc::gc;
pub use guard::{Guard, GuardedNetwork, Sandbox};
pub use leftovers::sweep;
pub use log::Log;
pub use pod_args::Forward;
pub use rows::rows;
pub use shim::Shim;
pub use status::status;
pub use thin::Thin;

#[cfg(test)]
mod fake;
