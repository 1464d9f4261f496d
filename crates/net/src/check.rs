//! What plans promised against what is there: the pure half of CHECK.
//!
//! [`promises`] folds the plans of an attachment in chain order, so that a later plugin's change of a MAC, a table or an
//! address supersedes what an earlier one promised. [`needs`] says what to observe, [`violations`] compares.

use std::fmt;

use crate::implied::dies_with;
use crate::{
    Attr, Change, Diff, Facts, LinkKind, Needs, Neighbour, NsFacts, NsNeeds, Object, Place, Plan, PortVlan,
    Qdisc, Route, Stake, Traffic, TrafficObject,
};

/// Something that was promised and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub place: Place,
    /// What is missing or different, as a phrase.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.what, self.place)
    }
}

/// What must hold after all plans were applied in this order: changes whose `after` is the promise.
pub fn promises<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Vec<Change> {
    promises_of(plans, |_| true)
}

/// What must still hold of some of the plans (those whose place in the order `wanted` accepts) after all were applied in this
/// order: the others only supersede.
pub fn promises_of<'a>(
    plans: impl IntoIterator<Item = &'a Plan>,
    wanted: impl Fn(usize) -> bool,
) -> Vec<Change> {
    let mut kept: Vec<Change> = Vec::new();
    for (at, plan) in plans.into_iter().enumerate() {
        for step in &plan.steps {
            kept.retain(|old| !superseded(old, &step.change));
            if wanted(at) && step.stake != Stake::Once && leaves_something(&step.change.object) {
                kept.push(step.change.clone());
            }
        }
    }
    kept
}

fn leaves_something(object: &Object) -> bool {
    match object {
        Object::Link(d) => d.after.is_some(),
        Object::Address(d) => d.after.is_some(),
        Object::Route(d) => d.after.is_some(),
        Object::Rule(d) => d.after.is_some(),
        Object::Neighbour(d) => d.after.is_some(),
        Object::Forwarding(d) => d.after.is_some(),
        Object::Wireguard(d) => d.after.is_some(),
        Object::Sysctl(d) => d.after.is_some(),
        Object::PortVlan(d) => d.after.is_some(),
        Object::Traffic(d) => d.after.is_some(),
        Object::Firewall(d) => d.after.is_some(),
        Object::ZoneSource(d) => d.after.is_some(),
        Object::Attr(_) | Object::Move(_) => true,
        Object::Wait(_) | Object::Probe(_) | Object::Announce(_) | Object::Forget(_) => false,
    }
}

/// Whether `new` makes the promise of `old` void.
fn superseded(old: &Change, new: &Change) -> bool {
    if let Object::Move(m) = &new.object {
        return old.place == m.from.place && is_about(old, m.from.place, &m.from.name);
    }
    if old.place != new.place {
        return false;
    }
    match (&old.object, &new.object) {
        (_, Object::Link(Diff { before: Some(gone), after: None })) => is_about(old, new.place, &gone.name),
        (Object::Attr(a), Object::Attr(b)) => a.link == b.link && a.after.same_kind(&b.after),
        (Object::Address(a), Object::Address(b)) => a.after == b.before,
        // What was promised left open what the kernel filled in, and a later plan names what it has seen.
        (Object::Route(a), Object::Route(b)) => {
            a.after.as_ref().zip(b.before.as_ref()).is_some_and(|(promised, seen)| serves(seen, promised))
        }
        (Object::Rule(a), Object::Rule(b)) => a.after == b.before,
        (Object::Neighbour(a), Object::Neighbour(b)) => a.after == b.before,
        (Object::Forwarding(a), Object::Forwarding(b)) => a.after == b.before,
        (Object::Wireguard(a), Object::Wireguard(b)) => a.after == b.before,
        (Object::PortVlan(a), Object::PortVlan(b)) => a.after == b.before,
        (Object::Traffic(a), Object::Traffic(b)) => a.after == b.before,
        (Object::Firewall(a), Object::Firewall(b)) => a.after == b.before,
        (Object::ZoneSource(a), Object::ZoneSource(b)) => a.after == b.before,
        (Object::Sysctl(a), Object::Sysctl(b)) => {
            a.after.as_ref().map(|s| &s.key) == b.after.as_ref().map(|s| &s.key)
        }
        _ => false,
    }
}

