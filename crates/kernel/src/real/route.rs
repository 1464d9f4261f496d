//! Routes.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use polynic_net::{Diff, Family, IfName, NextHop, Route, RouteKind, TABLE_LOCAL, Way};

use super::facts::{self, RawRoute};
use super::space::Space;
use super::{Wanted, wanted};
use crate::Errno;
use crate::netlink::{Fault, Socket};

/// Up to this many links are asked for one by one; beyond it one list of all is cheaper.
const ASK_ONE_BY_ONE: usize = 8;

/// How the kernel says that it knows no way to a destination.
pub(super) const NO_WAY: [Errno; 5] =
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ESRCH, Errno::EINVAL, Errno::EACCES];

impl Space {
    pub(super) fn change_route(&mut self, diff: &Diff<Route>) -> Result<(), Fault> {
        match wanted(diff) {
            // Neither EXCL nor APPEND: IPv4 puts the route before others of the same destination and metric, IPv6 beside
            // them, and an identical one is refused.
            Some(Wanted::Create(route)) => self.add_route(route, NLM_F_CREATE),
            Some(Wanted::Delete(route)) => self.delete_route(route),
            Some(Wanted::Replace(before, after)) if same_slot(before, after) => {
                self.add_route(after, NLM_F_REPLACE)
            }
            Some(Wanted::Replace(before, after)) => {
                self.add_route(after, NLM_F_CREATE)?;
                self.delete_route(before)
            }
            None => Ok(()),
        }
    }

    fn add_route(&mut self, route: &Route, flags: u16) -> Result<(), Fault> {
        self.with_links(route, |socket, links| {
            socket.change(RouteNetlinkMessage::NewRoute(message(route, links)), flags)
        })
    }

    fn delete_route(&mut self, route: &Route) -> Result<(), Fault> {
        self.with_links(route, |socket, links| {
            socket.change(RouteNetlinkMessage::DelRoute(message(route, links)), 0)
        })
    }

