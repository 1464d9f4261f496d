//! What puts polynic on a node, keeps it there, and takes it off again.
//!
//! [`generate`] writes `00-multus.conf` for thick mode and keeps it true while the default network's configuration changes; [`thin`] does
//! the same for thin mode, with credentials. [`programs`] installs plugins, [`certificate`] gets each node its own, [`applets`] are small programs of the replaced images, [`node`]
//! takes everything off a node again, [`inspect`] says what is wrong with one. [`files`] makes files that are complete at every instant.
//!
//! What a file is to contain is decided by pure functions from what was seen; a small loop on a plain thread looks, decides and writes.
//! Nothing here attaches a pod.

pub mod applets;
mod candidates;
pub mod certificate;
pub mod files;
pub mod follow;
pub mod generate;
pub mod inspect;
pub mod node;
pub mod primary;
pub mod programs;
pub mod thin;
pub mod watch;
