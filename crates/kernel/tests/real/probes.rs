//! Probes and announcements, between two ends of a cable.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use polynic_kernel::netns::{Host, Netns};
use polynic_kernel::{Kernel, KernelError, RealKernel};
use polynic_net::{Address, Announcement, Change, Mac, Place, Probe, Seek, Sysctl, SysctlKey};

use crate::support::{Bench, name};

/// `net1` in the pod and `far` on the other side, which has both families' addresses.
fn cable() -> Option<Bench> {
    let mut bench = Bench::new()?;
    bench.cable("net1", "far");
    bench.apply_all(["192.0.2.7/24", "fd00::7/64"].map(|net| add(Place::Host, "far", net)));
    Some(bench)
}

fn add(place: Place, link: &str, net: &str) -> Change {
    let address = Address { nodad: true, ..Address::new(&name(link), net.parse().unwrap()) };
    Change::add_address(place, address)
}

/// Another view of the host's namespace, for another thread.
fn on_host<R: Send>(work: impl FnOnce(&mut RealKernel) -> R) -> R {
    work(&mut RealKernel::new(Netns::<Host>::current().unwrap(), None).unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn conflict(target: &str) -> Probe {
    Probe { link: name("net1"), ip: ip(target), seek: Seek::Nobody, interval_ms: 100, count: 3 }
}

fn gateway(target: &str, from: &str) -> Probe {
    let seek = Seek::Gateway { from: ip(from) };
    Probe { link: name("net1"), ip: ip(target), seek, interval_ms: 100, count: 10 }
}

#[test]
fn an_address_in_use_is_found_and_its_owner_named() {
    let Some(mut bench) = cable() else { return };
    let far = bench.link(Place::Host, "far").unwrap().mac.unwrap();
    for target in ["192.0.2.7", "fd00::7"] {
        let error = bench.kernel.probe(Place::Pod, &[conflict(target)]).unwrap_err();
        assert_eq!(error, KernelError::Conflict { link: name("net1"), ip: ip(target), mac: far });
        let text =
            format!("pod's interface net1 with an conflicting ip {target}, {target} is located at {far}");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn free_addresses_cost_one_window_however_many_they_are() {
    let Some(mut bench) = cable() else { return };
    let probes: Vec<Probe> =
        (20..40).flat_map(|n| [format!("192.0.2.{n}"), format!("fd00::{n}")]).map(|t| conflict(&t)).collect();
    let start = Instant::now();
    bench.kernel.probe(Place::Pod, &probes).unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    // One after the other they would take forty seconds and more.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn the_own_answers_do_not_count() {
    let Some(mut bench) = cable() else { return };
    bench.apply_all(["192.0.2.8/24", "fd00::8/64"].map(|net| add(Place::Pod, "net1", net)));
    bench.kernel.probe(Place::Pod, &[conflict("192.0.2.8"), conflict("fd00::8")]).unwrap();
}

#[test]
fn a_gateway_answers_or_is_named() {
    let Some(mut bench) = cable() else { return };
    bench
        .kernel
        .probe(Place::Pod, &[gateway("192.0.2.7", "192.0.2.8"), gateway("fd00::7", "fd00::8")])
        .unwrap();
    let error = bench
        .kernel
        .probe(Place::Pod, &[gateway("192.0.2.7", "192.0.2.8"), gateway("192.0.2.9", "192.0.2.8")]);
    assert_eq!(error.unwrap_err().to_string(), "gateway 192.0.2.9 is unreachable");
}

#[test]
fn a_station_that_answers_only_later_is_found() {
    let Some(mut bench) = cable() else { return };
    let target = "192.0.2.99";
    let late = Probe { interval_ms: 50, count: 200, ..conflict(target) };
    let host = Netns::<Host>::current().unwrap();
    let error = std::thread::scope(|scope| {
        scope.spawn(move || {
            host.enter().unwrap();
            // The delay is what is tested: the first questions find nobody.
            std::thread::sleep(Duration::from_millis(120));
            on_host(|there| there.apply(&add(Place::Host, "far", "192.0.2.99/24"))).unwrap();
        });
        bench.kernel.probe(Place::Pod, &[late]).unwrap_err()
    });
    assert!(matches!(error, KernelError::Conflict { .. }), "{error}");
}

/// Neighbours that know another hardware address learn the new one.
#[test]
fn an_announcement_reaches_the_neighbours_caches() {
    let Some(mut bench) = cable() else { return };
    let news = Mac([2, 0, 0, 0, 0, 0x77]);
    for (own, far) in [("192.0.2.8", "192.0.2.7"), ("fd00::8", "fd00::7")] {
        // A claim by an announcement is what a probe on the other side hears, too.
        let announce = Announcement { link: name("net1"), ip: ip(own), mac: news };
        let listener =
            Probe { link: name("far"), ip: ip(own), seek: Seek::Nobody, interval_ms: 100, count: 100 };
        let host = Netns::<Host>::current().unwrap();
        let heard = std::thread::scope(|scope| {
            let hears = scope.spawn(move || {
                host.enter().unwrap();
                on_host(|there| there.probe(Place::Host, &[listener]))
            });
            while !hears.is_finished() {
                bench.apply(Change::announce(Place::Pod, announce.clone()));
                std::thread::sleep(Duration::from_millis(20));
            }
            hears.join().unwrap()
        });
        let expected = KernelError::Conflict { link: name("far"), ip: ip(own), mac: news };
        assert_eq!(heard, Err(expected), "{far}");
    }
}

#[test]
fn a_link_that_does_not_exist_cannot_ask() {
    let Some(mut bench) = cable() else { return };
    let error =
        bench.kernel.probe(Place::Pod, &[Probe { link: name("net9"), ..conflict("192.0.2.7") }]).unwrap_err();
    assert!(
        error.is_absent() && error.to_string().contains("ask on net9 whether 192.0.2.7 is free"),
        "{error}"
    );
}

#[test]
fn without_ipv6_on_the_link_the_question_is_asked_without_a_sender() {
    let Some(mut bench) = cable() else { return };
    let key = SysctlKey::conf("ipv6", &name("net1"), "disable_ipv6");
    bench.apply(Change::sysctl(Place::Pod, Sysctl { key, value: "0".into() }, "1"));
    // The answer goes to the group of all nodes, which a cable carries whoever listens.
    let error = bench.kernel.probe(Place::Pod, &[conflict("fd00::7")]).unwrap_err();
    assert!(matches!(error, KernelError::Conflict { .. }), "{error}");
}
