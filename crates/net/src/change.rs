//! One change: an object before and after.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Address, Announcement, Attr, Flows, Forwarding, FwObject, IfName, Link, LinkRef, Neighbour, Place,
    PortVlan, Probe, Route, Rule, Sysctl, Traffic, TrafficObject, Wireguard, ZoneSource,
};

/// What an object is before and after a change. Its inverse is itself the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff<T> {
    /// What is there before; absent: nothing.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub before: Option<T>,
    /// What is there afterwards; absent: nothing.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub after: Option<T>,
}

impl<T> Diff<T> {
    /// The object comes to be.
    pub fn create(after: T) -> Self {
        Self { before: None, after: Some(after) }
    }

    /// The object ceases to be.
    pub fn delete(before: T) -> Self {
        Self { before: Some(before), after: None }
    }

    /// The object changes.
    pub fn replace(before: T, after: T) -> Self {
        Self { before: Some(before), after: Some(after) }
    }

    fn inverse(self) -> Self {
        Self { before: self.after, after: self.before }
    }
}

/// An attribute of an existing link with its old and new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttrChange {
    /// The link.
    pub link: IfName,
    /// The value that must be there before. Same kind as `after`.
    pub before: Attr,
    /// The value afterwards.
    pub after: Attr,
    /// The value changes by itself, as a virtual function's address when its physical function gives it one: whatever it is found
    /// to be goes to `after`, and `before` is what taking the change back makes of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsteady: bool,
}

/// A link that comes from another namespace, perhaps under another name. On the way it loses addresses, routes and the
/// state up, and so it is down before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The link, where it was.
    pub from: LinkRef,
    /// Its name where it arrives, which is the change's place.
    pub name: IfName,
    /// The name that it takes on the node if its own is taken by the time it comes back; absent: it stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<IfName>,
}

/// Something to wait for. It changes nothing and has no undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Until no IPv6 address of the link is tentative: polled every 50 ms for at most 5 s; an address whose detection
    /// failed is an error, running out of time only if the link is operationally up (spec/plugins.md 0.3).
    Dad {
        /// The link.
        link: IfName,
    },
    /// Until the link is operationally up, at most 200 ms: a link that is not by then is no error (spec/sriov.md 4).
    Carrier {
        /// The link.
        link: IfName,
    },
    /// Until the link is operationally up, looked at after 0, 50, 550, 1550 and 2550 ms (spec/plugins.md 1.1).
    OperUp {
        /// The link.
        link: IfName,
    },
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A link that is created or deleted.
    Link(Diff<Link>),
    /// An attribute of a link that exists.
    Attr(AttrChange),
    /// A link that arrives from the other namespace.
    Move(Move),
    /// An address.
    Address(Diff<Address>),
    /// A route.
    Route(Diff<Route>),
    /// A rule.
    Rule(Diff<Rule>),
    /// A permanent neighbour entry.
    Neighbour(Diff<Neighbour>),
    /// A forwarding entry of a tunnel.
    Forwarding(Diff<Forwarding>),
    /// A setting of a WireGuard link: key and port, or a peer.
    Wireguard(Diff<Wireguard>),
    /// A setting; it always exists before and after.
    Sysctl(Diff<Sysctl>),
    /// VLAN membership of a bridge port.
    PortVlan(Diff<PortVlan>),
    /// A part of a link's traffic control.
    Traffic(Diff<Traffic>),
    /// A firewall object.
    Firewall(Diff<FwObject>),
    /// A source of a zone of firewalld.
    ZoneSource(Diff<ZoneSource>),
    /// A step that changes nothing.
    Wait(Wait),
    /// A question to the network, whose answer may end the plan.
    Probe(Probe),
    /// News for the network.
    Announce(Announcement),
    /// Connections that are to begin anew.
    Forget(Flows),
}

/// A change in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// What.
    pub object: Object,
}

impl Change {
    /// A link comes to be in `place`.
    pub fn create_link(place: Place, link: Link) -> Self {
        Self { place, object: Object::Link(Diff::create(link)) }
    }

