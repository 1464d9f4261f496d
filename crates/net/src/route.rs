//! Routes with all attributes that results and plans may carry.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, IfName};

/// The main routing table.
pub const TABLE_MAIN: u32 = 254;
/// The kernel's own table of local addresses.
pub const TABLE_LOCAL: u32 = 255;

/// Route scopes (include/uapi/linux/rtnetlink.h).
pub mod scope {
    /// Anywhere.
    pub const UNIVERSE: u8 = 0;
    /// On this link.
    pub const LINK: u8 = 253;
    /// This host.
    pub const HOST: u8 = 254;
}

/// A route. Equality is identity: two routes that differ in any field can stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination network, without host bits.
    pub dst: IpNet,
    /// Next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Outgoing link; absent only for routes that lead nowhere (blackhole).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<IfName>,
    /// Table number.
    pub table: u32,
    /// Metric; 0 = the kernel's default (0 for IPv4, 1024 for IPv6).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// Scope, see [`scope`]. IPv6 knows only universe.
    pub scope: u8,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Who installed it (`rtm_protocol`); 3 = boot, what tools write by default.
    pub protocol: u8,
    /// What it does with packets.
    pub kind: RouteKind,
    /// The next hop is taken to be on the link, whatever addresses say (`RTNH_F_ONLINK`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// Path MTU in bytes; 0 = the link's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// Advertised maximum segment size in bytes; 0 = derived.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub advmss: u32,
    /// Of an IPv4 route with several next hops the weight of the first, less one (`rtnh_hops`).
    #[serde(default, skip_serializing_if = "is_light")]
    pub weight: u8,
    /// The further next hops of such a route, which the kernel takes and gives up as a whole. IPv6's are routes of their own, one a hop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<NextHop>,
}

/// A next hop of a route that has several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Outgoing link.
    pub link: IfName,
    /// The router; absent if the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// As [`Route::onlink`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// As [`Route::weight`].
    #[serde(default, skip_serializing_if = "is_light")]
    pub weight: u8,
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_light(weight: &u8) -> bool {
    *weight == 0
}

/// What a route does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Sends them on.
    Unicast,
    /// Delivers them here.
    Local,
    /// Drops them silently.
    Blackhole,
    /// Rejects them with an ICMP error.
    Unreachable,
    /// Any other kind, by the kernel's number.
    Other(u8),
}

impl Route {
    /// A unicast route in the main table with universe scope and the default metric.
    pub fn new(dst: IpNet, link: &IfName) -> Self {
        Self {
            dst: dst.trunc(),
            gw: None,
            link: Some(link.clone()),
            table: TABLE_MAIN,
            priority: 0,
            scope: scope::UNIVERSE,
            src: None,
            protocol: 3,
            kind: RouteKind::Unicast,
            onlink: false,
            mtu: 0,
            advmss: 0,
            weight: 0,
            more: Vec::new(),
        }
    }

    /// The same route through a next hop.
    #[must_use]
    pub fn via(mut self, gw: IpAddr) -> Self {
        self.gw = Some(gw);
        self
    }

    /// The same route with link scope (IPv6 has none: it stays as it is).
    #[must_use]
    pub fn link_scope(mut self) -> Self {
        if self.family() == Family::V4 {
            self.scope = scope::LINK;
        }
        self
    }

    /// The same route in another table.
    #[must_use]
    pub fn in_table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// The same route with a preferred source.
    #[must_use]
    pub fn from_src(mut self, src: IpAddr) -> Self {
        self.src = Some(src);
        self
    }

    /// Its next hops; none of a route that leads nowhere.
    pub fn hops(&self) -> Vec<NextHop> {
        let Some(link) = self.link.clone() else { return Vec::new() };
        let first = NextHop { link, gw: self.gw, onlink: self.onlink, weight: self.weight };
        std::iter::once(first).chain(self.more.iter().cloned()).collect()
    }

    /// The same route through those of its next hops that are `wanted`; none if there is no such hop. A single one has no weight.
    #[must_use]
    pub fn through(&self, wanted: impl Fn(&NextHop) -> bool) -> Option<Self> {
        let mut hops = self.hops().into_iter().filter(wanted);
        let NextHop { link, gw, onlink, weight } = hops.next()?;
        let more: Vec<NextHop> = hops.collect();
        let weight = if more.is_empty() { 0 } else { weight };
        Some(Self { link: Some(link), gw, onlink, weight, more, ..self.clone() })
    }

    /// Whether a next hop is on the link.
    pub fn uses(&self, link: &IfName) -> bool {
        self.link.as_ref() == Some(link) || self.more.iter().any(|hop| hop.link == *link)
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.dst.addr())
    }

    /// Whether it is a default route.
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }

    /// The metric that the kernel will show: IPv6 replaces 0 by 1024 (net/ipv6/route.c, `IP6_RT_PRIO_USER`).
    pub fn effective_priority(&self) -> u32 {
        match self.family() {
            Family::V6 if self.priority == 0 => 1024,
            _ => self.priority,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() {
            write!(f, "default")?
        } else {
            write!(f, "{}", self.dst)?
        }
        if let Some(gw) = self.gw {
            write!(f, " via {gw}")?;
        }
        if let Some(link) = &self.link {
            write!(f, " dev {link}")?;
        }
        for NextHop { link, gw, .. } in &self.more {
            let via = gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
            write!(f, " or{via} dev {link}")?;
        }
        if self.table != TABLE_MAIN {
            write!(f, " table {}", self.table)?;
        }
        if self.priority != 0 {
            write!(f, " metric {}", self.priority)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_split_by_its_next_hops() {
        let name = |text| IfName::new(text).unwrap();
        let hop = |link, gw: &str, weight| NextHop {
            link: name(link),
            gw: Some(gw.parse().unwrap()),
            onlink: false,
            weight,
        };
        let whole = Route {
            weight: 4,
            more: vec![hop("b", "10.0.1.1", 2), hop("c", "10.0.2.1", 0)],
            ..Route::new(IpNet::default(), &name("a")).via("10.0.0.1".parse().unwrap())
        };
        assert_eq!(
            whole.to_string(),
            "default via 10.0.0.1 dev a or via 10.0.1.1 dev b or via 10.0.2.1 dev c"
        );
        assert_eq!(whole.through(|_| true).as_ref(), Some(&whole));
        assert!(whole.uses(&name("a")) && whole.uses(&name("c")) && !whole.uses(&name("d")));
        let one = whole.through(|hop| hop.link == name("b")).unwrap();
        assert_eq!(one, Route::new(IpNet::default(), &name("b")).via("10.0.1.1".parse().unwrap()));
        let rest = whole.through(|hop| hop.link != name("a")).unwrap();
        assert_eq!((rest.weight, rest.more.len()), (2, 1));
        assert_eq!(whole.through(|_| false), None);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Route>(&text).unwrap(), whole);
    }
}
