//! The CNI endpoint: who listens at the unix socket that `multus-shim` asks (spec/multus.md 13).
//!
//! [`Config`] is `daemon-config.json`; [`request`](self) makes a checked call of what a shim sent; `Desk` orders calls of one pod and bounds how many
//! run; [`Endpoint`] runs them through `attach`, on plain threads, with built-in plugins in this process; [`api`] is the endpoint over HTTP.
//! `hot_plug` follows the annotations of running pods. [`daemon`] puts it all together from the start to the end, [`command`] is its command line.
//!
//! Nothing is kept in memory that a crash could lose: what a container has is in the caches on disk, and so is a deletion that has to
//! be tried again.

pub mod api;
mod certificate;
pub mod command;
mod config;
pub mod daemon;
mod desk;
mod endpoint;
mod host_network;
mod hot_plug;
mod leaving;
mod metrics;
mod monitoring;
mod order;
mod replay;
mod request;
mod rooted;
mod sandboxes;

pub use config::{Config, ConfigError};
pub use endpoint::{Endpoint, Refusal, Surroundings};
pub use metrics::CniMetrics;
