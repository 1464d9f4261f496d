//! A packet as the firewall loads it into registers: bytes of headers, and what the kernel knows about it. Unknown bytes stay unknown.

use std::net::IpAddr;

use polynic_net::stack::{FibKind, Stack};
use polynic_net::{Family, Mac};

use super::{Connection, Links};
use crate::flow::{Flow, ICMP, ICMPV6, TCP, UDP};
use crate::lookup::{LOOPBACK, Verdict, lookup};

/// Bytes of which some may be unknown.
pub type Bytes = Vec<Option<u8>>;

/// A packet at a hook.
pub struct Packet<'a> {
    pub stack: &'a Stack,
    pub links: Links,
    pub flow: &'a Flow,
    pub connection: &'a Connection,
}

/// Keys of `enum nft_meta_keys`.
mod meta {
    pub const PROTOCOL: u32 = 1;
    pub const MARK: u32 = 3;
    pub const IIF: u32 = 4;
    pub const OIF: u32 = 5;
    pub const IIFNAME: u32 = 6;
    pub const OIFNAME: u32 = 7;
    pub const IIFTYPE: u32 = 8;
    pub const OIFTYPE: u32 = 9;
    pub const NFPROTO: u32 = 15;
    pub const L4PROTO: u32 = 16;
    pub const PKTTYPE: u32 = 19;
}

/// Keys of `enum nft_ct_keys`.
mod ct {
    pub const STATE: u32 = 0;
    pub const DIRECTION: u32 = 1;
    pub const STATUS: u32 = 2;
    pub const MARK: u32 = 3;
}

/// Bits of a connection's state.
const ESTABLISHED: u32 = 2;
const NEW: u32 = 8;
/// Bits of a connection's status: source or destination rewritten.
const REWRITTEN: [u32; 2] = [1 << 4, 1 << 5];

impl<'a> Packet<'a> {
    pub fn new(stack: &'a Stack, links: Links, flow: &'a Flow, connection: &'a Connection) -> Self {
        Self { stack, links, flow, connection }
    }

    /// Bytes of a header: base 0 is the link's, 1 the network's, 2 the transport's.
    pub fn header(&self, base: u32, offset: usize, len: usize) -> Bytes {
        let header = match base {
            0 => self.frame(),
            1 => self.network(),
            2 => self.transport(),
            _ => Vec::new(),
        };
        (offset..offset + len).map(|at| header.get(at).copied().flatten()).collect()
    }

    fn frame(&self) -> Bytes {
        let Some(frame) = self.links.frame else { return Vec::new() };
        let address = |mac: Option<Mac>| mac.map_or(vec![None; 6], |mac| known(&mac.0));
        [address(frame.to), address(frame.from), known(&self.protocol().to_be_bytes())].concat()
    }

    /// Ethernet's number of the protocol.
    fn protocol(&self) -> u16 {
        match self.flow.family() {
            Family::V4 => libc_eth::IP,
            Family::V6 => libc_eth::IPV6,
        }
    }

    fn network(&self) -> Bytes {
        let mut header = vec![None; 40];
        let mut put = |at: usize, bytes: &[u8]| {
            for (slot, byte) in header[at..].iter_mut().zip(bytes) {
                *slot = Some(*byte);
            }
        };
        match self.flow.dst {
            IpAddr::V4(dst) => {
                put(0, &[0x45, 0]);
                // Neither a fragment nor one to come.
                put(6, &[0x40, 0]);
                put(9, &[self.flow.protocol]);
                put(16, &dst.octets());
            }
            IpAddr::V6(dst) => {
                put(6, &[self.flow.protocol]);
                put(24, &dst.octets());
            }
        }
        match self.flow.src {
            Some(IpAddr::V4(src)) => put(12, &src.octets()),
            Some(IpAddr::V6(src)) => put(8, &src.octets()),
            None => {}
        }
        header
    }

    fn transport(&self) -> Bytes {
        let mut header = vec![None; 20];
        match self.flow.protocol {
            TCP | UDP => {
                for (at, port) in [(0, self.flow.source_port), (2, self.flow.port)] {
                    for (slot, byte) in header[at..].iter_mut().zip(port.iter().flat_map(|p| p.to_be_bytes()))
                    {
                        *slot = Some(byte);
                    }
                }
                // The first packet of a connection has the flag SYN, its answer ACK as well.
                if self.flow.protocol == TCP {
                    header[13] = Some(if self.connection.reply { 0x12 } else { 0x02 });
                }
            }
            ICMP => header[..2].fill(Some(0)),
            ICMPV6 => (header[0], header[1]) = (Some(128), Some(0)),
            _ => {}
        }
        match (self.flow.protocol, self.connection.reply) {
            (ICMP, false) => header[0] = Some(8),
            (ICMPV6, true) => header[0] = Some(129),
            _ => {}
        }
        header
    }

