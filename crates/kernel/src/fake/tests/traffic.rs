//! Traffic control: the same rules as `tests/real/traffic.rs` shows of the real kernel.

use polynic_net::{
    Place, Qdisc, TokenBucket, TrafficAction, TrafficFilter, TrafficHook, TrafficKey, TrafficMatch,
    TrafficObject,
};

use super::*;

fn add(object: TrafficObject) -> Change {
    Change::add_traffic(Place::Host, &name("eth0"), object)
}

fn tbf() -> Change {
    add(TrafficObject::Qdisc(Qdisc::Tbf(TokenBucket::new(1000, 1000))))
}

fn redirect() -> Change {
    let action = TrafficAction::Redirect(name("bwp0"));
    let hook = TrafficHook::Ingress;
    add(TrafficObject::Filter(TrafficFilter { hook, priority: 1, matches: TrafficMatch::All, action }))
}

fn delete(change: Change) -> Change {
    change.inverse().unwrap()
}

fn keys(m: &mut Machine) -> Vec<TrafficKey> {
    let mut needs = Needs::default();
    needs.host.traffic.push(name("eth0"));
    m.kernel.observe(&needs).unwrap().host.traffic.into_iter().map(|fact| fact.key).collect()
}

#[test]
fn there_is_one_discipline_at_a_hook() {
    let mut m = Machine::new();
    assert_eq!(m.ok(tbf()).refused(tbf()), 17);
    assert_eq!(m.ok(delete(tbf())).refused(delete(tbf())), 2);
    assert_eq!(keys(&mut m), []);
}

#[test]
fn a_filter_needs_somebody_who_asks_it_and_a_link_to_send_to() {
    let mut m = Machine::new();
    let ingress = add(TrafficObject::Qdisc(Qdisc::Ingress));
    assert_eq!(m.refused(redirect()), 22);
    assert_eq!(m.ok(ingress.clone()).refused(redirect()), 19);
    m.ok(Change::create_link(Place::Host, Link::new(name("bwp0"), LinkKind::Ifb))).ok(redirect());
    assert_eq!(m.refused(redirect()), 17);
    assert_eq!(keys(&mut m).len(), 2);
    m.ok(delete(ingress));
    assert_eq!(keys(&mut m), [], "filters go with whom they serve");
}

#[test]
fn a_class_needs_a_discipline_that_has_classes_and_goes_with_it() {
    let mut m = Machine::new();
    let class = || add(TrafficObject::Class { id: 1, bucket: TokenBucket::new(1000, 1000) });
    assert_eq!(m.ok(tbf()).refused(class()), 22);
    let htb = add(TrafficObject::Qdisc(Qdisc::Htb { default: 1 }));
    m.ok(delete(tbf())).ok(htb.clone()).ok(class()).ok(delete(htb));
    assert_eq!(keys(&mut m), []);
}
