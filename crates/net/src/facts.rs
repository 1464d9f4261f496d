//! What was observed, and what a planner asks to have observed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::{
    Family, Forwarding, FwObject, FwTable, IfName, IpvlanMode, LinkName, Mac, MacvlanMode, Neighbour, Place,
    PortVlan, Route, Rule, SysctlKey, TrafficFact, VfFact, WireguardFact, ZoneSource,
};

/// What was seen in both namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The node's namespace.
    pub host: NsFacts,
    /// The pod's namespace; absent where there is none (DEL after a reboot).
    pub pod: Option<NsFacts>,
}

impl Facts {
    /// What was seen in `place`; nothing if that namespace is gone.
    pub fn at(&self, place: Place) -> Option<&NsFacts> {
        match place {
            Place::Host => Some(&self.host),
            Place::Pod => self.pod.as_ref(),
        }
    }

    /// A link by place and name.
    pub fn link(&self, place: Place, name: &IfName) -> Option<&LinkFact> {
        self.at(place)?.link(name)
    }

    /// Adds what a second look has seen, which asked for what only the first could tell.
    pub fn absorb(&mut self, later: Self) {
        self.host.absorb(later.host);
        match (&mut self.pod, later.pod) {
            (Some(pod), Some(later)) => pod.absorb(later),
            (none, later) => *none = later,
        }
    }
}

/// What was seen in one namespace. Only what [`Needs`] asked for is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NsFacts {
    /// Links.
    pub links: Vec<LinkFact>,
    /// Addresses.
    pub addresses: Vec<AddressFact>,
    /// Virtual functions of the links asked for.
    pub vfs: Vec<VfFact>,
    /// VLANs of the bridge ports asked for; none for a link that is no port or is not there.
    pub port_vlans: BTreeMap<IfName, Vec<PortVlan>>,
    /// Routes of all tables but `local`.
    pub routes: Vec<Route>,
    /// Rules of both families.
    pub rules: Vec<Rule>,
    /// Permanent neighbours.
    pub neighbours: Vec<Neighbour>,
    /// Permanent forwarding entries of the tunnels asked for.
    pub forwarding: Vec<Forwarding>,
    /// Settings of the WireGuard links asked for that are there.
    pub wireguard: Vec<WireguardFact>,
    /// For each destination asked for that can be reached: the way that the kernel would take.
    pub ways: BTreeMap<IpAddr, Way>,
    /// For each destination asked for that can be reached: the source address that the kernel would choose.
    pub sources: BTreeMap<IpAddr, IpAddr>,
    /// Settings asked for; none where the kernel has no such setting (IPv6 switched off, link missing).
    pub sysctls: BTreeMap<SysctlKey, Option<String>>,
    /// Traffic control of the links asked for.
    pub traffic: Vec<TrafficFact>,
    /// Objects of the firewall tables asked for. Rules carry their comment but no expressions.
    pub firewall: Vec<FwObject>,
    /// Families of which the old iptables drops what passes through, unless one of its own rules accepts it.
    pub legacy_forward_drops: Vec<Family>,
    /// Those sources asked for that firewalld's zones have; absent if no firewalld runs.
    pub zone_sources: Option<Vec<ZoneSource>>,
}

impl NsFacts {
    /// A link by name, or by one of its alternative names.
    pub fn link(&self, name: &IfName) -> Option<&LinkFact> {
        self.link_called(name.as_str())
    }

    /// The link that somebody calls so: names go before alternative names.
    pub fn link_called(&self, name: &str) -> Option<&LinkFact> {
        let named = self.links.iter().find(|l| l.name.as_str() == name);
        named.or_else(|| self.links.iter().find(|l| l.other_names.iter().any(|other| other == name)))
    }

    /// A link by index.
    pub fn link_by_index(&self, index: u32) -> Option<&LinkFact> {
        self.links.iter().find(|l| l.index == index)
    }