    /// A link's attribute goes from `before` to `after`.
    pub fn attr(place: Place, link: &IfName, before: Attr, after: Attr) -> Self {
        Self {
            place,
            object: Object::Attr(AttrChange { link: link.clone(), before, after, unsteady: false }),
        }
    }

    /// As [`Self::attr`], for an attribute that changes by itself: see [`AttrChange::unsteady`].
    pub fn unsteady(place: Place, link: &IfName, before: Attr, after: Attr) -> Self {
        let change = AttrChange { link: link.clone(), before, after, unsteady: true };
        Self { place, object: Object::Attr(change) }
    }

    /// A link that is down arrives in `place` under `name`.
    pub fn move_link(from: LinkRef, place: Place, name: &IfName) -> Self {
        Self { place, object: Object::Move(Move { from, name: name.clone(), spare: None }) }
    }

    /// As [`Self::move_link`]; on the node the link takes the name `spare` if its own is taken.
    pub fn lend_link(from: LinkRef, place: Place, name: &IfName, spare: IfName) -> Self {
        Self { place, object: Object::Move(Move { from, name: name.clone(), spare: Some(spare) }) }
    }

    /// A link that is down is brought up.
    pub fn up(place: Place, link: &IfName) -> Self {
        Self::attr(place, link, Attr::Up(false), Attr::Up(true))
    }

    /// An address is added.
    pub fn add_address(place: Place, address: Address) -> Self {
        Self { place, object: Object::Address(Diff::create(address)) }
    }

    /// A route is added, in front of others to the same destination with the same metric (IPv4) or beside them (IPv6).
    pub fn add_route(place: Place, route: Route) -> Self {
        Self { place, object: Object::Route(Diff::create(route)) }
    }

    /// A route is removed.
    pub fn delete_route(place: Place, route: Route) -> Self {
        Self { place, object: Object::Route(Diff::delete(route)) }
    }

    /// A rule is added.
    pub fn add_rule(place: Place, rule: Rule) -> Self {
        Self { place, object: Object::Rule(Diff::create(rule)) }
    }

    /// A setting goes from `before` to `after`.
    pub fn sysctl(place: Place, before: Sysctl, value: impl Into<String>) -> Self {
        let after = Sysctl { key: before.key.clone(), value: value.into() };
        Self { place, object: Object::Sysctl(Diff::replace(before, after)) }
    }

    /// A part of a link's traffic control comes to be.
    pub fn add_traffic(place: Place, link: &IfName, object: TrafficObject) -> Self {
        let traffic = Traffic { link: link.clone(), object };
        Self { place, object: Object::Traffic(Diff::create(traffic)) }
    }

    /// A firewall object comes to be.
    pub fn add_firewall(place: Place, object: FwObject) -> Self {
        Self { place, object: Object::Firewall(Diff::create(object)) }
    }

    /// A zone of firewalld gets a source.
    pub fn add_zone_source(source: ZoneSource) -> Self {
        Self { place: Place::Host, object: Object::ZoneSource(Diff::create(source)) }
    }

    /// Something is waited for.
    pub fn wait(place: Place, wait: Wait) -> Self {
        Self { place, object: Object::Wait(wait) }
    }

    /// The network is asked something.
    pub fn probe(place: Place, probe: Probe) -> Self {
        Self { place, object: Object::Probe(probe) }
    }

    /// The network is told who has an address.
    pub fn announce(place: Place, announcement: Announcement) -> Self {
        Self { place, object: Object::Announce(announcement) }
    }

    /// Tracked connections are forgotten.
    pub fn forget(place: Place, flows: Flows) -> Self {
        Self { place, object: Object::Forget(flows) }
    }

    /// A rule is removed.
    pub fn delete_rule(place: Place, rule: Rule) -> Self {
        Self { place, object: Object::Rule(Diff::delete(rule)) }
    }

    /// A permanent neighbour is added.
    pub fn add_neighbour(place: Place, neighbour: Neighbour) -> Self {
        Self { place, object: Object::Neighbour(Diff::create(neighbour)) }
    }

