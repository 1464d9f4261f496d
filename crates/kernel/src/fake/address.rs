//! Addresses, and the connected routes that come and go with them.

use std::net::{IpAddr, Ipv6Addr};

use polynic_net::{Address, Family, IfName, IpNet, Mac, Route, scope};

use super::space::Space;
use super::world::{Refusal, World};
use crate::Errno;

/// `RTPROT_KERNEL`.
pub(super) const BY_KERNEL: u8 = 2;
/// `EACCES`, for IPv6 on a link where it is switched off.
pub(super) const EACCES: Errno = Errno(13);
/// Metric of connected IPv6 routes (`IP6_RT_PRIO_ADDRCONF`).
const CONNECTED_METRIC: u32 = 256;

/// An address on a link.
#[derive(Clone, Debug)]
pub(super) struct FakeAddress {
    pub(super) link: IfName,
    pub(super) net: IpNet,
    pub(super) nodad: bool,
    /// Made by the kernel itself: loopback and link-local addresses.
    pub(super) auto: bool,
}

impl FakeAddress {
    fn family(&self) -> Family {
        Family::of(self.net.addr())
    }
}

impl World {
    /// Whether duplicate address detection has failed for an address.
    pub(super) fn dad_failed(&self, address: &FakeAddress) -> bool {
        self.dad_fails && address.family() == Family::V6 && !address.nodad && !address.auto
    }
}

impl Space {
    pub(super) fn add_address(&mut self, address: &Address) -> Result<(), Refusal> {
        self.link(&address.link)?;
        self.check_address(address)?;
        let new =
            FakeAddress { link: address.link.clone(), net: address.net, nodad: address.nodad, auto: false };
        self.put_address(new);
        Ok(())
    }

    /// IPv4 tells addresses apart by address and mask (`__inet_insert_ifa`), IPv6 by address alone (`ipv6_add_addr`).
    fn check_address(&self, new: &Address) -> Result<(), Refusal> {
        let mut present = self.addresses.iter().filter(|a| a.link == new.link);
        let twice = match new.family() {
            Family::V4 => present.any(|a| a.net == new.net),
            Family::V6 if !self.ipv6_enabled(&new.link) => {
                return Err(Refusal::because(EACCES, "IPv6 is disabled on this device"));
            }
            Family::V6 => present.any(|a| a.net.addr() == new.net.addr()),
        };
        if twice { Err(Refusal::because(Errno::EEXIST, "address already assigned")) } else { Ok(()) }
    }

    fn put_address(&mut self, address: FakeAddress) {
        let up = self.links.get(&address.link).is_some_and(|l| l.up);
        if up {
            self.connect(&address);
        }
        self.addresses.push(address);
    }

    pub(super) fn delete_address(&mut self, address: &Address) -> Result<(), Refusal> {
        self.link(&address.link)?;
        let found = self.addresses.iter().position(|a| a.link == address.link && a.net == address.net);
        let at = found.ok_or(Errno::EADDRNOTAVAIL)?;
        let gone = self.addresses.remove(at);
        self.disconnect(&gone, at);
        Ok(())
    }

    /// Adds the connected route of an address, unless another address of the link has brought it already.
    fn connect(&mut self, address: &FakeAddress) {
        let secondary = self.siblings(address).next().is_some();
        let Some(route) = connected_route(address) else { return };
        if !secondary && !self.routes.contains(&route) {
            self.routes.push(route);
        }
    }

    /// Other addresses of the same network on the same link.
    fn siblings<'a>(&'a self, address: &'a FakeAddress) -> impl Iterator<Item = &'a FakeAddress> {
        self.addresses.iter().filter(|a| a.net != address.net && same_network(a, address))
    }

    /// Drops what lives by an address that has just gone from place `at` of the list.
    fn disconnect(&mut self, gone: &FakeAddress, at: usize) {
        match gone.family() {
            Family::V4 => self.disconnect_v4(gone, at),
            Family::V6 if self.siblings(gone).next().is_none() => {
                self.routes.retain(|r| Some(r) != connected_route(gone).as_ref());
            }
            Family::V6 => {}
        }
        if !self.is_local(gone.net.addr()) {
            self.drop_source(gone.net.addr());
        }
    }

