//! Where a lease is used: one interface in one namespace. Nothing here keeps the namespace alive.

use polynic_kernel::netns::{Netns, Pod};
use polynic_kernel::{Door, Errno, Kernel, KernelError, NetnsId, OpenError, UdpFrames};
use polynic_net::{Change, Facts, IfName, Mac, Needs, NsFacts, Place};

use crate::apply::{self, Interface, Remains};
use crate::frame::CLIENT_PORT;
use crate::lease::Lease;

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
    pub(crate) index: u32,
    pub(crate) mac: Mac,
    /// Frames to its hardware address do not reach it before it has an address.
    pub(crate) shares_mac: bool,
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
    #[error("{0:?} is no Ethernet link")]
    NoMac(String),
    #[error("cannot open a packet socket on {0}: {1}")]
    Socket(IfName, std::io::Error),
}

impl Site {
    /// Looks the interface up.
    pub(crate) fn find(door: &dyn Door, netns: &str, ifname: &IfName) -> Result<Self, SiteError> {
        Self::open(door, netns, ifname).map(|(site, _, _)| site)
    }

    /// Looks the interface up and brings it up.
    pub(crate) fn prepare(door: &dyn Door, netns: &str, ifname: &IfName) -> Result<Self, SiteError> {
        let (site, mut kernel, facts) = Self::open(door, netns, ifname)?;
        if facts.link(ifname).is_some_and(|link| !link.up) {
            kernel.apply(&Change::up(Place::Pod, ifname))?;
        }
        Ok(site)
    }

    fn open(
        door: &dyn Door,
        netns: &str,
        ifname: &IfName,
    ) -> Result<(Self, Box<dyn Kernel>, NsFacts), SiteError> {
        let mut kernel = door.open(Some(netns))?;
        let facts = observe(kernel.as_mut(), ifname)?;
        let no_link = || SiteError::NoLink(ifname.to_string());
        let link = facts.link(ifname).ok_or_else(no_link)?;
        let site = Self {
            netns: netns.to_owned(),
            id: kernel.pod_id().ok_or_else(no_link)?,
            ifname: ifname.clone(),
            index: link.index,
            mac: link.mac.ok_or_else(|| SiteError::NoMac(ifname.to_string()))?,
            shares_mac: link.kind == SHARED_MAC,
        };
        Ok((site, kernel, facts))
    }

    /// The same interface as it is now; none if it is gone, or if something else has taken its place.
    pub(crate) fn again(&self, door: &dyn Door) -> Option<Self> {
        let now = Self::find(door, &self.netns, &self.ifname).ok()?;
        ((now.id, now.index) == (self.id, self.index)).then_some(now)
    }

    /// Opens a socket for the conversation with servers.
    pub(crate) fn frames(&self) -> Result<UdpFrames, SiteError> {
        let netns = Netns::<Pod>::open(&self.netns)?;
        UdpFrames::open(&netns, self.index, CLIENT_PORT)
            .map_err(|e| SiteError::Socket(self.ifname.clone(), e))
    }

    /// Whether the interface has the lease's address.
    pub(crate) fn has(&self, door: &dyn Door, lease: &Lease) -> Result<bool, SiteError> {
        let (_, _, facts) = Self::open(door, &self.netns, &self.ifname)?;
        Ok(facts.addresses.iter().any(|a| a.net.addr() == lease.address.addr()))
    }

    /// Leads the interface from one lease to the next. What does not work is told and left: the rest is better than nothing.
    /// `missed` is what the interface lost with its last address, and what it loses now.
    pub(crate) fn change(
        &self,
        door: &dyn Door,
        priority: Option<u32>,
        (from, to): (Option<&Lease>, Option<&Lease>),
        missed: &mut Remains,
    ) -> Result<Vec<KernelError>, SiteError> {
        let (now, mut kernel, facts) = Self::open(door, &self.netns, &self.ifname)?;
        let interface = Interface { name: &self.ifname, mac: now.mac, priority, facts: &facts };
        let changes = apply::changes(&interface, from, to, missed);
        *missed = match (from, to) {
            (Some(lost), None) => apply::remains(&interface, lost),
            _ => Remains::default(),
        };
        let failed = changes.iter().filter_map(|change| kernel.apply(change).err());
        let expected = |e: &KernelError| e.is_absent() || e.errno() == Some(Errno::EEXIST);
        Ok(failed.filter(|e| !expected(e)).collect())
    }
}

fn observe(kernel: &mut dyn Kernel, ifname: &IfName) -> Result<NsFacts, KernelError> {
    let mut needs = Needs::default();
    needs.pod.link(ifname);
    needs.pod.addresses.push(ifname.clone());
    (needs.pod.routes, needs.pod.rules) = (true, true);
    let facts: Facts = kernel.observe(&needs)?;
    Ok(facts.pod.unwrap_or_default())
}