    /// The addresses of a link.
    pub fn addresses_of<'a>(&'a self, link: &'a IfName) -> impl Iterator<Item = &'a AddressFact> {
        self.addresses.iter().filter(move |a| a.link == *link)
    }

    /// A virtual function of a link.
    pub fn vf(&self, link: &IfName, index: u32) -> Option<&VfFact> {
        self.vfs.iter().find(|vf| vf.link == *link && vf.index == index)
    }

    /// Adds what a second look has seen. Lists that both looks asked for are those of the first.
    fn absorb(&mut self, later: Self) {
        extend_new(&mut self.links, later.links);
        extend_new(&mut self.addresses, later.addresses);
        extend_new(&mut self.vfs, later.vfs);
        self.port_vlans.extend(later.port_vlans);
        keep_first(&mut self.routes, later.routes);
        keep_first(&mut self.rules, later.rules);
        keep_first(&mut self.neighbours, later.neighbours);
        keep_first(&mut self.firewall, later.firewall);
        keep_first(&mut self.forwarding, later.forwarding);
        extend_new(&mut self.wireguard, later.wireguard);
        extend_new(&mut self.traffic, later.traffic);
        self.sources.extend(later.sources);
        self.ways.extend(later.ways);
        self.sysctls.extend(later.sysctls);
        extend_new(&mut self.legacy_forward_drops, later.legacy_forward_drops);
        if let Some(later) = later.zone_sources {
            extend_new(self.zone_sources.get_or_insert_default(), later);
        }
    }

    /// The value of a setting that was asked for and exists.
    pub fn sysctl(&self, key: &SysctlKey) -> Option<&str> {
        self.sysctls.get(key)?.as_deref()
    }
}

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFact {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// Its alternative names (`IFLA_ALT_IFNAME`).
    pub other_names: Vec<String>,
    /// Its kind (`IFLA_INFO_KIND`); empty for hardware and loopback.
    pub kind: String,
    /// Its hardware address, if it has six bytes.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Operational state.
    pub oper: OperState,
    /// Receives everything.
    pub promisc: bool,
    /// Receives all multicast.
    pub all_multicast: bool,
    /// Can send to all stations at once, as Ethernet can.
    pub broadcast: bool,
    /// Can send to groups.
    pub multicast: bool,
    /// Is a loopback link.
    pub loopback: bool,
    /// Length of the transmit queue in packets.
    pub tx_queue_len: u32,
    /// Free text of origin.
    pub alias: Option<String>,
    /// Index of the bridge or other master.
    pub master: Option<u32>,
    /// Index of the parent (macvlan) or peer (veth), in the namespace `peer_netns`, or this one.
    pub peer: Option<u32>,
    /// The kernel's id of the namespace in which `peer` is an index; absent: this one.
    pub peer_netns: Option<i32>,
    /// Mode of a macvlan or macvtap.
    pub macvlan_mode: Option<MacvlanMode>,
    /// Mode of an ipvlan.
    pub ipvlan_mode: Option<IpvlanMode>,
    /// Id of a VLAN link.
    pub vlan_id: Option<u16>,
    /// Routing table of a VRF link.
    pub vrf_table: Option<u32>,
    /// What a VXLAN link was made with.
    pub vxlan: Option<VxlanFact>,
    /// The ends of a tunnel of IPv4 in IPv4.
    pub ipip: Option<IpipFact>,
    /// VLAN filtering of a bridge.
    pub vlan_filtering: Option<bool>,
    /// The VLAN that each new port of a bridge starts in (`IFLA_BR_VLAN_DEFAULT_PVID`); 0: none.
    pub vlan_default: Option<u16>,
    /// Bridge port: hairpin.
    pub hairpin: Option<bool>,
    /// Bridge port: isolated.
    pub isolated: Option<bool>,
}

