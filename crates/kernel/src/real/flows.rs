//! Forgetting tracked connections (net/netfilter/nf_conntrack_netlink.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polynic_net::{Family, Flow, Flows};

use super::space::Space;
use crate::netlink::attrs::Attrs;
use crate::netlink::raw::{self, Raw};
use crate::netlink::{Fault, Socket};

/// `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE` of the subsystem `NFNL_SUBSYS_CTNETLINK`.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// Fixed part of a message (`struct nfgenmsg`).
const HEADER: usize = 4;

/// Attributes of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
mod cta {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_IP: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const IP_V4_SRC: u16 = 1;
    pub const IP_V4_DST: u16 = 2;
    pub const IP_V6_SRC: u16 = 3;
    pub const IP_V6_DST: u16 = 4;
    pub const PROTO_NUM: u16 = 1;
    pub const PROTO_SRC_PORT: u16 = 2;
    pub const PROTO_DST_PORT: u16 = 3;
    pub const PROTO_ICMP_TYPE: u16 = 5;
    pub const PROTO_ICMPV6_TYPE: u16 = 8;
    pub const ID: u16 = 12;
    pub const ZONE: u16 = 18;
}

impl Space {
    /// Forgets connections as far as it goes: without connection tracking there are none, and one that is gone meanwhile is
    /// gone.
    pub(super) fn forget_flows(&mut self, flows: &Flows) {
        let Ok(socket) = self.firewall() else { return };
        for entry in entries(socket, flows).unwrap_or_default() {
            // The next one may still be there.
            let _ = socket.change(message(DELETE, flows.family, &entry), 0);
        }
    }
}

impl Space {
    /// Forgets those that are meant; answers how many were still there.
    pub(super) fn forget_connections(
        &mut self,
        is_meant: &mut dyn FnMut(&Flow) -> bool,
    ) -> Result<usize, Fault> {
        let mut count = 0;
        for family in [Family::V4, Family::V6] {
            let read = |payload: &[u8]| seen(Attrs::after(payload, HEADER));
            let mut meant = self.firewall()?.dump(message(GET, family, &[]), read)?;
            meant.retain(|(flow, _)| is_meant(flow));
            // First, while what tells the other end of it still belongs to a known connection. Where it cannot be done the rest is.
            let flows: Vec<Flow> = meant.iter().map(|(flow, _)| *flow).collect();
            let _ = self.end_connections(&flows);
            let socket = self.firewall()?;
            for (_, name) in &meant {
                count += usize::from(socket.change(message(DELETE, family, name), 0).is_ok());
            }
        }
        Ok(count)
    }
}

/// What identifies each of the connections, as attributes.
fn entries(socket: &mut Socket, flows: &Flows) -> Result<Vec<Vec<u8>>, Fault> {
    socket.dump(message(GET, flows.family, &[]), |payload| entry(Attrs::after(payload, HEADER), flows))
}

fn entry(list: Attrs<'_>, flows: &Flows) -> Option<Vec<u8>> {
    let original = list.get(cta::TUPLE_ORIG)?;
    let transport = Attrs::new(original).nested(cta::TUPLE_PROTO);
    let port = transport.get(cta::PROTO_DST_PORT)?.first_chunk().copied().map(u16::from_be_bytes);
    if transport.get(cta::PROTO_NUM)?.first() != Some(&flows.protocol) || port != Some(flows.port) {
        return None;
    }
    Some(identity(list, original))
}

/// What names a connection when it is to be deleted.
fn identity(list: Attrs<'_>, original: &[u8]) -> Vec<u8> {
    let mut bytes = raw::nested(cta::TUPLE_ORIG, original);
    for kind in [cta::ZONE, cta::ID] {
        bytes.extend(list.get(kind).map(|value| raw::attribute(kind, value)).unwrap_or_default());
    }
    bytes
}

