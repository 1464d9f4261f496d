//! Rules and routes with everything that lookups look at.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Family, TABLE_LOCAL, TABLE_MAIN};

/// A policy rule with all its selectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Which packets it sees.
    pub family: Family,
    /// Its place in the order, lowest first.
    pub priority: u32,
    /// Matches what the selectors do not.
    pub invert: bool,
    /// Source network.
    pub from: Option<IpNet>,
    /// Destination network.
    pub to: Option<IpNet>,
    /// Incoming link, by name: it need not exist. `lo` means packets of this host.
    pub iif: Option<String>,
    /// Outgoing link that the sender insists on, by name.
    pub oif: Option<String>,
    /// Mark and mask.
    pub mark: Option<(u32, u32)>,
    /// Transport protocol.
    pub protocol: Option<u8>,
    /// Source ports, both included.
    pub source_ports: Option<(u16, u16)>,
    /// Destination ports, both included.
    pub ports: Option<(u16, u16)>,
    /// User ids of the sending socket, both included.
    pub users: Option<(u32, u32)>,
    /// Type of service.
    pub tos: u8,
    /// Looks into the table of the VRF that the packet's link belongs to.
    pub l3mdev: bool,
    /// What it does.
    pub action: RuleAction,
    /// Does not accept a route whose prefix is this long or shorter.
    pub suppress_prefixlen: Option<u32>,
    /// Does not accept a route through a link of this group.
    pub suppress_group: Option<u32>,
    /// Selectors that are not understood, by the kernel's numbers: whether it matches cannot be said.
    pub unknown: Vec<u16>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Looks into a table.
    Table(u32),
    /// Goes on with the rule of that priority.
    Goto(u32),
    /// Nothing.
    Nop,
    /// Drops silently.
    Blackhole,
    /// Answers that the network is unreachable.
    Unreachable,
    /// Answers that it is forbidden.
    Prohibit,
}

impl PolicyRule {
    /// A rule for all packets that looks into a table.
    pub fn new(family: Family, priority: u32, action: RuleAction) -> Self {
        Self {
            family,
            priority,
            invert: false,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            protocol: None,
            source_ports: None,
            ports: None,
            users: None,
            tos: 0,
            l3mdev: false,
            action,
            suppress_prefixlen: None,
            suppress_group: None,
            unknown: Vec::new(),
        }
    }
}

/// As `ip rule` prints it.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.priority)?;
        if self.invert {
            write!(f, "not ")?;
        }
        match self.from {
            Some(net) => write!(f, "from {}", network(net))?,
            None => write!(f, "from all")?,
        }
        if let Some(net) = self.to {
            write!(f, " to {}", network(net))?;
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        for (word, link) in [("iif", &self.iif), ("oif", &self.oif)] {
            if let Some(link) = link {
                write!(f, " {word} {link}")?;
            }
        }
        if let Some(protocol) = self.protocol {
            write!(f, " ipproto {protocol}")?;
        }
        for (word, ports) in [("sport", self.source_ports), ("dport", self.ports)] {
            match ports {
                Some((first, last)) if first == last => write!(f, " {word} {first}")?,
                Some((first, last)) => write!(f, " {word} {first}-{last}")?,
                None => {}
            }
        }
        if let Some((first, last)) = self.users {
            write!(f, " uidrange {first}-{last}")?;
        }
        write!(f, " {}", self.action)?;
        if let Some(length) = self.suppress_prefixlen {
            write!(f, " suppress_prefixlength {length}")?;
        }
        Ok(())
    }
}

/// A single address goes without its length.
fn network(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(TABLE_LOCAL) => write!(f, "lookup local"),
            Self::Table(TABLE_MAIN) => write!(f, "lookup main"),
            Self::Table(253) => write!(f, "lookup default"),
            Self::Table(table) => write!(f, "lookup {table}"),
            Self::Goto(priority) => write!(f, "goto {priority}"),
            Self::Nop => write!(f, "nop"),
            Self::Blackhole => write!(f, "blackhole"),
            Self::Unreachable => write!(f, "unreachable"),
            Self::Prohibit => write!(f, "prohibit"),
        }
    }
}

/// A route with all its next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibRoute {
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: u32,
    /// Destination network.
    pub dst: IpNet,
    /// Only for packets from there (IPv6).
    pub from: Option<IpNet>,
    /// Type of service.
    pub tos: u8,
    /// Metric as the kernel shows it.
    pub metric: u32,
    /// What it does.
    pub kind: FibKind,
    /// Scope (IPv4), see [`crate::scope`].
    pub scope: u8,
    /// Who installed it; 2 is the kernel itself.
    pub protocol: u8,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Next hops; several share the packets.
    pub hops: Vec<Hop>,
    /// Preference among routers of one metric (IPv6): 0 medium, 1 high, 3 low.
    pub preference: u8,
}

/// One next hop of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Index of the outgoing link.
    pub link: Option<u32>,
    /// Next hop, possibly of the other family.
    pub via: Option<IpAddr>,
    /// The link is down.
    pub dead: bool,
    /// The link has no carrier.
    pub linkdown: bool,
    /// The next hop is on the link whatever addresses say.
    pub onlink: bool,
}

/// What a route does with packets (`rtm_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibKind {
    /// Sends them on.
    Unicast,
    /// Delivers them here.
    Local,
    /// Delivers them here, as one of many.
    Broadcast,
    /// Delivers them here, as one that may.
    Anycast,
    /// To a group.
    Multicast,
    /// Drops them silently.
    Blackhole,
    /// Answers that the host is unreachable.
    Unreachable,
    /// Answers that it is forbidden.
    Prohibit,
    /// Goes on with the next rule.
    Throw,
    /// Anything else, by the kernel's number.
    Other(u8),
}

impl FibKind {
    /// Its name as `ip route` prints it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other(_) => "unknown",
        }
    }

    /// Whether it ends in an error.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit)
    }
}
