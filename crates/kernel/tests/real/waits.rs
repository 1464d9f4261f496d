//! Waiting.

use std::time::{Duration, Instant};

use polynic_net::{Address, Change, Place, Wait};

use crate::support::{Bench, ifb, name, veth};

fn dad(link: &str) -> Change {
    Change::wait(Place::Pod, Wait::Dad { link: name(link) })
}

#[test]
fn detection_is_waited_for() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("i0", "veth0");
    let address = Address::new(&name("i0"), "fd00::2/64".parse().unwrap());
    bench.apply(Change::add_address(Place::Pod, address));
    bench.apply(dad("i0"));
    let facts = bench.observe(|n| n.pod.addresses.push(name("i0")));
    assert!(facts.pod.unwrap().addresses.iter().all(|a| !a.tentative));
}

#[test]
fn a_duplicate_is_an_error_by_name() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("i0", "veth0");
    let net = "fd00::2/64".parse().unwrap();
    let theirs = Address { nodad: true, ..Address::new(&name("veth0"), net) };
    bench.apply(Change::add_address(Place::Host, theirs));
    bench.apply(Change::add_address(Place::Pod, Address::new(&name("i0"), net)));
    let error = bench.fail(dad("i0"));
    let facts = bench.observe(|n| n.host.link(&name("veth0")));
    let mac = facts.link(Place::Host, &name("veth0")).unwrap().mac.unwrap();
    let told = format!("link i0 has address fd00::2 in DADFAILED state: it is located at {mac}");
    assert_eq!(error.to_string(), told);
}

#[test]
fn without_ipv6_addresses_there_is_no_wait() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "i0"));
    let start = Instant::now();
    bench.apply(dad("i0"));
    assert!(start.elapsed() < Duration::from_secs(5), "as long as for addresses that do not settle");
    assert!(bench.fail(dad("nope")).is_absent());
}

#[test]
fn a_cable_with_both_ends_up_is_operational() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("i0", "veth0");
    bench.apply(Change::wait(Place::Host, Wait::OperUp { link: name("veth0") }));
}

#[test]
fn a_port_that_stays_down_is_an_error_with_its_state() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Pod, "i0", Place::Host, "veth0"));
    bench.apply(Change::up(Place::Host, &name("veth0")));
    let error = bench.kernel.apply(&Change::wait(Place::Host, Wait::OperUp { link: name("veth0") }));
    assert_eq!(error.unwrap_err().to_string(), "bridge port in error state: down");
}
