use polynic_net::{
    Address, Attr, Change, Diff, Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject,
    FwPosition, FwRule, FwTable, FwVerdict, Link, LinkKind, LinkRef, Mac, Macvlan, MacvlanMode, PortVlan,
    Route, Rule, Sysctl, SysctlKey, Veth, Wait,
};

use super::ensure::observe_plan;
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

/// Found by the fuzz target `plugin`: the cable of another VLAN was taken for the wanted one.
#[test]
fn a_shared_cable_is_not_satisfied_by_an_end_of_another() {
    let door = FakeDoor::new();
    let mut kernel = door.open(None).unwrap();
    let cable = |gateway: &str| {
        let peer = Veth { place: Place::Host, name: name("vethspare"), mac: None, mtu: None };
        Change::create_link(Place::Host, Link::new(name(gateway), LinkKind::Veth(peer)))
    };
    let mut first = Plan::default();
    first.ensure(cable("br0.5"));
    apply(kernel.as_mut(), &first).unwrap();
    apply(kernel.as_mut(), &first).unwrap();
    let before = door.snapshot();
    let mut second = Plan::default();
    second.ensure(cable("br0.6"));
    assert!(apply(kernel.as_mut(), &second).unwrap_err().is_stale());
    assert_eq!(before.diff(&door.snapshot()), Vec::<String>::new());
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

/// A machine, a kernel on it, and the snapshot from before.
fn start() -> (FakeDoor, Box<dyn Kernel>, crate::Snapshot) {
    let door = machine();
    let kernel = door.open(Some(POD)).unwrap();
    let before = door.snapshot();
    (door, kernel, before)
}

fn owned(changes: impl IntoIterator<Item = Change>) -> Plan {
    let mut plan = Plan::default();
    changes.into_iter().for_each(|c| plan.own(c));
    plan
}

fn ensured(changes: impl IntoIterator<Item = Change>) -> Plan {
    let mut plan = Plan::default();
    changes.into_iter().for_each(|c| plan.ensure(c));
    plan
}

fn unchanged(before: &crate::Snapshot, door: &FakeDoor) {
    assert_eq!(before.diff(&door.snapshot()), Vec::<String>::new());
}

#[test]
fn what_exists_already_is_somebody_elses() {
    let (door, mut kernel, _) = start();
    apply(kernel.as_mut(), &owned([bridge()])).unwrap();
    let before = door.snapshot();
    let error = apply(kernel.as_mut(), &owned([veth(), bridge()])).unwrap_err();
    assert!(error.is_stale());
    assert_eq!((error.step, error.undo.len()), (1, 0));
    assert_eq!(error.to_string(), "step 2: add link bridge br0 in host: File exists");
    unchanged(&before, &door);
}

#[test]
fn what_could_not_be_taken_back_is_said() {
    let (door, mut kernel, _) = start();
    let plan = owned([forwarding("1"), veth()]);
    door.fail_at(2);
    door.fail_at_with(3, Errno::EBUSY);
    let error = apply(kernel.as_mut(), &plan).unwrap_err();
    assert_eq!(error.undo.len(), 1);
    assert!(
        error.to_string().ends_with(
            "; not taken back: change sysctl net/ipv4/ip_forward=0 in host: \
        Device or resource busy (failure on order)"
        ),
        "{error}"
    );
}

#[test]
fn a_failing_attempt_leaves_the_shared_things_of_others() {
    let (door, mut kernel, _) = start();
    let up = Change::up(Place::Host, &name("br0"));
    let shared = [bridge(), up, forwarding("1"), Change::add_firewall(Place::Host, FwObject::Table(table()))];
    apply(kernel.as_mut(), &ensured(shared.clone())).unwrap();
    let before = door.snapshot();
    let mut plan = ensured(shared);
    let facts = observe_plan(kernel.as_mut(), &plan).unwrap();
    plan.ensure(Change::add_firewall(Place::Host, chain("new")));
    let applied = apply_from(kernel.as_mut(), &plan, &facts).unwrap();
    assert_eq!(applied.created_links(), []);
    assert!(!before.diff(&door.snapshot()).is_empty());
    assert_eq!(applied.undo(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
}

#[test]
fn a_shared_setting_that_is_neither_old_nor_wanted_is_stale() {
    let (door, mut kernel, _) = start();
    door.host(|host| {
        host.sysctl("net/ipv4/ip_forward", "2");
    });
    let error = apply(kernel.as_mut(), &ensured([forwarding("1")])).unwrap_err();
    assert!(matches!(error.cause, KernelError::Stale { .. }), "{error}");
}

/// The settings of another pod's link are set if it is there, and nobody misses them.
#[test]
fn what_is_somebody_elses_is_done_once() {
    let (door, mut kernel, _) = start();
    let mut plan = Plan::default();
    for link in ["eth0", "gone"] {
        let before = Sysctl { key: SysctlKey::rp_filter(&name(link)), value: "0".into() };
        plan.once(Change::sysctl(Place::Host, before, "2"));
    }
    plan.ensure(forwarding("1"));
    let before = door.snapshot();
    let applied = apply(kernel.as_mut(), &plan).unwrap();
    let filtered = |door: &FakeDoor| before.diff(&door.snapshot()).iter().any(|l| l.contains("rp_filter"));
    assert!(filtered(&door));
    assert_eq!(applied.undo(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
    converge(kernel.as_mut(), &plan, &[]).unwrap();
    assert!(!filtered(&door));
    assert_eq!(check::promises([&plan]).len(), 1);
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    // What somebody has changed meanwhile stays as it is.
    door.host(|host| {
        host.sysctl("net/ipv4/conf/eth0/rp_filter", "1");
    });
    let before = door.snapshot();
    apply(kernel.as_mut(), &plan).unwrap();
    unchanged(&before, &door);
}

#[test]
fn both_ends_of_a_pair_are_created_links() {
    let (_, mut kernel, _) = start();
    let applied = apply(kernel.as_mut(), &bridge_plan()).unwrap();
    let links = [(Place::Host, "br0"), (Place::Pod, "net1"), (Place::Host, "veth1")];
    assert_eq!(applied.created_links(), links.map(|(place, link)| (place, name(link))));
}

#[test]
fn removal_keeps_what_is_shared_and_is_repeatable() {
    let (door, mut kernel, _) = start();
    let plan = bridge_plan();
    let shared =
        Plan { steps: plan.steps.iter().filter(|s| s.stake == Stake::Ensured).cloned().collect(), ..plan };
    apply(kernel.as_mut(), &shared).unwrap();
    let before = door.snapshot();
    apply(kernel.as_mut(), &bridge_plan()).unwrap();
    for _ in 0..2 {
        assert_eq!(remove(kernel.as_mut(), &bridge_plan()), []);
        unchanged(&before, &door);
    }
}

#[test]
fn links_of_one_place_are_removed_in_one_go() {
    let (door, mut kernel, before) = start();
    let parent = LinkRef { place: Place::Host, name: name("eth0") };
    let kind = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
    let links =
        ["net1", "net2", "net3"].map(|n| Change::create_link(Place::Pod, Link::new(name(n), kind.clone())));
    let plan = owned(links);
    apply(kernel.as_mut(), &plan).unwrap();
    let operations = door.operations();
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    assert_eq!(door.operations() - operations, 1);
    unchanged(&before, &door);
}

#[test]
fn links_are_removed_one_by_one_if_not_together() {
    let (door, mut kernel, before) = start();
    let plan = owned([bridge(), Change::create_link(Place::Host, Link::new(name("ifb1"), LinkKind::Ifb))]);
    apply(kernel.as_mut(), &plan).unwrap();
    door.fail_at(1);
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
}

#[test]
fn firewall_objects_are_removed_even_if_some_are_gone() {
    let (door, mut kernel, before) = start();
    let objects = [FwObject::Table(table()), chain("a"), rule("a", "c", FwVerdict::Accept)];
    let plan = owned(objects.map(|o| Change::add_firewall(Place::Host, o)));
    apply(kernel.as_mut(), &plan).unwrap();
    let gone = plan.steps[2].change.clone().inverse().unwrap();
    kernel.apply(&gone).unwrap();
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
}

#[test]
fn removal_goes_on_after_an_error_and_returns_it() {
    let (door, mut kernel, before) = start();
    let rule =
        Rule { family: Family::V4, priority: 9, from: None, to: None, iif: None, mark: None, table: 100 };
    let plan = owned([forwarding("1"), Change::add_rule(Place::Pod, rule), veth()]);
    apply(kernel.as_mut(), &plan).unwrap();
    door.fail_at(2);
    let errors = remove(kernel.as_mut(), &plan);
    assert_eq!(errors.len(), 1);
    assert_eq!(before.diff(&door.snapshot()).len(), 1, "the rule alone is left");
}

#[test]
fn what_somebody_changed_since_stays() {
    let (door, mut kernel, _) = start();
    let plan = owned([forwarding("1")]);
    apply(kernel.as_mut(), &plan).unwrap();
    door.host(|host| {
        host.sysctl("net/ipv4/ip_forward", "2");
    });
    let before = door.snapshot();
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
}

#[test]
fn without_the_pods_namespace_pairs_go_by_their_host_end() {
    let (door, mut kernel, _) = start();
    let rule =
        Rule { family: Family::V4, priority: 9, from: None, to: None, iif: None, mark: None, table: 100 };
    let plan = owned([veth(), Change::add_rule(Place::Pod, rule)]);
    apply(kernel.as_mut(), &plan).unwrap();
    door.unlink_netns(POD);
    let mut kernel = door.open(None).unwrap();
    let operations = door.operations();
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    assert_eq!(door.operations() - operations, 1);
    assert!(!door.snapshot().lines().iter().any(|l| l.contains("veth1") || l.contains("net1")));
}

#[test]
fn a_pod_that_is_gone_needs_nothing() {
    let (door, mut kernel, _) = start();
    let plan = owned([veth(), Change::up(Place::Pod, &name("net1"))]);
    apply(kernel.as_mut(), &plan).unwrap();
    door.remove_netns(POD);
    assert_eq!(remove(kernel.as_mut(), &plan), []);
}

#[test]
fn a_way_to_a_gateway_comes_back_before_what_needs_it() {
    let (door, mut kernel, before) = start();
    let default = Route::new("0.0.0.0/0".parse().unwrap(), &name("eth0")).via("192.0.2.1".parse().unwrap());
    let source = "192.0.2.10".parse().unwrap();
    let connected = Route::new("192.0.2.0/24".parse().unwrap(), &name("eth0")).link_scope().from_src(source);
    let connected = Route { protocol: 2, ..connected };
    let plan = owned([connected, default].map(|r| Change::delete_route(Place::Host, r)));
    let applied = apply(kernel.as_mut(), &plan).unwrap();
    assert_eq!(applied.undo(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
}

#[test]
fn a_connected_route_does_not_come_back_without_its_address() {
    let (door, mut kernel, before) = start();
    let eth0 = name("eth0");
    let connected = Route::new("fd00::/64".parse().unwrap(), &eth0);
    let plan = owned([
        Change::add_address(Place::Host, Address::new(&eth0, "fd00::1/64".parse().unwrap())),
        Change::delete_route(Place::Host, Route { protocol: 2, priority: 256, ..connected }),
    ]);
    assert_eq!(remove(kernel.as_mut(), &plan), [], "before it was ever applied");
    unchanged(&before, &door);
    apply(kernel.as_mut(), &plan).unwrap();
    assert_eq!(remove(kernel.as_mut(), &plan), []);
    unchanged(&before, &door);
}

#[test]
fn a_mac_that_cannot_be_restored_is_an_error() {
    let (_, mut kernel, _) = start();
    let mac = |from, to| Change::attr(Place::Pod, &name("lo"), Attr::Mac(Mac(from)), Attr::Mac(Mac(to)));
    let plan = owned([mac([0; 6], [2; 6])]);
    apply(kernel.as_mut(), &plan).unwrap();
    assert_eq!(remove(kernel.as_mut(), &plan).len(), 1);
}

#[test]
fn convergence_restores_values_whatever_they_are_now() {
    let (door, mut kernel, _) = start();
    let mtu = Change::attr(Place::Host, &name("eth0"), Attr::Mtu(1500), Attr::Mtu(1400));
    let plan = owned([forwarding("1"), mtu]);
    apply(kernel.as_mut(), &plan).unwrap();
    let applied = door.snapshot();
    door.host(|host| {
        host.sysctl("net/ipv4/ip_forward", "2").mtu("eth0", 1400, 1300);
    });
    converge(kernel.as_mut(), &plan, &[]).unwrap();
    unchanged(&applied, &door);
}

#[test]
fn convergence_does_not_replay_what_the_plan_itself_undid() {
    let (door, mut kernel, _) = start();
    let up = Change::up(Place::Pod, &name("net1"));
    let down = up.clone().inverse().unwrap();
    let plan = owned([veth(), up.clone(), down, up]);
    apply(kernel.as_mut(), &plan).unwrap();
    door.pod(POD, |pod| {
        pod.address("net1", "10.1.0.2/24").route("default", Some("10.1.0.1"), "net1");
    });
    let before = door.snapshot();
    converge(kernel.as_mut(), &plan, &[]).unwrap();
    unchanged(&before, &door);
}

#[test]
fn convergence_names_the_step_that_fails() {
    let (door, mut kernel, _) = start();
    apply(kernel.as_mut(), &bridge_plan()).unwrap();
    door.fail_at(4);
    let error = converge(kernel.as_mut(), &bridge_plan(), &[]).unwrap_err();
    assert_eq!((error.step, error.change.as_str()), (3, "add link veth net1 in pod"));
}

#[test]
fn a_lost_rule_of_several_with_one_comment_comes_back_with_its_fellows() {
    let (door, mut kernel, _) = start();
    apply(kernel.as_mut(), &bridge_plan()).unwrap();
    let applied = door.snapshot();
    let rule = Change::add_firewall(Place::Host, rule("mine", "c1", FwVerdict::Drop));
    kernel.apply(&rule.inverse().unwrap()).unwrap();
    assert!(!applied.diff(&door.snapshot()).is_empty());
    converge(kernel.as_mut(), &bridge_plan(), &[]).unwrap();
    unchanged(&applied, &door);
}

/// The kernel sets a link up that is up, and says no more than that it did.
#[test]
fn a_convergence_that_fails_takes_nothing_from_what_worked() {
    let (door, mut kernel, _) = start();
    apply(kernel.as_mut(), &bridge_plan()).unwrap();
    let gone = Change::add_firewall(Place::Host, rule("forward", "c1", FwVerdict::Jump("mine".into())));
    kernel.apply(&gone.inverse().unwrap()).unwrap();
    let before = door.snapshot();
    let mut failed = 0;
    for step in 1..=operations_of_convergence(&door) {
        let door = door.fork();
        door.fail_at(step);
        // A refusal of what is found to be there is none.
        if let Err(error) = converge(door.open(Some(POD)).unwrap().as_mut(), &bridge_plan(), &[]) {
            failed += 1;
            assert_eq!(error.undo, [], "{error}");
            assert_eq!(before.diff(&door.snapshot()), Vec::<String>::new(), "operation {step}: {error}");
        }
    }
    assert!(failed > 5, "{failed}");
}

fn operations_of_convergence(door: &FakeDoor) -> u64 {
    let door = door.fork();
    let before = door.operations();
    converge(door.open(Some(POD)).unwrap().as_mut(), &bridge_plan(), &[]).unwrap();
    door.operations() - before
}

#[test]
fn a_port_that_worked_keeps_its_vlans_when_a_convergence_fails() {
    let (door, mut kernel, _) = start();
    let vlans =
        Change::create_link(Place::Host, Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: true }));
    let member = |vid, untagged| PortVlan { link: name("veth1"), vid, pvid: untagged, untagged };
    let vlan = |diff| Change { place: Place::Host, object: Object::PortVlan(diff) };
    let master =
        Change::attr(Place::Host, &name("veth1"), Attr::Master(None), Attr::Master(Some(name("br0"))));
    let mut plan = ensured([vlans]);
    let own = [
        veth(),
        master,
        vlan(Diff::delete(member(1, true))),
        vlan(Diff::create(member(7, true))),
        forwarding("1"),
    ];
    own.into_iter().for_each(|change| plan.own(change));
    apply(kernel.as_mut(), &plan).unwrap();
    door.host(|host| {
        host.sysctl("net/ipv4/ip_forward", "0");
    });
    let before = door.snapshot();
    door.fail_at_with(6, Errno::EBUSY);
    let error = converge(kernel.as_mut(), &plan, &[]).unwrap_err();
    assert!(error.to_string().contains("ip_forward"), "{error}");
    unchanged(&before, &door);
}
