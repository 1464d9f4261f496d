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
    /// It is an address of the host whose link is the parent of the sender's: a macvlan reaches all of the wire but that.
    Parent,
}

/// What is known of a next hop.
pub fn known(scene: &Scene, from: Spot, hop: IpAddr) -> Option<&NeighbourState> {
    let entry = scene.stack(from.site).neighbour(from.link, hop)?;
    matches!(entry.nud, Nud::Permanent | Nud::Valid).then_some(entry)
}

/// Whether somebody has set the hardware address of a next hop, so that nobody is asked for it.
pub fn is_set(scene: &Scene, from: Spot, hop: IpAddr) -> bool {
    known(scene, from, hop).is_some_and(|entry| entry.nud == Nud::Permanent)
}

/// Links of one segment that all answer for an address: whoever asks keeps the answer that came first.
pub fn rivals(scene: &Scene, hop: IpAddr, segment: &Segment) -> Vec<Spot> {
    segment.ends.iter().copied().filter(|end| answers(scene, *end, hop)).collect()
}

/// Who takes a frame that `from` sends for the next hop `hop`.
pub fn receiver(scene: &Scene, from: Spot, hop: IpAddr, segment: &Segment) -> Receiver {
    let link = scene.link(from);
    let entry = known(scene, from, hop);
    let has_mac = |spot: &Spot| {
        let mac = entry.and_then(|entry| entry.mac);
        mac.is_some() && scene.link(*spot).is_some_and(|link| link.fact.mac == mac)
    };
    let would = |spot: &Spot| link.is_some_and(|link| link.no_arp) || answers(scene, *spot, hop);
    // What the kernel learnt by itself it asks for again when nobody is there any more; what somebody set stays.
    let mac = entry.filter(|entry| entry.nud == Nud::Permanent).and_then(|entry| entry.mac);
    let ends = || segment.ends.iter().copied();
    let mut takers: Vec<Spot> = ends().filter(has_mac).collect();
    if takers.is_empty() && mac.is_none() {
        takers = ends().filter(would).collect();
    }
    // Links that share a hardware address (ipvlan) are told apart by address.
    // Of those that all answer, the one that has the address is as good a guess as any.
    takers.sort_by_key(|spot| {
        scene.stack(spot.site).owner(hop).map(|link| link != spot.link).map_or(2, u8::from)
    });
    match (takers.first(), segment.open.first(), mac) {
        (Some(taker), _, _) => Receiver::Here(*taker),
        _ if is_parents(scene, from, hop) => Receiver::Nobody(Silence::Parent),
        (None, Some(open), _) => Receiver::Beyond(*open),
        (None, None, Some(mac)) => Receiver::Nobody(Silence::Stale(mac)),
        (None, None, None) => Receiver::Nobody(Silence::NoAnswer),
    }
}

/// Whether an address is that of the parent link of a macvlan.
fn is_parents(scene: &Scene, from: Spot, ip: IpAddr) -> bool {
    let kind = scene.link(from).map(|link| link.fact.kind.as_str());
    let parent = scene.peer(from).filter(|_| matches!(kind, Some("macvlan" | "macvtap" | "ipvlan")));
    parent.is_some_and(|parent| scene.stack(parent.site).owner(ip) == Some(parent.link))
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