/// Whether a change has nothing left to do: what it leaves is there. A removal always has, as far as facts can tell, and a wait has
/// nothing to do with it.
pub fn holds(change: &Change, facts: &Facts) -> bool {
    let waits =
        matches!(change.object, Object::Wait(_) | Object::Probe(_) | Object::Announce(_) | Object::Forget(_));
    let leaves = leaves_something(&change.object);
    waits || (leaves && violations(std::slice::from_ref(change), facts).is_empty())
}

/// Whether `facts` show what a change leaves. Unlike [`holds`], what cannot be seen is not taken to be there.
pub fn is_seen(change: &Change, facts: &Facts) -> bool {
    let is_visible = leaves_something(&change.object) && !is_unobserved_vlan(change, facts);
    is_visible && violations(std::slice::from_ref(change), facts).is_empty()
}

/// VLANs of ports cost a list of all ports, and so they are not always asked for.
fn is_unobserved_vlan(change: &Change, facts: &Facts) -> bool {
    let Object::PortVlan(Diff { after: Some(vlan), .. }) = &change.object else { return false };
    !facts.at(change.place).is_some_and(|ns| ns.port_vlans.contains_key(&vlan.link))
}

/// Whether a promise is void once the link is gone from there.
fn is_about(old: &Change, place: Place, link: &crate::IfName) -> bool {
    dies_with(old, place, link)
        || match &old.object {
            Object::Link(d) => d.after.as_ref().is_some_and(|l| l.name == *link),
            Object::Move(m) => m.name == *link,
            _ => false,
        }
}

/// What must be observed to judge the promises.
pub fn needs(promises: &[Change]) -> Needs {
    let mut needs = Needs::default();
    for promise in promises {
        let at = needs.at_mut(promise.place);
        match &promise.object {
            Object::Link(Diff { after: Some(link), .. }) => at.link(&link.name),
            Object::Attr(a) => {
                at.link(&a.link);
                if let Attr::Vf { .. } = &a.after {
                    at.vfs_of(&a.link);
                }
                if let Attr::Master(Some(master)) = &a.after {
                    at.link(master);
                }
            }
            Object::Move(m) => at.link(&m.name),
            Object::Address(Diff { after: Some(a), .. }) => at.addresses.push(a.link.clone()),
            Object::Route(d) => route_needs(promise.place, d, at),
            Object::Rule(_) => at.rules = true,
            Object::Neighbour(Diff { after: Some(n), .. }) => neighbour_needs(promise.place, n, at),
            Object::Forwarding(Diff { after: Some(entry), .. }) => at.forwarding_of(&entry.link),
            Object::Wireguard(Diff { after: Some(w), .. }) => at.wireguard_of(&w.link),
            Object::Sysctl(Diff { after: Some(s), .. }) => at.sysctl(s.key.clone()),
            Object::PortVlan(Diff { after: Some(vlan), .. }) => at.vlans_of_port(&vlan.link),
            Object::Traffic(Diff { after: Some(t), .. }) if !at.traffic.contains(&t.link) => {
                at.traffic.push(t.link.clone());
            }
            Object::Firewall(Diff { after: Some(o), .. }) if !at.firewall.contains(o.table()) => {
                at.firewall.push(o.table().clone());
            }
            Object::ZoneSource(Diff { after: Some(source), .. }) => at.zone_source(source),
            _ => {}
        }
    }
    needs
}

/// The node has routes of all its pods, a pod only its own: there one list is less than one for each link.
fn route_needs(place: Place, route: &Diff<Route>, at: &mut NsNeeds) {
    match route.after.as_ref().and_then(|route| route.link.as_ref()) {
        Some(link) if place == Place::Host => at.routes_through(link),
        _ => at.routes = true,
    }
}

/// As with routes.
fn neighbour_needs(place: Place, neighbour: &Neighbour, at: &mut NsNeeds) {
    match place {
        Place::Host => at.neighbours_of.push((neighbour.link.clone(), neighbour.ip)),
        Place::Pod => at.neighbours = true,
    }
}

