//! Links, addresses and neighbours.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use polynic_net::stack::{AddressState, ForwardingState, LinkState, NeighbourState, Nud};
use polynic_net::{AddressFact, IfName, Mac};

use super::{Surveyor, conf};
use crate::netlink::Fault;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;
use crate::real::{read_address, read_link, without_statistics};

/// Fixed parts of messages: `struct ifinfomsg`, `struct ndmsg`.
const LINK_HEADER: usize = 16;
const NEIGHBOUR_HEADER: usize = 12;
/// Attributes of links.
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
/// The cable is in (include/uapi/linux/if.h).
const IFF_LOWER_UP: u32 = 1 << 16;
/// An entry that says for whom one answers, not whom one knows.
const NTF_PROXY: u8 = 8;

impl Surveyor {
    pub(super) fn links(&mut self) -> Result<Vec<LinkState>, Fault> {
        let mut message = LinkMessage::default();
        message.attributes = vec![without_statistics()];
        self.route.dump(RouteNetlinkMessage::GetLink(message), link)
    }

    pub(super) fn addresses(&mut self) -> Result<Vec<AddressState>, Fault> {
        let names: Vec<(u32, IfName)> =
            self.links()?.into_iter().map(|link| (link.fact.index, link.fact.name)).collect();
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let ask = Raw::new(libc::RTM_GETADDR, &[family as u8, 0, 0, 0, 0, 0, 0, 0]);
            found.extend(self.route.dump(ask, |payload| address(payload, &names))?);
        }
        Ok(found)
    }

    pub(super) fn neighbours(&mut self) -> Result<Vec<NeighbourState>, Fault> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            for flags in [0, NTF_PROXY] {
                let header = [family as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0];
                found.extend(self.route.dump(Raw::new(libc::RTM_GETNEIGH, &header), neighbour)?);
            }
        }
        found.dedup();
        Ok(found)
    }

    /// Of all VXLANs; others have none of this kind.
    pub(super) fn forwarding(&mut self, links: &[LinkState]) -> Result<Vec<ForwardingState>, Fault> {
        let tunnels: Vec<u32> =
            links.iter().filter(|l| l.fact.vxlan.is_some()).map(|l| l.fact.index).collect();
        let mut found = Vec::new();
        for index in tunnels {
            let mut header = [0; NEIGHBOUR_HEADER];
            header[0] = libc::AF_BRIDGE as u8;
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            // Kernels without strict checking list all links' entries.
            let own = |payload: &[u8]| forwarding(payload).filter(|entry| entry.link == index);
            found.extend(self.route.dump(Raw::new(libc::RTM_GETNEIGH, &header), own)?);
        }
        Ok(found)
    }
}

fn link(payload: &[u8]) -> Option<LinkState> {
    let fact = read_link(payload)?;
    let flags = attrs::u32(payload.get(8..)?)?;
    let list = Attrs::after(payload, LINK_HEADER);
    Some(LinkState {
        fact,
        conf: conf::of_link(list.nested(IFLA_AF_SPEC)),
        no_arp: flags & libc::IFF_NOARP as u32 != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        group: list.get(IFLA_GROUP).and_then(attrs::u32).unwrap_or_default(),
    })
}

fn address(payload: &[u8], names: &[(u32, IfName)]) -> Option<AddressState> {
    let raw = read_address(payload)?;
    let (_, name) = names.iter().find(|(index, _)| *index == raw.index)?;
    let has = |flag| raw.flags & flag != 0;
    let fact = AddressFact {
        link: name.clone(),
        net: raw.net,
        scope: raw.scope,
        tentative: has(libc::IFA_F_TENTATIVE),
        dad_failed: has(libc::IFA_F_DADFAILED),
        permanent: has(libc::IFA_F_PERMANENT),
        deprecated: has(libc::IFA_F_DEPRECATED),
        temporary: has(libc::IFA_F_TEMPORARY) && raw.net.addr().is_ipv6(),
    };
    Some(AddressState {
        link: raw.index,
        fact,
        secondary: has(libc::IFA_F_SECONDARY),
        deprecated: has(libc::IFA_F_DEPRECATED),
    })
}

fn neighbour(payload: &[u8]) -> Option<NeighbourState> {
    let link = attrs::u32(payload.get(4..)?)?;
    let state = attrs::u16(payload.get(8..)?)?;
    let flags = *payload.get(10)?;
    let list = Attrs::after(payload, NEIGHBOUR_HEADER);
    let ip = list.get(libc::NDA_DST).and_then(attrs::ip)?;
    let mac = list.get(libc::NDA_LLADDR).and_then(|bytes| bytes.try_into().ok()).map(Mac);
    Some(NeighbourState { link, ip, mac, nud: nud(state), proxy: flags & NTF_PROXY != 0 })
}

/// A permanent entry of a tunnel's own table; all zeros stand for every address that has no entry of its own.
fn forwarding(payload: &[u8]) -> Option<ForwardingState> {
    let (state, flags) = (attrs::u16(payload.get(8..)?)?, payload.get(10)?);
    let entry = neighbour(payload).filter(|_| flags & libc::NTF_SELF != 0 && nud(state) == Nud::Permanent)?;
    Some(ForwardingState { link: entry.link, mac: entry.mac?, dst: entry.ip })
}

fn nud(state: u16) -> Nud {
    match state {
        s if s & (libc::NUD_PERMANENT | libc::NUD_NOARP) != 0 => Nud::Permanent,
        s if s & libc::NUD_FAILED != 0 => Nud::Failed,
        s if s & libc::NUD_INCOMPLETE != 0 || s == 0 => Nud::Incomplete,
        _ => Nud::Valid,
    }
}
