//! Where a lease is used: one interface in one namespace. Nothing here keeps the namespace alive.

use polynic_kernel::netns::{Netns, Pod};
use polynic_kernel::{Door, Errno, Kernel, KernelError, NetnsId, OpenError, UdpFrames};
use polynic_net::{Change, Facts, IfName, Mac, Needs, NsFacts, Place};

use crate::apply::{self, Interface, Remains};
use crate::frame::CLIENT_PORT;
use crate::lease::Lease;
use crate::store::Kept;

/// The kind of link whose stations share one hardware address: a frame for it does not say which station is meant.
const SHARED_MAC: &str = "ipvlan";

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Path of the namespace.
    pub(crate) netns: String,
    /// The namespace that was there.
    pub(crate) id: NetnsId,
    pub(crate) ifname: IfName,
    /// Absent until it was looked at: leases that older versions kept do not say it.
    pub(crate) index: Option<u32>,
    pub(crate) mac: Mac,
    /// Frames to its hardware address do not reach it before it has an address.
    pub(crate) shares_mac: bool,
}

/// An interface that was looked at.
pub(crate) struct Seen {
    pub(crate) site: Site,
    kernel: Box<dyn Kernel>,
    facts: NsFacts,
}

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("error looking up {0:?}: Link not found")]
    NoLink(String),
    #[error("another namespace or link has taken the place of {0}")]
    Replaced(IfName),
    #[error("{0:?} is no Ethernet link")]
    NoMac(String),
    #[error("cannot open a packet socket on {0}: {1}")]
    Socket(IfName, std::io::Error),
}

impl SiteError {
    /// Whether the interface will never be there again. Every other error may pass: too few descriptors, no memory, a namespace that is
    /// busy.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Open(OpenError::Missing(_) | OpenError::Foreign { .. }) => true,
            Self::NoLink(_) | Self::Replaced(_) => true,
            Self::Open(OpenError::Refused { .. }) | Self::Kernel(_) | Self::NoMac(_) | Self::Socket(..) => {
                false
            }
        }
    }
}

/// Changes that were not made, each with its reason.
pub(crate) type Failed = Vec<(Change, KernelError)>;

impl Site {
    /// Where a lease was used when it was kept.
    pub(crate) fn kept(kept: &Kept) -> Self {
        let who = kept.identity();
        Self {
            netns: kept.netns.clone(),
            id: kept.netns_id,
            ifname: kept.ifname.clone(),
            index: kept.index,
            mac: who.mac,
            shares_mac: who.broadcast,
        }
    }

    /// Looks the interface up and brings it up.
    pub(crate) fn prepare(door: &dyn Door, netns: &str, ifname: &IfName) -> Result<Self, SiteError> {
        let mut seen = look(door, netns, ifname)?;
        if seen.facts.link(ifname).is_some_and(|link| !link.up) {
            seen.kernel.apply(&Change::up(Place::Pod, ifname))?;
        }
        Ok(seen.site)
    }

    /// Looks at the same interface again.
    pub(crate) fn look(&self, door: &dyn Door) -> Result<Seen, SiteError> {
        let seen = look(door, &self.netns, &self.ifname)?;
        if self.is_same(&seen.site) { Ok(seen) } else { Err(SiteError::Replaced(self.ifname.clone())) }
    }

    /// Whether both are one interface, whatever else changed.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && (self.index.is_none() || self.index == other.index)
    }

    /// Opens a socket for the conversation with servers.
    pub(crate) fn frames(&self) -> Result<UdpFrames, SiteError> {
        let netns = Netns::<Pod>::open(&self.netns)?;
        let Some(index) = self.index.filter(|_| netns.id() == self.id) else {
            return Err(SiteError::Replaced(self.ifname.clone()));
        };
        UdpFrames::open(&netns, index, CLIENT_PORT).map_err(|e| SiteError::Socket(self.ifname.clone(), e))
    }

    /// Leads the interface from one lease to the next; answers what did not work. The rest is done: it is better than nothing.
    /// `missed` is what the interface lost with its last address, and what it loses now.
    pub(crate) fn change(
        &self,
        door: &dyn Door,
        priority: Option<u32>,
        (from, to): (Option<&Lease>, Option<&Lease>),
        missed: &mut Remains,
    ) -> Result<Failed, SiteError> {
        let mut seen = self.look(door)?;
        let interface = Interface { name: &self.ifname, mac: seen.site.mac, priority, facts: &seen.facts };
        let changes = apply::changes(&interface, from, to, missed);
        *missed = match (from, to) {
            (Some(lost), None) => apply::remains(&interface, lost),
            _ => Remains::default(),
        };
        Ok(seen.make(changes))
    }

    /// Makes changes that could not be made before.
    pub(crate) fn make(&self, door: &dyn Door, changes: Vec<Change>) -> Result<Failed, SiteError> {
        Ok(self.look(door)?.make(changes))
    }
}

