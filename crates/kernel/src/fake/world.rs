//! All namespaces of the machine, and the way of a change to the object it is about.

use std::collections::BTreeMap;

use polynic_net::{Change, Diff, IfName, Link, LinkKind, LinkRef, Move, Object, OperState, Place, Wait};

use super::fault::Faults;
use super::lan::Lan;
use super::link::{End, Wire};
use super::space::Space;
use crate::{Errno, KernelError};

/// The number of the host's namespace. Pods' namespaces get the numbers after it, none twice.
pub(super) const HOST: u32 = 0;

/// Why the fake kernel does not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The kernel's error, with its own words where it would have some.
    Errno(Errno, Option<String>),
    /// Something else is there than the change takes for granted.
    Stale(String),
    /// A wait that ended badly.
    Waited(String),
    /// A probe's outcome.
    Answered(KernelError),
    /// No pod namespace.
    NoPod,
}

impl Refusal {
    pub(super) fn because(errno: Errno, detail: &str) -> Self {
        Self::Errno(errno, Some(detail.to_owned()))
    }

    pub(super) fn explain(self, what: String) -> KernelError {
        match self {
            Self::Errno(errno, detail) => KernelError::Refused { what, errno, detail },
            Self::Stale(found) => KernelError::Stale { what, found },
            Self::Waited(why) => KernelError::Waited(why),
            Self::Answered(error) => error,
            Self::NoPod => KernelError::NoPod { what },
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno, None)
    }
}

/// The whole machine.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) spaces: BTreeMap<u32, Space>,
    pub(super) paths: BTreeMap<String, u32>,
    pub(super) faults: Faults,
    pub(super) dad_fails: bool,
    pub(super) lan: Lan,
    next_space: u32,
    next_index: u32,
}

impl Default for World {
    fn default() -> Self {
        Self {
            spaces: BTreeMap::from([(HOST, Space::new())]),
            paths: BTreeMap::new(),
            faults: Faults::default(),
            dad_fails: false,
            lan: Lan::default(),
            next_space: HOST + 1,
            next_index: 2,
        }
    }
}

impl World {
    pub(super) fn add_space(&mut self, path: &str) {
        self.paths.insert(path.to_owned(), self.next_space);
        self.spaces.insert(self.next_space, Space::new());
        self.next_space += 1;
    }

    pub(super) fn remove_space(&mut self, path: &str) {
        let Some(number) = self.paths.remove(path) else { return };
        let names: Vec<_> = self.space(number).map(|s| s.links.keys().cloned().collect()).unwrap_or_default();
        for name in names {
            self.give_back(&End { space: number, name });
        }
        self.spaces.remove(&number);
        self.settle();
    }

    /// Hardware of a namespace that goes is the node's again, under its name or its number (`default_device_exit_net`); all else dies.
    fn give_back(&mut self, end: &End) {
        let index = self.find(end).ok().filter(|link| link.wire == Wire::Physical).map(|link| link.index);
        let spare = index.and_then(|index| IfName::new(format!("dev{index}")).ok());
        let from = LinkRef { place: Place::Pod, name: end.name.clone() };
        let home = Move { from, name: end.name.clone(), spare };
        if home.spare.is_none() || self.move_link(end, HOST, &home).is_err() {
            self.unlink(end);
        }
    }

    /// The next index of a link, unique in the whole machine.
    pub(super) fn take_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    /// The number of the namespace that `place` means to an attachment whose pod is `pod`.
    pub(super) fn space_at(&self, pod: Option<u32>, place: Place) -> Result<u32, Refusal> {
        match place {
            Place::Host => Ok(HOST),
            Place::Pod => pod.filter(|pod| self.spaces.contains_key(pod)).ok_or(Refusal::NoPod),
        }
    }

    pub(super) fn space(&self, number: u32) -> Option<&Space> {
        self.spaces.get(&number)
    }

    pub(super) fn space_mut(&mut self, number: u32) -> Result<&mut Space, Refusal> {
        self.spaces.get_mut(&number).ok_or(Refusal::NoPod)
    }