impl LinkFact {
    /// A link that is down, with the kernel's defaults: where tests and the fake kernel start.
    pub fn new(index: u32, name: IfName, kind: &str) -> Self {
        Self {
            index,
            name,
            other_names: Vec::new(),
            kind: kind.to_owned(),
            mac: None,
            mtu: 1500,
            up: false,
            oper: OperState::Down,
            promisc: false,
            all_multicast: false,
            broadcast: true,
            multicast: true,
            loopback: false,
            tx_queue_len: 1000,
            alias: None,
            master: None,
            peer: None,
            peer_netns: None,
            macvlan_mode: None,
            ipvlan_mode: None,
            vlan_id: None,
            vrf_table: None,
            vxlan: None,
            ipip: None,
            vlan_filtering: None,
            vlan_default: None,
            hairpin: None,
            isolated: None,
        }
    }
}

/// A VXLAN link's properties as the kernel shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VxlanFact {
    /// Network identifier.
    pub vni: u32,
    /// Index of the link that carries the tunnel, in the namespace where the tunnel was made.
    pub parent: Option<u32>,
    /// Outer source address.
    pub local: Option<IpAddr>,
    /// Multicast group or default remote.
    pub remote: Option<IpAddr>,
    /// UDP destination port.
    pub port: u16,
    /// Forwarding entries are learnt from traffic.
    pub learning: bool,
    /// User space is told of unknown hardware addresses.
    pub l2_miss: bool,
    /// Packets carry a group policy id.
    pub gbp: bool,
}

/// The ends of a tunnel of IPv4 in IPv4; absent is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpipFact {
    /// Outer source address.
    pub local: Option<Ipv4Addr>,
    /// Outer destination address.
    pub remote: Option<Ipv4Addr>,
}

/// The way that the kernel would take to a destination now (`ip route get`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The link that packets leave by.
    pub link: IfName,
    /// The next hop, if the destination is not on the link.
    pub gw: Option<IpAddr>,
    /// The source address.
    pub src: Option<IpAddr>,
}

/// Operational states (RFC 2863, `IFLA_OPERSTATE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say. Loopback and taps without a user stay here.
    Unknown,
    /// Cannot pass packets.
    Down,
    /// Waits for a lower layer.
    LowerLayerDown,
    /// Waits for something else.
    Dormant,
    /// Passes packets.
    Up,
}

/// An address as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFact {
    /// The link that has it.
    pub link: IfName,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Scope, see [`crate::scope`].
    pub scope: u8,
    /// Duplicate address detection has not finished.
    pub tentative: bool,
    /// Duplicate address detection has found another owner.
    pub dad_failed: bool,
    /// Has no end to its life (`IFA_F_PERMANENT`).
    pub permanent: bool,
    /// No longer for new connections.
    pub deprecated: bool,
    /// One of IPv6's changing addresses for privacy.
    pub temporary: bool,
}

impl AddressFact {
    /// Whether it is of use beyond the link: neither loopback nor link-local.
    pub fn is_global(&self) -> bool {
        is_global(self.net.addr())
    }
}

/// Whether an address is of use beyond its link: neither loopback nor link-local.
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// What to observe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// In the node's namespace.
    pub host: NsNeeds,
    /// In the pod's namespace.
    pub pod: NsNeeds,
}

impl Needs {
    /// What to observe in `place`.
    pub fn at_mut(&mut self, place: Place) -> &mut NsNeeds {
        match place {
            Place::Host => &mut self.host,
            Place::Pod => &mut self.pod,
        }
    }

    /// Adds what `other` asks for.
    pub fn merge(&mut self, other: Self) {
        self.host.merge(other.host);
        self.pod.merge(other.pod);
    }
}

/// An address of which a namespace may know something: routes of one table to exactly it, and permanent neighbours.
///
/// A node with a thousand pods has thousands of both, and a list of all of them costs every pod the same again. So this is asked as the kernel
/// itself asks: neighbours count where packets to the address can come, on the links of these routes, on the link of the way that the kernel
/// would take now, and on `links`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub ip: IpAddr,
    /// The table.
    pub table: u32,
    /// Indexes of further links.
    pub links: Vec<u32>,
}

