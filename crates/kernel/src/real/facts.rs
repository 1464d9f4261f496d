//! Reading the kernel's messages into facts. Whatever is unknown is left out; only what identifies an object must be there.

use std::net::IpAddr;

use polynic_net::{
    Family, IfName, IpNet, IpipFact, IpvlanMode, LinkFact, Mac, MacvlanMode, NextHop, OperState, Route,
    RouteKind, Rule, VxlanFact,
};

use crate::netlink::attrs::{self, Attrs};

/// Fixed part of a link message (`struct ifinfomsg`).
const LINK_HEADER: usize = 16;
/// Fixed part of an address message (`struct ifaddrmsg`).
const ADDRESS_HEADER: usize = 8;
/// Fixed part of a route message (`struct rtmsg`) and of a rule message (`struct fib_rule_hdr`).
const ROUTE_HEADER: usize = 12;
/// Fixed part of a neighbour message (`struct ndmsg`).
pub(super) const NEIGHBOUR_HEADER: usize = 12;

/// Attribute numbers of include/uapi/linux/if_link.h.
mod ifla {
    pub const ADDRESS: u16 = 1;
    pub const IFNAME: u16 = 3;
    pub const MTU: u16 = 4;
    pub const LINK: u16 = 5;
    pub const MASTER: u16 = 10;
    pub const TXQLEN: u16 = 13;
    pub const OPERSTATE: u16 = 16;
    pub const LINKINFO: u16 = 18;
    pub const IFALIAS: u16 = 20;
    pub const LINK_NETNSID: u16 = 37;
    pub const PROP_LIST: u16 = 52;
    pub const ALT_IFNAME: u16 = 53;
    pub const INFO_KIND: u16 = 1;
    pub const INFO_DATA: u16 = 2;
    pub const INFO_SLAVE_KIND: u16 = 4;
    pub const INFO_SLAVE_DATA: u16 = 5;
    pub const MACVLAN_MODE: u16 = 1;
    pub const IPVLAN_MODE: u16 = 1;
    pub const VLAN_ID: u16 = 1;
    pub const VRF_TABLE: u16 = 1;
    pub const BR_VLAN_FILTERING: u16 = 7;
    pub const BR_VLAN_DEFAULT_PVID: u16 = 39;
    pub const BRPORT_MODE: u16 = 4;
    pub const BRPORT_ISOLATED: u16 = 33;
}

/// Attributes of a VXLAN link, in the same file.
mod vxlan {
    pub const ID: u16 = 1;
    pub const GROUP: u16 = 2;
    pub const LINK: u16 = 3;
    pub const LOCAL: u16 = 4;
    pub const LEARNING: u16 = 7;
    pub const L2MISS: u16 = 13;
    pub const PORT: u16 = 15;
    pub const GROUP6: u16 = 16;
    pub const LOCAL6: u16 = 17;
    pub const GBP: u16 = 23;
}

/// Attributes of a tunnel of IPv4 in IPv4 (include/uapi/linux/if_tunnel.h).
mod iptun {
    pub const LOCAL: u16 = 2;
    pub const REMOTE: u16 = 3;
}

/// A link. Links whose name is no valid name cannot be spoken of and are left out.
pub(crate) fn link(payload: &[u8]) -> Option<LinkFact> {
    let index = attrs::u32(payload.get(4..)?)?;
    let flags = attrs::u32(payload.get(8..)?)?;
    let list = Attrs::after(payload, LINK_HEADER);
    let name = IfName::new(attrs::text(list.get(ifla::IFNAME)?)?).ok()?;
    let mut fact = LinkFact::new(index, name, "");
    fact.up = flags & libc::IFF_UP as u32 != 0;
    fact.promisc = flags & libc::IFF_PROMISC as u32 != 0;
    fact.all_multicast = flags & libc::IFF_ALLMULTI as u32 != 0;
    fact.broadcast = flags & libc::IFF_BROADCAST as u32 != 0;
    fact.multicast = flags & libc::IFF_MULTICAST as u32 != 0;
    fact.loopback = flags & libc::IFF_LOOPBACK as u32 != 0;
    for (kind, value) in list {
        link_attribute(&mut fact, kind, value);
    }
    Some(fact)
}