/// The promises that do not hold. A promise about a namespace that was not observed is broken.
pub fn violations(promises: &[Change], facts: &Facts) -> Vec<Violation> {
    let empty = NsFacts::default();
    promises
        .iter()
        .filter_map(|p| {
            let ns = facts.at(p.place).unwrap_or(&empty);
            // A link promises its own address and MTU; an attribute promised later decides instead.
            let what = match &p.object {
                Object::Link(d) => link_violation(d.after.as_ref()?, ns, promises, p.place),
                object => object_violation(object, ns),
            }?;
            Some(Violation { place: p.place, what })
        })
        .collect()
}

fn link_violation(link: &crate::Link, ns: &NsFacts, promises: &[Change], place: Place) -> Option<String> {
    let Some(fact) = ns.link(&link.name) else {
        return Some(format!("interface {} is missing", link.name));
    };
    let kind = link.kind.as_str();
    if fact.kind != kind {
        return Some(format!("interface {} is of kind {:?}, not {kind:?}", link.name, fact.kind));
    }
    if let Some(wanted) = kind_violation(&link.kind, fact) {
        return Some(format!("interface {} {wanted}", link.name));
    }
    let later = |same: fn(&Attr) -> bool| {
        promises.iter().any(|c| {
            c.place == place && matches!(&c.object, Object::Attr(a) if a.link == link.name && same(&a.after))
        })
    };
    if let (Some(want), Some(have)) = (link.mac, fact.mac)
        && want != have
        && !later(|a| matches!(a, Attr::Mac(_)))
    {
        return Some(format!("interface {} has MAC {have}, not {want}", link.name));
    }
    match link.mtu {
        Some(mtu) if mtu != fact.mtu && !later(|a| matches!(a, Attr::Mtu(_))) => {
            Some(format!("interface {} has MTU {}, not {mtu}", link.name, fact.mtu))
        }
        _ => None,
    }
}

/// What of a link's kind is not as it was made.
fn kind_violation(kind: &LinkKind, fact: &crate::LinkFact) -> Option<String> {
    match kind {
        LinkKind::Macvlan(m) | LinkKind::Macvtap(m)
            if fact.macvlan_mode.is_some_and(|mode| mode != m.mode) =>
        {
            Some(format!("is not in mode {:?}", m.mode))
        }
        LinkKind::Ipvlan(i) if fact.ipvlan_mode.is_some_and(|mode| mode != i.mode) => {
            Some(format!("is not in mode {:?}", i.mode))
        }
        LinkKind::Vlan(v) if fact.vlan_id.is_some_and(|id| id != v.id) => {
            Some(format!("does not have VLAN {}", v.id))
        }
        LinkKind::Vrf { table } if fact.vrf_table.is_some_and(|have| have != *table) => {
            Some(format!("does not have table {table}"))
        }
        _ => None,
    }
}

fn object_violation(object: &Object, ns: &NsFacts) -> Option<String> {
    match object {
        Object::Attr(a) => attr_violation(&a.link, &a.after, ns),
        Object::Move(m) => ns.link(&m.name).is_none().then(|| format!("interface {} is missing", m.name)),
        Object::Address(d) => {
            let want = d.after.as_ref()?;
            let held = ns.addresses_of(&want.link).any(|a| a.net == want.net);
            (!held).then(|| format!("address {} is missing on interface {}", want.net, want.link))
        }
        Object::Route(d) => {
            let want = d.after.as_ref()?;
            (!ns.routes.iter().any(|r| serves(r, want))).then(|| format!("route {want} is missing"))
        }
        Object::Rule(d) => {
            let want = d.after.as_ref()?;
            (!ns.rules.contains(want))
                .then(|| format!("rule {} to table {} is missing", want.priority, want.table))
        }
        Object::Neighbour(d) => {
            let want = d.after.as_ref()?;
            (!ns.neighbours.contains(want))
                .then(|| format!("permanent neighbour {} is missing on interface {}", want.ip, want.link))
        }
        Object::Forwarding(d) => {
            let want = d.after.as_ref()?;
            (!ns.forwarding.contains(want))
                .then(|| format!("forwarding entry {} is missing on interface {}", want.mac, want.link))
        }
        Object::Wireguard(d) => {
            let want = d.after.as_ref()?;
            let there = ns.wireguard.iter().any(|fact| fact.link == want.link && fact.has(&want.part));
            (!there).then(|| format!("WireGuard {want} is missing"))
        }
        Object::Sysctl(d) => {
            let want = d.after.as_ref()?;
            let have = ns.sysctl(&want.key);
            // The kernel prints lists with tabs, whatever was written.
            let holds = have.is_some_and(|have| have.split_whitespace().eq(want.value.split_whitespace()));
            (!holds).then(|| format!("{} is {}, not {}", want.key, have.unwrap_or("absent"), want.value))
        }
        Object::Traffic(d) => traffic_violation(d.after.as_ref()?, ns),
        Object::Firewall(d) => {
            let want = d.after.as_ref()?;
            let held = ns.firewall.iter().any(|o| o.same_identity(want));
            (!held).then(|| "a firewall object of this attachment is missing".to_owned())
        }
        Object::ZoneSource(d) => {
            let want = d.after.as_ref()?;
            let held = ns.zone_sources.as_ref().is_some_and(|sources| sources.contains(want));
            (!held).then(|| format!("{want} is missing"))
        }
        Object::PortVlan(d) => port_vlan_violation(d.after.as_ref()?, ns),
        // Links are judged by their own function.
        Object::Link(_) | Object::Wait(_) | Object::Probe(_) | Object::Announce(_) | Object::Forget(_) => {
            None
        }
    }
}

