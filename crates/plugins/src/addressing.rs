//! Giving an interface its addresses and routes: the part that all main plugins share (spec/plugins.md 0.3).

use std::net::IpAddr;

use polynic_cni::{Error, Route as ResultRoute, Success};
use polynic_net::{
    Address, Change, Facts, Family, IfName, Needs, NsFacts, Place, Plan, Route, Sysctl, SysctlKey,
    TABLE_MAIN, Wait,
};

use crate::Call;

/// Settings that make a new address known at once.
#[derive(Clone, Copy)]
pub(crate) enum Announce {
    /// `arp_notify` and `ndisc_notify`, each if the family has addresses (macvlan, ipvlan).
    ByFamily,
    /// None.
    No,
}

/// A setting of a link that is about to be made: it starts with the namespace's default.
pub(crate) fn default_of(family: &str, setting: &str) -> SysctlKey {
    SysctlKey::conf(family, &default_name(), setting)
}

fn default_name() -> IfName {
    match IfName::new("default") {
        Ok(name) => name,
        Err(_) => unreachable!("seven letters are a valid name"),
    }
}

/// Which families a result has addresses of.
pub(crate) fn has_family(result: &Success, family: Family) -> bool {
    result.ips.iter().any(|ip| Family::of(ip.address.addr()) == family)
}

/// What [`configure`] must know: the defaults that a new link starts with, and the state of `lo`.
pub(crate) fn needs(needs: &mut Needs, result: &Success) {
    if has_family(result, Family::V4) {
        needs.pod.sysctl(default_of("ipv4", "arp_notify"));
    }
    if has_family(result, Family::V6) {
        for setting in ["ndisc_notify", "disable_ipv6", "keep_addr_on_down", "accept_dad", "enhanced_dad"] {
            needs.pod.sysctl(default_of("ipv6", setting));
        }
        needs.pod.sysctl(SysctlKey::conf("ipv6", &IfName::loopback(), "disable_ipv6"));
    }
}

/// Plans settings, addresses, the link going up, duplicate address detection and routes, in this order, for the new interface
/// `call.ifname`. `result.interfaces` must be complete and `result.ips` must point into it.
pub(crate) fn configure(
    plan: &mut Plan,
    call: &Call<'_>,
    facts: &Facts,
    result: &Success,
    announce: Announce,
) -> Result<(), Error> {
    let empty = NsFacts::default();
    let pod = facts.pod.as_ref().unwrap_or(&empty);
    if let Announce::ByFamily = announce {
        announce_settings(plan, call, pod, result);
    }
    if has_family(result, Family::V6) {
        enable_ipv6(plan, call, pod);
    }
    for ip in own_addresses(call, result)? {
        plan.own(Change::add_address(Place::Pod, Address::new(&call.ifname, ip)));
    }
    plan.own(Change::up(Place::Pod, &call.ifname));
    if result.ips.iter().any(|ip| ip.gateway.is_some_and(|g| g.is_ipv6())) {
        plan.own(Change::wait(Place::Pod, Wait::Dad { link: call.ifname.clone() }));
    }
    for route in &result.routes {
        plan.own(Change::add_route(Place::Pod, to_route(call, route, result)));
    }
    Ok(())
}

fn announce_settings(plan: &mut Plan, call: &Call<'_>, pod: &NsFacts, result: &Success) {
    for (family, name, setting) in [(Family::V4, "ipv4", "arp_notify"), (Family::V6, "ipv6", "ndisc_notify")]
    {
        if has_family(result, family) {
            set_new(plan, call, pod, (name, setting), "1");
        }
    }
}

/// Sets a setting of the new interface, if the kernel has it and it does not start with the wanted value.
pub(crate) fn set_new(plan: &mut Plan, call: &Call<'_>, pod: &NsFacts, key: (&str, &str), value: &str) {
    let (family, setting) = key;
    match pod.sysctl(&default_of(family, setting)) {
        Some(old) if old != value => {
            let key = SysctlKey::conf(family, &call.ifname, setting);
            plan.own(Change::sysctl(Place::Pod, Sysctl { key, value: old.to_owned() }, value));
        }
        _ => {}
    }
}

/// IPv6 is switched on for `lo`, which the pod's attachments share, and for the interface.
fn enable_ipv6(plan: &mut Plan, call: &Call<'_>, pod: &NsFacts) {
    let key = SysctlKey::conf("ipv6", &IfName::loopback(), "disable_ipv6");
    match pod.sysctl(&key) {
        Some(old) if old != "0" => {
            plan.ensure(Change::sysctl(Place::Pod, Sysctl { key, value: old.to_owned() }, "0"));
        }
        _ => {}
    }
    set_new(plan, call, pod, ("ipv6", "disable_ipv6"), "0");
    set_new(plan, call, pod, ("ipv6", "keep_addr_on_down"), "1");
}

fn own_addresses(call: &Call<'_>, result: &Success) -> Result<Vec<polynic_net::IpNet>, Error> {
    let mut addresses = Vec::with_capacity(result.ips.len());
    for ip in &result.ips {
        let Some(index) = ip.interface else { continue };
        if result.interfaces.get(index).is_none_or(|i| i.name != call.ifname.as_str()) {
            let text = format!(
                "failed to add IP addr {} to {:?}: invalid interface index",
                ip.address,
                call.ifname.as_str()
            );
            return Err(call.error(text));
        }
        addresses.push(ip.address);
    }
    Ok(addresses)
}

/// The next hop of a route: its own, else the first gateway of its family.
pub(crate) fn gateway_of(route: &ResultRoute, result: &Success) -> Option<IpAddr> {
    let family = Family::of(route.dst.addr());
    route.gw.or_else(|| result.ips.iter().filter_map(|ip| ip.gateway).find(|g| Family::of(*g) == family))
}

fn to_route(call: &Call<'_>, route: &ResultRoute, result: &Success) -> Route {
    Route {
        gw: gateway_of(route, result),
        // Table 0 is the kernel's word for main.
        table: route.table.filter(|t| *t != 0).unwrap_or(TABLE_MAIN),
        priority: route.priority.unwrap_or_default(),
        scope: if route.dst.addr().is_ipv4() { route.scope.unwrap_or_default() } else { 0 },
        mtu: route.mtu.unwrap_or_default(),
        advmss: route.advmss.unwrap_or_default(),
        ..Route::new(route.dst, &call.ifname)
    }
}

/// An IPAM result with every address on interface `index` of `result.interfaces`.
pub(crate) fn on_interface(ipam: &Success, index: usize) -> Success {
    let mut result = ipam.clone();
    for ip in &mut result.ips {
        ip.interface = Some(index);
    }
    result
}
