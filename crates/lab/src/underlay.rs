//! The wires between the nodes: a switch per NIC, a router, and a second subnet with a host behind it.
//!
//! ```text
//!   node1 .10   node2 .11          router .1 --- 198.51.100.0/24 --- outside .10
//!     |eth0       |eth0              |
//!     +-----------+----- switch -----+
//! ```
//!
//! [`Layout`] decides all names and addresses, [`plan`](mod@plan) turns it into kernel objects, [`build`] makes them. The switches are bridges in the
//! lab's first network namespace, which is nothing but cables. Every IPv4 network has an IPv6 companion.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use polynic_net::IfName;

use crate::error::{Error, Result};

pub mod build;
pub mod plan;

/// Most nodes that a lab can have.
pub const MAX_NODES: u16 = 50;
/// Most NICs that a node can have.
const MAX_SEGMENTS: usize = 8;
/// The first node's host number in every underlay network.
const FIRST_NODE: u32 = 10;
/// The router's host number in every network.
const ROUTER: u32 = 1;
/// The network behind the router (TEST-NET-2, RFC 5737).
pub const OUTSIDE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24);
/// Where pods of the default network get their addresses: a /24 per node.
pub const PODS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// What Kubernetes gives to Services; the lab routes nothing there.
const SERVICES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12);
/// The underlay of a lab that was not given one: that of the quickstart guide.
pub const DEFAULT_UNDERLAY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 0), 24);

/// All names and addresses of a lab's wires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    nodes: u16,
    segments: Vec<Segment>,
}

/// One network with its IPv6 companion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The IPv4 network.
    pub v4: Ipv4Net,
    /// Its companion: `fd0N:` and the octets of the IPv4 network, written in decimal, so that people can tell them.
    pub v6: Ipv6Net,
}

impl Segment {
    fn new(v4: Ipv4Net, number: u16) -> Segment {
        let [a, b, c, d] = v4.network().octets().map(decimal_as_hex);
        let prefix = Ipv6Addr::new(0xfd00 + number, a, b, c, d, 0, 0, 0);
        // The fourth octet is part of the prefix, so that two halves of one /24 differ.
        Segment { v4, v6: Ipv6Net::new_assert(prefix, 80) }
    }

    /// Both addresses of host `number`, with prefix lengths.
    pub fn host(&self, number: u32) -> [IpNet; 2] {
        let v4 = Ipv4Addr::from(u32::from(self.v4.network()) + number);
        let v6 = Ipv6Addr::from(u128::from(self.v6.network()) + u128::from(decimal_as_hex_32(number)));
        [
            IpNet::V4(Ipv4Net::new_assert(v4, self.v4.prefix_len())),
            IpNet::V6(Ipv6Net::new_assert(v6, self.v6.prefix_len())),
        ]
    }

    /// The router's addresses.
    pub fn router(&self) -> [IpAddr; 2] {
        self.host(ROUTER).map(|net| net.addr())
    }
}

fn decimal_as_hex(octet: u8) -> u16 {
    let n = u16::from(octet);
    n / 100 * 0x100 + n / 10 % 10 * 0x10 + n % 10
}

/// Host numbers stay below 1000 (see [`MAX_NODES`]).
fn decimal_as_hex_32(n: u32) -> u32 {
    n / 100 * 0x100 + n / 10 % 10 * 0x10 + n % 10
}

impl Layout {
    /// Checks what the user asked for. No networks given means the quickstart's.
    pub fn new(nodes: u16, underlays: &[Ipv4Net]) -> Result<Layout> {
        if nodes == 0 || nodes > MAX_NODES {
            return Err(Error::Input(format!("a lab has 1 to {MAX_NODES} nodes, not {nodes}")));
        }
        if underlays.len() > MAX_SEGMENTS {
            return Err(Error::Input(format!("a node has at most {MAX_SEGMENTS} NICs")));
        }
        let given = if underlays.is_empty() { &[DEFAULT_UNDERLAY][..] } else { underlays };
        for (at, net) in given.iter().enumerate() {
            check(*net, nodes, &given[..at])?;
        }
        let segments = (0..).zip(given).map(|(n, net)| Segment::new(net.trunc(), n)).collect();
        Ok(Layout { nodes, segments })
    }

    /// The networks of eth0, eth1, ...
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The network behind the router.
    pub fn outside(&self) -> Segment {
        Segment::new(OUTSIDE, 0)
    }

    /// The addresses of the host behind the router.
    pub fn outside_host(&self) -> [IpAddr; 2] {
        self.outside().host(FIRST_NODE).map(|net| net.addr())
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (1..=self.nodes).map(|number| Node { number })
    }

    /// The addresses of a node's `nic`-th NIC.
    pub fn address(&self, node: Node, nic: usize) -> Option<[IpNet; 2]> {
        let segment = self.segments.get(nic)?;
        Some(segment.host(FIRST_NODE - 1 + u32::from(node.number)))
    }
}

fn check(net: Ipv4Net, nodes: u16, others: &[Ipv4Net]) -> Result<()> {
    let refuse = |why: String| Err(Error::Input(format!("underlay {net}: {why}")));
    let needed = FIRST_NODE + u32::from(nodes);
    if net.prefix_len() < 8
        || net.prefix_len() > 30
        || u32::from(net.broadcast()) - u32::from(net.network()) < needed
    {
        return refuse(format!("{nodes} nodes with addresses from .{FIRST_NODE} up do not fit"));
    }
    let overlaps = |other: &Ipv4Net| net.contains(&other.network()) || other.contains(&net.network());
    let taken = [(OUTSIDE, "the network behind the router"), (PODS, "the pods"), (SERVICES, "Services")];
    if let Some((other, whose)) = taken.iter().find(|(other, _)| overlaps(other)) {
        return refuse(format!("overlaps {other}, which is for {whose}"));
    }
    match others.iter().find(|other| overlaps(other)) {
        Some(other) => refuse(format!("overlaps underlay {other}")),
        None => Ok(()),
    }
}

/// A node by its number, which begins at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The number.
    pub number: u16,
}

impl Node {
    /// `node1`, ...
    pub fn name(self) -> String {
        format!("node{}", self.number)
    }

    /// The node's share of the pods' addresses, IPv4 and IPv6.
    pub fn pod_networks(self) -> [IpNet; 2] {
        let n = self.number;
        // MAX_NODES keeps the number below one octet.
        let third = u8::try_from(n).unwrap_or(u8::MAX);
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, third, 0), 24);
        let v6 =
            Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, decimal_as_hex(third), 0, 0, 0, 0), 64);
        [IpNet::V4(v4), IpNet::V6(v6)]
    }
}

/// The name of a node's `nic`-th NIC. Callers stay below [`MAX_SEGMENTS`].
pub(crate) fn nic_name(nic: usize) -> Result<IfName> {
    link_name(&format!("eth{nic}"))
}

pub(crate) fn link_name(name: &str) -> Result<IfName> {
    IfName::new(name).map_err(|why| Error::Input(format!("{name}: {why}")))
}

#[cfg(test)]
mod tests;
