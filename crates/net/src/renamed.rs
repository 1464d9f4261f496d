//! Changes as they read once links have other names: whoever is in a pod may rename what is there.

use std::collections::BTreeMap;

use crate::{Attr, Change, Diff, IfName, Link, LinkKind, LinkRef, Object, Place, Plan};

/// New names of links of one namespace, by the old ones.
pub type Names = BTreeMap<IfName, IfName>;

impl Plan {
    /// The same plan about links that are called otherwise by now.
    #[must_use]
    pub fn renamed(&self, place: Place, names: &Names) -> Self {
        let mut plan = self.clone();
        for step in &mut plan.steps {
            rename(&mut step.change, place, names);
        }
        plan
    }
}

/// Settings keep their path: they are gone with the old name, and a link that moves or is deleted takes them along.
fn rename(change: &mut Change, place: Place, names: &Names) {
    let is_here = change.place == place;
    let to = |name: &mut IfName| {
        if let Some(new) = names.get(name).filter(|_| is_here) {
            name.clone_from(new);
        }
    };
    match &mut change.object {
        Object::Link(diff) => {
            for link in [&mut diff.before, &mut diff.after].into_iter().flatten() {
                to(&mut link.name);
                rename_others(link, place, names);
            }
        }
        Object::Attr(attr) => {
            to(&mut attr.link);
            for value in [&mut attr.before, &mut attr.after] {
                if let Attr::Master(Some(master)) = value {
                    to(master);
                }
            }
        }
        Object::Move(moved) => {
            to(&mut moved.name);
            rename_ref(&mut moved.from, place, names);
        }
        Object::Address(diff) => both(diff, |address| to(&mut address.link)),
        Object::Route(diff) => both(diff, |route| {
            route.link.iter_mut().chain(route.more.iter_mut().map(|hop| &mut hop.link)).for_each(to);
        }),
        Object::Rule(diff) => both(diff, |rule| rule.iif.iter_mut().for_each(to)),
        Object::Neighbour(diff) => both(diff, |neighbour| to(&mut neighbour.link)),
        Object::Forwarding(diff) => both(diff, |entry| to(&mut entry.link)),
        Object::PortVlan(diff) => both(diff, |vlan| to(&mut vlan.link)),
        Object::Traffic(diff) => both(diff, |traffic| to(&mut traffic.link)),
        Object::Wireguard(diff) => both(diff, |setting| to(&mut setting.link)),
        Object::Sysctl(_)
        | Object::Firewall(_)
        | Object::ZoneSource(_)
        | Object::Wait(_)
        | Object::Probe(_)
        | Object::Announce(_)
        | Object::Forget(_) => {}
    }
}

fn both<T>(diff: &mut Diff<T>, mut edit: impl FnMut(&mut T)) {
    diff.before.iter_mut().for_each(&mut edit);
    diff.after.iter_mut().for_each(edit);
}

/// The peer and the parent may be elsewhere than the link.
fn rename_others(link: &mut Link, place: Place, names: &Names) {
    match &mut link.kind {
        LinkKind::Veth(peer) => {
            if let Some(new) = names.get(&peer.name).filter(|_| peer.place == place) {
                peer.name.clone_from(new);
            }
        }
        LinkKind::Macvlan(m) | LinkKind::Macvtap(m) => rename_ref(&mut m.parent, place, names),
        LinkKind::Ipvlan(i) => rename_ref(&mut i.parent, place, names),
        LinkKind::Vlan(v) => rename_ref(&mut v.parent, place, names),
        _ => {}
    }
}

fn rename_ref(link: &mut LinkRef, place: Place, names: &Names) {
    if let Some(new) = names.get(&link.name).filter(|_| link.place == place) {
        link.name.clone_from(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Veth};

    fn name(s: &str) -> IfName {
        IfName::new(s).unwrap()
    }

    fn plan(pod_end: &str) -> Plan {
        let peer = Veth { place: Place::Host, name: name("net1"), mac: None, mtu: None };
        let mut plan = Plan::default();
        plan.own(Change::create_link(Place::Pod, Link::new(name(pod_end), LinkKind::Veth(peer))));
        plan.own(Change::up(Place::Host, &name("net1")));
        plan.own(Change::add_address(
            Place::Pod,
            Address::new(&name(pod_end), "10.0.0.2/24".parse().unwrap()),
        ));
        let from = LinkRef { place: Place::Host, name: name("eth5") };
        plan.own(Change::move_link(from, Place::Pod, &name(pod_end)));
        plan
    }

    #[test]
    fn links_of_one_place_get_new_names_everywhere_and_those_elsewhere_none() {
        let names = Names::from([(name("net1"), name("lan0"))]);
        assert_eq!(plan("net1").renamed(Place::Pod, &names), plan("lan0"));
        assert_eq!(plan("net1").renamed(Place::Pod, &Names::new()), plan("net1"));
    }
}