fn link_attribute(fact: &mut LinkFact, kind: u16, value: &[u8]) {
    match kind {
        ifla::ADDRESS => fact.mac = value.try_into().ok().map(Mac),
        ifla::MTU => fact.mtu = attrs::u32(value).unwrap_or_default(),
        // A link without parent says so by its own index or by zero.
        ifla::LINK => fact.peer = attrs::u32(value).filter(|peer| *peer != 0),
        ifla::LINK_NETNSID => fact.peer_netns = attrs::i32(value),
        ifla::MASTER => fact.master = attrs::u32(value),
        ifla::TXQLEN => fact.tx_queue_len = attrs::u32(value).unwrap_or_default(),
        ifla::OPERSTATE => fact.oper = oper_state(value.first().copied().unwrap_or_default()),
        ifla::IFALIAS => fact.alias = attrs::text(value).map(str::to_owned),
        ifla::PROP_LIST => fact.other_names = other_names(Attrs::new(value)),
        ifla::LINKINFO => link_info(fact, Attrs::new(value)),
        _ => {}
    }
}

fn other_names(properties: Attrs<'_>) -> Vec<String> {
    let names = properties.filter(|(kind, _)| *kind == ifla::ALT_IFNAME);
    names.filter_map(|(_, name)| attrs::text(name).map(str::to_owned)).collect()
}

fn link_info(fact: &mut LinkFact, info: Attrs<'_>) {
    fact.kind = info.get(ifla::INFO_KIND).and_then(attrs::text).unwrap_or_default().to_owned();
    let data = info.nested(ifla::INFO_DATA);
    match fact.kind.as_str() {
        "macvlan" | "macvtap" => {
            let mode = data.get(ifla::MACVLAN_MODE).and_then(attrs::u32);
            fact.macvlan_mode = mode.and_then(MacvlanMode::from_number);
        }
        "ipvlan" => {
            let mode = data.get(ifla::IPVLAN_MODE).and_then(attrs::u16);
            fact.ipvlan_mode = mode.and_then(IpvlanMode::from_number);
        }
        "vlan" => fact.vlan_id = data.get(ifla::VLAN_ID).and_then(attrs::u16),
        "vxlan" => fact.vxlan = Some(vxlan(data)),
        "ipip" => fact.ipip = Some(ipip(data)),
        "vrf" => fact.vrf_table = data.get(ifla::VRF_TABLE).and_then(attrs::u32),
        "bridge" => {
            fact.vlan_filtering = data.get(ifla::BR_VLAN_FILTERING).and_then(attrs::flag);
            fact.vlan_default = data.get(ifla::BR_VLAN_DEFAULT_PVID).and_then(attrs::u16);
        }
        _ => {}
    }
    if info.get(ifla::INFO_SLAVE_KIND).and_then(attrs::text) == Some("bridge") {
        let port = info.nested(ifla::INFO_SLAVE_DATA);
        fact.hairpin = port.get(ifla::BRPORT_MODE).and_then(attrs::flag);
        fact.isolated = port.get(ifla::BRPORT_ISOLATED).and_then(attrs::flag);
    }
}

fn vxlan(data: Attrs<'_>) -> VxlanFact {
    let ip = |v4, v6| data.get(v4).or_else(|| data.get(v6)).and_then(attrs::ip);
    let flag = |kind| data.get(kind).and_then(attrs::flag).unwrap_or_default();
    VxlanFact {
        vni: data.get(vxlan::ID).and_then(attrs::u32).unwrap_or_default(),
        parent: data.get(vxlan::LINK).and_then(attrs::u32).filter(|index| *index != 0),
        local: ip(vxlan::LOCAL, vxlan::LOCAL6),
        remote: ip(vxlan::GROUP, vxlan::GROUP6),
        port: data.get(vxlan::PORT).and_then(|b| b.first_chunk().copied()).map_or(0, u16::from_be_bytes),
        learning: flag(vxlan::LEARNING),
        l2_miss: flag(vxlan::L2MISS),
        // A flag that is there is set; it has no value.
        gbp: data.get(vxlan::GBP).is_some(),
    }
}

fn ipip(data: Attrs<'_>) -> IpipFact {
    let ip = |kind| match data.get(kind).and_then(attrs::ip) {
        Some(IpAddr::V4(ip)) if !ip.is_unspecified() => Some(ip),
        _ => None,
    };
    IpipFact { local: ip(iptun::LOCAL), remote: ip(iptun::REMOTE) }
}