/// What to observe in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NsNeeds {
    /// Which links.
    pub links: LinkNeed,
    /// Addresses of these links.
    pub addresses: Vec<IfName>,
    /// Links that are called so, where the name may be an alternative one, too long for any other use.
    pub links_called: Vec<LinkName>,
    /// Virtual functions of these links.
    pub vfs: Vec<IfName>,
    /// VLANs of these links as ports of a bridge. It costs a list of all ports of the namespace.
    pub port_vlans: Vec<IfName>,
    /// Addresses of all links, in the order of the links' indexes.
    pub all_addresses: bool,
    /// Links with these indexes.
    pub links_at: Vec<u32>,
    /// Addresses of these families, of all links, that are of use beyond their link ([`AddressFact::is_global`]), in the order of the
    /// links' indexes.
    pub global_addresses: Vec<Family>,
    /// Routes of all tables but `local`, both families.
    pub routes: bool,
    /// As `routes`, but only those through these links.
    pub routes_on: Vec<IfName>,
    /// Rules, both families.
    pub rules: bool,
    /// Rules of these families.
    pub rules_of: Vec<Family>,
    /// Permanent neighbours.
    pub neighbours: bool,
    /// As `neighbours`, but only those on these links with these addresses.
    pub neighbours_of: Vec<(IfName, IpAddr)>,
    /// What the namespace knows of these addresses.
    pub destinations: Vec<Destination>,
    /// Permanent forwarding entries of these tunnels.
    pub forwarding: Vec<IfName>,
    /// Settings of these WireGuard links.
    pub wireguard: Vec<IfName>,
    /// The ways to these destinations.
    pub ways: Vec<IpAddr>,
    /// The source addresses that the kernel would choose towards these destinations.
    pub sources: Vec<IpAddr>,
    /// These settings.
    pub sysctls: Vec<SysctlKey>,
    /// Among the settings, too: `net.ipv4.conf.*.rp_filter` of these.
    pub rp_filter: Option<RpFilterNeed>,
    /// Traffic control of these links.
    pub traffic: Vec<IfName>,
    /// Everything in these firewall tables.
    pub firewall: Vec<FwTable>,
    /// What the old iptables does with packets that pass through.
    pub legacy_forward: bool,
    /// Whether firewalld runs, and which of these sources its zones have. Of the node's namespace only.
    pub zone_sources: Option<Vec<ZoneSource>>,
}

impl NsNeeds {
    /// Asks for a link by name; one that does not exist is simply not among the facts.
    pub fn link(&mut self, name: &IfName) {
        self.links.merge(LinkNeed::Named(vec![name.clone()]));
    }

    /// Asks for the link that somebody calls so.
    pub fn link_called(&mut self, name: &LinkName) {
        match IfName::new(name.as_str()) {
            Ok(name) => self.link(&name),
            Err(_) => extend_new(&mut self.links_called, vec![name.clone()]),
        }
    }

    /// Asks for the VLANs of a bridge port.
    pub fn vlans_of_port(&mut self, link: &IfName) {
        if !self.port_vlans.contains(link) {
            self.port_vlans.push(link.clone());
        }
    }

    /// Asks for the virtual functions of a link.
    pub fn vfs_of(&mut self, link: &IfName) {
        if !self.vfs.contains(link) {
            self.vfs.push(link.clone());
        }
    }

    /// Asks for the routes through a link.
    pub fn routes_through(&mut self, link: &IfName) {
        if !self.routes_on.contains(link) {
            self.routes_on.push(link.clone());
        }
    }

    /// Asks for the forwarding entries of a tunnel.
    pub fn forwarding_of(&mut self, link: &IfName) {
        if !self.forwarding.contains(link) {
            self.forwarding.push(link.clone());
        }
    }

    /// Asks for the settings of a WireGuard link.
    pub fn wireguard_of(&mut self, link: &IfName) {
        if !self.wireguard.contains(link) {
            self.wireguard.push(link.clone());
        }
    }

