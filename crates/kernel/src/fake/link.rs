//! Links: how they come to be, what keeps them alive, and what dies with them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use polynic_net::{
    Entropy, IfName, IpvlanMode, Link, LinkKind, Mac, MacvlanMode, Move, PortVlan, Veth, VfFact, Vxlan,
    VxlanFact,
};

use super::world::{HOST, Refusal, World};
use crate::Errno;

/// Smallest IPv4 MTU, which is what most drivers allow (`ETH_MIN_MTU`).
pub(super) const MIN_MTU: u32 = 68;
const MAX_MTU: u32 = 65535;
/// The MTU of Ethernet, which links get that are given none.
pub(super) const DEFAULT_MTU: u32 = 1500;

/// A link somewhere on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) space: u32,
    pub(super) name: IfName,
}

/// What a link is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Loopback,
    Physical,
    Veth {
        peer: End,
    },
    Bridge {
        vlan_filtering: bool,
    },
    Macvlan {
        parent: End,
        mode: MacvlanMode,
        tap: bool,
    },
    Ipvlan {
        parent: End,
        mode: IpvlanMode,
    },
    Vlan {
        parent: End,
        id: u16,
    },
    /// The parent in `options` stays empty: indexes are looked up when asked for.
    Vxlan {
        parent: Option<End>,
        options: VxlanFact,
    },
    Ipip {
        local: Option<std::net::Ipv4Addr>,
    },
    Wireguard,
    Dummy,
    Vrf {
        table: u32,
    },
    Ifb,
    Tap,
    Bond,
}

impl Wire {
    /// The kernel's name of the kind; hardware and loopback have none.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Loopback | Self::Physical => "",
            Self::Veth { .. } => "veth",
            Self::Bridge { .. } => "bridge",
            Self::Macvlan { tap: false, .. } => "macvlan",
            Self::Macvlan { tap: true, .. } => "macvtap",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Vxlan { .. } => "vxlan",
            Self::Ipip { .. } => "ipip",
            Self::Wireguard => "wireguard",
            Self::Dummy => "dummy",
            Self::Vrf { .. } => "vrf",
            Self::Ifb => "ifb",
            Self::Tap => "tun",
            Self::Bond => "bond",
        }
    }

    /// Its parent is another link now, or the same elsewhere.
    fn rebase(&mut self, to: &End) {
        match self {
            Self::Macvlan { parent, .. }
            | Self::Ipvlan { parent, .. }
            | Self::Vlan { parent, .. }
            | Self::Vxlan { parent: Some(parent), .. } => *parent = to.clone(),
            _ => {}
        }
    }

    /// The link that this one stands on, if any.
    pub(super) fn parent(&self) -> Option<&End> {
        match self {
            Self::Macvlan { parent, .. } | Self::Ipvlan { parent, .. } | Self::Vlan { parent, .. } => {
                Some(parent)
            }
            Self::Vxlan { parent, .. } => parent.as_ref(),
            _ => None,
        }
    }
}

/// A link.
#[derive(Clone, Debug)]
pub(super) struct FakeLink {
    pub(super) index: u32,
    pub(super) wire: Wire,
    pub(super) mac: Mac,
    /// Somebody chose the MAC; a bridge without that takes one of its ports'.
    pub(super) mac_chosen: bool,
    pub(super) mtu: u32,
    /// Somebody chose the MTU; a bridge without that follows its ports.
    pub(super) mtu_chosen: bool,
    pub(super) up: bool,
    pub(super) promisc: bool,
    pub(super) all_multi: bool,
    pub(super) tx_queue_len: u32,
    pub(super) alias: String,
    pub(super) master: Option<IfName>,
    pub(super) hairpin: bool,
    pub(super) isolated: bool,
    pub(super) vlans: BTreeMap<u16, PortVlan>,
    /// Of a bridge: the VLAN in which its ports start; 0: none.
    pub(super) vlan_default: u16,
    pub(super) other_names: Vec<String>,
    /// Virtual functions of hardware.
    pub(super) vfs: Vec<VfFact>,
    /// A bridge that has or had ports: its own MAC and carrier are gone for good.
    pub(super) had_ports: bool,
    /// The kernel has given it its link-local address since it came up.
    pub(super) numbered: bool,
}

