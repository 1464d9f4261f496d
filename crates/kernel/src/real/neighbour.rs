//! Permanent neighbours.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use polynic_net::{Diff, Family, Neighbour};

use super::route::family;
use super::space::Space;
use super::{Wanted, facts, wanted};
use crate::Errno;
use crate::netlink::Fault;

impl Space {
    pub(super) fn change_neighbour(&mut self, diff: &Diff<Neighbour>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(neighbour)) => self.create_neighbour(neighbour),
            Some(Wanted::Delete(neighbour)) => self.delete_neighbour(neighbour),
            Some(Wanted::Replace(before, after)) if (&before.link, before.ip) == (&after.link, after.ip) => {
                self.set_neighbour(after, NLM_F_REPLACE)
            }
            Some(Wanted::Replace(before, after)) => {
                self.create_neighbour(after)?;
                self.delete_neighbour(before)
            }
            None => Ok(()),
        }
    }

    /// What the kernel has learnt by itself gives way; only a permanent entry is somebody's.
    fn create_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), Fault> {
        match self.set_neighbour(neighbour, NLM_F_CREATE | NLM_F_EXCL) {
            Err(fault) if fault.is(Errno::EEXIST) => {
                let link = self.index(&neighbour.link)?;
                match self.neighbour_at(link, neighbour.ip)? {
                    Some(_) => Err(fault),
                    None => self.set_neighbour(neighbour, NLM_F_CREATE | NLM_F_REPLACE),
                }
            }
            outcome => outcome,
        }
    }

    fn set_neighbour(&mut self, neighbour: &Neighbour, flags: u16) -> Result<(), Fault> {
        self.on_link(&neighbour.link, |socket, index| {
            let mut message = message(neighbour, index);
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()));
            socket.change(RouteNetlinkMessage::NewNeighbour(message), flags)
        })
    }

    fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), Fault> {
        self.on_link(&neighbour.link, |socket, index| {
            socket.change(RouteNetlinkMessage::DelNeighbour(message(neighbour, index)), 0)
        })
    }

    /// The permanent neighbours of both families.
    pub(super) fn neighbours(&mut self) -> Result<Vec<Neighbour>, Fault> {
        let message = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let found = self.route.dump(message, facts::neighbour)?;
        let names = self.names(found.iter().map(|n| n.index))?;
        let named = |raw: facts::RawNeighbour| {
            Some(Neighbour { link: names.get(&raw.index)?.clone(), ip: raw.ip, mac: raw.mac })
        };
        Ok(found.into_iter().filter_map(named).collect())
    }
}

fn message(neighbour: &Neighbour, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(neighbour.ip));
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(match neighbour.ip {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    }));
    message
}