    /// The first IPv4 address of a network on a link is primary: the others go with it unless they are promoted
    /// (`__inet_del_ifa`). With its last address a link loses all its IPv4 routes (`fib_inetaddr_event`).
    fn disconnect_v4(&mut self, gone: &FakeAddress, at: usize) {
        let primary = !self.addresses[..at].iter().any(|a| same_network(a, gone));
        self.routes.retain(|r| Some(r) != connected_route(gone).as_ref());
        if primary && self.promotes(&gone.link) {
            let up = self.links.get(&gone.link).is_some_and(|l| l.up);
            let next = self.siblings(gone).next().filter(|_| up).and_then(connected_route);
            self.routes.extend(next);
        } else if primary {
            self.addresses.retain(|a| !same_network(a, gone));
        }
        if !self.addresses.iter().any(|a| a.link == gone.link && a.family() == Family::V4) {
            self.flush_routes(&gone.link, Family::V4);
        }
    }

    fn promotes(&self, link: &IfName) -> bool {
        let all = self
            .sysctls
            .iter()
            .any(|(k, v)| k.as_str() == "net/ipv4/conf/all/promote_secondaries" && v != "0");
        all || self.conf("ipv4", link, "promote_secondaries") == Some("1")
    }

    /// IPv4 routes with a preferred source that is gone go too (`fib_sync_down_addr`), IPv6 ones lose the source
    /// (`rt6_remove_prefsrc`).
    fn drop_source(&mut self, ip: IpAddr) {
        match Family::of(ip) {
            Family::V4 => self.routes.retain(|r| r.src != Some(ip)),
            Family::V6 => self.routes.iter_mut().filter(|r| r.src == Some(ip)).for_each(|r| r.src = None),
        }
    }

    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.net.addr() == ip)
    }

    pub(super) fn flush_routes(&mut self, link: &IfName, family: Family) {
        self.routes.retain(|r| r.link.as_ref() != Some(link) || r.family() != family);
    }

    /// What happens to addresses and routes when a link comes up.
    pub(super) fn came_up(&mut self, link: &IfName) {
        let mine: Vec<FakeAddress> = self.addresses.iter().filter(|a| a.link == *link).cloned().collect();
        for address in &mine {
            self.routes.extend(connected_route(address).filter(|r| !self.routes.contains(r)));
        }
        if *link == IfName::loopback() {
            self.number_loopback(link);
        }
    }

    fn number_loopback(&mut self, link: &IfName) {
        let localhost = IpAddr::from([127, 0, 0, 1]);
        let nets = [IpNet::new(localhost, 8), IpNet::new(Ipv6Addr::LOCALHOST.into(), 128)];
        for net in nets.into_iter().flatten() {
            let wanted = net.addr().is_ipv4() || self.ipv6_enabled(link);
            if wanted && !self.is_local(net.addr()) {
                self.put_address(FakeAddress { link: link.clone(), net, nodad: true, auto: true });
            }
        }
    }

    /// A link that goes down loses its routes and neighbours, and its IPv6 addresses unless told to keep them.
    pub(super) fn went_down(&mut self, link: &IfName) {
        self.flush_routes(link, Family::V4);
        self.flush_routes(link, Family::V6);
        self.neighbours.retain(|n| n.link != *link);
        let keep = self.conf("ipv6", link, "keep_addr_on_down") == Some("1");
        self.addresses.retain(|a| a.link != *link || a.family() == Family::V4 || (keep && !a.auto));
    }

    /// IPv6 is being switched off on a link.
    pub(super) fn drop_ipv6(&mut self, link: &IfName) {
        self.flush_routes(link, Family::V6);
        self.addresses.retain(|a| a.link != *link || a.family() == Family::V4);
    }

    pub(super) fn add_link_local(&mut self, link: &IfName, mac: Mac) {
        let Ok(net) = IpNet::new(link_local(mac).into(), 64) else { return };
        self.put_address(FakeAddress { link: link.clone(), net, nodad: false, auto: true });
    }
}

fn same_network(a: &FakeAddress, b: &FakeAddress) -> bool {
    a.link == b.link && a.net.trunc() == b.net.trunc()
}

/// The route that an address brings with it. A loopback link and a lone IPv4 host (/32) bring none to table main.
fn connected_route(address: &FakeAddress) -> Option<Route> {
    if address.link == IfName::loopback() {
        return None;
    }
    let mut route = Route::new(address.net.trunc(), &address.link);
    route.protocol = BY_KERNEL;
    match address.family() {
        Family::V4 if address.net.prefix_len() == 32 => None,
        Family::V4 => Some(Route { scope: scope::LINK, src: Some(address.net.addr()), ..route }),
        Family::V6 => Some(Route { priority: CONNECTED_METRIC, ..route }),
    }
}

/// The modified EUI-64 address of a link (RFC 4291, appendix A).
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let host = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from((0xfe80_u128 << 112) | u128::from(u64::from_be_bytes(host)))
}
