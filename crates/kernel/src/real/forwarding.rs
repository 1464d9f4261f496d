//! Forwarding entries of tunnels.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use polynic_net::{Diff, Forwarding, IfName};

use super::space::Space;
use super::{Wanted, facts, wanted};
use crate::netlink::Fault;

impl Space {
    pub(super) fn change_forwarding(&mut self, diff: &Diff<Forwarding>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(entry)) => self.set_forwarding(entry, NLM_F_CREATE | NLM_F_EXCL),
            Some(Wanted::Delete(entry)) => self.delete_forwarding(entry),
            Some(Wanted::Replace(before, after))
                if (&before.link, before.mac) == (&after.link, after.mac) =>
            {
                self.set_forwarding(after, NLM_F_REPLACE)
            }
            Some(Wanted::Replace(before, after)) => {
                self.set_forwarding(after, NLM_F_CREATE | NLM_F_EXCL)?;
                self.delete_forwarding(before)
            }
            None => Ok(()),
        }
    }

    fn set_forwarding(&mut self, entry: &Forwarding, flags: u16) -> Result<(), Fault> {
        self.on_link(&entry.link, |socket, index| {
            socket.change(RouteNetlinkMessage::NewNeighbour(message(entry, index)), flags)
        })
    }

    fn delete_forwarding(&mut self, entry: &Forwarding) -> Result<(), Fault> {
        self.on_link(&entry.link, |socket, index| {
            socket.change(RouteNetlinkMessage::DelNeighbour(message(entry, index)), 0)
        })
    }

    /// The permanent entries of a tunnel; none if there is no such link.
    pub(super) fn forwarding(&mut self, link: &IfName) -> Result<Vec<Forwarding>, Fault> {
        let Ok(index) = self.link(link).map(|fact| fact.index) else { return Ok(Vec::new()) };
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = index;
        // Kernels without strict checking list all links' entries.
        let own = |payload: &[u8]| facts::forwarding(payload).filter(|entry| entry.index == index);
        let found = self.route.dump(RouteNetlinkMessage::GetNeighbour(message), own)?;
        Ok(found.into_iter().map(|e| Forwarding { link: link.clone(), mac: e.mac, dst: e.ip }).collect())
    }
}

fn message(entry: &Forwarding, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()),
        NeighbourAttribute::Destination(match entry.dst {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        }),
    ];
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::encode;
    use polynic_net::Mac;

    /// Golden bytes: what `bridge fdb append MAC dev X dst IP self permanent` puts into the message.
    #[test]
    fn an_entry_is_asked_for_in_these_bytes() {
        let link = IfName::new("flannel.1").unwrap();
        let entry = Forwarding { link, mac: Mac([2, 0, 0, 0, 0, 7]), dst: "198.51.100.12".parse().unwrap() };
        let message = RouteNetlinkMessage::NewNeighbour(message(&entry, 9));
        let bytes = encode(message, NLM_F_CREATE | NLM_F_EXCL, 1);
        let expected: [&[u8]; 4] = [
            &[48, 0, 0, 0, 28, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0], // header: RTM_NEWNEIGH
            &[7, 0, 0, 0, 9, 0, 0, 0, 0x80, 0, 2, 0],            // ndmsg: AF_BRIDGE, NUD_PERMANENT, NTF_SELF
            &[10, 0, 2, 0, 2, 0, 0, 0, 0, 7, 0, 0],              // NDA_LLADDR
            &[8, 0, 1, 0, 198, 51, 100, 12],                     // NDA_DST
        ];
        assert_eq!(bytes, expected.concat());
    }
}
