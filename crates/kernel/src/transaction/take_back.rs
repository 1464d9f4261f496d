//! Taking changes back, whatever is left of their effect.

use polynic_net::{Attr, Change, Diff, IfName, Link, LinkKind, Needs, Object, Place, Plan};

use crate::{Errno, Kernel, KernelError};

/// `RTPROT_KERNEL`: routes that come with addresses.
const BY_KERNEL: u8 = 2;

/// Removes what an applied plan left, or one that a crash left half applied: its owned changes, last first. Whatever is
/// gone is no error; a setting that somebody has changed since stays as it is. Goes on after errors and returns them all.
///
/// If the pod's namespace is gone, what was in it is gone too, except that the host end of a veth pair may live on: it is
/// deleted by its own name.
pub fn remove(kernel: &mut dyn Kernel, plan: &Plan) -> Vec<KernelError> {
    take_back(kernel, plan.teardown())
}

/// Applies inverse changes, tolerant of what is gone.
///
/// A route that a plan deleted after the way to its gateway comes back before that way, in vain: such routes get a second
/// chance when everything else is back.
pub(super) fn take_back(kernel: &mut dyn Kernel, changes: Vec<Change>) -> Vec<KernelError> {
    let pod = kernel.pod_id().is_some();
    let reachable: Vec<Change> =
        changes.into_iter().filter_map(|c| if pod { Some(c) } else { without_pod(c) }).collect();
    let mut errors = Vec::new();
    let mut postponed = Vec::new();
    for group in reachable.chunk_by(goes_with) {
        let failed = take_back_group(kernel, group);
        match group {
            [route] if failed.iter().any(|e| is_too_early(route, e)) => postponed.push(route),
            _ => errors.extend(failed),
        }
    }
    errors.extend(postponed.iter().filter_map(|route| tolerant(kernel, route)));
    errors
}

fn is_too_early(change: &Change, error: &KernelError) -> bool {
    let unreachable = [Errno::ENETUNREACH, Errno::EHOSTUNREACH];
    matches!(change.object, Object::Route(_)) && error.errno().is_some_and(|e| unreachable.contains(&e))
}

/// What becomes of a change when the pod's namespace is gone.
fn without_pod(change: Change) -> Option<Change> {
    if change.place == Place::Host {
        return Some(change);
    }
    let Object::Link(Diff { before: Some(link), after: None }) = change.object else { return None };
    match &link.kind {
        LinkKind::Veth(peer) if peer.place == Place::Host => {
            let end = Link { name: peer.name.clone(), ..link };
            Some(Change { place: Place::Host, object: Object::Link(Diff::delete(end)) })
        }
        _ => None,
    }
}

/// What may be taken back together with its neighbours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Links,
    Firewall,
    Single,
}

fn goes_with(a: &Change, b: &Change) -> bool {
    a.place == b.place && group(a) != Group::Single && group(a) == group(b)
}

fn group(change: &Change) -> Group {
    match &change.object {
        Object::Link(_) if change.is_deletion() => Group::Links,
        Object::Firewall(_) if change.is_deletion() => Group::Firewall,
        _ => Group::Single,
    }
}

fn take_back_group(kernel: &mut dyn Kernel, changes: &[Change]) -> Vec<KernelError> {
    match changes {
        [first, ..] if group(first) == Group::Links => {
            let mut errors = delete_links(kernel, first.place, &link_names(changes));
            let ends = ends_left(kernel, changes);
            if !ends.is_empty() {
                errors.extend(delete_links(kernel, Place::Host, &ends));
            }
            errors
        }
        [_, _, ..] => delete_firewall(kernel, changes),
        _ => changes.iter().filter_map(|c| tolerant(kernel, c)).collect(),
    }
}