/// What was not asked for cannot be judged.
fn port_vlan_violation(want: &PortVlan, ns: &NsFacts) -> Option<String> {
    let held = ns.port_vlans.get(&want.link)?.iter().find(|vlan| vlan.vid == want.vid);
    let tag = if want.untagged { "untagged" } else { "tagged" };
    match held {
        Some(vlan) if vlan == want => None,
        Some(_) => Some(format!("port {} does not have VLAN {} as {tag}", want.link, want.vid)),
        None => Some(format!("port {} is not in VLAN {}", want.link, want.vid)),
    }
}

fn traffic_violation(want: &Traffic, ns: &NsFacts) -> Option<String> {
    let there = ns.traffic.iter().find(|t| t.link == want.link && t.key == want.object.key());
    let Some(there) = there else { return Some(format!("traffic control {want} is missing")) };
    match &want.object {
        TrafficObject::Qdisc(Qdisc::Tbf(bucket)) if !there.bucket.is_some_and(|b| bucket.is_shown_as(&b)) => {
            let found = there.bucket.map_or_else(|| "none".to_owned(), |b| format!("{b:?}"));
            Some(format!("traffic control {want} is {found}, not {bucket:?}"))
        }
        _ => None,
    }
}

/// Whether `have` does what `want` promises: the kernel fills in metric, source and scope that were left open.
pub fn serves(have: &Route, want: &Route) -> bool {
    have.dst == want.dst
        && have.gw == want.gw
        && have.link == want.link
        && have.more == want.more
        && have.table == want.table
        && have.kind == want.kind
        && (have.dst.addr().is_ipv6() || have.scope == want.scope)
        && have.effective_priority() == want.effective_priority()
        && (want.src.is_none() || have.src == want.src)
        && (want.mtu == 0 || have.mtu == want.mtu)
        && (want.advmss == 0 || have.advmss == want.advmss)
}

