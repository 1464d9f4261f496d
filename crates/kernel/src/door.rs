//! The interface that the real kernel and the fake one share.

use std::fmt;
use std::net::IpAddr;

use polynic_net::{Change, Facts, Flow, FwEdit, FwInventory, FwTable, IfName, Mac, Needs, Place, Probe};
use serde::{Deserialize, Serialize};

/// Opens namespaces. One value serves a whole process.
pub trait Door: Send + Sync {
    /// Opens the namespace the program runs in and, if `netns` is given, the pod's namespace at that path.
    ///
    /// # Errors
    /// [`OpenError`] if the path is no namespace or cannot be entered.
    fn open(&self, netns: Option<&str>) -> Result<Box<dyn Kernel>, OpenError>;
}

/// One attachment's view of the kernel: the node's namespace and, where there is one, the pod's.
pub trait Kernel: Send {
    /// Observes what `needs` asks for. Needs about an absent pod namespace are ignored and leave [`Facts::pod`] empty.
    /// A dump that changes while it is read is repeated for some seconds before it becomes an error.
    fn observe(&mut self, needs: &Needs) -> Result<Facts, KernelError>;

    /// Applies one change exactly: creations fail with `EEXIST` if the object is there, deletions with `ENOENT`, `ENODEV`,
    /// `ESRCH` or `EADDRNOTAVAIL` if it is not (see [`KernelError::is_absent`]), and a setting or attribute whose value is not
    /// `before` is [`KernelError::Stale`].
    fn apply(&mut self, change: &Change) -> Result<(), KernelError>;

    /// Applies several firewall changes of one place as one atomic batch. Every change must be about the firewall.
    fn apply_firewall(&mut self, changes: &[Change]) -> Result<(), KernelError>;

    /// Carries out edits of one table of a place as one atomic batch.
    ///
    /// # Errors
    /// The kernel refuses one of them; nothing is changed then.
    fn edit_table(&mut self, place: Place, table: &FwTable, edits: &[FwEdit]) -> Result<(), KernelError>;

    /// The names of what is in a table; nothing if there is no such table.
    fn inventory(&mut self, place: Place, table: &FwTable) -> Result<Option<FwInventory>, KernelError>;

    /// Removes chains of a table that are meant by their names, with their rules and those of other chains that lead to them, as one atomic batch;
    /// answers how many. Base chains stay. For what a replaced program left.
    ///
    /// # Errors
    /// The table cannot be read, or the kernel refuses; nothing is changed then.
    fn remove_chains(
        &mut self,
        place: Place,
        table: &FwTable,
        is_meant: &mut dyn FnMut(&str) -> bool,
    ) -> Result<usize, KernelError>;

    /// Forgets the tracked connections of a place that are meant, so that the next packet of each is judged as a first one; answers how many.
    /// Those of TCP that have an end in the place are ended, where the kernel can do that. Without connection tracking there are none.
    ///
    /// # Errors
    /// They cannot be listed. One that is gone meanwhile is gone.
    fn forget_connections(
        &mut self,
        place: Place,
        is_meant: &mut dyn FnMut(&Flow) -> bool,
    ) -> Result<usize, KernelError>;

    /// Asks all probes at the same time, from links of one place. Takes as long as the longest, less if one fails early.
    ///
    /// # Errors
    /// [`KernelError::Conflict`] if somebody has an address that should be free, [`KernelError::GatewaySilent`] if a gateway does
    /// not answer; anything else if the question could not be asked.
    fn probe(&mut self, place: Place, probes: &[Probe]) -> Result<(), KernelError>;

    /// Deletes several links of one place in one go where the kernel allows it. Links that are gone are no error.
    fn delete_links(&mut self, place: Place, names: &[IfName]) -> Result<(), KernelError>;

    /// Who the pod's namespace is; absent if there is none.
    fn pod_id(&self) -> Option<NetnsId>;

    /// Who the node's namespace is.
    fn host_id(&self) -> NetnsId;
}

/// The identity of a namespace: its inode on nsfs. A path may come to mean another namespace, this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
}

