//! One network stack in full: all that decides where a packet goes in one namespace.
//!
//! [`crate::Facts`] hold what planners ask for, in the shapes that plans can name. A [`Stack`] holds what the kernel has, whoever made
//! it: rules with every selector, all tables, what was learnt about neighbours, and the firewall. It is for those who explain.

mod fib;
mod ruleset;

use std::net::IpAddr;

use crate::{AddressFact, Family, LinkFact, Mac};

pub use fib::{FibKind, FibRoute, Hop, PolicyRule, RuleAction};
pub use ruleset::{Element, Ruleset, SeenChain, SeenOp, SeenRule, SeenSet, VERDICT_REGISTER};

/// All that decides about packets in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Links, in the kernel's order.
    pub links: Vec<LinkState>,
    /// Addresses, in the kernel's order within each link and family.
    pub addresses: Vec<AddressState>,
    /// Policy rules of both families, in the order in which they are asked.
    pub rules: Vec<PolicyRule>,
    /// Routes of all tables, in the kernel's order.
    pub routes: Vec<FibRoute>,
    /// What is known about neighbours.
    pub neighbours: Vec<NeighbourState>,
    /// Where VXLANs send frames for a hardware address, as far as somebody has set it.
    pub forwarding: Vec<ForwardingState>,
    /// Settings that hold for all links (`net/ipv4/conf/all`, `net/ipv6/conf/all`).
    pub all: Conf,
    /// Whether IP's part of the firewall sees what only crosses a bridge.
    pub over_bridges: OverBridges,
    /// The firewall.
    pub ruleset: Ruleset,
    /// What is there and could not be read, in words.
    pub unread: Vec<String>,
}

/// Packets that bridges hand on to the firewall of IP (`net/bridge/bridge-nf-call-iptables` and `-ip6tables`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverBridges {
    /// Those of IPv4.
    pub v4: bool,
    /// Those of IPv6.
    pub v6: bool,
}

impl Stack {
    /// A link by its index.
    pub fn link(&self, index: u32) -> Option<&LinkState> {
        self.links.iter().find(|link| link.fact.index == index)
    }

    /// A link by its name.
    pub fn link_named(&self, name: &str) -> Option<&LinkState> {
        self.links.iter().find(|link| link.fact.name.as_str() == name)
    }

    /// A link's name, or its index where it is gone.
    pub fn name_of(&self, index: u32) -> String {
        self.link(index).map_or_else(|| format!("link {index}"), |link| link.fact.name.to_string())
    }

    /// The addresses of a link.
    pub fn addresses_on(&self, index: u32) -> impl Iterator<Item = &AddressState> {
        self.addresses.iter().filter(move |address| address.link == index)
    }

    /// Whether an address is one of its own.
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.owner(ip).is_some()
    }

    /// The link that has an address.
    pub fn owner(&self, ip: IpAddr) -> Option<u32> {
        self.addresses.iter().find(|address| address.fact.net.addr() == ip).map(|address| address.link)
    }

    /// The rules of a family.
    pub fn rules_of(&self, family: Family) -> impl Iterator<Item = &PolicyRule> {
        self.rules.iter().filter(move |rule| rule.family == family)
    }

    /// What is known about a neighbour on a link.
    pub fn neighbour(&self, link: u32, ip: IpAddr) -> Option<&NeighbourState> {
        self.neighbours.iter().find(|n| n.link == link && n.ip == ip && !n.proxy)
    }
}

/// A link with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The link.
    pub fact: LinkFact,
    /// Its settings.
    pub conf: Conf,
    /// Sends and receives without asking for neighbours (`IFF_NOARP`).
    pub no_arp: bool,
    /// Has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Its group, which rules may refuse.
    pub group: u32,
}

/// An address with what source selection looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// The index of its link.
    pub link: u32,
    /// The address.
    pub fact: AddressFact,
    /// Another address of its network came first (IPv4), or it is temporary (IPv6): `IFA_F_SECONDARY`.
    pub secondary: bool,
    /// Not for new connections.
    pub deprecated: bool,
}

/// What the kernel knows about a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourState {
    /// The index of the link.
    pub link: u32,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// Its hardware address, if known.
    pub mac: Option<Mac>,
    /// How sure that is.
    pub nud: Nud,
    /// Not a neighbour, but an address that this stack answers for (`NTF_PROXY`).
    pub proxy: bool,
}

/// A permanent forwarding entry of a VXLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardingState {
    /// The index of the VXLAN.
    pub link: u32,
    /// The hardware address.
    pub mac: Mac,
    /// Where its packets go.
    pub dst: IpAddr,
}

/// States of a neighbour entry (include/uapi/linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nud {
    /// Set by somebody, or needs no asking.
    Permanent,
    /// Answered; whether lately does not matter to where packets go.
    Valid,
    /// Is being asked.
    Incomplete,
    /// Did not answer.
    Failed,
}

/// The settings of a link, or those of all links, that decide about packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// IPv4.
    pub v4: ConfV4,
    /// IPv6.
    pub v6: ConfV6,
}

/// Settings below `net/ipv4/conf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfV4 {
    /// `forwarding`.
    pub forwarding: bool,
    /// `rp_filter`: 0, 1 or 2.
    pub rp_filter: u8,
    /// `accept_local`.
    pub accept_local: bool,
    /// `src_valid_mark`.
    pub src_valid_mark: bool,
    /// `route_localnet`.
    pub route_localnet: bool,
    /// `send_redirects`.
    pub send_redirects: bool,
    /// `proxy_arp`.
    pub proxy_arp: bool,
    /// `ignore_routes_with_linkdown`.
    pub ignore_linkdown: bool,
    /// `arp_ignore`.
    pub arp_ignore: u8,
}

/// Settings below `net/ipv6/conf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfV6 {
    /// `forwarding`.
    pub forwarding: bool,
    /// `disable_ipv6`.
    pub disabled: bool,
    /// `proxy_ndp`.
    pub proxy_ndp: bool,
    /// `use_oif_addrs_only`.
    pub own_addresses_only: bool,
    /// `ignore_routes_with_linkdown`.
    pub ignore_linkdown: bool,
}
