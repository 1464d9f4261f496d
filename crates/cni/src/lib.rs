//! The CNI protocol, 0.1.0 to 1.1.0, both sides of it.
//!
//! The plugin side: [`Invocation`] (environment and stdin, checked), [`PluginConf`], [`Success`] with all
//! conversions, [`Error`], and [`dispatch`](crate::dispatch::dispatch), which turns a [`PluginMain`] into an
//! executable. The runtime side: [`ConfList`], [`Runtime`] (chains and GC), [`cache`], and [`Delegate`], the
//! one call interface, with [`Exec`] as its process implementation.
//!
//! Everything is a plain value: nothing here reads the process's environment, prints to stdout or exits. No
//! Kubernetes, no netlink, no async runtime. The contract is spec/cni.md; rows of it are cited as
//! "spec/cni.md 1.1".

pub mod args;
pub mod attachment;
pub mod cache;
pub mod cause;
pub mod cnitool;
pub mod conf;
pub mod conflist;
pub mod delegate;
pub mod dispatch;
pub mod error;
pub mod exec;
pub mod gate;
pub mod go_duration;
pub mod invocation;
pub mod json;
pub mod list;
pub mod log_file;
pub mod names;
pub mod quote;
pub mod result;
pub mod verb;
pub mod version;

pub use attachment::Attachment;
pub use conf::PluginConf;
pub use conflist::{ConfList, PluginEntry};
pub use delegate::{Delegate, Output, delegate_ipam};
pub use dispatch::{Answer, PluginMain, Program, dispatch, invoke};
pub use error::{Error, code};
pub use exec::Exec;
pub use gate::VersionInfo;
pub use invocation::Invocation;
pub use json::{GoMap, JsonMap};
pub use list::{Runtime, RuntimeConf};
pub use result::{Dns, Interface, Ip, Route, Success};
pub use verb::Verb;
pub use version::Version;