/// The numbers of RFC 2863 as in include/uapi/linux/if.h.
fn oper_state(number: u8) -> OperState {
    match number {
        1 | 2 => OperState::Down,
        3 => OperState::LowerLayerDown,
        4 | 5 => OperState::Dormant,
        6 => OperState::Up,
        _ => OperState::Unknown,
    }
}

/// An address, with its link's index.
#[derive(Clone, Debug)]
pub(crate) struct RawAddress {
    pub(crate) index: u32,
    pub(crate) net: IpNet,
    pub(crate) scope: u8,
    pub(crate) flags: u32,
}

pub(crate) fn address(payload: &[u8]) -> Option<RawAddress> {
    let &[_, prefix, flags, scope] = payload.first_chunk()?;
    let index = attrs::u32(payload.get(4..)?)?;
    let list = Attrs::after(payload, ADDRESS_HEADER);
    // On a link with a peer, IFA_ADDRESS is the peer's address and IFA_LOCAL one's own.
    let own = list.get(libc::IFA_LOCAL).or_else(|| list.get(libc::IFA_ADDRESS));
    let net = IpNet::new(own.and_then(attrs::ip)?, prefix).ok()?;
    let flags = list.get(libc::IFA_FLAGS).and_then(attrs::u32).unwrap_or(u32::from(flags));
    Some(RawAddress { index, net, scope, flags })
}

/// A route whose links are still indexes.
#[derive(Clone, Debug)]
pub(super) struct RawRoute {
    pub(super) index: Option<u32>,
    pub(super) route: Route,
    /// IPv4's further next hops.
    pub(super) more: Vec<RawHop>,
}

/// A next hop whose link is still an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawHop {
    index: u32,
    gw: Option<IpAddr>,
    onlink: bool,
    weight: u8,
}

impl RawRoute {
    /// The indexes of all its links.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> {
        self.index.into_iter().chain(self.more.iter().map(|hop| hop.index))
    }

    /// With the names of its links; none if one of them has no name any more: then the route is gone, too, or another one.
    pub(super) fn named(self, name: impl Fn(u32) -> Option<IfName>) -> Option<Route> {
        let link = match self.index {
            Some(index) => Some(name(index)?),
            None => None,
        };
        let hop =
            |RawHop { index, gw, onlink, weight }| Some(NextHop { link: name(index)?, gw, onlink, weight });
        let more: Option<Vec<NextHop>> = self.more.into_iter().map(hop).collect();
        Some(Route { link, more: more?, ..self.route })
    }
}

/// The routes of one message: several if it is about several next hops of IPv6, which the kernel keeps one by one.
pub(super) fn routes(payload: &[u8]) -> Option<Vec<RawRoute>> {
    let &[family, prefix, _src_prefix, tos, table, protocol, scope, kind] = payload.first_chunk()?;
    let flags = attrs::u32(payload.get(8..)?)?;
    let list = Attrs::after(payload, ROUTE_HEADER);
    // A route for a type of service is none that a plan could name. Lists of all families have labels and multicast, too.
    if flags & libc::RTM_F_CLONED != 0 || tos != 0 {
        return None;
    }
    let zero = match family_of(family)? {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    };
    let dst = IpNet::new(list.get(libc::RTA_DST).and_then(attrs::ip).unwrap_or(zero), prefix).ok()?;
    let metrics = list.nested(libc::RTA_METRICS);
    let number = |of: Attrs<'_>, kind| of.get(kind).and_then(attrs::u32).unwrap_or_default();
    let route = Route {
        dst,
        gw: gateway(list),
        link: None,
        table: list.get(libc::RTA_TABLE).and_then(attrs::u32).unwrap_or(u32::from(table)),
        priority: number(list, libc::RTA_PRIORITY),
        scope,
        src: list.get(libc::RTA_PREFSRC).and_then(attrs::ip),
        protocol,
        kind: route_kind(kind),
        onlink: flags & u32::from(RTNH_F_ONLINK) != 0,
        mtu: number(metrics, RTAX_MTU),
        advmss: number(metrics, RTAX_ADVMSS),
        weight: 0,
        more: Vec::new(),
    };
    let index = list.get(libc::RTA_OIF).and_then(attrs::u32);
    Some(match list.get(libc::RTA_MULTIPATH) {
        Some(hops) => of_next_hops(&next_hops(hops), route),
        None => vec![RawRoute { index, route, more: Vec::new() }],
    })
}

