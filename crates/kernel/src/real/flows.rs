//! Forgetting tracked connections (net/netfilter/nf_conntrack_netlink.c).

use polynic_net::{Family, Flows};

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
    pub const TUPLE_PROTO: u16 = 2;
    pub const PROTO_NUM: u16 = 1;
    pub const PROTO_DST_PORT: u16 = 3;
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
    let mut bytes = raw::nested(cta::TUPLE_ORIG, original);
    for kind in [cta::ZONE, cta::ID] {
        bytes.extend(list.get(kind).map(|value| raw::attribute(kind, value)).unwrap_or_default());
    }
    Some(bytes)
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

    /// Golden bytes: the deletion names the connection as the dump did.
    #[test]
    fn a_connection_is_named_as_it_was_shown() {
        let shown = tracked(17, 53);
        assert_eq!(entry(Attrs::new(&shown), &UDP_53), Some(shown));
    }
}
