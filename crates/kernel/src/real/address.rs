//! Addresses on links.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use polynic_net::{Address, AddressFact, Diff, Family, IfName, IpNet, is_global};

use super::route::family;
use super::space::Space;
use super::{Wanted, facts, wanted};
use crate::Errno;
use crate::netlink::Fault;

impl Space {
    pub(super) fn change_address(&mut self, diff: &Diff<Address>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(address)) => self.add_address(address),
            Some(Wanted::Delete(address)) => self.delete_address(address),
            Some(Wanted::Replace(before, after)) => {
                self.add_address(after)?;
                self.delete_address(before)
            }
            None => Ok(()),
        }
    }

    fn add_address(&mut self, address: &Address) -> Result<(), Fault> {
        self.on_link(&address.link, |socket, index| {
            let message = RouteNetlinkMessage::NewAddress(message(address, index));
            socket.change(message, NLM_F_CREATE | NLM_F_EXCL)
        })
    }

    fn delete_address(&mut self, address: &Address) -> Result<(), Fault> {
        self.on_link(&address.link, |socket, index| {
            socket.change(RouteNetlinkMessage::DelAddress(message(address, index)), 0)
        })
    }

    /// The addresses of a link; none if there is no such link.
    pub(super) fn addresses(&mut self, link: &IfName) -> Result<Vec<AddressFact>, Fault> {
        let found = self.on_link(link, |socket, index| {
            let mut message = AddressMessage::default();
            message.header.index = index;
            let all = socket.dump(RouteNetlinkMessage::GetAddress(message), facts::address)?;
            // Kernels before 4.20 list every link's.
            Ok(all.into_iter().filter(|a| a.index == index).collect::<Vec<_>>())
        });
        match found {
            Ok(found) => Ok(found.iter().map(|raw| fact(link, raw)).collect()),
            Err(fault) if fault.is(Errno::ENODEV) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }
}

impl Space {
    /// The addresses of all links, by the links' indexes.
    pub(super) fn all_addresses(&mut self) -> Result<Vec<AddressFact>, Fault> {
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.route.dump(message, facts::address)?;
        self.by_link(found)
    }

    /// The addresses of a family that are of use beyond their link.
    pub(super) fn global_addresses(&mut self, of: Family) -> Result<Vec<AddressFact>, Fault> {
        let mut message = AddressMessage::default();
        message.header.family = family(of);
        let useful = |payload: &[u8]| facts::address(payload).filter(|a| is_global(a.net.addr()));
        let mut found = self.route.dump(RouteNetlinkMessage::GetAddress(message), useful)?;
        found.retain(|raw| Family::of(raw.net.addr()) == of);
        self.by_link(found)
    }

    fn by_link(&mut self, mut found: Vec<facts::RawAddress>) -> Result<Vec<AddressFact>, Fault> {
        // Old kernels list links by a hash of their indexes. Both families come in turn, and keep their order.
        found.sort_by_key(|raw| raw.index);
        let names = self.names(found.iter().map(|raw| raw.index))?;
        Ok(found.iter().filter_map(|raw| Some(fact(names.get(&raw.index)?, raw))).collect())
    }
}

fn fact(link: &IfName, raw: &facts::RawAddress) -> AddressFact {
    AddressFact {
        link: link.clone(),
        net: raw.net,
        scope: raw.scope,
        tentative: raw.flags & libc::IFA_F_TENTATIVE != 0,
        dad_failed: raw.flags & libc::IFA_F_DADFAILED != 0,
        permanent: raw.flags & libc::IFA_F_PERMANENT != 0,
        deprecated: raw.flags & libc::IFA_F_DEPRECATED != 0,
        // The same bit means "secondary" for IPv4.
        temporary: raw.flags & libc::IFA_F_TEMPORARY != 0 && raw.net.addr().is_ipv6(),
    }
}

fn message(address: &Address, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = address.net.addr();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.net.prefix_len();
    message.header.index = index;
    if ip.is_loopback() {
        message.header.scope = AddressScope::Host;
    }
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message.attributes.extend(broadcast(address.net).map(AddressAttribute::Broadcast));
    if address.nodad && ip.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

/// The last address of an IPv4 network. Networks of one or two addresses have none (RFC 3021), nor has loopback.
fn broadcast(net: IpNet) -> Option<Ipv4Addr> {
    match net.broadcast() {
        IpAddr::V4(last) if net.prefix_len() < 31 && !net.addr().is_loopback() => Some(last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_networks_have_a_broadcast_address() {
        let of = |net: &str| broadcast(net.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(of("10.1.2.3/24").as_deref(), Some("10.1.2.255"));
        for none in ["10.1.2.3/31", "10.1.2.3/32", "127.0.0.1/8", "fd00::1/64"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
