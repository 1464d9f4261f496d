//! Observing much, and nothing.

use polynic_net::{Change, Needs, NsFacts, Place, Route};

use crate::support::{Bench, name, veth};

#[test]
fn nothing_asked_is_nothing_observed() {
    let Some(mut bench) = Bench::new() else { return };
    let facts = bench.kernel.observe(&Needs::default()).unwrap();
    assert_eq!(facts.host, NsFacts::default());
    assert_eq!(facts.pod, Some(NsFacts::default()));
}

#[test]
fn loopback_is_described() {
    let Some(mut bench) = Bench::new() else { return };
    let lo = bench.link(Place::Pod, "lo").unwrap();
    assert!(lo.loopback && !lo.up);
    assert_eq!((lo.index, lo.mtu, lo.kind.as_str(), lo.peer), (1, 65536, "", None));
}

#[test]
fn long_lists_are_read_whole() {
    let Some(mut bench) = Bench::new() else { return };
    for i in 0..150 {
        bench.apply(veth(Place::Pod, &format!("a{i}"), Place::Pod, &format!("b{i}")));
    }
    assert_eq!(bench.all_links(Place::Pod).len(), 301);
    bench.apply(Change::up(Place::Pod, &name("lo")));
    for i in 0..2000_u32 {
        let dst = format!("10.{}.{}.0/24", i / 250, i % 250).parse().unwrap();
        bench.apply(Change::add_route(Place::Pod, Route::new(dst, &name("lo"))));
    }
    let facts = bench.observe(|n| n.pod.routes = true);
    let found = facts.pod.unwrap().routes.iter().filter(|r| r.protocol == 3).count();
    assert_eq!(found, 2000);
}
