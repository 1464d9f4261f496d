//! What puts polynic on a node, keeps it there, and takes it off again.
//!
//! [`generate`] writes `00-multus.conf` for thick mode and keeps it true while the default network's configuration changes. [`files`] makes
//! files that are complete at every instant.
//!
//! What a file is to contain is decided by pure functions from what was seen; a small loop on a plain thread looks, decides and writes.
//! Nothing here attaches a pod.

mod candidates;
pub mod files;
pub mod follow;
pub mod generate;
pub mod primary;
pub mod watch;
