//! One namespace: its sockets, and what is known of its links' indexes.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use polynic_net::{IfName, LinkFact, Object};

use super::{Failure, facts};
use crate::netlink::{Fault, Socket};
use crate::netns::{Anywhere, Netns};
use crate::{Errno, NetnsId};

/// One namespace with a route socket, and a firewall socket once it is needed.
pub(super) struct Space {
    pub(super) route: Socket,
    firewall: Option<Socket>,
    pub(super) netns: Netns<Anywhere>,
    /// Indexes found so far. A name may come to mean another link; its old index is then refused with `ENODEV`, because the
    /// kernel hands out indexes in turn, and the name is looked up again (see [`Space::on_link`]).
    indexes: HashMap<IfName, u32>,
}

impl Space {
    /// Opens the route socket from inside the namespace.
    pub(super) fn open(netns: Netns<Anywhere>) -> io::Result<Self> {
        let route = netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_ROUTE))??;
        Ok(Self { route, firewall: None, netns, indexes: HashMap::new() })
    }

    pub(super) fn id(&self) -> NetnsId {
        self.netns.id()
    }

    /// The namespace's descriptor, as link messages name namespaces.
    pub(super) fn raw_fd(&self) -> RawFd {
        self.netns.as_fd().as_raw_fd()
    }

    /// The firewall socket. It stays open: closing one after a deletion can wait 10-15 ms for the kernel's clean-up.
    pub(super) fn firewall(&mut self) -> Result<&mut Socket, Fault> {
        if self.firewall.is_none() {
            let opened = self.netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_NETFILTER));
            self.firewall = Some(opened.and_then(|r| r).map_err(|e| Fault::io(&e))?);
        }
        self.firewall.as_mut().ok_or_else(|| Fault::Talk("no firewall socket".into()))
    }

    /// Carries out a change that is about this namespace alone.
    pub(super) fn perform(&mut self, object: &Object) -> Result<(), Failure> {
        match object {
            Object::Attr(change) => self.change_attr(change),
            Object::Address(diff) => Ok(self.change_address(diff)?),
            Object::Route(diff) => Ok(self.change_route(diff)?),
            Object::Rule(diff) => Ok(self.change_rule(diff)?),
            Object::Neighbour(diff) => Ok(self.change_neighbour(diff)?),
            Object::Sysctl(diff) => self.change_sysctl(diff),
            Object::PortVlan(diff) => Ok(self.change_port_vlan(diff)?),
            Object::Wait(wait) => self.wait(wait),
            Object::Link(_) | Object::Firewall(_) => Err(Failure::Unsupported),
        }
    }

    /// What the kernel says of a link now.
    pub(super) fn link(&mut self, name: &IfName) -> Result<LinkFact, Fault> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_string()), without_statistics()];
        self.get_link(message)
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
        Ok(fact)
    }

    /// Every link.
    pub(super) fn links(&mut self) -> Result<Vec<LinkFact>, Fault> {
        let mut message = LinkMessage::default();
        message.attributes = vec![without_statistics()];
        self.route.dump(RouteNetlinkMessage::GetLink(message), facts::link)
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

/// Counters are most of a link's message and nobody here reads them.
pub(super) fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}
