//! Addresses of both families.

use polynic_kernel::Errno;
use polynic_net::{Address, AddressFact, Change, Place};

use crate::support::{Bench, ifb, name};

fn add(net: &str) -> Change {
    Change::add_address(Place::Pod, Address::new(&name("i0"), net.parse().unwrap()))
}

fn of_i0(bench: &mut Bench) -> Vec<AddressFact> {
    bench.observe(|n| n.pod.addresses.push(name("i0"))).pod.unwrap().addresses
}

#[test]
fn addresses_of_both_families_come_and_go() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "i0"));
    let nets = ["10.1.2.3/24", "10.9.9.9/32", "192.0.2.0/31", "fd00::3/64", "fd00::9/128"];
    bench.apply_all(nets.map(add));
    let mut found: Vec<_> = of_i0(&mut bench).iter().map(|a| a.net.to_string()).collect();
    found.sort();
    assert_eq!(found, nets);
    assert!(of_i0(&mut bench).iter().all(|a| a.link == name("i0") && a.scope == 0));
    bench.apply_all(nets.map(|net| add(net).inverse().unwrap()));
    assert_eq!(of_i0(&mut bench), []);
}

#[test]
fn an_address_is_added_once_and_removed_once() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "i0"));
    for net in ["10.1.2.3/24", "fd00::3/64"] {
        bench.apply(add(net));
        assert_eq!(bench.errno(add(net)), Errno::EEXIST);
        bench.apply(add(net).inverse().unwrap());
        assert_eq!(bench.errno(add(net).inverse().unwrap()), Errno::EADDRNOTAVAIL);
    }
}

#[test]
fn only_the_links_own_addresses_are_observed() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "i0"));
    bench.apply(ifb(Place::Pod, "i1"));
    bench.apply(add("10.1.2.3/24"));
    let facts = bench.observe(|n| n.pod.addresses.extend(["i1", "nope"].map(name)));
    assert_eq!(facts.pod.unwrap().addresses, []);
}

#[test]
fn without_detection_an_ipv6_address_is_of_use_at_once() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("i0", "veth0");
    bench.apply(add("fd00::3/64"));
    let quick = Address { nodad: true, ..Address::new(&name("i0"), "fd00::4/64".parse().unwrap()) };
    bench.apply(Change::add_address(Place::Pod, quick));
    let found = of_i0(&mut bench);
    let tentative = |net: &str| found.iter().find(|a| a.net.to_string() == net).unwrap().tentative;
    assert!(tentative("fd00::3/64"));
    assert!(!tentative("fd00::4/64"));
}

#[test]
fn an_address_on_a_missing_link_names_what_was_asked() {
    let Some(mut bench) = Bench::new() else { return };
    let error = bench.fail(add("10.1.2.3/24"));
    assert!(error.is_absent());
    assert!(error.to_string().starts_with("add address 10.1.2.3/24 on i0 in pod: No such device"), "{error}");
}
