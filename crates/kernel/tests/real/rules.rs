//! Policy rules and permanent neighbours.

use polynic_kernel::Errno;
use polynic_net::{Change, Diff, Family, Mac, Neighbour, Object, Place, Rule};

use crate::support::{Bench, ifb, name};

fn rule(family: Family, priority: u32, table: u32) -> Rule {
    Rule { family, priority, from: None, to: None, iif: None, mark: None, table }
}

fn rules(bench: &mut Bench) -> Vec<Rule> {
    bench.observe(|n| n.pod.rules = true).pod.unwrap().rules
}

#[test]
fn rules_of_every_shape_come_and_go() {
    let Some(mut bench) = Bench::new() else { return };
    let standard = rules(&mut bench);
    assert!(standard.contains(&rule(Family::V4, 32766, 254)), "{standard:?}");
    let shapes = [
        Rule { from: Some("10.0.0.2/32".parse().unwrap()), ..rule(Family::V4, 1000, 101) },
        Rule { to: Some("10.9.0.0/16".parse().unwrap()), ..rule(Family::V4, 1001, 4000) },
        Rule { iif: Some(name("eth0")), ..rule(Family::V4, 1002, 101) },
        Rule { mark: Some((0x10, 0xff)), ..rule(Family::V4, 1003, 101) },
        Rule { from: Some("fd00::2/128".parse().unwrap()), ..rule(Family::V6, 1000, 101) },
        rule(Family::V6, 7, 500),
    ];
    for shape in shapes {
        let add = Change::add_rule(Place::Pod, shape.clone());
        bench.apply(add.clone());
        assert!(rules(&mut bench).contains(&shape), "{shape:?}");
        assert_eq!(bench.errno(add.clone()), Errno::EEXIST, "{shape:?}");
        bench.apply(add.clone().inverse().unwrap());
        assert_eq!(rules(&mut bench), standard);
        assert!(bench.fail(add.inverse().unwrap()).is_absent(), "{shape:?}");
    }
}

#[test]
fn neighbours_of_both_families_come_change_and_go() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("i0", "veth0");
    bench.apply(ifb(Place::Host, "i1"));
    for ip in ["169.254.1.1", "fe80::1"] {
        let first = Neighbour { link: name("i0"), ip: ip.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, 1]) };
        let second = Neighbour { mac: Mac([2, 0, 0, 0, 0, 2]), ..first.clone() };
        let change = |diff| Change { place: Place::Pod, object: Object::Neighbour(diff) };
        bench.apply(change(Diff::create(first.clone())));
        assert_eq!(bench.errno(change(Diff::create(first.clone()))), Errno::EEXIST);
        bench.apply(change(Diff::replace(first, second.clone())));
        let found = bench.observe(|n| n.pod.neighbours = true).pod.unwrap().neighbours;
        assert_eq!(found, std::slice::from_ref(&second));
        bench.apply(change(Diff::delete(second.clone())));
        assert!(bench.fail(change(Diff::delete(second))).is_absent());
    }
}