    /// A permanent neighbour is removed.
    pub fn delete_neighbour(place: Place, neighbour: Neighbour) -> Self {
        Self { place, object: Object::Neighbour(Diff::delete(neighbour)) }
    }

    /// A forwarding entry of a tunnel is added.
    pub fn add_forwarding(place: Place, entry: Forwarding) -> Self {
        Self { place, object: Object::Forwarding(Diff::create(entry)) }
    }

    /// A forwarding entry of a tunnel is removed.
    pub fn delete_forwarding(place: Place, entry: Forwarding) -> Self {
        Self { place, object: Object::Forwarding(Diff::delete(entry)) }
    }

    /// Whether it makes an object that was not there.
    pub fn is_creation(&self) -> bool {
        self.ends() == Some((false, true))
    }

    /// Whether it removes an object.
    pub fn is_deletion(&self) -> bool {
        self.ends() == Some((true, false))
    }

    /// Whether the object is there before, and after; none for what has no such ends.
    fn ends(&self) -> Option<(bool, bool)> {
        fn of<T>(diff: &Diff<T>) -> Option<(bool, bool)> {
            Some((diff.before.is_some(), diff.after.is_some()))
        }
        match &self.object {
            Object::Link(d) => of(d),
            Object::Address(d) => of(d),
            Object::Route(d) => of(d),
            Object::Rule(d) => of(d),
            Object::Neighbour(d) => of(d),
            Object::Forwarding(d) => of(d),
            Object::Wireguard(d) => of(d),
            Object::Sysctl(d) => of(d),
            Object::PortVlan(d) => of(d),
            Object::Traffic(d) => of(d),
            Object::Firewall(d) => of(d),
            Object::ZoneSource(d) => of(d),
            Object::Attr(_)
            | Object::Move(_)
            | Object::Wait(_)
            | Object::Probe(_)
            | Object::Announce(_)
            | Object::Forget(_) => None,
        }
    }

    /// The change that takes this one back; none for steps that change nothing.
    pub fn inverse(self) -> Option<Self> {
        let object = match self.object {
            Object::Move(m) => {
                let back = LinkRef { place: self.place, name: m.name };
                let object = Object::Move(Move { from: back, name: m.from.name, spare: m.spare });
                return Some(Self { place: m.from.place, object });
            }
            Object::Link(d) => Object::Link(d.inverse()),
            Object::Attr(a) => Object::Attr(AttrChange { before: a.after, after: a.before, ..a }),
            Object::Address(d) => Object::Address(d.inverse()),
            Object::Route(d) => Object::Route(d.inverse()),
            Object::Rule(d) => Object::Rule(d.inverse()),
            Object::Neighbour(d) => Object::Neighbour(d.inverse()),
            Object::Forwarding(d) => Object::Forwarding(d.inverse()),
            Object::Wireguard(d) => Object::Wireguard(d.inverse()),
            Object::Sysctl(d) => Object::Sysctl(d.inverse()),
            Object::PortVlan(d) => Object::PortVlan(d.inverse()),
            Object::Traffic(d) => Object::Traffic(d.inverse()),
            Object::Firewall(d) => Object::Firewall(d.inverse()),
            Object::ZoneSource(d) => Object::ZoneSource(d.inverse()),
            Object::Wait(_) | Object::Probe(_) | Object::Announce(_) | Object::Forget(_) => return None,
        };
        Some(Self { place: self.place, object })
    }
}