impl FakeLink {
    pub(super) fn new(index: u32, wire: Wire, mac: Mac, mtu: u32) -> Self {
        Self {
            index,
            wire,
            mac,
            mac_chosen: false,
            mtu,
            mtu_chosen: false,
            up: false,
            promisc: false,
            all_multi: false,
            tx_queue_len: 1000,
            alias: String::new(),
            master: None,
            hairpin: false,
            isolated: false,
            vlans: BTreeMap::new(),
            vlan_default: 1,
            other_names: Vec::new(),
            vfs: Vec::new(),
            had_ports: false,
            numbered: false,
        }
    }

    pub(super) fn loopback() -> Self {
        Self::new(1, Wire::Loopback, Mac([0; 6]), 65536)
    }

    /// Whether the link is called so, by its name or besides.
    pub(super) fn is_called(&self, name: &IfName, asked: &str) -> bool {
        name.as_str() == asked || self.other_names.iter().any(|other| other == asked)
    }

    /// A port that leaves its bridge loses what it was as a port.
    pub(super) fn leave_master(&mut self) {
        self.master = None;
        self.hairpin = false;
        self.isolated = false;
        self.vlans.clear();
    }
}

impl World {
    /// Creates a link in namespace `space`; `other` is the namespace of its peer or parent.
    pub(super) fn create_link(&mut self, space: u32, link: &Link, other: u32) -> Result<(), Refusal> {
        self.check_name_is_free(space, &link.name)?;
        check_mac(link.mac)?;
        let wire = self.wire(space, link, other)?;
        let mtu = self.mtu_of_new(link, &wire)?;
        if let LinkKind::Veth(peer) = &link.kind {
            self.create_peer(&End { space, name: link.name.clone() }, peer, other)?;
        }
        let end = End { space, name: link.name.clone() };
        let mac = link.mac.or_else(|| self.inherited_mac(&wire));
        self.share_mode(&wire);
        self.insert_link(end.clone(), wire, mac, mtu)?;
        self.space_mut(space)?.link_mut(&end.name)?.mtu_chosen = link.mtu.is_some();
        Ok(())
    }

    /// Ipvlans share their parent's address, VLAN links start with it.
    fn inherited_mac(&self, wire: &Wire) -> Option<Mac> {
        match wire {
            Wire::Ipvlan { parent, .. } | Wire::Vlan { parent, .. } => self.find(parent).ok().map(|p| p.mac),
            _ => None,
        }
    }

    /// All ipvlans of a parent have the mode of the newest (`ipvlan_set_port_mode`).
    fn share_mode(&mut self, wire: &Wire) {
        let Wire::Ipvlan { parent, mode } = wire else { return };
        for sibling in self.children(parent) {
            if let Ok(FakeLink { wire: Wire::Ipvlan { mode: shared, .. }, .. }) = self.find_mut(&sibling) {
                *shared = *mode;
            }
        }
    }

    fn create_peer(&mut self, near: &End, peer: &Veth, space: u32) -> Result<(), Refusal> {
        let far = End { space, name: peer.name.clone() };
        if far == *near {
            return Err(Errno::EEXIST.into());
        }
        self.check_name_is_free(space, &peer.name)?;
        check_mac(peer.mac)?;
        // Not the near end's MTU: it is the kernel's default that a peer without one gets.
        let mtu = peer.mtu.unwrap_or(DEFAULT_MTU);
        check_mtu(mtu, MAX_MTU)?;
        self.insert_link(far, Wire::Veth { peer: near.clone() }, peer.mac, mtu)
    }

