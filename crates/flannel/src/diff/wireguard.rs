//! WireGuard tunnels: made, adjusted, and each peer as its node says (spec/flannel.md 8).
//!
//! The links are this instance's by their names, with everything on them: a link with other peers, routes or addresses than the leases say
//! is brought to these without being made anew, so that a daemon that comes back takes nothing away that is right.

use std::collections::{BTreeSet, HashMap};

use polynic_net::{
    Address, Attr, Change, Diff, IfName, IpNet, Link, LinkKind, NsFacts, Object, TABLE_MAIN, Wireguard,
    WireguardFact, WireguardKey, WireguardPeer,
};

use super::device::ForeignDevice;
use super::peers::{Seen, route_change};
use super::{Changes, HOST, group};
use crate::wireguard::{TUNNEL, TUNNEL_V6, TunnelPeer, WireguardTunnel};

/// Routes that tools write by default (`RTPROT_BOOT`), and flannel too.
const BY_TOOLS: u8 = 3;

/// The names that tunnels can have.
pub(crate) fn names() -> impl Iterator<Item = IfName> {
    [TUNNEL, TUNNEL_V6].into_iter().filter_map(|name| IfName::new(name).ok())
}

/// Tunnels of this backend that are there: `facts` must have all links.
pub(crate) fn present(facts: &NsFacts) -> Vec<IfName> {
    let kind = LinkKind::Wireguard.as_str();
    names().filter(|name| facts.link(name).is_some_and(|link| link.kind == kind)).collect()
}

/// Tunnels that are there and not wanted: another mode has others.
pub(super) fn obsolete(tunnels: &[WireguardTunnel], facts: &NsFacts) -> Vec<IfName> {
    let mut names = present(facts);
    names.retain(|name| tunnels.iter().all(|tunnel| tunnel.link.name != *name));
    names
}

/// Whether links of the tunnels' names are somebody else's.
pub(super) fn check(tunnels: &[WireguardTunnel], facts: &NsFacts) -> Result<(), ForeignDevice> {
    let wanted = LinkKind::Wireguard.as_str();
    let there = tunnels.iter().filter_map(|tunnel| facts.link(&tunnel.link.name));
    match there.into_iter().find(|there| there.kind != wanted) {
        Some(foreign) => {
            Err(ForeignDevice { name: foreign.name.clone(), kind: foreign.kind.clone(), wanted })
        }
        None => Ok(()),
    }
}

pub(super) fn compare(tunnels: &[WireguardTunnel], facts: &NsFacts, seen: &Seen<'_>, changes: &mut Changes) {
    for tunnel in tunnels {
        let name = &tunnel.link.name;
        let fact = facts.wireguard.iter().find(|fact| fact.link == *name);
        changes.devices.extend(group(format!("device {name}"), device(tunnel, fact, facts, seen)));
        changes.push("entries that no node has", stale(tunnel, fact, facts));
        let there: HashMap<WireguardKey, &WireguardPeer> =
            fact.into_iter().flat_map(|fact| &fact.peers).map(|peer| (peer.key, peer)).collect();
        for peer in &tunnel.peers {
            let there = there.get(&peer.peer.key).copied();
            changes.push(format!("node {}", peer.node), missing(name, peer, there).into_iter().collect());
        }
    }
}

/// The change that removes a tunnel.
pub(super) fn remove(name: &IfName) -> Change {
    let link = Link::new(name.clone(), LinkKind::Wireguard);
    Change { place: HOST, object: Object::Link(Diff::delete(link)) }
}

/// The link itself with its addresses and the ways into the networks, which need a link that is up.
fn device(
    tunnel: &WireguardTunnel,
    fact: Option<&WireguardFact>,
    facts: &NsFacts,
    seen: &Seen<'_>,
) -> Vec<Change> {
    let name = &tunnel.link.name;
    let there = facts.link(name);
    let mut changes = Vec::new();
    if there.is_none() {
        changes.push(Change::create_link(HOST, tunnel.link.clone()));
    }
    let own = Wireguard::own(name, tunnel.own);
    match fact {
        Some(fact) if fact.has(&own.part) => {}
        Some(fact) => changes.push(setting(Diff::replace(Wireguard::own(name, fact.own), own))),
        None => changes.push(setting(Diff::create(own))),
    }
    if let (Some(there), Some(mtu)) = (there, tunnel.link.mtu)
        && there.mtu != mtu
    {
        changes.push(Change::attr(HOST, name, Attr::Mtu(there.mtu), Attr::Mtu(mtu)));
    }
    let has: Vec<IpNet> = facts.addresses_of(name).map(|address| address.net).collect();
    for net in tunnel.addresses.iter().filter(|net| !has.contains(net)) {
        // For this host alone, so there is nobody to ask whether it is free.
        changes.push(Change::add_address(HOST, Address { nodad: true, ..Address::new(name, *net) }));
    }
    if there.is_none_or(|there| !there.up) {
        changes.push(Change::up(HOST, name));
    }
    changes.extend(tunnel.routes().filter_map(|route| route_change(&route, seen)));
    changes
}

fn setting(diff: Diff<Wireguard>) -> Change {
    Change { place: HOST, object: Object::Wireguard(diff) }
}

/// Peers that no node is, addresses and routes of former times.
fn stale(tunnel: &WireguardTunnel, fact: Option<&WireguardFact>, facts: &NsFacts) -> Vec<Change> {
    let name = &tunnel.link.name;
    let wanted: BTreeSet<WireguardKey> = tunnel.peers.iter().map(|peer| peer.peer.key).collect();
    let peers = fact.into_iter().flat_map(|fact| &fact.peers).filter(|peer| !wanted.contains(&peer.key));
    let peers = peers.map(|peer| setting(Diff::delete(Wireguard::peer(name, peer.clone()))));
    let is_link_local = |net: &IpNet| matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local());
    let addresses = facts.addresses_of(name).map(|address| address.net);
    let addresses = addresses.filter(|net| !tunnel.addresses.contains(net) && !is_link_local(net));
    let addresses = addresses.map(|net| {
        let address = Address::new(name, net);
        Change { place: HOST, object: Object::Address(Diff::delete(address)) }
    });
    let on_tunnel = facts.routes.iter().filter(|route| {
        route.link.as_ref() == Some(name) && route.table == TABLE_MAIN && route.protocol == BY_TOOLS
    });
    let routes = on_tunnel.filter(|route| !tunnel.networks.contains(&route.dst));
    let routes = routes.map(|route| Change::delete_route(HOST, route.clone()));
    routes.chain(peers).chain(addresses).collect()
}

/// An endpoint that was set once stays as the kernel has it: a peer behind address translation is where it spoke from last.
fn missing(link: &IfName, wanted: &TunnelPeer, there: Option<&WireguardPeer>) -> Option<Change> {
    let mut peer = wanted.peer.clone();
    if let Some(there) = there.filter(|there| wanted.is_told && there.endpoint.is_some()) {
        peer.endpoint = there.endpoint;
    }
    let before = there.map(|there| Wireguard::peer(link, there.clone()));
    let after = Wireguard::peer(link, peer);
    match before {
        Some(before) if before == after => None,
        Some(before) => Some(setting(Diff::replace(before, after))),
        None => Some(setting(Diff::create(after))),
    }
}
