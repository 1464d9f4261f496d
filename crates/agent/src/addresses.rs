//! The address service: who listens at the unix socket that the `spiderpool` plugin asks.
//!
//! [`Config`] is what it is told, [`Service`] is the API without its
//! transport, [`api`] the API over HTTP, [`InProcess`] the same for plugins in this process. [`replay`] makes releases that waited on
//! disk. [`Daemon`] puts it all together, [`command`] is its command line.
//!
//! The allocator decides; this module reads, writes, waits and answers. It keeps nothing that a crash could lose: a record in the API
//! is there before an address is handed out, and a release that cannot be made is on disk before it is called done.

pub mod api;
mod clock;
pub mod command;
mod config;
mod coordinator;
mod daemon;
mod in_process;
mod metrics;
pub mod replay;
mod service;
mod sysctls;
mod translate;

pub use config::Config;
pub use daemon::Daemon;
pub use in_process::InProcess;
pub use metrics::AgentMetrics;
pub use service::{Refused, Service};