impl Seen {
    /// Whether the interface has the lease's address.
    pub(crate) fn has(&self, lease: &Lease) -> bool {
        self.facts.addresses.iter().any(|a| a.net.addr() == lease.address.addr())
    }

    fn make(&mut self, changes: Vec<Change>) -> Failed {
        let expected = |e: &KernelError| e.is_absent() || e.errno() == Some(Errno::EEXIST);
        let failed = changes.into_iter().filter_map(|change| {
            let why = self.kernel.apply(&change).err().filter(|why| !expected(why))?;
            Some((change, why))
        });
        failed.collect()
    }
}

/// Whether an error may be another one, or none, at the next try.
pub(crate) fn may_pass(why: &KernelError) -> bool {
    let passing = [
        Errno::EINTR,
        Errno::EAGAIN,
        Errno::ENOMEM,
        Errno::EBUSY,
        Errno::ENFILE,
        Errno::EMFILE,
        Errno::ENOBUFS,
    ];
    matches!(why, KernelError::Talk { .. }) || why.errno().is_some_and(|errno| passing.contains(&errno))
}

fn look(door: &dyn Door, netns: &str, ifname: &IfName) -> Result<Seen, SiteError> {
    let mut kernel = door.open(Some(netns))?;
    let facts = observe(kernel.as_mut(), ifname)?;
    let no_link = || SiteError::NoLink(ifname.to_string());
    let link = facts.link(ifname).ok_or_else(no_link)?;
    let site = Site {
        netns: netns.to_owned(),
        id: kernel.pod_id().ok_or_else(no_link)?,
        ifname: ifname.clone(),
        index: Some(link.index),
        mac: link.mac.ok_or_else(|| SiteError::NoMac(ifname.to_string()))?,
        shares_mac: link.kind == SHARED_MAC,
    };
    Ok(Seen { site, kernel, facts })
}

fn observe(kernel: &mut dyn Kernel, ifname: &IfName) -> Result<NsFacts, KernelError> {
    let mut needs = Needs::default();
    needs.pod.link(ifname);
    needs.pod.addresses.push(ifname.clone());
    (needs.pod.routes, needs.pod.rules) = (true, true);
    let facts: Facts = kernel.observe(&needs)?;
    Ok(facts.pod.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_kernel::FakeDoor;

    fn name(text: &str) -> IfName {
        IfName::new(text).unwrap()
    }

    #[test]
    fn only_an_interface_that_is_not_there_is_gone() {
        let path = || "/run/netns/p".to_owned();
        let refused = |errno| KernelError::Refused { what: "observe pod".into(), errno, detail: None };
        let gone = [
            SiteError::Open(OpenError::Missing(path())),
            SiteError::Open(OpenError::Foreign { path: path(), magic: 1 }),
            SiteError::NoLink("net1".into()),
            SiteError::Replaced(name("net1")),
        ];
        assert!(gone.iter().all(SiteError::is_gone));
        let passing = [
            SiteError::Open(OpenError::Refused { path: path(), why: "Too many open files".into() }),
            SiteError::Kernel(refused(Errno::ENOMEM)),
            SiteError::Kernel(refused(Errno::ENODEV)),
            SiteError::Socket(name("net1"), std::io::Error::from_raw_os_error(24)),
        ];
        assert!(!passing.iter().any(SiteError::is_gone));
    }

    #[test]
    fn an_interface_of_another_index_is_another_one() {
        let door = FakeDoor::new();
        door.add_netns("/run/netns/p");
        door.pod("/run/netns/p", |pod| {
            pod.physical("net1");
        });
        let site = Site::prepare(&door, "/run/netns/p", &name("net1")).unwrap();
        assert!(site.look(&door).is_ok());
        let older = Site { index: None, ..site.clone() };
        assert_eq!(older.look(&door).unwrap().site, site, "an older file does not say the index");
        let other = Site { index: site.index.map(|index| index + 1), ..site.clone() };
        assert!(other.look(&door).is_err_and(|why| why.is_gone()));
        let absent = Site { ifname: name("net2"), ..site };
        assert!(absent.look(&door).is_err_and(|why| why.is_gone()));
    }
}