/// The first packet of a connection as it is shown, and what names the connection.
fn seen(list: Attrs<'_>) -> Option<(Flow, Vec<u8>)> {
    let original = list.get(cta::TUPLE_ORIG)?;
    let (ends, transport) =
        (Attrs::new(original).nested(cta::TUPLE_IP), Attrs::new(original).nested(cta::TUPLE_PROTO));
    let v4 = |kind| ends.get(kind)?.first_chunk::<4>().map(|bytes| IpAddr::from(Ipv4Addr::from(*bytes)));
    let v6 = |kind| ends.get(kind)?.first_chunk::<16>().map(|bytes| IpAddr::from(Ipv6Addr::from(*bytes)));
    let port = |kind| transport.get(kind).and_then(|b| b.first_chunk().copied()).map(u16::from_be_bytes);
    let kinds = [cta::PROTO_ICMP_TYPE, cta::PROTO_ICMPV6_TYPE];
    let kind = || kinds.iter().find_map(|kind| transport.get(*kind)?.first().copied().map(u16::from));
    let flow = Flow {
        source: v4(cta::IP_V4_SRC).or_else(|| v6(cta::IP_V6_SRC))?,
        source_port: port(cta::PROTO_SRC_PORT).unwrap_or_default(),
        destination: v4(cta::IP_V4_DST).or_else(|| v6(cta::IP_V6_DST))?,
        protocol: *transport.get(cta::PROTO_NUM)?.first()?,
        port: port(cta::PROTO_DST_PORT).or_else(kind).unwrap_or_default(),
    };
    Some((flow, identity(list, original)))
}

fn message(kind: u16, family: Family, attributes: &[u8]) -> Raw {
    let family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    Raw::new(kind, &[family as u8, 0, 0, 0]).with_attributes(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP_53: Flows = Flows { family: Family::V4, protocol: 17, port: 53 };

    fn tracked(protocol: u8, port: u16) -> Vec<u8> {
        let transport = [
            raw::attribute(cta::PROTO_NUM, &[protocol]),
            raw::attribute(2, &[0x80, 0]),
            raw::attribute(cta::PROTO_DST_PORT, &port.to_be_bytes()),
        ];
        let original = raw::nested(cta::TUPLE_PROTO, &transport.concat());
        [raw::nested(cta::TUPLE_ORIG, &original), raw::attribute(cta::ID, &[0, 0, 0, 9])].concat()
    }

    #[test]
    fn only_connections_to_the_port_are_meant() {
        let found = |bytes: Vec<u8>| entry(Attrs::new(&bytes), &UDP_53).is_some();
        assert!(found(tracked(17, 53)));
        assert!(!found(tracked(17, 54)));
        assert!(!found(tracked(6, 53)));
        assert!(!found(Vec::new()));
    }

    #[test]
    fn the_first_packet_of_a_connection_is_read() {
        let ends =
            [raw::attribute(cta::IP_V4_SRC, &[10, 0, 0, 1]), raw::attribute(cta::IP_V4_DST, &[10, 0, 0, 2])];
        let transport = [raw::attribute(cta::PROTO_NUM, &[1]), raw::attribute(cta::PROTO_ICMP_TYPE, &[8])];
        let tuple =
            [raw::nested(cta::TUPLE_IP, &ends.concat()), raw::nested(cta::TUPLE_PROTO, &transport.concat())];
        let shown = raw::nested(cta::TUPLE_ORIG, &tuple.concat());
        let (flow, name) = seen(Attrs::new(&shown)).unwrap();
        let [source, destination] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        assert_eq!(flow, Flow { source, source_port: 0, destination, protocol: 1, port: 8 });
        assert_eq!(name, shown);
        assert_eq!(seen(Attrs::new(&[])), None);
    }

    /// Golden bytes: the deletion names the connection as the dump did.
    #[test]
    fn a_connection_is_named_as_it_was_shown() {
        let shown = tracked(17, 53);
        assert_eq!(entry(Attrs::new(&shown), &UDP_53), Some(shown));
    }
}
