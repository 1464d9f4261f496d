use polynic_net::{
    Address, Attr, Change, Diff, Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject,
    FwPosition, FwRule, FwTable, FwVerdict, Link, LinkKind, LinkRef, Mac, Macvlan, MacvlanMode, Route, Rule,
    Sysctl, SysctlKey, Veth, Wait,
};

use super::*;
use crate::{Door, Errno, FakeDoor};

mod properties;

const POD: &str = "/run/netns/a";

pub(super) fn name(s: &str) -> IfName {
    IfName::new(s).unwrap()
}

pub(super) fn veth() -> Change {
    let peer = Veth { place: Place::Host, name: name("veth1"), mac: None, mtu: None };
    Change::create_link(Place::Pod, Link::new(name("net1"), LinkKind::Veth(peer)))
}

fn bridge() -> Change {
    Change::create_link(Place::Host, Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: false }))
}

fn forwarding(value: &str) -> Change {
    let before = Sysctl { key: SysctlKey::ip_forward(), value: "0".into() };
    Change::sysctl(Place::Host, before, value)
}

fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, "polynic")
}

fn chain(name: &str) -> FwObject {
    FwObject::Chain(FwChain { table: table(), name: name.into(), base: None })
}

fn rule(chain: &str, comment: &str, verdict: FwVerdict) -> FwObject {
    let exprs = vec![FwExpr::Verdict(verdict)];
    FwObject::Rule(FwRule {
        table: table(),
        chain: chain.into(),
        position: FwPosition::Last,
        exprs,
        comment: comment.into(),
    })
}

fn base_chain() -> FwObject {
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Forward, priority: 0 };
    FwObject::Chain(FwChain { table: table(), name: "forward".into(), base: Some(base) })
}

/// A bridge attachment with a gateway, a rule set and a setting: every kind of step.
pub(super) fn bridge_plan() -> Plan {
    let mut plan = Plan::default();
    plan.ensure(bridge());
    plan.ensure(Change::up(Place::Host, &name("br0")));
    plan.ensure(forwarding("1"));
    plan.own(veth());
    plan.own(Change::attr(Place::Host, &name("veth1"), Attr::Master(None), Attr::Master(Some(name("br0")))));
    plan.own(Change::up(Place::Host, &name("veth1")));
    plan.own(Change::add_address(Place::Pod, Address::new(&name("net1"), "10.1.0.2/24".parse().unwrap())));
    plan.own(Change::up(Place::Pod, &name("net1")));
    plan.own(Change::wait(Place::Host, Wait::OperUp { link: name("veth1") }));
    let default = Route::new("0.0.0.0/0".parse().unwrap(), &name("net1")).via("10.1.0.1".parse().unwrap());
    plan.own(Change::add_route(Place::Pod, default));
    let to_table =
        Rule { family: Family::V4, priority: 900, from: None, to: None, iif: None, mark: None, table: 101 };
    plan.own(Change::add_rule(Place::Pod, to_table));
    for object in [FwObject::Table(table()), base_chain(), chain("shared")] {
        plan.ensure(Change::add_firewall(Place::Host, object));
    }
    for object in [
        chain("mine"),
        rule("mine", "c1", FwVerdict::Return),
        rule("mine", "c1", FwVerdict::Drop),
        rule("forward", "c1", FwVerdict::Jump("mine".into())),
    ] {
        plan.own(Change::add_firewall(Place::Host, object));
    }
    plan
}

pub(super) fn machine() -> FakeDoor {
    let door = FakeDoor::new();
    door.add_netns(POD);
    door.host(|host| {
        host.physical("eth0").address("eth0", "192.0.2.10/24").route("default", Some("192.0.2.1"), "eth0");
    });
    door.pod(POD, |pod| {
        pod.up("lo");
    });
    door
}

#[test]
fn a_failure_at_any_step_leaves_the_kernel_as_it_was() {
    let mut n = 0;
    loop {
        n += 1;
        let door = machine();
        let before = door.snapshot();
        let mut kernel = door.open(Some(POD)).unwrap();
        door.fail_at(n);
        match apply(kernel.as_mut(), &bridge_plan()) {
            Ok(_) => break,
            Err(e) => {
                assert_eq!(e.cause.errno(), Some(Errno(5)), "{e}");
                assert_eq!(e.undo, []);
                assert_eq!(before.diff(&door.snapshot()), Vec::<String>::new(), "failed at {n}: {e}");
            }
        }
    }
    assert_eq!(n, 14, "thirteen operations: the firewall steps go as two batches");
}
