//! Which source address a packet gets that has none (net/ipv4/devinet.c, `inet_select_addr`; net/ipv6/addrconf.c, `ipv6_dev_get_saddr`).

use std::net::{IpAddr, Ipv6Addr};

use polynic_net::stack::{AddressState, FibKind, FibRoute, Hop, Stack};
use polynic_net::{Family, scope};

/// The source for a packet that takes `route` by `hop`.
pub(super) fn of_route(stack: &Stack, dst: IpAddr, route: &FibRoute, hop: Option<&Hop>) -> Option<IpAddr> {
    if let Some(source) = route.source {
        return Some(source);
    }
    let link = hop.and_then(|hop| hop.link);
    match Family::of(dst) {
        Family::V4 if route.kind == FibKind::Local => Some(dst),
        Family::V4 => v4(stack, link?, hop.and_then(|hop| hop.via), route.scope),
        Family::V6 => v6(stack, link?, dst),
    }
}

/// The source for a packet to `dst` that leaves by a link, whatever routes say.
pub fn source_on(stack: &Stack, link: u32, dst: IpAddr) -> Option<IpAddr> {
    match Family::of(dst) {
        Family::V4 => v4(stack, link, Some(dst), scope::UNIVERSE),
        Family::V6 => v6(stack, link, dst),
    }
}

/// IPv4: the first address of the link in whose network the next hop is, else its first one, else that of any link.
pub(super) fn v4(stack: &Stack, link: u32, via: Option<IpAddr>, widest: u8) -> Option<IpAddr> {
    let localnet =
        stack.all.v4.route_localnet || stack.link(link).is_some_and(|link| link.conf.v4.route_localnet);
    let ceiling = if localnet { scope::LINK } else { scope::HOST };
    let usable = |a: &&AddressState| is_v4(a) && !a.secondary && a.fact.scope.min(ceiling) <= widest;
    let mut on_link = stack.addresses_on(link).filter(usable).peekable();
    let first = on_link.peek().map(|address| address.fact.net.addr());
    let near = via.and_then(|via| on_link.find(|address| address.fact.net.contains(&via)));
    near.map(|address| address.fact.net.addr()).or(first).or_else(|| anywhere(stack, widest))
}

fn anywhere(stack: &Stack, widest: u8) -> Option<IpAddr> {
    let usable =
        |a: &&AddressState| is_v4(a) && !a.secondary && a.fact.scope != scope::LINK && a.fact.scope <= widest;
    stack.links.iter().find_map(|link| {
        let address = stack.addresses_on(link.fact.index).find(usable)?;
        Some(address.fact.net.addr())
    })
}

fn is_v4(address: &AddressState) -> bool {
    address.fact.net.addr().is_ipv4()
}

/// IPv6 by RFC 6724, rule by rule: the first candidate that no other beats.
pub(super) fn v6(stack: &Stack, link: u32, dst: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(dst) = dst else { return None };
    let own_only = scope_of(dst) <= LINK_LOCAL
        || stack.all.v6.own_addresses_only
        || stack.link(link).is_some_and(|link| link.conf.v6.own_addresses_only);
    let mut best: Option<([i32; 6], Ipv6Addr)> = None;
    for of in &stack.links {
        let index = of.fact.index;
        if own_only && index != link {
            continue;
        }
        for address in stack.addresses_on(index) {
            let IpAddr::V6(ip) = address.fact.net.addr() else { continue };
            if address.fact.tentative || address.fact.dad_failed || ip.is_multicast() {
                continue;
            }
            let rank = rank(address, ip, dst, index == link);
            if best.is_none_or(|(so_far, _)| rank > so_far) {
                best = Some((rank, ip));
            }
        }
    }
    best.map(|(_, ip)| ip.into())
}

/// How well an address suits, the most important rule first.
fn rank(address: &AddressState, ip: Ipv6Addr, dst: Ipv6Addr, on_link: bool) -> [i32; 6] {
    let own = scope_of(ip);
    let scope = if own >= scope_of(dst) { -own } else { own - 128 };
    let common = (u128::from(ip) ^ u128::from(dst)).leading_zeros() as i32;
    [
        i32::from(ip == dst),
        scope,
        i32::from(!address.deprecated),
        i32::from(on_link),
        i32::from(label(ip) == label(dst)),
        common.min(i32::from(address.fact.net.prefix_len())),
    ]
}

/// Scopes as numbers of RFC 4007.
const LINK_LOCAL: i32 = 2;

fn scope_of(ip: Ipv6Addr) -> i32 {
    match ip {
        ip if ip.is_multicast() => i32::from(ip.octets()[1] & 0xf),
        ip if ip.is_loopback() || ip.is_unicast_link_local() => LINK_LOCAL,
        ip if ip.segments()[0] & 0xffc0 == 0xfec0 => 5,
        _ => 14,
    }
}

/// Labels as the kernel comes with (net/ipv6/addrlabel.c).
fn label(ip: Ipv6Addr) -> i32 {
    const LABELS: [(u128, u32, i32); 9] = [
        (1, 128, 0),
        (0xffff_0000_0000, 96, 4),
        (0, 96, 3),
        (0x2001 << 112, 32, 6),
        (0x2001_0010 << 96, 28, 7),
        (0x3ffe << 112, 16, 12),
        (0x2002 << 112, 16, 2),
        (0xfec0 << 112, 10, 11),
        (0xfc00 << 112, 7, 5),
    ];
    let ip = u128::from(ip);
    let found = LABELS.iter().find(|(net, length, _)| (ip ^ net) >> (128 - length) == 0);
    found.map_or(1, |(_, _, label)| *label)
}
