//! Who takes a frame for a next hop: by what is known of the neighbour, or by who would answer if asked.

use std::net::IpAddr;

use polynic_net::Mac;
use polynic_net::stack::{NeighbourState, Nud};

use crate::flow::Flow;
use crate::lookup::{Verdict, lookup};
use crate::scene::{Scene, Spot};
use crate::wire::Segment;

/// Who takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A link that was looked at.
    Here(Spot),
    /// It leaves what was looked at by this link.
    Beyond(Spot),
    /// Nobody.
    Nobody(Silence),
}

/// Why nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The neighbour entry names a hardware address that nobody on the wire has.
    Stale(Mac),
    /// Nobody on the wire answers for the address.
    NoAnswer,
}

/// What is known of a next hop.
pub fn known(scene: &Scene, from: Spot, hop: IpAddr) -> Option<&NeighbourState> {
    let entry = scene.stack(from.site).neighbour(from.link, hop)?;
    matches!(entry.nud, Nud::Permanent | Nud::Valid).then_some(entry)
}

/// Who takes a frame that `from` sends for the next hop `hop`.
pub fn receiver(scene: &Scene, from: Spot, hop: IpAddr, segment: &Segment) -> Receiver {
    let link = scene.link(from);
    let mac = known(scene, from, hop).and_then(|entry| entry.mac);
    let takes = |spot: &Spot| match mac {
        Some(mac) => scene.link(*spot).is_some_and(|link| link.fact.mac == Some(mac)),
        None => link.is_some_and(|link| link.no_arp) || answers(scene, *spot, hop),
    };
    let mut takers: Vec<Spot> = segment.ends.iter().copied().filter(takes).collect();
    // Links that share a hardware address (ipvlan) are told apart by address.
    takers.sort_by_key(|spot| !scene.stack(spot.site).owns(hop));
    match (takers.first(), segment.open.first(), mac) {
        (Some(taker), _, _) => Receiver::Here(*taker),
        (None, Some(open), _) => Receiver::Beyond(*open),
        (None, None, Some(mac)) => Receiver::Nobody(Silence::Stale(mac)),
        (None, None, None) => Receiver::Nobody(Silence::NoAnswer),
    }
}

/// Whether a link answers for an address: any address of its host in IPv4 (unless `arp_ignore` says otherwise), its own in IPv6, or those that
/// it was told to answer for.
fn answers(scene: &Scene, spot: Spot, ip: IpAddr) -> bool {
    let stack = scene.stack(spot.site);
    let Some(link) = stack.link(spot.link) else { return false };
    let on_link = stack.addresses_on(spot.link).any(|a| a.fact.net.addr() == ip && !a.fact.tentative);
    let proxied = stack.neighbours.iter().any(|n| n.proxy && n.link == spot.link && n.ip == ip);
    if ip.is_ipv6() {
        return on_link || (proxied && (link.conf.v6.proxy_ndp || stack.all.v6.proxy_ndp));
    }
    let narrow = link.conf.v4.arp_ignore.max(stack.all.v4.arp_ignore) > 0;
    let own = on_link || (stack.owns(ip) && !narrow);
    let proxies = (link.conf.v4.proxy_arp || stack.all.v4.proxy_arp) && leads_elsewhere(scene, spot, ip);
    own || proxied || proxies
}

/// `proxy_arp` answers for what is reached by another link.
fn leads_elsewhere(scene: &Scene, spot: Spot, ip: IpAddr) -> bool {
    let flow = Flow { iif: Some(spot.link), ..Flow::to(ip, None) };
    match lookup(scene.stack(spot.site), &flow).verdict {
        Verdict::Route(chosen) => chosen.hops.first().is_some_and(|hop| hop.link != Some(spot.link)),
        _ => false,
    }
}