fn attr_violation(link: &crate::IfName, want: &Attr, ns: &NsFacts) -> Option<String> {
    let Some(fact) = ns.link(link) else {
        return Some(format!("interface {link} is missing"));
    };
    let holds = match want {
        Attr::Up(up) => fact.up == *up,
        Attr::Mtu(mtu) => fact.mtu == *mtu,
        Attr::Mac(mac) => fact.mac == Some(*mac),
        Attr::Master(None) => fact.master.is_none(),
        Attr::Master(Some(master)) => ns.link(master).is_some_and(|m| fact.master == Some(m.index)),
        Attr::Promisc(on) => fact.promisc == *on,
        Attr::AllMulti(on) => fact.all_multicast == *on,
        Attr::TxQueueLen(len) => fact.tx_queue_len == *len,
        Attr::Hairpin(on) => fact.hairpin.unwrap_or_default() == *on,
        Attr::Isolated(on) => fact.isolated.unwrap_or_default() == *on,
        Attr::Alias(alias) => fact.alias.as_deref().unwrap_or_default() == alias,
        // What the driver does not report cannot be judged.
        Attr::Vf { index, attr } => {
            ns.vf(link, *index).is_some_and(|vf| vf.setting(attr).is_none_or(|setting| setting == *attr))
        }
    };
    (!holds).then(|| format!("interface {link} does not have {want:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, AddressFact, IfName, Link, LinkFact, LinkRef, Mac, Macvlan, MacvlanMode};

    fn name(s: &str) -> IfName {
        IfName::new(s).unwrap()
    }

    fn macvlan_plan() -> Plan {
        let parent = LinkRef { place: Place::Host, name: name("eth0") };
        let kind = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
        let mut plan = Plan::default();
        plan.own(Change::create_link(
            Place::Pod,
            Link { mac: Some(Mac([2; 6])), ..Link::new(name("net1"), kind) },
        ));
        plan.own(Change::add_address(
            Place::Pod,
            Address::new(&name("net1"), "10.0.0.2/24".parse().unwrap()),
        ));
        plan.own(Change::up(Place::Pod, &name("net1")));
        plan
    }

    fn good_facts() -> Facts {
        let link = LinkFact {
            mac: Some(Mac([2; 6])),
            up: true,
            macvlan_mode: Some(MacvlanMode::Bridge),
            ..LinkFact::new(5, name("net1"), "macvlan")
        };
        let address = AddressFact {
            link: name("net1"),
            net: "10.0.0.2/24".parse().unwrap(),
            scope: 0,
            tentative: false,
            dad_failed: false,
            permanent: true,
            deprecated: false,
            temporary: false,
        };
        let pod = NsFacts { links: vec![link], addresses: vec![address], ..NsFacts::default() };
        Facts { host: NsFacts::default(), pod: Some(pod) }
    }

    fn found(plans: &[Plan], facts: &Facts) -> Vec<String> {
        violations(&promises(plans), facts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn kept_promises_are_silent() {
        assert_eq!(found(&[macvlan_plan()], &good_facts()), Vec::<String>::new());
    }

    #[test]
    fn each_broken_promise_is_named() {
        let plans = [macvlan_plan()];
        let mut facts = good_facts();
        facts.pod.as_mut().unwrap().addresses.clear();
        assert_eq!(found(&plans, &facts), ["address 10.0.0.2/24 is missing on interface net1 in pod"]);
        let mut facts = good_facts();
        facts.pod.as_mut().unwrap().links[0].mac = Some(Mac([4; 6]));
        assert_eq!(found(&plans, &facts).len(), 1);
        let mut facts = good_facts();
        facts.pod.as_mut().unwrap().links[0].macvlan_mode = Some(MacvlanMode::Vepa);
        assert_eq!(found(&plans, &facts).len(), 1);
        assert_eq!(found(&plans, &Facts::default()).len(), 3);
    }

    #[test]
    fn a_later_plugin_may_change_the_mac() {
        let mut later = Plan::default();
        later.own(Change::attr(Place::Pod, &name("net1"), Attr::Mac(Mac([2; 6])), Attr::Mac(Mac([4; 6]))));
        let mut facts = good_facts();
        facts.pod.as_mut().unwrap().links[0].mac = Some(Mac([4; 6]));
        assert_eq!(found(&[macvlan_plan(), later], &facts), Vec::<String>::new());
    }

    #[test]
    fn a_route_that_a_later_plugin_moved_is_looked_for_where_it_is() {
        let route = Route::new("10.9.0.0/16".parse().unwrap(), &name("net1"));
        let mut first = Plan::default();
        first.own(Change::add_route(Place::Pod, route.clone()));
        let mut second = Plan::default();
        second.own(Change::delete_route(Place::Pod, route.clone()));
        second.own(Change::add_route(Place::Pod, route.clone().in_table(101)));
        let mut facts = good_facts();
        facts.pod.as_mut().unwrap().routes.push(route.in_table(101));
        assert_eq!(found(&[first.clone(), second], &facts), Vec::<String>::new());
        assert_eq!(found(&[first], &facts), ["route 10.9.0.0/16 dev net1 is missing in pod"]);
    }

    #[test]
    fn only_what_is_promised_is_observed() {
        let needs = needs(&promises(&[macvlan_plan()]));
        assert!(!needs.pod.routes);
        assert_eq!(needs.pod.addresses, [name("net1")]);
        assert_eq!(needs.host, crate::NsNeeds::default());
    }
}
