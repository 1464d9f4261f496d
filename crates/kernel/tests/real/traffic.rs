//! Traffic control.

use polynic_kernel::Errno;
use polynic_net::{
    Change, Place, Qdisc, TokenBucket, TrafficAction, TrafficFact, TrafficFilter, TrafficHook, TrafficKey,
    TrafficMatch, TrafficObject,
};

use crate::support::{Bench, ifb, name};

fn add(link: &str, object: TrafficObject) -> Change {
    Change::add_traffic(Place::Pod, &name(link), object)
}

fn filter(hook: TrafficHook, priority: u16, matches: TrafficMatch, action: TrafficAction) -> TrafficObject {
    TrafficObject::Filter(TrafficFilter { hook, priority, matches, action })
}

fn seen(bench: &mut Bench, link: &str) -> Vec<TrafficFact> {
    let mut seen = bench.observe(|n| n.pod.traffic.push(name(link))).pod.unwrap().traffic;
    seen.sort_by_key(|fact| fact.key);
    // A filter is shown several times.
    seen.dedup();
    seen
}

fn keys(bench: &mut Bench, link: &str) -> Vec<TrafficKey> {
    seen(bench, link).into_iter().map(|fact| fact.key).collect()
}

fn bucket() -> TokenBucket {
    TokenBucket::new(1_000_000, 20_000)
}

#[test]
fn a_bucket_comes_with_its_numbers_and_goes() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("net1", "veth1");
    assert_eq!(seen(&mut bench, "net1"), []);
    for bucket in [bucket(), TokenBucket::new(10_000_000_000, 1_000_000)] {
        let tbf = add("net1", TrafficObject::Qdisc(Qdisc::Tbf(bucket)));
        bench.apply(tbf.clone());
        let key = TrafficKey::Qdisc(TrafficHook::Root);
        assert_eq!(seen(&mut bench, "net1"), [TrafficFact { link: name("net1"), key, bucket: Some(bucket) }]);
        assert_eq!(bench.errno(tbf.clone()), Errno::EEXIST);
        bench.apply(tbf.clone().inverse().unwrap());
        assert_eq!(seen(&mut bench, "net1"), []);
        assert!(bench.fail(tbf.inverse().unwrap()).is_absent());
    }
}

#[test]
fn what_comes_in_is_sent_elsewhere() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("net1", "veth1");
    bench.apply(ifb(Place::Pod, "bwp0"));
    assert_eq!(bench.link(Place::Pod, "bwp0").unwrap().tx_queue_len, 0);
    let hook = TrafficHook::Ingress;
    let ingress = add("net1", TrafficObject::Qdisc(Qdisc::Ingress));
    let redirect = add("net1", filter(hook, 1, TrafficMatch::All, TrafficAction::Redirect(name("bwp0"))));
    assert!(bench.fail(redirect.clone()).errno().is_some(), "there is nobody to ask it");
    bench.apply(ingress.clone());
    bench.apply(redirect.clone());
    assert_eq!(bench.errno(redirect.clone()), Errno::EEXIST);
    assert_eq!(keys(&mut bench, "net1"), [TrafficKey::Qdisc(hook), TrafficKey::Filter(hook, 1)]);
    bench.apply(redirect.clone().inverse().unwrap());
    assert_eq!(keys(&mut bench, "net1"), [TrafficKey::Qdisc(hook)]);
    bench.apply(redirect);
    bench.apply(ingress.inverse().unwrap());
    assert_eq!(keys(&mut bench, "net1"), [], "filters go with whom they serve");
}

#[test]
fn classes_and_their_filters_come_and_go() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("net1", "veth1");
    let hook = TrafficHook::Root;
    let class = TrafficObject::Class { id: 0x30, bucket: bucket() };
    let v4 = filter(hook, 1, TrafficMatch::From("10.0.0.0/8".parse().unwrap()), TrafficAction::Class(0x30));
    let v6 = filter(hook, 2, TrafficMatch::To("fd00::/8".parse().unwrap()), TrafficAction::Class(0));
    let htb = TrafficObject::Qdisc(Qdisc::Htb { default: 0x30 });
    assert!(bench.fail(add("net1", class.clone())).errno().is_some(), "a class is somebody's");
    let objects = [htb, class, v4, v6];
    bench.apply_all(objects.clone().map(|object| add("net1", object)));
    let all = [
        TrafficKey::Qdisc(hook),
        TrafficKey::Class(0x30),
        TrafficKey::Filter(hook, 1),
        TrafficKey::Filter(hook, 2),
    ];
    assert_eq!(keys(&mut bench, "net1"), all);
    for object in objects.into_iter().rev() {
        bench.apply(add("net1", object).inverse().unwrap());
    }
    assert_eq!(keys(&mut bench, "net1"), []);
}

#[test]
fn a_link_that_is_not_there_has_none() {
    let Some(mut bench) = Bench::new() else { return };
    assert_eq!(seen(&mut bench, "net1"), []);
    let tbf = add("net1", TrafficObject::Qdisc(Qdisc::Tbf(bucket())));
    assert!(bench.fail(tbf.clone()).is_absent());
    assert!(bench.fail(tbf.inverse().unwrap()).is_absent());
}