    /// With the indexes of the links of all next hops.
    fn with_links(
        &mut self,
        route: &Route,
        mut act: impl FnMut(&mut Socket, &[u32]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let more: Vec<u32> = route.more.iter().map(|hop| self.index(&hop.link)).collect::<Result<_, _>>()?;
        match &route.link {
            Some(link) => {
                self.on_link(link, |socket, index| act(socket, &[&[index], more.as_slice()].concat()))
            }
            None => act(&mut self.route, &[]),
        }
    }

    /// The routes of all tables but `local`, both families.
    pub(super) fn routes(&mut self) -> Result<Vec<Route>, Fault> {
        // Of no family: then all that the kernel knows come in turn.
        let message = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let found = self.route.dump(message, facts::routes)?;
        self.named(found.into_iter().flatten().filter(|r| r.route.table != TABLE_LOCAL).collect())
    }

    /// Routes with the names of their links.
    pub(super) fn named(&mut self, found: Vec<RawRoute>) -> Result<Vec<Route>, Fault> {
        let names = self.names(found.iter().flat_map(RawRoute::indexes))?;
        // A route whose link vanished while it was read is gone too.
        Ok(found.into_iter().filter_map(|raw| raw.named(|index| names.get(&index).cloned())).collect())
    }

    /// The source address that the kernel would choose towards `to`; none if it knows no way there.
    pub(super) fn source_towards(&mut self, to: IpAddr) -> Result<Option<IpAddr>, Fault> {
        Ok(self.look_up(to)?.and_then(|way| way.src))
    }

    /// The way that the kernel would take to `to`; none if it knows none, or the way's link vanishes meanwhile.
    pub(super) fn way_to(&mut self, to: IpAddr) -> Result<Option<Way>, Fault> {
        let Some(facts::RawWay { index: Some(index), gw, src }) = self.look_up(to)? else { return Ok(None) };
        let names = self.names(std::iter::once(index))?;
        Ok(names.get(&index).map(|link| Way { link: link.clone(), gw, src }))
    }

    fn look_up(&mut self, to: IpAddr) -> Result<Option<facts::RawWay>, Fault> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(Family::of(to));
        message.header.destination_prefix_length = Family::of(to).bits();
        message.attributes = vec![RouteAttribute::Destination(address(to))];
        match self.route.get(RouteNetlinkMessage::GetRoute(message), |payload| Some(facts::way(payload))) {
            Ok(way) => Ok(Some(way)),
            Err(fault) if NO_WAY.iter().any(|errno| fault.is(*errno)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The names of the links with these indexes. Links that are gone meanwhile are missing.
    pub(super) fn names(
        &mut self,
        indexes: impl Iterator<Item = u32>,
    ) -> Result<HashMap<u32, IfName>, Fault> {
        let mut indexes: Vec<u32> = indexes.collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut names: HashMap<u32, IfName> = HashMap::new();
        if let Some(seen) = &self.seen {
            names.extend(indexes.iter().filter_map(|index| Some((*index, seen.get(index)?.clone()))));
            indexes.retain(|index| !seen.contains_key(index));
        }
        if indexes.len() > ASK_ONE_BY_ONE {
            names.extend(self.links()?.into_iter().map(|link| (link.index, link.name)));
            return Ok(names);
        }
        for index in indexes {
            match self.link_by_index(index) {
                Ok(link) => drop(names.insert(index, link.name)),
                Err(fault) if fault.is(Errno::ENODEV) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(names)
    }
}

/// Whether the kernel's "replace" means the one by the other: it goes by destination, table and metric.
fn same_slot(before: &Route, after: &Route) -> bool {
    before.dst == after.dst
        && before.table == after.table
        && before.effective_priority() == after.effective_priority()
}

/// `links` are the indexes of the links of its next hops.
fn message(route: &Route, links: &[u32]) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.family());
    header.destination_prefix_length = route.dst.prefix_len();
    header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    header.protocol = route.protocol.into();
    header.scope = route.scope.into();
    header.kind = kind(route.kind);
    header.flags.set(RouteFlags::Onlink, route.onlink && route.more.is_empty());
    let list = &mut message.attributes;
    if route.table > u8::MAX.into() {
        list.push(RouteAttribute::Table(route.table));
    }
    if !route.is_default() {
        list.push(RouteAttribute::Destination(address(route.dst.addr())));
    }
    if route.more.is_empty() {
        list.extend(links.first().copied().map(RouteAttribute::Oif));
        list.extend(route.gw.map(|gw| gateway(route.family(), gw)));
    } else {
        let hops =
            route.hops().into_iter().zip(links).map(|(hop, link)| next_hop(route.family(), &hop, *link));
        list.push(RouteAttribute::MultiPath(hops.collect()));
    }
    list.extend(route.src.map(|src| RouteAttribute::PrefSource(address(src))));
    if route.priority != 0 {
        list.push(RouteAttribute::Priority(route.priority));
    }
    let metrics = metrics(route);
    if !metrics.is_empty() {
        list.push(RouteAttribute::Metrics(metrics));
    }
    message
}

fn next_hop(of: Family, hop: &NextHop, link: u32) -> RouteNextHop {
    let mut next = RouteNextHop::default();
    next.flags.set(RouteNextHopFlags::Onlink, hop.onlink);
    next.hops = hop.weight;
    next.interface_index = link;
    next.attributes = hop.gw.map(|gw| gateway(of, gw)).into_iter().collect();
    next
}

fn metrics(route: &Route) -> Vec<RouteMetric> {
    let mtu = (route.mtu != 0).then_some(RouteMetric::Mtu(route.mtu));
    let advmss = (route.advmss != 0).then_some(RouteMetric::Advmss(route.advmss));
    mtu.into_iter().chain(advmss).collect()
}

/// A next hop of the other family has an attribute of its own (IPv4 through IPv6, RFC 5549).
fn gateway(of: Family, gw: IpAddr) -> RouteAttribute {
    match gw {
        gw if Family::of(gw) == of => RouteAttribute::Gateway(address(gw)),
        IpAddr::V4(gw) => RouteAttribute::Via(RouteVia::Inet(gw)),
        IpAddr::V6(gw) => RouteAttribute::Via(RouteVia::Inet6(gw)),
    }
}

fn kind(kind: RouteKind) -> RouteType {
    match kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Other(number) => number.into(),
    }
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// The kernel's name of a family.
pub(super) fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