    /// Something about the packet; nothing if that is not known here.
    pub fn meta(&self, key: u32) -> Option<Bytes> {
        let family = self.flow.family();
        let number = |n: u32| known(&n.to_ne_bytes());
        let name = |link: Option<u32>| {
            let mut name = link
                .and_then(|l| self.stack.link(l))
                .map(|l| l.fact.name.to_string())
                .unwrap_or_default()
                .into_bytes();
            name.resize(16, 0);
            known(&name)
        };
        // ARPHRD_ETHER and ARPHRD_LOOPBACK.
        let kind = |link: Option<u32>| {
            let loopback = link.and_then(|l| self.stack.link(l)).is_some_and(|l| l.fact.loopback);
            known(&(if loopback { 772_u16 } else { 1 }).to_ne_bytes())
        };
        Some(match key {
            meta::PROTOCOL => known(&self.protocol().to_be_bytes()),
            meta::MARK => number(self.flow.mark),
            meta::IIF => number(self.links.iif.unwrap_or_default()),
            meta::OIF => number(self.links.oif.unwrap_or_default()),
            meta::IIFNAME => name(self.links.iif),
            meta::OIFNAME => name(self.links.oif),
            meta::IIFTYPE => kind(self.links.iif),
            meta::OIFTYPE => kind(self.links.oif),
            meta::NFPROTO if self.links.frame.is_some() => known(&[7]),
            meta::NFPROTO => known(&[if family == Family::V4 { 2 } else { 10 }]),
            meta::L4PROTO => known(&[self.flow.protocol]),
            meta::PKTTYPE => known(&[0]),
            _ => return None,
        })
    }

    /// Something about the connection; nothing if that is not known here.
    pub fn ct(&self, key: u32) -> Option<Bytes> {
        let number = |n: u32| known(&n.to_ne_bytes());
        Some(match key {
            ct::STATE => number(if self.connection.reply { ESTABLISHED } else { NEW }),
            ct::DIRECTION => known(&[u8::from(self.connection.reply)]),
            ct::MARK => number(self.connection.mark),
            ct::STATUS => {
                let bits = self.connection.rewritten.iter().map(|r| REWRITTEN[usize::from(!r.source)]);
                number(bits.fold(0, |all, bit| all | bit))
            }
            _ => return None,
        })
    }

    /// `fib`: the link by which an address is reached, its name, or what kind of address it is.
    pub fn fib(&self, result: u32, flags: u32) -> Option<Bytes> {
        const SADDR: u32 = 1;
        const MARK: u32 = 4;
        const IIF: u32 = 8;
        const PRESENT: u32 = 32;
        let asked = if flags & SADDR != 0 { self.flow.src? } else { self.flow.dst };
        if result == 3 {
            return Some(known(&self.kind_of(asked).to_ne_bytes()));
        }
        let back = Flow {
            iif: Some(LOOPBACK),
            oif: None,
            mark: if flags & MARK != 0 { self.flow.mark } else { 0 },
            ..Flow::to(asked, None)
        };
        let found = match lookup(self.stack, &back).verdict {
            Verdict::Route(chosen) if chosen.route.kind == FibKind::Unicast => {
                let links: Vec<u32> = chosen.hops.iter().filter_map(|hop| hop.link).collect();
                let by_iif = links.iter().find(|link| Some(**link) == self.links.iif).copied();
                if flags & IIF != 0 { by_iif } else { links.first().copied() }
            }
            _ => None,
        };
        match result {
            1 if flags & PRESENT != 0 => Some(known(&[u8::from(found.is_some()), 0, 0, 0])),
            1 => Some(known(&found.unwrap_or_default().to_ne_bytes())),
            _ => None,
        }
    }

    /// Kinds of addresses (`RTN_UNICAST` and so on).
    fn kind_of(&self, ip: IpAddr) -> u32 {
        let local = self.stack.owns(ip) || ip.is_loopback();
        let broadcast = self.stack.routes.iter().any(|r| r.kind == FibKind::Broadcast && r.dst.addr() == ip);
        match ip {
            _ if local => 2,
            _ if broadcast => 3,
            ip if ip.is_multicast() => 5,
            _ => 1,
        }
    }
}

/// Ethernet's numbers of the protocols.
mod libc_eth {
    pub const IP: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
}

/// Known bytes.
pub fn known(bytes: &[u8]) -> Bytes {
    bytes.iter().copied().map(Some).collect()
}
