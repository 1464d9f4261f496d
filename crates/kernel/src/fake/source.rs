//! Which source address the kernel chooses towards a destination.

use std::net::IpAddr;

use polynic_net::{Family, IfName, Route, TABLE_MAIN, Way, scope};

use super::space::Space;

impl Space {
    /// By the longest prefix in the main table, the only one looked at here; its preferred source, else the first address of
    /// its link in the network of the next hop, else the link's first global one, else any of the namespace.
    pub(super) fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        if self.is_local(to) {
            return Some(to);
        }
        let route = self.route_towards(to)?;
        route.src.or_else(|| self.first_address(route, to))
    }

    /// The way to an address by the main table; one's own addresses are on the loopback link.
    pub(super) fn way_to(&self, to: IpAddr) -> Option<Way> {
        if self.is_local(to) {
            return Some(Way { link: IfName::loopback(), gw: None, src: Some(to) });
        }
        let route = self.route_towards(to)?;
        Some(Way { link: route.link.clone()?, gw: route.gw, src: self.source_towards(to) })
    }

    fn route_towards(&self, to: IpAddr) -> Option<&Route> {
        let usable = self.routes.iter().filter(|r| r.table == TABLE_MAIN && r.dst.contains(&to));
        // `max_by_key` takes the last of equals, and the first in the order of lookup is wanted.
        usable.rev().max_by_key(|r| (r.dst.prefix_len(), std::cmp::Reverse(r.effective_priority())))
    }

    fn first_address(&self, route: &Route, to: IpAddr) -> Option<IpAddr> {
        let family = Family::of(to);
        let of_family = |a: &&super::address::FakeAddress| Family::of(a.net.addr()) == family;
        let mut on_link =
            self.addresses.iter().filter(of_family).filter(|a| Some(&a.link) == route.link.as_ref());
        let hop = route.gw.unwrap_or(to);
        let near = on_link.clone().find(|a| a.net.contains(&hop) && !a.auto);
        let global = on_link.find(|a| !a.auto);
        let any = self.addresses.iter().filter(of_family).find(|a| !a.auto && !a.net.addr().is_loopback());
        let wide = route.scope <= scope::LINK;
        near.or(global).or(any.filter(|_| wide)).map(|a| a.net.addr())
    }
}