/// One route with all of them, or of IPv6 one for each.
fn of_next_hops(hops: &[RawHop], common: Route) -> Vec<RawRoute> {
    let through = |hop: &RawHop, more: &[RawHop]| {
        let weight = if more.is_empty() { 0 } else { hop.weight };
        let route = Route { gw: hop.gw, onlink: common.onlink || hop.onlink, weight, ..common.clone() };
        RawRoute { index: Some(hop.index), route, more: more.to_vec() }
    };
    match (common.family(), hops) {
        (Family::V4, [first, more @ ..]) => vec![through(first, more)],
        _ => hops.iter().map(|hop| through(hop, &[])).collect(),
    }
}

/// A way whose link is still an index.
#[derive(Clone, Debug)]
pub(super) struct RawWay {
    pub(super) index: Option<u32>,
    pub(super) gw: Option<IpAddr>,
    pub(super) src: Option<IpAddr>,
}

/// What a look-up answers.
pub(super) fn way(payload: &[u8]) -> RawWay {
    let list = Attrs::after(payload, ROUTE_HEADER);
    RawWay {
        index: list.get(libc::RTA_OIF).and_then(attrs::u32),
        gw: gateway(list),
        src: list.get(libc::RTA_PREFSRC).and_then(attrs::ip),
    }
}

/// The next hop is on the link whatever addresses say.
const RTNH_F_ONLINK: u8 = 4;
/// Metrics of include/uapi/linux/rtnetlink.h.
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
/// A next hop of the other family (`RTA_VIA`): the family's number, then the address.
const RTA_VIA: u16 = 18;

fn gateway(list: Attrs<'_>) -> Option<IpAddr> {
    let same = list.get(libc::RTA_GATEWAY).and_then(attrs::ip);
    same.or_else(|| attrs::ip(list.get(RTA_VIA)?.get(2..)?))
}

