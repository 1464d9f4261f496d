//! Kernel settings.

use polynic_net::{Sysctl, SysctlKey};

use super::*;

fn set(place: Place, path: &str, from: &str, to: &str) -> Change {
    Change::sysctl(place, Sysctl { key: SysctlKey::new(path).unwrap(), value: from.into() }, to)
}

fn value(m: &mut Machine, path: &str) -> Option<String> {
    let key = SysctlKey::new(path).unwrap();
    let mut needs = Needs::default();
    needs.host.sysctl(key.clone());
    m.kernel.observe(&needs).unwrap().host.sysctl(&key).map(str::to_owned)
}

#[test]
fn settings_have_the_kernels_defaults() {
    let mut m = Machine::new();
    for (path, default) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/eth0/arp_notify", "0"),
        ("net/ipv4/conf/all/accept_source_route", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/default/disable_ipv6", "0"),
        ("net/ipv6/conf/lo/accept_dad", "-1"),
        ("net/ipv6/conf/eth0/accept_dad", "1"),
        ("net/ipv4/neigh/eth0/proxy_delay", "80"),
    ] {
        assert_eq!(value(&mut m, path).as_deref(), Some(default), "{path}");
    }
}

#[test]
fn unknown_settings_and_those_of_absent_links_do_not_exist() {
    let mut m = Machine::new();
    for path in ["net/ipv4/no_such", "net/ipv4/conf/net1/rp_filter", "net/ipv4/conf/eth0/no_such"] {
        assert_eq!(m.refused(set(Place::Host, path, "0", "1")), 2);
        assert_eq!(value(&mut m, path), None);
    }
}

#[test]
fn a_setting_changes_only_from_what_it_is() {
    let mut m = Machine::new();
    m.ok(set(Place::Host, "net/ipv4/ip_forward", "0", "1"));
    let error = m.kernel.apply(&set(Place::Host, "net/ipv4/ip_forward", "0", "1")).unwrap_err();
    assert!(error.is_stale() && matches!(error, KernelError::Stale { .. }));
}

#[test]
fn forwarding_spreads_to_every_link() {
    let mut m = Machine::new();
    m.ok(set(Place::Host, "net/ipv4/ip_forward", "0", "1"));
    m.ok(set(Place::Host, "net/ipv6/conf/all/forwarding", "0", "1"));
    for path in
        ["net/ipv4/conf/eth0/forwarding", "net/ipv4/conf/all/forwarding", "net/ipv6/conf/eth0/forwarding"]
    {
        assert_eq!(value(&mut m, path).as_deref(), Some("1"), "{path}");
    }
    m.ok(set(Place::Host, "net/ipv4/conf/all/forwarding", "1", "0"));
    assert_eq!(value(&mut m, "net/ipv4/ip_forward").as_deref(), Some("0"));
}

#[test]
fn a_new_link_starts_with_the_settings_of_default() {
    let mut m = Machine::new();
    m.ok(set(Place::Host, "net/ipv4/conf/default/rp_filter", "0", "2")).ok(veth());
    assert_eq!(value(&mut m, "net/ipv4/conf/veth1/rp_filter").as_deref(), Some("2"));
    assert_eq!(value(&mut m, "net/ipv4/conf/eth0/rp_filter").as_deref(), Some("0"));
    m.ok(delete(veth()));
    assert_eq!(value(&mut m, "net/ipv4/conf/veth1/rp_filter"), None);
}

#[test]
fn ipv6_switched_off_takes_addresses_and_routes_and_refuses_new_ones() {
    let mut m = Machine::new();
    m.door.host(|host| {
        host.address("eth0", "fd00::1/64");
    });
    m.ok(set(Place::Host, "net/ipv6/conf/eth0/disable_ipv6", "0", "1"));
    let host = m.host();
    assert!(host.addresses.iter().all(|a| a.net.addr().is_ipv4()));
    assert!(host.routes.iter().all(|r| r.dst.addr().is_ipv4()));
    assert_eq!(m.refused(address(Place::Host, "eth0", "fd00::1/64")), 13);
    assert_eq!(m.refused(Change::add_route(Place::Host, route("fd09::/64", "eth0"))), 13);
    m.ok(set(Place::Host, "net/ipv6/conf/all/disable_ipv6", "0", "1"));
    m.ok(set(Place::Host, "net/ipv6/conf/all/disable_ipv6", "1", "0")).ok(address(
        Place::Host,
        "eth0",
        "fd00::1/64",
    ));
}