    pub(super) fn insert_link(
        &mut self,
        end: End,
        wire: Wire,
        mac: Option<Mac>,
        mtu: u32,
    ) -> Result<(), Refusal> {
        let index = self.take_index();
        let queue = if wire == Wire::Ifb { 0 } else { 1000 };
        let mut link = FakeLink::new(index, wire, mac.unwrap_or_else(|| mac_of(&end)), mtu);
        link.tx_queue_len = queue;
        link.mac_chosen = mac.is_some();
        let space = self.space_mut(end.space)?;
        space.add_link_sysctls(&end.name);
        space.links.insert(end.name, link);
        Ok(())
    }

    fn check_name_is_free(&self, space: u32, name: &IfName) -> Result<(), Refusal> {
        match self.space(space).ok_or(Refusal::NoPod)?.links.contains_key(name) {
            true => Err(Errno::EEXIST.into()),
            false => Ok(()),
        }
    }

    fn wire(&self, space: u32, link: &Link, other: u32) -> Result<Wire, Refusal> {
        let end = |name: &IfName| End { space: other, name: name.clone() };
        Ok(match &link.kind {
            LinkKind::Veth(peer) => Wire::Veth { peer: end(&peer.name) },
            LinkKind::Bridge { vlan_filtering } => Wire::Bridge { vlan_filtering: *vlan_filtering },
            LinkKind::Macvlan(m) | LinkKind::Macvtap(m) => {
                let parent = end(&m.parent.name);
                self.check_macvlan(&parent, m.mode)?;
                Wire::Macvlan { parent, mode: m.mode, tap: matches!(link.kind, LinkKind::Macvtap(_)) }
            }
            LinkKind::Ipvlan(i) => {
                let parent = end(&i.parent.name);
                self.check_ipvlan(&parent)?;
                Wire::Ipvlan { parent, mode: i.mode }
            }
            LinkKind::Vlan(v) => {
                let parent = end(&v.parent.name);
                self.check_vlan(&parent, v.id)?;
                Wire::Vlan { parent, id: v.id }
            }
            LinkKind::Dummy => Wire::Dummy,
            LinkKind::Vrf { table } => Wire::Vrf { table: *table },
            LinkKind::Vxlan(vxlan) => {
                let parent = vxlan.parent.as_ref().map(|p| end(&p.name));
                parent.as_ref().map_or(Ok(()), |p| self.find(p).map(drop))?;
                let options = vxlan_fact(vxlan);
                self.check_vxlan(space, &options)?;
                Wire::Vxlan { parent, options }
            }
            LinkKind::Ipip { local } => {
                self.check_ipip(space, *local)?;
                Wire::Ipip { local: *local }
            }
            LinkKind::Wireguard => Wire::Wireguard,
            LinkKind::Ifb => Wire::Ifb,
            LinkKind::Tap(_) => Wire::Tap,
            LinkKind::Bond(_) => Wire::Bond,
        })
    }

    /// A macvlan needs a parent of Ethernet kind that is no port of a bridge, and in mode passthru for itself.
    fn check_macvlan(&self, parent: &End, mode: MacvlanMode) -> Result<(), Refusal> {
        let link = self.find(parent)?;
        if link.wire == Wire::Loopback {
            return Err(Errno::EINVAL.into());
        }
        if link.master.is_some() {
            return Err(Errno::EBUSY.into());
        }
        let mut stations =
            self.children(parent).into_iter().filter_map(|end| match &self.find(&end).ok()?.wire {
                Wire::Macvlan { mode, .. } => Some(*mode),
                _ => None,
            });
        let excluded = stations.any(|other| [mode, other].contains(&MacvlanMode::Passthru));
        if excluded { Err(Errno::EINVAL.into()) } else { Ok(()) }
    }

