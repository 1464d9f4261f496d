//! The wires between the nodes: a switch per NIC, a router, and subnets with hosts behind it.
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
use crate::shape::{Host, Shape, Underlay, decimal_as_hex};

pub mod build;
mod check;
pub mod plan;

/// Most nodes that a lab can have.
pub const MAX_NODES: u16 = 50;
/// Most NICs that a node can have.
const MAX_SEGMENTS: usize = 8;
/// The first node's host number in every underlay network.
const FIRST_NODE: u32 = 10;
/// The router's host number in every network.
const ROUTER: u32 = 1;

/// All names and addresses of a lab's wires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    nodes: Vec<u16>,
    shape: Shape,
    segments: Vec<Segment>,
    beyond: Vec<Segment>,
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
        let [a, b, c, d] = v4.network().octets().map(|octet| decimal_as_hex(u16::from(octet)));
        let prefix = Ipv6Addr::new(0xfd00 + number, a, b, c, d, 0, 0, 0);
        // The fourth octet is part of the prefix, so that two halves of one /24 differ.
        Segment { v4: v4.trunc(), v6: Ipv6Net::new_assert(prefix, 80) }
    }

    fn of(underlay: &Underlay, number: u16) -> Segment {
        let derived = Segment::new(underlay.v4, number);
        Segment { v6: underlay.v6.unwrap_or(derived.v6), ..derived }
    }

    /// Both addresses of host `number`, with prefix lengths. The IPv6 one has the digits of the number's last three.
    pub fn host(&self, number: u32) -> [IpNet; 2] {
        let v4 = Ipv4Addr::from(u32::from(self.v4.network()) + number);
        let digits = u16::try_from(number % 1000).unwrap_or_default();
        let upper = u128::from(number / 1000) << 16;
        let v6 = Ipv6Addr::from(u128::from(self.v6.network()) + upper + u128::from(decimal_as_hex(digits)));
        [
            IpNet::V4(Ipv4Net::new_assert(v4, self.v4.prefix_len())),
            IpNet::V6(Ipv6Net::new_assert(v6, self.v6.prefix_len())),
        ]
    }

    /// The addresses of the host that has this IPv4 address.
    fn host_at(&self, address: Ipv4Addr) -> [IpNet; 2] {
        self.host(u32::from(address) - u32::from(self.v4.network()))
    }

    /// The router's addresses.
    pub fn router(&self) -> [IpAddr; 2] {
        self.host(ROUTER).map(|net| net.addr())
    }
}

/// Where a host that is no node has its cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Among the nodes, on their network of this number.
    Underlay(usize),
    /// In the network of this number behind the router.
    Beyond(usize),
}

impl Layout {
    /// Checks what the user asked for.
    pub fn new(nodes: u16, shape: &Shape) -> Result<Layout> {
        if nodes == 0 || nodes > MAX_NODES {
            return Err(Error::Input(format!("a lab has 1 to {MAX_NODES} nodes, not {nodes}")));
        }
        if shape.underlays.is_empty() || shape.underlays.len() > MAX_SEGMENTS {
            return Err(Error::Input(format!("a node has 1 to {MAX_SEGMENTS} NICs")));
        }
        for (at, underlay) in shape.underlays.iter().enumerate() {
            check::underlay(underlay, nodes, shape, &shape.underlays[..at])?;
        }
        check::cluster(nodes, shape)?;
        let segments = (0..).zip(&shape.underlays).map(|(n, underlay)| Segment::of(underlay, n)).collect();
        let mut layout =
            Layout { nodes: (1..=nodes).collect(), shape: shape.clone(), segments, beyond: Vec::new() };
        for host in &shape.hosts {
            layout.provide_network_of(host);
        }
        Ok(layout)
    }

    fn provide_network_of(&mut self, host: &Host) {
        let known =
            self.segments.iter().chain(&self.beyond).any(|segment| segment.v4.contains(&host.v4.addr()));
        if !known {
            self.beyond.push(Segment::new(host.v4.trunc(), 0));
        }
    }

    /// The same lab with these nodes.
    pub fn with_nodes(&self, numbers: &[u16]) -> Layout {
        Layout { nodes: numbers.to_vec(), ..self.clone() }
    }

    /// What was asked for.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The networks of the nodes' NICs.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The networks behind the router.
    pub fn beyond(&self) -> &[Segment] {
        &self.beyond
    }

    /// The name of the nodes' `nic`-th NIC.
    pub fn nic(&self, nic: usize) -> Result<IfName> {
        match self.shape.underlays.get(nic).and_then(|underlay| underlay.nic.as_deref()) {
            Some(name) => link_name(name),
            None => nic_name(nic),
        }
    }

    /// The name of the nodes' last NIC.
    pub fn last_nic(&self) -> Result<IfName> {
        self.nic(self.shape.underlays.len().saturating_sub(1))
    }

    /// Where a host that is no node has its cable, and its addresses.
    pub fn host(&self, host: &Host) -> Option<(On, [IpNet; 2])> {
        let holds = |segment: &Segment| segment.v4.contains(&host.v4.addr());
        if let Some(at) = self.segments.iter().position(holds) {
            return Some((On::Underlay(at), self.segments[at].host_at(host.v4.addr())));
        }
        let at = self.beyond.iter().position(holds)?;
        Some((On::Beyond(at), self.beyond[at].host_at(host.v4.addr())))
    }

    /// The addresses of the host of that name.
    pub fn host_addresses(&self, name: &str) -> Option<[IpAddr; 2]> {
        let host = self.shape.hosts.iter().find(|host| host.name == name)?;
        self.host(host).map(|(_, addresses)| addresses.map(|net| net.addr()))
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<'_> {
        self.nodes.iter().map(|number| Node { number: *number })
    }

    /// The addresses of a node's `nic`-th NIC.
    pub fn address(&self, node: Node, nic: usize) -> Option<[IpNet; 2]> {
        let (segment, underlay) = (self.segments.get(nic)?, self.shape.underlays.get(nic)?);
        let given = underlay.numbers.get(usize::from(node.number) - 1).copied();
        Some(segment.host(given.unwrap_or(FIRST_NODE - 1 + u32::from(node.number))))
    }

    /// A node's share of the default network's addresses, IPv4 and IPv6.
    pub fn pod_networks(&self, node: Node) -> [IpNet; 2] {
        self.shape.pods.part(node.number)
    }

    /// What the Node object calls `podCIDRs`.
    pub fn node_cidrs(&self, node: Node) -> [IpNet; 2] {
        match self.shape.node_cidrs {
            Some(cidrs) => cidrs.part(node.number - 1),
            None => self.pod_networks(node),
        }
    }
}

/// A node by its number, which begins at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// The number.
    pub number: u16,
}

impl Node {
    /// `node1`, ...
    pub fn name(self) -> String {
        format!("node{}", self.number)
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