/// One line a person can read, as in `create veth net1 in pod`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Object::Link(d) => describe(f, d, "link", |l| format!("{} {}", l.kind.as_str(), l.name))?,
            Object::Attr(AttrChange { link, after: Attr::Vf { index, attr }, .. }) => {
                write!(f, "set {attr:?} of VF {index} on {link}")?;
            }
            Object::Attr(a) => write!(f, "set {:?} on {}", a.after, a.link)?,
            Object::Move(m) => write!(f, "move link {} to {}", m.from, m.name)?,
            Object::Address(d) => describe(f, d, "address", |a| format!("{} on {}", a.net, a.link))?,
            Object::Route(d) => describe(f, d, "route", ToString::to_string)?,
            Object::Rule(d) => describe(f, d, "rule", |r| format!("{} to table {}", r.priority, r.table))?,
            Object::Neighbour(d) => describe(f, d, "neighbour", |n| format!("{} on {}", n.ip, n.link))?,
            Object::Forwarding(d) => {
                describe(f, d, "forwarding entry", |e| format!("{} to {} on {}", e.mac, e.dst, e.link))?;
            }
            Object::Wireguard(d) => describe(f, d, "WireGuard", ToString::to_string)?,
            Object::Sysctl(d) => describe(f, d, "sysctl", |s| format!("{}={}", s.key, s.value))?,
            Object::PortVlan(d) => describe(f, d, "VLAN", |v| format!("{} on {}", v.vid, v.link))?,
            Object::Traffic(d) => describe(f, d, "traffic control", ToString::to_string)?,
            Object::Firewall(d) => describe(f, d, "nf_tables", firewall_text)?,
            Object::ZoneSource(d) => describe(f, d, "source", ToString::to_string)?,
            Object::Wait(Wait::Dad { link }) => write!(f, "wait for duplicate address detection on {link}")?,
            Object::Wait(Wait::Carrier { link }) => write!(f, "wait for the carrier of {link}")?,
            Object::Wait(Wait::OperUp { link }) => write!(f, "wait for {link} to be operational")?,
            Object::Probe(probe) => write!(f, "{probe}")?,
            Object::Forget(flows) => write!(f, "{flows}")?,
            Object::Announce(a) => write!(f, "announce {} at {} on {}", a.ip, a.mac, a.link)?,
        }
        write!(f, " in {}", self.place)
    }
}

fn describe<T>(
    f: &mut fmt::Formatter<'_>,
    diff: &Diff<T>,
    noun: &str,
    text: impl Fn(&T) -> String,
) -> fmt::Result {
    let (verb, object) = match (&diff.before, &diff.after) {
        (None, Some(after)) => ("add", Some(after)),
        (Some(before), None) => ("remove", Some(before)),
        (_, after) => ("change", after.as_ref()),
    };
    write!(f, "{verb} {noun} {}", object.map(text).unwrap_or_default())
}

fn firewall_text(object: &FwObject) -> String {
    match object {
        FwObject::Table(table) => format!("table {}", table.name),
        FwObject::Chain(chain) => format!("chain {} of {}", chain.name, chain.table.name),
        FwObject::Rule(rule) => format!("rule {:?} in {} of {}", rule.comment, rule.chain, rule.table.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SysctlKey;

    #[test]
    fn the_inverse_of_the_inverse_is_the_change() {
        let link = IfName::new("net1").unwrap();
        let old = Sysctl { key: SysctlKey::ip_forward(), value: "0".into() };
        for change in [
            Change::up(Place::Pod, &link),
            Change::add_address(Place::Pod, Address::new(&link, "10.0.0.2/24".parse().unwrap())),
            Change::add_route(Place::Pod, Route::new("0.0.0.0/0".parse().unwrap(), &link)),
            Change::sysctl(Place::Host, old, "1"),
        ] {
            let inverse = change.clone().inverse().unwrap();
            assert_ne!(inverse, change);
            assert_eq!(inverse.inverse().unwrap(), change);
        }
    }

    #[test]
    fn waiting_has_no_inverse() {
        let link = IfName::new("net1").unwrap();
        assert_eq!(Change::wait(Place::Pod, Wait::Dad { link }).inverse(), None);
    }

    #[test]
    fn changes_read_as_sentences() {
        let link = IfName::new("net1").unwrap();
        let route = Route::new("0.0.0.0/0".parse().unwrap(), &link).via("10.0.0.1".parse().unwrap());
        let text = Change::add_route(Place::Pod, route).to_string();
        assert_eq!(text, "add route default via 10.0.0.1 dev net1 in pod");
    }
}