    /// Ipvlans have no other stations beside them.
    fn check_ipvlan(&self, parent: &End) -> Result<(), Refusal> {
        let link = self.find(parent)?;
        if link.wire == Wire::Loopback {
            return Err(Errno::EINVAL.into());
        }
        let children = self.children(parent);
        let mut wires = children.iter().filter_map(|end| Some(&self.find(end).ok()?.wire));
        if link.master.is_some() || wires.any(|wire| matches!(wire, Wire::Macvlan { .. })) {
            return Err(Errno::EBUSY.into());
        }
        Ok(())
    }

    /// One link per VLAN and parent (`vlan_check_real_dev`).
    fn check_vlan(&self, parent: &End, id: u16) -> Result<(), Refusal> {
        if self.find(parent)?.wire == Wire::Loopback {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let taken = |end: &End| matches!(self.find(end), Ok(link) if matches!(link.wire, Wire::Vlan { id: other, .. } if other == id));
        match self.children(parent).iter().any(taken) {
            true => Err(Refusal::because(Errno::EEXIST, "VLAN device already exists")),
            false => Ok(()),
        }
    }

    /// Two tunnels of one network, port and family in one namespace are refused (`vxlan_config_validate`).
    /// Two tunnels of one namespace must differ in their ends.
    fn check_ipip(&self, space: u32, new: Option<std::net::Ipv4Addr>) -> Result<(), Refusal> {
        let taken = |link: &FakeLink| matches!(link.wire, Wire::Ipip { local } if local == new);
        let mut links = self.space(space).ok_or(Refusal::NoPod)?.links.values();
        if links.any(taken) { Err(Errno::EEXIST.into()) } else { Ok(()) }
    }

    fn check_vxlan(&self, space: u32, new: &VxlanFact) -> Result<(), Refusal> {
        let family = |fact: &VxlanFact| fact.local.or(fact.remote).is_some_and(|ip| ip.is_ipv6());
        let links = self.space(space).ok_or(Refusal::NoPod)?.links.values();
        let taken = |link: &FakeLink| matches!(&link.wire, Wire::Vxlan { options: old, .. } if (old.vni, old.port, family(old)) == (new.vni, new.port, family(new)));
        match links.into_iter().any(taken) {
            true => {
                Err(Refusal::because(Errno::EEXIST, "A VXLAN device with the specified VNI already exists"))
            }
            false => Ok(()),
        }
    }

    fn mtu_of_new(&self, link: &Link, wire: &Wire) -> Result<u32, Refusal> {
        let parent = wire.parent().map(|p| self.find(p)).transpose()?;
        let parent = wire.parent().zip(parent).map(|(end, link)| self.mtu(end, link));
        let mtu = link.mtu.or(parent).unwrap_or(DEFAULT_MTU);
        check_mtu(mtu, self.max_mtu(wire))?;
        Ok(mtu)
    }

    /// The largest MTU: that of a macvlan or a VLAN link is its parent's.
    pub(super) fn max_mtu(&self, wire: &Wire) -> u32 {
        match wire {
            Wire::Macvlan { parent, .. } | Wire::Vlan { parent, .. } => {
                self.find(parent).map_or(MAX_MTU, |p| self.mtu(parent, p))
            }
            Wire::Loopback => u32::MAX,
            _ => MAX_MTU,
        }
    }

    pub(super) fn find(&self, end: &End) -> Result<&FakeLink, Refusal> {
        self.space(end.space).ok_or(Refusal::NoPod)?.link(&end.name)
    }

    /// Links anywhere that stand on `parent`.
    pub(super) fn children(&self, parent: &End) -> Vec<End> {
        let all =
            self.spaces.iter().flat_map(|(space, s)| s.links.iter().map(move |(name, l)| (space, name, l)));
        all.filter(|(_, _, l)| l.wire.parent() == Some(parent))
            .map(|(space, name, _)| End { space: *space, name: name.clone() })
            .collect()
    }

    /// Deletes a link that can be deleted.
    pub(super) fn delete_link(&mut self, space: u32, name: &IfName) -> Result<(), Refusal> {
        let end = End { space, name: name.clone() };
        match self.find(&end)?.wire {
            Wire::Loopback | Wire::Physical => Err(Errno::EOPNOTSUPP.into()),
            _ => {
                self.unlink(&end);
                Ok(())
            }
        }
    }

    /// Takes a link to another namespace (`__dev_change_net_namespace`): it goes down and loses what it had but its identity.
    pub(super) fn move_link(&mut self, from: &End, space: u32, m: &Move) -> Result<(), Refusal> {
        if matches!(self.find(from)?.wire, Wire::Loopback | Wire::Bridge { .. } | Wire::Vxlan { .. }) {
            return Err(Errno::EINVAL.into());
        }
        let name = match self.check_name_is_free(space, &m.name) {
            Err(_) if space == HOST && m.spare.is_some() => m.spare.as_ref().unwrap_or(&m.name),
            free => free.map(|()| &m.name)?,
        };
        self.check_name_is_free(space, name)?;
        let to = End { space, name: name.clone() };
        for end in self.children(from) {
            self.find_mut(&end)?.wire.rebase(&to);
        }
        let Some(mut link) = self.space_mut(from.space)?.links.remove(&from.name) else { return Ok(()) };
        self.space_mut(from.space)?.forget(&from.name);
        if let Wire::Veth { peer } = &link.wire {
            self.find_mut(&peer.clone())?.wire = Wire::Veth { peer: to.clone() };
        }
        link.leave_master();
        (link.up, link.numbered) = (false, false);
        let target = self.space_mut(space)?;
        target.add_link_sysctls(name);
        target.links.insert(name.clone(), link);
        Ok(())
    }

    /// Removes a link and what cannot be without it: the other end of a pair, and links that stand on it.
    pub(super) fn unlink(&mut self, end: &End) {
        // The ports of a bond are let go before it goes (`bond_uninit`).
        let ports: Vec<End> = if self.find(end).is_ok_and(|link| link.wire == Wire::Bond) {
            self.ports(end).collect()
        } else {
            Vec::new()
        };
        for port in ports {
            // What can be found can be let go.
            let _ = self.bond(&port, None);
        }
        let Some(space) = self.spaces.get_mut(&end.space) else { return };
        let Some(link) = space.links.remove(&end.name) else { return };
        space.forget(&end.name);
        if let Wire::Veth { peer } = &link.wire {
            self.unlink(peer);
        }
        for child in self.children(end) {
            self.unlink(&child);
        }
    }
}

fn vxlan_fact(vxlan: &Vxlan) -> VxlanFact {
    VxlanFact {
        vni: vxlan.vni,
        parent: None,
        local: vxlan.local,
        remote: vxlan.remote,
        // The kernel's own port, from before one was assigned.
        port: if vxlan.port == 0 { 8472 } else { vxlan.port },
        learning: vxlan.learning,
        l2_miss: false,
        gbp: vxlan.gbp,
    }
}

/// A multicast or zero hardware address is refused (`eth_validate_addr`).
pub(super) fn check_mac(mac: Option<Mac>) -> Result<(), Refusal> {
    match mac {
        Some(Mac(bytes)) if bytes[0] & 1 == 1 || bytes == [0; 6] => Err(Errno::EADDRNOTAVAIL.into()),
        _ => Ok(()),
    }
}

pub(super) fn check_mtu(mtu: u32, max: u32) -> Result<(), Refusal> {
    match mtu {
        n if n < MIN_MTU => Err(Refusal::because(Errno::EINVAL, "mtu less than device minimum")),
        n if n > max => Err(Refusal::because(Errno::EINVAL, "mtu greater than device maximum")),
        _ => Ok(()),
    }
}

/// The address that "the kernel's chance" gives a link: the same for the same name in the same namespace.
fn mac_of(end: &End) -> Mac {
    let mut hasher = DefaultHasher::new();
    (end.space, end.name.as_str()).hash(&mut hasher);
    Entropy::new(hasher.finish()).mac()
}
