//! A packet as lookups and firewalls see it.

use std::net::IpAddr;

use polynic_net::Family;

/// ICMP, TCP, UDP and ICMPv6 (IANA protocol numbers).
pub const ICMP: u8 = 1;
/// See [`ICMP`].
pub const TCP: u8 = 6;
/// See [`ICMP`].
pub const UDP: u8 = 17;
/// See [`ICMP`].
pub const ICMPV6: u8 = 58;

/// A packet at one place of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its destination.
    pub dst: IpAddr,
    /// Its source; none yet where the sender leaves the choice to the kernel.
    pub src: Option<IpAddr>,
    /// The link by which it came in; none for packets of this host.
    pub iif: Option<u32>,
    /// The link by which the sender insists that it leaves.
    pub oif: Option<u32>,
    /// Its mark.
    pub mark: u32,
    /// Its transport protocol.
    pub protocol: u8,
    /// Source port of TCP and UDP; none if nobody has chosen it yet.
    pub source_port: Option<u16>,
    /// Destination port of TCP and UDP.
    pub port: Option<u16>,
}

impl Flow {
    /// An echo request of this host, or the first packet of a TCP connection if there is a port.
    pub fn to(dst: IpAddr, port: Option<u16>) -> Self {
        let echo = if dst.is_ipv4() { ICMP } else { ICMPV6 };
        Self {
            dst,
            src: None,
            iif: None,
            oif: None,
            mark: 0,
            protocol: if port.is_some() { TCP } else { echo },
            source_port: None,
            port,
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.dst)
    }
}
