//! Removing links, several in one go.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use polynic_net::IfName;

use super::space::Space;
use crate::Errno;
use crate::netlink::Fault;

/// Groups from here on are ours. Administrators use small numbers, if any.
const FIRST_GROUP: u32 = 0x4000_0000;

impl Space {
    /// Removes one link; its peer, if it has one, goes too.
    pub(super) fn delete_link(&mut self, name: &IfName) -> Result<(), Fault> {
        self.forget(name);
        self.route.change(RouteNetlinkMessage::DelLink(named(name)), 0)
    }

    /// Removes several links. Each deletion by itself waits for the kernel's grace periods, a group of links only once.
    pub(super) fn delete_links(&mut self, names: &[IfName]) -> Result<(), Fault> {
        if let [name] = names {
            return gone_is_fine(self.delete_link(name));
        }
        let Some(group) = self.group(names)? else { return Ok(()) };
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::Group(group));
        match self.route.change(RouteNetlinkMessage::DelLink(request), 0) {
            // One that cannot be deleted (hardware) spoils the group: find out which.
            Err(fault) if fault.is(Errno::EOPNOTSUPP) => self.delete_each(names),
            outcome => gone_is_fine(outcome),
        }
    }

    fn delete_each(&mut self, names: &[IfName]) -> Result<(), Fault> {
        let outcomes: Vec<_> = names.iter().map(|name| gone_is_fine(self.delete_link(name))).collect();
        outcomes.into_iter().collect()
    }

    /// Puts the links that still exist into a group of their own; nothing if there are none.
    fn group(&mut self, names: &[IfName]) -> Result<Option<u32>, Fault> {
        let mut group = None;
        for name in names {
            self.forget(name);
            let link = match self.link(name) {
                Err(fault) if fault.is(Errno::ENODEV) => continue,
                link => link?,
            };
            self.forget(name);
            let number = *group.get_or_insert_with(|| fresh_group(link.index));
            let mut request = LinkMessage::default();
            request.header.index = link.index;
            request.attributes.push(LinkAttribute::Group(number));
            gone_is_fine(self.route.change(RouteNetlinkMessage::NewLink(request), 0))?;
        }
        Ok(group)
    }
}

/// A number that no other group has, since all its members are deleted: it is made of the index of one of them, which is
/// unique in the namespace.
fn fresh_group(index: u32) -> u32 {
    FIRST_GROUP | (index & (FIRST_GROUP - 1))
}

fn named(name: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message
}

fn gone_is_fine(outcome: Result<(), Fault>) -> Result<(), Fault> {
    match outcome {
        Err(fault) if fault.is(Errno::ENODEV) => Ok(()),
        outcome => outcome,
    }
}
