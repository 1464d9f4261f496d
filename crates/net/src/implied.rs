//! Which changes vanish by themselves when a link is deleted.
//!
//! The kernel drops a link's addresses, routes, neighbours, port state and settings with the link
//! (`NETDEV_UNREGISTER` notifiers), so a teardown that deletes the link need not name them.

use crate::{Change, IfName, LinkKind, Object, Place};

/// The links that deleting what `change` created removes, as (place, name): one, or two for a veth pair.
pub(crate) fn links_created(change: &Change) -> Vec<(Place, IfName)> {
    let Object::Link(diff) = &change.object else { return Vec::new() };
    let (None, Some(link)) = (&diff.before, &diff.after) else { return Vec::new() };
    let mut links = vec![(change.place, link.name.clone())];
    if let LinkKind::Veth(peer) = &link.kind {
        links.push((peer.place, peer.name.clone()));
    }
    links
}

/// Whether the effect of `change` dies with link `name` in `place`.
pub(crate) fn dies_with(change: &Change, place: Place, name: &IfName) -> bool {
    if change.place != place {
        return false;
    }
    match &change.object {
        Object::Attr(a) => a.link == *name,
        Object::Address(d) => d.after.as_ref().or(d.before.as_ref()).is_some_and(|a| a.link == *name),
        Object::Route(d) => {
            // One of several next hops is enough (net/ipv4/fib_semantics.c, `fib_sync_down_dev`).
            d.after.as_ref().or(d.before.as_ref()).is_some_and(|r| r.uses(name))
        }
        Object::Neighbour(d) => d.after.as_ref().or(d.before.as_ref()).is_some_and(|n| n.link == *name),
        Object::Forwarding(d) => d.after.as_ref().or(d.before.as_ref()).is_some_and(|e| e.link == *name),
        Object::Wireguard(d) => d.after.as_ref().or(d.before.as_ref()).is_some_and(|w| w.link == *name),
        Object::Traffic(d) => d.after.as_ref().or(d.before.as_ref()).is_some_and(|t| t.link == *name),
        Object::Sysctl(d) => d.after.as_ref().is_some_and(|s| s.key.belongs_to(name)),
        Object::PortVlan(d) => d.after.as_ref().or(d.before.as_ref()).is_some_and(|v| v.link == *name),
        Object::Link(_)
        | Object::Move(_)
        | Object::Rule(_)
        | Object::Firewall(_)
        | Object::ZoneSource(_)
        | Object::Wait(_)
        | Object::Probe(_)
        | Object::Announce(_)
        | Object::Forget(_) => false,
    }
}
