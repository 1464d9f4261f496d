//! The CNI plugins of polynic, as values.
//!
//! A main plugin is an [`Attacher`]: it reads its configuration into an [`Attachment`], says what it needs to know and
//! plans from facts. [`drive`] owns everything else of an attempt: locks, observation, addresses from the IPAM plugin,
//! records, the kernel transaction, undo. Any other [`Plugin`], those for IPAM among them, answers by itself. [`Registry`] calls
//! all of them in this process, and anything it does not know, or that CNI_PATH resolves to somebody else's file, through
//! [`polynic_cni::Exec`].
//!
//! No daemons, no Kubernetes, no environment, no stdout: what a call needs comes in with it, what it says goes out.

mod addressing;
mod comment;
pub mod drive;
mod forwarding;
mod ifacer;
pub mod interfaces;
pub mod ipam;
mod iptables;
pub mod log;
mod mac;
mod masquerade;
pub mod meta;
mod passthru;
mod plugin;
mod prev;
pub mod record;
mod registry;
pub mod routing;
mod template;
#[cfg(test)]
mod testing;

pub use plugin::Plugin;
pub use registry::{Host, Registry, types};
pub use template::{
    Attacher, Attachment, Call, ChainedAttachment, ChainedPlugin, Context, Ledger, Leftovers, Planned, Role,
    Stray,
};