    /// Applies one change for an attachment whose pod is `pod`.
    pub(super) fn change(&mut self, pod: Option<u32>, change: &Change) -> Result<(), Refusal> {
        let number = self.space_at(pod, change.place)?;
        match &change.object {
            Object::Link(diff) => return self.change_link(pod, change.place, diff),
            Object::Attr(attr) => return self.set_attr(number, attr),
            Object::Move(m) => {
                let from = self.space_at(pod, m.from.place)?;
                return self.move_link(&End { space: from, name: m.from.name.clone() }, number, m);
            }
            Object::Wait(wait) => return self.wait(number, wait),
            Object::Probe(probe) => {
                let space = self.space(number).ok_or(Refusal::NoPod)?;
                return self.lan.probe(space, std::slice::from_ref(probe));
            }
            Object::Announce(news) => {
                self.lan.announced.push(news.clone());
                return Ok(());
            }
            Object::Forget(_) => return Ok(()),
            _ => {}
        }
        let space = self.space_mut(number)?;
        match &change.object {
            Object::Address(diff) => in_turn(space, diff, Space::delete_address, Space::add_address),
            Object::Route(diff) => in_turn(space, diff, Space::delete_route, Space::add_route),
            Object::Rule(diff) => in_turn(space, diff, Space::delete_rule, Space::add_rule),
            Object::Neighbour(diff) => in_turn(space, diff, Space::delete_neighbour, Space::add_neighbour),
            Object::Forwarding(diff) => in_turn(space, diff, Space::delete_forwarding, Space::add_forwarding),
            Object::Wireguard(diff) => space.change_wireguard(diff),
            Object::PortVlan(diff) => in_turn(space, diff, Space::delete_vlan, Space::add_vlan),
            Object::Sysctl(diff) => space.change_sysctl(diff),
            Object::Traffic(diff) => in_turn(space, diff, Space::delete_traffic, Space::add_traffic),
            Object::ZoneSource(diff) => {
                in_turn(space, diff, Space::delete_zone_source, Space::add_zone_source)
            }
            Object::Firewall(diff) => space.firewall.batch(&[diff]),
            Object::Link(_)
            | Object::Attr(_)
            | Object::Move(_)
            | Object::Wait(_)
            | Object::Probe(_)
            | Object::Announce(_)
            | Object::Forget(_) => Ok(()),
        }
    }

    fn change_link(&mut self, pod: Option<u32>, place: Place, diff: &Diff<Link>) -> Result<(), Refusal> {
        let number = self.space_at(pod, place)?;
        if let Some(old) = &diff.before {
            self.delete_link(number, &old.name)?;
        }
        let Some(link) = &diff.after else { return Ok(()) };
        let other = match &link.kind {
            LinkKind::Veth(peer) => Some(peer.place),
            kind => kind.parent().map(|parent| parent.place),
        };
        let other = other.map(|place| self.space_at(pod, place)).transpose()?;
        self.create_link(number, link, other.unwrap_or(number))
    }

    fn wait(&self, number: u32, wait: &Wait) -> Result<(), Refusal> {
        let space = self.space(number).ok_or(Refusal::NoPod)?;
        match wait {
            Wait::Dad { link } => {
                space.link(link)?;
                match space.addresses.iter().find(|a| a.link == *link && self.dad_failed(a)) {
                    Some(a) => Err(Refusal::Waited(format!(
                        "link {link} has address {} in DADFAILED state",
                        a.net.addr()
                    ))),
                    None => Ok(()),
                }
            }
            Wait::Carrier { link } => Ok(space.link(link).map(drop)?),
            Wait::OperUp { link } => {
                space.link(link)?;
                match self.oper(number, link) {
                    OperState::Up | OperState::Unknown => Ok(()),
                    state => Err(Refusal::Waited(format!("link {link} is not operational: {state:?}"))),
                }
            }
        }
    }
}

/// A change of something in one namespace: what was there goes, what shall be there comes.
fn in_turn<T>(
    space: &mut Space,
    diff: &Diff<T>,
    delete: fn(&mut Space, &T) -> Result<(), Refusal>,
    add: fn(&mut Space, &T) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    diff.before.as_ref().map_or(Ok(()), |old| delete(space, old))?;
    diff.after.as_ref().map_or(Ok(()), |new| add(space, new))
}
