//! MultiNetworkPolicy on this node (spec/multi-networkpolicy.md): watches policies, pods, namespaces and networks, and keeps the table of
//! each of this node's pods as `polynic-policy` renders it.
//!
//! [`Config`] is what it is told, [`command`] its command line; attachments ask for their pods' policies over a unix socket (`http`),
//! before the first link is there.
//!
//! One task owns what is known (`service`); plain threads edit the kernel (`enforcer`). Nothing is taken away from a pod before all of
//! the cluster has been seen once, and when this ends, the rules stay.

pub mod command;
mod config;
mod connections;
mod enforcer;
mod events;
mod http;
mod live;
mod objects;
mod sandboxes;
mod service;
mod watch;

pub use config::{Config, ConfigError};
pub use service::{ServiceError, run};