/// Ends of cables on the node whose other end was not found in the pod: somebody has taken it to yet another namespace.
fn ends_left(kernel: &mut dyn Kernel, changes: &[Change]) -> Vec<IfName> {
    let ends: Vec<IfName> = changes.iter().filter_map(end_on_node).cloned().collect();
    if ends.is_empty() {
        return ends;
    }
    let mut needs = Needs::default();
    ends.iter().for_each(|end| needs.host.link(end));
    let Ok(facts) = kernel.observe(&needs) else { return Vec::new() };
    let is_left = |end: &IfName| facts.link(Place::Host, end).is_some_and(|link| link.kind == "veth");
    ends.into_iter().filter(is_left).collect()
}

fn end_on_node(change: &Change) -> Option<&IfName> {
    match &change.object {
        Object::Link(Diff { before: Some(link), .. }) if change.place == Place::Pod => match &link.kind {
            LinkKind::Veth(peer) if peer.place == Place::Host => Some(&peer.name),
            _ => None,
        },
        _ => None,
    }
}

fn link_names(changes: &[Change]) -> Vec<IfName> {
    let name = |change: &Change| match &change.object {
        Object::Link(Diff { before: Some(link), .. }) => Some(link.name.clone()),
        _ => None,
    };
    changes.iter().filter_map(name).collect()
}

/// Deletes links together, and if that fails each by itself, so that one that resists does not keep the others.
fn delete_links(kernel: &mut dyn Kernel, place: Place, names: &[IfName]) -> Vec<KernelError> {
    match kernel.delete_links(place, names) {
        Ok(()) => Vec::new(),
        Err(e) if e.is_absent() && names.len() == 1 => Vec::new(),
        Err(e) if names.len() == 1 => vec![e],
        Err(_) => names.iter().flat_map(|n| delete_links(kernel, place, std::slice::from_ref(n))).collect(),
    }
}

/// Deletes firewall objects as one batch, and if that fails (most likely some are gone) one by one.
fn delete_firewall(kernel: &mut dyn Kernel, changes: &[Change]) -> Vec<KernelError> {
    match kernel.apply_firewall(changes) {
        Ok(()) => Vec::new(),
        Err(_) => changes.iter().filter_map(|c| tolerant(kernel, c)).collect(),
    }
}

fn tolerant(kernel: &mut dyn Kernel, change: &Change) -> Option<KernelError> {
    if is_orphan(kernel, change) {
        return None;
    }
    kernel.apply(change).err().filter(|e| !is_forgivable(e, change))
}

/// Whether a connected route is to come back without the address it belongs to: the plan was never applied so far, or is
/// taken back a second time. IPv6 would take such a route, and nobody would ever remove it.
fn is_orphan(kernel: &mut dyn Kernel, change: &Change) -> bool {
    let Object::Route(Diff { before: None, after: Some(route) }) = &change.object else { return false };
    let Some(link) = route.link.as_ref().filter(|_| route.protocol == BY_KERNEL) else { return false };
    let mut needs = Needs::default();
    needs.at_mut(change.place).addresses.push(link.clone());
    let Ok(facts) = kernel.observe(&needs) else { return false };
    !facts.at(change.place).is_some_and(|ns| ns.addresses_of(link).any(|a| a.net.trunc() == route.dst))
}

fn is_forgivable(error: &KernelError, change: &Change) -> bool {
    match error {
        // Somebody else has changed it since, or it was never changed.
        KernelError::Stale { .. } => true,
        // Of an attribute this error speaks of the value: a MAC that cannot be.
        e if e.errno() == Some(Errno::EADDRNOTAVAIL) => !matches!(change.object, Object::Attr(_)),
        e if e.is_absent() => true,
        // What was to come back never went.
        e if e.errno() == Some(Errno::EEXIST) => change.is_creation(),
        // The link has left its bridge, and with it all that it was as a port.
        e if e.errno() == Some(Errno::EOPNOTSUPP) => is_about_port(change),
        // The link of a route that was to come back is down: no route can be on it.
        e if e.errno() == Some(Errno::ENETDOWN) => matches!(change.object, Object::Route(_)),
        _ => false,
    }
}

fn is_about_port(change: &Change) -> bool {
    match &change.object {
        Object::PortVlan(_) => true,
        Object::Attr(a) => matches!(a.after, Attr::Hairpin(_) | Attr::Isolated(_)),
        _ => false,
    }
}