    /// Asks for a source of a zone of firewalld.
    pub fn zone_source(&mut self, source: &ZoneSource) {
        extend_new(self.zone_sources.get_or_insert_default(), vec![source.clone()]);
    }

    /// Asks for a setting.
    pub fn sysctl(&mut self, key: SysctlKey) {
        if !self.sysctls.contains(&key) {
            self.sysctls.push(key);
        }
    }

    fn merge(&mut self, other: Self) {
        self.links.merge(other.links);
        extend_new(&mut self.addresses, other.addresses);
        extend_new(&mut self.vfs, other.vfs);
        extend_new(&mut self.links_called, other.links_called);
        extend_new(&mut self.port_vlans, other.port_vlans);
        extend_new(&mut self.links_at, other.links_at);
        extend_new(&mut self.global_addresses, other.global_addresses);
        extend_new(&mut self.rules_of, other.rules_of);
        extend_new(&mut self.routes_on, other.routes_on);
        extend_new(&mut self.neighbours_of, other.neighbours_of);
        extend_new(&mut self.destinations, other.destinations);
        self.routes |= other.routes;
        self.rules |= other.rules;
        self.neighbours |= other.neighbours;
        self.legacy_forward |= other.legacy_forward;
        self.all_addresses |= other.all_addresses;
        extend_new(&mut self.traffic, other.traffic);
        extend_new(&mut self.sources, other.sources);
        extend_new(&mut self.forwarding, other.forwarding);
        extend_new(&mut self.wireguard, other.wireguard);
        extend_new(&mut self.ways, other.ways);
        extend_new(&mut self.sysctls, other.sysctls);
        self.rp_filter = self.rp_filter.or(other.rp_filter);
        extend_new(&mut self.firewall, other.firewall);
        if let Some(other) = other.zone_sources {
            extend_new(self.zone_sources.get_or_insert_default(), other);
        }
    }
}

fn keep_first<T>(list: &mut Vec<T>, later: Vec<T>) {
    if list.is_empty() {
        *list = later;
    }
}

fn extend_new<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// Whose reverse path filtering to observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpFilterNeed {
    /// `all` and `default`.
    General,
    /// These, and every link that has not this value.
    Unlike(i64),
}

/// Which links to observe. By name costs one short query each, all costs a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNeed {
    /// These.
    Named(Vec<IfName>),
    /// Every link.
    All,
}

impl Default for LinkNeed {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl LinkNeed {
    fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Named(names), Self::Named(more)) => extend_new(names, more),
            (_, Self::All) => *self = Self::All,
            (Self::All, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_any_of_its_names_and_its_own_counts_first() {
        let link = |index, name: &str, other: &str| LinkFact {
            other_names: vec![other.to_owned()],
            ..LinkFact::new(index, IfName::new(name).unwrap(), "")
        };
        let facts =
            NsFacts { links: vec![link(2, "eth0", "uplink"), link(3, "eth1", "eth0")], ..NsFacts::default() };
        let index = |name| facts.link_called(name).map(|link| link.index);
        assert_eq!(["uplink", "eth0", "eth1", "eth9"].map(index), [Some(2), Some(2), Some(3), None]);
    }

    #[test]
    fn needs_add_up_without_repeats() {
        let a = IfName::new("a").unwrap();
        let mut needs = Needs::default();
        needs.pod.link(&a);
        needs.pod.link(&a);
        let mut more = Needs::default();
        more.pod.sysctl(SysctlKey::ip_forward());
        more.pod.sysctl(SysctlKey::ip_forward());
        more.host.links = LinkNeed::All;
        needs.merge(more);
        assert_eq!(needs.pod.links, LinkNeed::Named(vec![a.clone()]));
        assert_eq!(needs.pod.sysctls.len(), 1);
        needs.host.link(&a);
        assert_eq!(needs.host.links, LinkNeed::All);
    }
}