/// Each `struct rtnexthop` (length, flags, hops, index) is followed by attributes of its own.
fn next_hops(mut hops: &[u8]) -> Vec<RawHop> {
    let mut found = Vec::new();
    while let Some(length) = attrs::u16(hops).map(usize::from)
        && let Some(hop) = hops.get(..length)
        && let Some(index) = hop.get(4..).and_then(attrs::u32)
    {
        let (onlink, weight) = (hop[2] & RTNH_F_ONLINK != 0, hop[3]);
        found.push(RawHop { index, gw: gateway(Attrs::after(hop, 8)), onlink, weight });
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn route_kind(number: u8) -> RouteKind {
    match number {
        libc::RTN_UNICAST => RouteKind::Unicast,
        libc::RTN_LOCAL => RouteKind::Local,
        libc::RTN_BLACKHOLE => RouteKind::Blackhole,
        libc::RTN_UNREACHABLE => RouteKind::Unreachable,
        other => RouteKind::Other(other),
    }
}

/// Rule attributes (include/uapi/linux/fib_rules.h).
mod fra {
    pub const DST: u16 = 1;
    pub const SRC: u16 = 2;
    pub const IIFNAME: u16 = 3;
    pub const PRIORITY: u16 = 6;
    pub const FWMARK: u16 = 10;
    pub const SUPPRESS_IFGROUP: u16 = 13;
    pub const SUPPRESS_PREFIXLEN: u16 = 14;
    pub const TABLE: u16 = 15;
    pub const FWMASK: u16 = 16;
    pub const PROTOCOL: u16 = 21;
    /// What a rule may have and still be expressed in full.
    pub const PLAIN: [u16; 10] =
        [DST, SRC, IIFNAME, PRIORITY, FWMARK, TABLE, FWMASK, PROTOCOL, SUPPRESS_IFGROUP, SUPPRESS_PREFIXLEN];
    pub const TO_TABLE: u8 = 1;
    pub const INVERT: u32 = 2;
}

/// The priority of any rule; the kernel says nothing of 0.
pub(super) fn rule_priority(payload: &[u8]) -> u32 {
    Attrs::after(payload, ROUTE_HEADER).get(fra::PRIORITY).and_then(attrs::u32).unwrap_or_default()
}

/// A rule, if it is one that [`Rule`] can express: other selectors make it another rule, which must not be taken for this.
pub(super) fn rule(payload: &[u8]) -> Option<Rule> {
    let &[family, dst_len, src_len, tos, table, _, _, action] = payload.first_chunk()?;
    let flags = attrs::u32(payload.get(8..)?)?;
    let list = Attrs::after(payload, ROUTE_HEADER);
    let suppresses = |kind| list.get(kind).and_then(attrs::u32).is_some_and(|n| n != u32::MAX);
    if action != fra::TO_TABLE
        || tos != 0
        || flags & fra::INVERT != 0
        || suppresses(fra::SUPPRESS_PREFIXLEN)
        || suppresses(fra::SUPPRESS_IFGROUP)
        || list.into_iter().any(|(kind, _)| !fra::PLAIN.contains(&kind))
    {
        return None;
    }
    let number = |kind| list.get(kind).and_then(attrs::u32);
    let net = |kind, length| list.get(kind).and_then(attrs::ip).and_then(|ip| IpNet::new(ip, length).ok());
    Some(Rule {
        family: family_of(family)?,
        priority: number(fra::PRIORITY).unwrap_or_default(),
        from: net(fra::SRC, src_len),
        to: net(fra::DST, dst_len),
        iif: list.get(fra::IIFNAME).and_then(attrs::text).and_then(|name| IfName::new(name).ok()),
        mark: number(fra::FWMARK).map(|mark| (mark, number(fra::FWMASK).unwrap_or(u32::MAX))),
        table: number(fra::TABLE).unwrap_or(u32::from(table)),
    })
}

/// A family that addresses have; there are others, of multicast routing for one.
pub(super) fn family_of(number: u8) -> Option<Family> {
    match i32::from(number) {
        libc::AF_INET => Some(Family::V4),
        libc::AF_INET6 => Some(Family::V6),
        _ => None,
    }
}

/// A permanent neighbour with its link's index.
#[derive(Clone, Debug)]
pub(super) struct RawNeighbour {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) mac: Mac,
}

pub(super) fn neighbour(payload: &[u8]) -> Option<RawNeighbour> {
    let index = attrs::u32(payload.get(4..)?)?;
    let state = attrs::u16(payload.get(8..)?)?;
    let list = Attrs::after(payload, NEIGHBOUR_HEADER);
    if state & libc::NUD_PERMANENT == 0 {
        return None;
    }
    let ip = list.get(libc::NDA_DST).and_then(attrs::ip)?;
    let mac = list.get(libc::NDA_LLADDR)?.try_into().ok().map(Mac)?;
    Some(RawNeighbour { index, ip, mac })
}

/// A permanent entry of a tunnel's own forwarding table; entries for every address (all zeros) are none that a plan could name.
pub(super) fn forwarding(payload: &[u8]) -> Option<RawNeighbour> {
    let flags = payload.get(10)?;
    let entry = neighbour(payload).filter(|entry| entry.mac != Mac([0; 6]))?;
    (flags & libc::NTF_SELF != 0).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (link(&bytes), address(&bytes), routes(&bytes), rule(&bytes), neighbour(&bytes));
            let _ = (forwarding(&bytes), way(&bytes));
            let _ = next_hops(&bytes);
        }
    }

    #[test]
    fn a_rule_with_a_selector_of_its_own_is_not_taken_for_a_plain_one() {
        let mut message = vec![libc::AF_INET as u8, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        message.extend([8, 0, 6, 0, 9, 0, 0, 0]);
        assert_eq!(rule(&message).map(|r| (r.priority, r.table)), Some((9, 254)));
        let suppressed = [message.clone(), vec![8, 0, 14, 0, 0, 0, 0, 0]].concat();
        assert_eq!(rule(&suppressed), None);
        let unsuppressed = [message.clone(), vec![8, 0, 14, 0, 255, 255, 255, 255]].concat();
        assert!(rule(&unsuppressed).is_some());
        let of_user = [message, vec![12, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(rule(&of_user), None);
    }

    #[test]
    fn operational_states_have_the_kernels_numbers() {
        let states: Vec<_> = (0..=7).map(oper_state).collect();
        use OperState::{Dormant, Down, LowerLayerDown, Unknown, Up};
        assert_eq!(states, [Unknown, Down, Down, LowerLayerDown, Dormant, Dormant, Up, Unknown]);
    }
}
