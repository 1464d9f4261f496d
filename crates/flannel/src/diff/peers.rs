//! The ways to peers: what is missing or wrong is made, what no lease backs is removed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use polynic_net::{
    Change, Diff, Forwarding, IfName, IpNet, LinkKind, Mac, Neighbour, NsFacts, Object, Route, TABLE_MAIN,
    check,
};

use super::{Changes, HOST, Memory};
use crate::desired::{Desired, Peer};

/// What the kernel does by itself has this protocol number.
const BY_KERNEL: u8 = 2;

/// What is there, indexed: a thousand peers are compared with a thousand entries.
pub(super) struct Seen<'f> {
    neighbours: HashMap<(&'f IfName, IpAddr), &'f Neighbour>,
    forwarding: HashMap<(&'f IfName, Mac), &'f Forwarding>,
    routes: HashMap<IpNet, Vec<&'f Route>>,
}

impl<'f> Seen<'f> {
    /// Leaves out what is on tunnels that go: it goes with them. `gone` are those that do not come back.
    pub(super) fn new(facts: &'f NsFacts, kept: &[IfName], gone: &[IfName]) -> Self {
        let on_gone = |route: &&Route| route.link.as_ref().is_some_and(|link| gone.contains(link));
        let stays = |link: &IfName| kept.contains(link);
        let mut routes: HashMap<IpNet, Vec<&Route>> = HashMap::new();
        for route in facts.routes.iter().filter(|r| r.table == TABLE_MAIN && !on_gone(r)) {
            routes.entry(route.dst).or_default().push(route);
        }
        Self {
            neighbours: facts
                .neighbours
                .iter()
                .filter(|n| stays(&n.link))
                .map(|n| ((&n.link, n.ip), n))
                .collect(),
            forwarding: facts
                .forwarding
                .iter()
                .filter(|e| stays(&e.link))
                .map(|e| ((&e.link, e.mac), e))
                .collect(),
            routes,
        }
    }
}

pub(super) fn compare(desired: &Desired, seen: &Seen<'_>, memory: &Memory, changes: &mut Changes) {
    changes.push("entries that no node has", stale(desired, seen, memory));
    let mut ends = HashSet::new();
    for peer in &desired.peers {
        // Two subnets of one endpoint share its entry.
        let entry = peer.tunnel.as_ref().map(|(_, entry)| entry);
        let entry = entry.filter(|entry| ends.insert((&entry.link, entry.mac)));
        changes.push(format!("node {}", peer.node), missing(peer, entry, seen));
    }
    for route in &desired.routes {
        changes.push("own subnet", route_change(route, seen).into_iter().collect());
    }
}

/// Neighbour and endpoint before the route, so that nobody ever asks for a neighbour.
fn missing(peer: &Peer, entry: Option<&Forwarding>, seen: &Seen<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some((neighbour, _)) = &peer.tunnel {
        let there = seen.neighbours.get(&(&neighbour.link, neighbour.ip));
        changes.extend(difference(there.copied(), neighbour).map(Object::Neighbour));
    }
    if let Some(entry) = entry {
        let there = seen.forwarding.get(&(&entry.link, entry.mac));
        changes.extend(difference(there.copied(), entry).map(Object::Forwarding));
    }
    let mut changes: Vec<Change> = changes.into_iter().map(|object| Change { place: HOST, object }).collect();
    changes.extend(route_change(&peer.route, seen));
    changes
}

fn difference<T: Clone + PartialEq>(there: Option<&T>, wanted: &T) -> Option<Diff<T>> {
    match there {
        Some(there) if there == wanted => None,
        Some(there) => Some(Diff::replace(there.clone(), wanted.clone())),
        None => Some(Diff::create(wanted.clone())),
    }
}

/// A route to the same destination with the same metric gives way, unless it is another instance's: kube subnet managers of one cluster
/// have the same subnets, and each has its own way to them.
pub(super) fn route_change(wanted: &Route, seen: &Seen<'_>) -> Option<Change> {
    let none = Vec::new();
    let same_slot = |r: &&&Route| {
        r.effective_priority() == wanted.effective_priority() && !is_of_another_tunnel(r, wanted)
    };
    let there: Vec<&Route> =
        seen.routes.get(&wanted.dst).unwrap_or(&none).iter().filter(same_slot).copied().collect();
    if there.iter().any(|route| check::serves(route, wanted)) {
        return None;
    }
    let diff = match there.first() {
        Some(there) => Diff::replace((*there).clone(), wanted.clone()),
        None => Diff::create(wanted.clone()),
    };
    Some(Change { place: HOST, object: Object::Route(diff) })
}

fn is_of_another_tunnel(route: &Route, wanted: &Route) -> bool {
    route.link != wanted.link && route.onlink && route.gw == Some(route.dst.network())
}

/// Routes first, then what they rest on.
fn stale(desired: &Desired, seen: &Seen<'_>, memory: &Memory) -> Vec<Change> {
    let wanted: HashSet<IpNet> =
        desired.peers.iter().map(|p| p.route.dst).chain(desired.routes.iter().map(|r| r.dst)).collect();
    let tunnels = || desired.peers.iter().filter_map(|peer| peer.tunnel.as_ref());
    let hops: HashSet<(&IfName, IpAddr)> = tunnels().map(|(n, _)| (&n.link, n.ip)).collect();
    let vteps: HashSet<(&IfName, Mac)> = tunnels().map(|(_, e)| (&e.link, e.mac)).collect();
    let routes =
        seen.routes.values().flatten().filter(|r| !wanted.contains(&r.dst) && is_ours(r, desired, memory));
    let mut changes: Vec<Change> = routes.map(|r| Change::delete_route(HOST, (*r).clone())).collect();
    let entries = seen.forwarding.iter().filter(|(key, _)| !vteps.contains(*key));
    changes.extend(entries.map(|(_, entry)| Change::delete_forwarding(HOST, (*entry).clone())));
    let neighbours = seen.neighbours.iter().filter(|(key, _)| !hops.contains(*key));
    let in_network =
        |n: &Neighbour| desired.devices.iter().any(|d| d.link.name == n.link && d.network.contains(&n.ip));
    let neighbours = neighbours.filter(|(_, neighbour)| in_network(neighbour));
    changes.extend(neighbours.map(|(_, neighbour)| Change::delete_neighbour(HOST, (*neighbour).clone())));
    changes
}

/// On a VXLAN: through the base of its own destination, as nobody else writes routes. On a tunnel of IP in IP: through a next hop that is none
/// of its own. Elsewhere: what was made before.
fn is_ours(route: &Route, desired: &Desired, memory: &Memory) -> bool {
    if route.protocol == BY_KERNEL {
        return false;
    }
    let device = desired.devices.iter().find(|device| Some(&device.link.name) == route.link.as_ref());
    match device {
        Some(device) => {
            let by_vxlan = route.gw == Some(route.dst.network());
            let by_ipip =
                matches!(device.link.kind, LinkKind::Ipip { .. }) && route.onlink && route.gw.is_some();
            device.network.contains(&route.dst) && (by_vxlan || by_ipip)
        }
        None => memory.made(route),
    }
}
