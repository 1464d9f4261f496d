//! Routes: what the kernel asks of one before it takes it.

use std::net::IpAddr;

use polynic_net::{Family, IfName, Route, RouteKind, TABLE_MAIN, check, scope};

use super::address::EACCES;
use super::space::Space;
use super::world::Refusal;
use crate::Errno;

impl Space {
    pub(super) fn add_route(&mut self, route: &Route) -> Result<(), Refusal> {
        self.check_next_hops(route)?;
        if route.src.is_some_and(|src| !self.is_local(src)) {
            return Err(Refusal::because(Errno::EINVAL, "Invalid prefsrc address"));
        }
        if self.routes.iter().any(|r| is_duplicate(r, route)) {
            return Err(Errno::EEXIST.into());
        }
        let new = Route { priority: route.effective_priority(), ..route.clone() };
        // In front of its equals for IPv4 (no NLM_F_APPEND), beside them for IPv6: `fib_table_insert`, `fib6_add_rt2node`.
        let equal = |r: &Route| r.dst == new.dst && r.table == new.table && r.priority == new.priority;
        let at = match new.family() {
            Family::V4 => self.routes.iter().position(equal),
            Family::V6 => self.routes.iter().rposition(equal).map(|at| at + 1),
        };
        self.routes.insert(at.unwrap_or(self.routes.len()), new);
        Ok(())
    }

    pub(super) fn delete_route(&mut self, route: &Route) -> Result<(), Refusal> {
        let at = self.routes.iter().position(|r| is_meant(r, route)).ok_or(Errno::ESRCH)?;
        self.routes.remove(at);
        Ok(())
    }

    /// Each next hop by itself, as if it were the only one.
    fn check_next_hops(&self, route: &Route) -> Result<(), Refusal> {
        if route.more.is_empty() {
            return self.check_next_hop(route);
        }
        if route.family() == Family::V6 {
            return Err(Refusal::because(Errno::EINVAL, "Next hops of IPv6 are routes of their own here"));
        }
        for link in route.hops().into_iter().map(|hop| hop.link) {
            let single = route.through(|hop| hop.link == link);
            single.map_or(Ok(()), |single| self.check_next_hop(&Route { more: Vec::new(), ..single }))?;
        }
        Ok(())
    }

    fn check_next_hop(&self, route: &Route) -> Result<(), Refusal> {
        let Some(link) = &route.link else {
            let nowhere = !matches!(route.kind, RouteKind::Unicast | RouteKind::Local) && route.gw.is_none();
            return if nowhere { Ok(()) } else { Err(Errno::ENODEV.into()) };
        };
        if !self.link(link)?.up {
            return Err(Refusal::because(Errno::ENETDOWN, "Device for nexthop is not up"));
        }
        if route.family() == Family::V6 && !self.ipv6_enabled(link) {
            return Err(Refusal::because(EACCES, "IPv6 is disabled on nexthop device"));
        }
        route.gw.map_or(Ok(()), |gw| self.check_gateway(route, link, gw))
    }

    fn check_gateway(&self, route: &Route, link: &IfName, gw: IpAddr) -> Result<(), Refusal> {
        let invalid = |why| Err(Refusal::because(Errno::EINVAL, why));
        if Family::of(gw) != route.family() {
            return invalid("Gateway of another family");
        }
        if route.family() == Family::V6
            && self.addresses.iter().any(|a| a.link == *link && a.net.addr() == gw)
        {
            return invalid("Gateway can not be a local address");
        }
        if route.onlink || is_link_local(gw) || self.is_on_link(route, link, gw) {
            return Ok(());
        }
        Err(match route.family() {
            Family::V4 => Refusal::because(Errno::ENETUNREACH, "Nexthop has invalid gateway"),
            Family::V6 => Errno::EHOSTUNREACH.into(),
        })
    }

    /// Whether `ip` is reached through `link` without a router, by the route's own table or by main. For IPv4 the way
    /// there must have a narrower scope than the route, and at least that of the link (`fib_check_nh_v4_gw`).
    fn is_on_link(&self, route: &Route, link: &IfName, ip: IpAddr) -> bool {
        let narrow = |r: &Route| r.scope >= scope::LINK && r.scope > route.scope;
        self.routes.iter().any(|r| {
            (r.table == route.table || r.table == TABLE_MAIN)
                && r.link.as_ref() == Some(link)
                && r.gw.is_none()
                && (r.family() == Family::V6 || narrow(r))
                && r.dst.contains(&ip)
        })
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// IPv4 compares everything (`fib_find_info`), IPv6 only the way (`rt6_duplicate_nexthop`).
fn is_duplicate(present: &Route, new: &Route) -> bool {
    let same_way = present.dst == new.dst
        && present.table == new.table
        && present.effective_priority() == new.effective_priority()
        && present.gw == new.gw
        && present.link == new.link;
    match new.family() {
        Family::V4 => present == new,
        Family::V6 => same_way,
    }
}

/// Whether a deletion that names `wanted` may take `present`.
fn is_meant(present: &Route, wanted: &Route) -> bool {
    check::serves(present, wanted)
        && present.protocol == wanted.protocol
        && (present.family() == Family::V6 || present.scope == wanted.scope)
}