/// A kernel error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Not allowed in this state, or not with these rights.
    pub const EPERM: Self = Self(1);
    /// No such entry.
    pub const ENOENT: Self = Self(2);
    /// No such route or rule.
    pub const ESRCH: Self = Self(3);
    /// Interrupted.
    pub const EINTR: Self = Self(4);
    /// Not now.
    pub const EAGAIN: Self = Self(11);
    /// No memory now.
    pub const ENOMEM: Self = Self(12);
    /// Forbidden: by a `prohibit` route, or IPv6 is switched off.
    pub const EACCES: Self = Self(13);
    /// In use.
    pub const EBUSY: Self = Self(16);
    /// Exists already.
    pub const EEXIST: Self = Self(17);
    /// No such link.
    pub const ENODEV: Self = Self(19);
    /// Not acceptable.
    pub const EINVAL: Self = Self(22);
    /// The machine has no descriptor left.
    pub const ENFILE: Self = Self(23);
    /// The process has no descriptor left.
    pub const EMFILE: Self = Self(24);
    /// On a file system that cannot be written.
    pub const EROFS: Self = Self(30);
    /// The name is taken by something else (nf_tables: not a base chain; links: unsupported).
    pub const EOPNOTSUPP: Self = Self(95);
    /// No such address.
    pub const EADDRNOTAVAIL: Self = Self(99);
    /// The link is down.
    pub const ENETDOWN: Self = Self(100);
    /// No room for it now.
    pub const ENOBUFS: Self = Self(105);
    /// The next hop is not reachable.
    pub const ENETUNREACH: Self = Self(101);
    /// The next hop is not reachable through that link (IPv6).
    pub const EHOSTUNREACH: Self = Self(113);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        // The library appends "(os error N)"; people at 3 a.m. know the words, not the number.
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

/// Why the kernel did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The kernel refused. `detail` is its extended acknowledgement, if it gave one.
    #[error("{what}: {errno}{}", .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        /// What was asked, as in `add route default via 10.0.0.1 dev net1 in pod`.
        what: String,
        /// The error number.
        errno: Errno,
        /// The kernel's own words.
        detail: Option<String>,
    },
    /// What a change takes for granted no longer holds: observe and plan again.
    #[error("{what}: found {found}")]
    Stale {
        /// The change.
        what: String,
        /// What is there instead.
        found: String,
    },
    /// Something that was waited for did not come, or came out wrong.
    #[error("{0}")]
    Waited(String),
    /// A probe found somebody else at an address (text of spec/coordinator.md 5.1).
    #[error("pod's interface {link} with an conflicting ip {ip}, {ip} is located at {mac}")]
    Conflict {
        /// The link that asked.
        link: IfName,
        /// The address.
        ip: IpAddr,
        /// Who has it.
        mac: Mac,
    },
    /// Duplicate address detection found somebody else at an address (text of spec/plugins.md 0.3, and who it is).
    #[error("link {link} has address {ip} in DADFAILED state{}", .mac.map(|mac| format!(": it is located at {mac}")).unwrap_or_default())]
    DadFailed {
        /// The link.
        link: IfName,
        /// The address.
        ip: IpAddr,
        /// Who has it, if that answers once more.
        mac: Option<Mac>,
    },
    /// A probe found no gateway (text of spec/coordinator.md 5.2).
    #[error("gateway {gateway} is unreachable")]
    GatewaySilent {
        /// The link that asked.
        link: IfName,
        /// The gateway.
        gateway: IpAddr,
    },
    /// The pod's namespace is needed and there is none.
    #[error("{what}: the pod's network namespace is gone")]
    NoPod {
        /// What was asked.
        what: String,
    },
    /// The kernel's answer could not be had or understood.
    #[error("{what}: {why}")]
    Talk {
        /// What was asked.
        what: String,
        /// What went wrong.
        why: String,
    },
    /// The implementation cannot do this (yet).
    #[error("{what}: not supported by this version of polynic")]
    Unsupported {
        /// What was asked.
        what: String,
    },
}

impl KernelError {
    /// The kernel's error number, if it refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the error says that the object is not there: fine for whoever wants it gone.
    pub fn is_absent(&self) -> bool {
        let absent = [Errno::ENOENT, Errno::ENODEV, Errno::ESRCH, Errno::EADDRNOTAVAIL];
        matches!(self, Self::NoPod { .. }) || self.errno().is_some_and(|e| absent.contains(&e))
    }

    /// Whether it is what the network answered to a probe, which says all there is to say.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::GatewaySilent { .. })
    }

    /// Whether somebody else on the network has an address of ours.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::DadFailed { .. })
    }

    /// Whether planning again with fresh facts may help.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. }) || self.errno() == Some(Errno::EEXIST)
    }
}

/// Why a namespace could not be opened. The texts after the path are those of spec/plugins.md 0.2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is nothing at the path.
    #[error("failed to open netns {0:?}: failed to Statfs {0:?}: no such file or directory")]
    Missing(String),
    /// What is at the path is no namespace.
    #[error("failed to open netns {path:?}: unknown FS magic on {path:?}: {magic:x}")]
    Foreign {
        /// The path.
        path: String,
        /// File system type found.
        magic: u64,
    },
    /// The namespace cannot be entered.
    #[error("failed to open netns {path:?}: {why}")]
    Refused {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
}

impl OpenError {
    /// A system call about the namespace failed.
    pub(crate) fn refused(path: &str, why: &std::io::Error) -> Self {
        let why = why.raw_os_error().map_or_else(|| why.to_string(), |code| Errno(code).to_string());
        Self::Refused { path: path.to_owned(), why }
    }

    /// Whether there is nothing at the path: no error for DEL.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}
