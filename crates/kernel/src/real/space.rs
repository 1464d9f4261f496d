//! One namespace: its sockets, and what is known of its links' indexes.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use polynic_net::{IfName, LinkFact, LinkName, Object};

use super::idle::Idle;
use super::{Failure, facts};
use crate::netlink::{Fault, Socket};
use crate::netns::{Anywhere, Netns};
use crate::{Errno, NetnsId};

/// `IFLA_ALT_IFNAME` (include/uapi/linux/if_link.h).
const ALT_IFNAME: u16 = 53;

/// One namespace with a route socket, and a firewall socket once it is needed.
pub(super) struct Space {
    pub(super) route: Socket,
    firewall: Option<Socket>,
    /// A generic netlink socket with the number of WireGuard's family, once they are needed.
    pub(super) wireguard: Option<(Socket, u16)>,
    /// Where the firewall socket comes from and goes to, if it is to outlive this value.
    idle: Option<Arc<Idle>>,
    pub(super) netns: Netns<Anywhere>,
    /// Indexes found so far. A name may come to mean another link; its old index is then refused with `ENODEV`, because the
    /// kernel hands out indexes in turn, and the name is looked up again (see [`Space::on_link`]).
    indexes: HashMap<IfName, u32>,
    /// Names of links that were seen while an observation is under way: its lists speak of the same ones again and again.
    pub(super) seen: Option<HashMap<u32, IfName>>,
}

impl Space {
    /// Opens the route socket from inside the namespace.
    pub(super) fn open(netns: Netns<Anywhere>) -> io::Result<Self> {
        let route = netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_ROUTE))??;
        Ok(Self {
            route,
            firewall: None,
            wireguard: None,
            idle: None,
            netns,
            indexes: HashMap::new(),
            seen: None,
        })
    }

    /// Takes the firewall socket from `idle` and gives it back in the end.
    pub(super) fn borrow_from(&mut self, idle: &Arc<Idle>) {
        self.idle = Some(Arc::clone(idle));
    }

    pub(super) fn id(&self) -> NetnsId {
        self.netns.id()
    }

    /// The namespace's descriptor, as link messages name namespaces.
    pub(super) fn raw_fd(&self) -> RawFd {
        self.netns.as_fd().as_raw_fd()
    }

    /// The firewall socket; it stays open as long as this value, or longer (see [`Idle`]).
    pub(super) fn firewall(&mut self) -> Result<&mut Socket, Fault> {
        let id = self.id();
        match &mut self.firewall {
            Some(socket) => Ok(socket),
            none => {
                let opened = match self.idle.as_ref().and_then(|idle| idle.take(id)) {
                    Some(socket) => Ok(socket),
                    None => {
                        self.netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)).flatten()
                    }
                };
                Ok(none.insert(opened.map_err(|e| Fault::io(&e))?))
            }
        }
    }

    /// Carries out a change that is about this namespace alone.
    pub(super) fn perform(&mut self, object: &Object) -> Result<(), Failure> {
        match object {
            Object::Attr(change) => self.change_attr(change),
            Object::Address(diff) => Ok(self.change_address(diff)?),
            Object::Route(diff) => Ok(self.change_route(diff)?),
            Object::Rule(diff) => Ok(self.change_rule(diff)?),
            Object::Neighbour(diff) => Ok(self.change_neighbour(diff)?),
            Object::Forwarding(diff) => Ok(self.change_forwarding(diff)?),
            Object::Wireguard(diff) => Ok(self.change_wireguard(diff)?),
            Object::Sysctl(diff) => self.change_sysctl(diff),
            Object::PortVlan(diff) => Ok(self.change_port_vlan(diff)?),
            Object::Traffic(diff) => Ok(self.change_traffic(diff)?),
            Object::Wait(wait) => self.wait(wait),
            Object::Announce(news) => {
                self.announce(news);
                Ok(())
            }
            Object::Forget(flows) => {
                self.forget_flows(flows);
                Ok(())
            }
            Object::Link(_)
            | Object::Move(_)
            | Object::Firewall(_)
            | Object::ZoneSource(_)
            | Object::Probe(_) => Err(Failure::Unsupported),
        }
    }

    /// What the kernel says of a link now.
    pub(super) fn link(&mut self, name: &IfName) -> Result<LinkFact, Fault> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_string()), without_statistics()];
        self.get_link(message)
    }

    /// What the kernel says of the link that has this name besides its own. Kernels before 5.5 know no such names.
    pub(super) fn link_by_other_name(&mut self, name: &LinkName) -> Result<LinkFact, Fault> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::Other(DefaultNla::new(ALT_IFNAME, [name.as_str().as_bytes(), &[0]].concat())),
            without_statistics(),
        ];
        match self.get_link(message) {
            Err(fault) if fault.is(Errno::EINVAL) => Err(Fault::refused(Errno::ENODEV, "no such name")),
            found => found,
        }
    }

    /// What the kernel says of the link with an index.
    pub(super) fn link_by_index(&mut self, index: u32) -> Result<LinkFact, Fault> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![without_statistics()];
        self.get_link(message)
    }

    fn get_link(&mut self, message: LinkMessage) -> Result<LinkFact, Fault> {
        let fact = self.route.get(RouteNetlinkMessage::GetLink(message), facts::link)?;
        self.indexes.insert(fact.name.clone(), fact.index);
        self.remember(&fact);
        Ok(fact)
    }

    /// Every link.
    pub(super) fn links(&mut self) -> Result<Vec<LinkFact>, Fault> {
        let mut message = LinkMessage::default();
        message.attributes = vec![without_statistics()];
        let found = self.route.dump(RouteNetlinkMessage::GetLink(message), facts::link)?;
        found.iter().for_each(|fact| self.remember(fact));
        Ok(found)
    }

    fn remember(&mut self, fact: &LinkFact) {
        if let Some(seen) = &mut self.seen {
            seen.insert(fact.index, fact.name.clone());
        }
    }

    /// The index of a link, from memory if it was looked up before.
    pub(super) fn index(&mut self, name: &IfName) -> Result<u32, Fault> {
        match self.indexes.get(name) {
            Some(index) => Ok(*index),
            None => Ok(self.link(name)?.index),
        }
    }

    /// Forgets the index of a link that is made, moved or removed.
    pub(super) fn forget(&mut self, name: &IfName) {
        self.indexes.remove(name);
    }

    /// Does something with a link's index; looks the index up again if the remembered one is out of date.
    pub(super) fn on_link<T>(
        &mut self,
        name: &IfName,
        mut act: impl FnMut(&mut Socket, u32) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let remembered = self.indexes.contains_key(name);
        let index = self.index(name)?;
        match act(&mut self.route, index) {
            Err(fault) if remembered && fault.is(Errno::ENODEV) => {
                self.forget(name);
                let index = self.index(name)?;
                act(&mut self.route, index)
            }
            outcome => outcome,
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if let (Some(idle), Some(socket)) = (&self.idle, self.firewall.take()) {
            idle.keep(self.netns.id(), socket);
        }
    }
}

/// Counters are most of a link's message and nobody here reads them.
pub(crate) fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}
