//! Any valid plan, any point of failure.
//!
//! A plan is valid if each step applies to the state that the steps before it made, so plans are grown on a scratch
//! machine. Left out is what the kernel itself cannot undo: taking links down or deleting them (their state is lost),
//! deleting addresses that were there before, forwarding of single links (the global switch overwrites it).

use std::sync::LazyLock;

use polynic_net::{LinkNeed, Needs, Neighbour, NsFacts, PortVlan};
use proptest::prelude::*;

use super::*;
use crate::Snapshot;

/// Where a step comes from: the kind of change and three choices within it.
type Seed = (u8, u8, u8, u8);

fn machine() -> FakeDoor {
    static MACHINE: LazyLock<FakeDoor> = LazyLock::new(build);
    MACHINE.fork()
}

fn build() -> FakeDoor {
    let door = FakeDoor::new();
    door.add_netns(POD);
    door.host(|host| {
        host.physical("eth0").address("eth0", "192.0.2.10/24").address("eth0", "fd00:1::10/64");
        host.route("default", Some("192.0.2.1"), "eth0").physical("eth1");
        host.change(&Change::create_link(Place::Host, bridge_link("br1")));
    });
    door
}

fn bridge_link(link: &str) -> Link {
    Link::new(name(link), LinkKind::Bridge { vlan_filtering: true })
}

fn pair(place: Place, link: &str, peer: &str) -> Change {
    let peer = Veth { place: Place::Host, name: name(peer), mac: None, mtu: None };
    Change::create_link(place, Link::new(name(link), LinkKind::Veth(peer)))
}

fn new_link(a: u8) -> Change {
    let parent = LinkRef { place: Place::Host, name: name(if a & 4 == 0 { "eth0" } else { "v2" }) };
    let macvlan = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
    match a % 4 {
        0 => pair(Place::Pod, "net1", "veth1"),
        1 => pair(Place::Host, "v2", "v3"),
        2 => Change::create_link(Place::Pod, Link::new(name("mv1"), macvlan)),
        _ => Change::create_link(Place::Host, bridge_link("br0")),
    }
}

const LINKS: [(Place, &str); 10] = [
    (Place::Host, "eth0"),
    (Place::Host, "eth1"),
    (Place::Host, "br0"),
    (Place::Host, "br1"),
    (Place::Host, "veth1"),
    (Place::Host, "v2"),
    (Place::Host, "v3"),
    (Place::Pod, "net1"),
    (Place::Pod, "mv1"),
    (Place::Pod, "lo"),
];

fn pick<'a>(list: &[&'a str], n: u8) -> &'a str {
    list[usize::from(n) % list.len()]
}

fn see(kernel: &mut dyn Kernel, place: Place, sysctl: Option<SysctlKey>) -> NsFacts {
    let mut needs = Needs::default();
    let at = needs.at_mut(place);
    (at.links, at.routes) = (LinkNeed::All, true);
    at.sysctls.extend(sysctl);
    let facts = kernel.observe(&needs).unwrap();
    facts.at(place).unwrap().clone()
}

/// The change that a seed stands for in the present state; it need not apply.
fn candidate(kernel: &mut dyn Kernel, (kind, a, b, c): Seed) -> Option<Change> {
    let (place, link) = LINKS[usize::from(a) % LINKS.len()];
    let link = name(link);
    match kind % 12 {
        0 => Some(new_link(b)),
        // One that is up already is not for a plan to bring up: taken back, it would be down.
        1 => see(kernel, place, None).link(&link).filter(|l| !l.up).map(|_| Change::up(place, &link)),
        2 => {
            let nets = ["10.1.0.2/24", "10.1.0.3/24", "10.2.0.1/32", "fd00:1::2/64", "fd00:2::2/64"];
            Some(Change::add_address(place, Address::new(&link, pick(&nets, b).parse().unwrap())))
        }
        3 => Some(Change::add_route(place, some_route(&link, b, c))),
        4 => some_deletion(kernel, place, b),
        5 => Some(Change::add_rule(place, some_rule(b))),
        6 => {
            let neighbour = Neighbour { link, ip: "10.1.0.9".parse().unwrap(), mac: Mac([2; 6]) };
            Some(Change { place, object: Object::Neighbour(Diff::create(neighbour)) })
        }
        7 => some_sysctl(kernel, place, &link, b),
        8 => some_attr(kernel, place, &link, (b, c)),
        9 => {
            let master = Attr::Master(Some(name(pick(&["br0", "br1"], b))));
            Some(Change::attr(place, &link, Attr::Master(None), master))
        }
        10 => Some(some_vlan(place, link, b)),
        _ => Some(Change::add_firewall(place, some_firewall(b, c))),
    }
}

fn some_route(link: &IfName, b: u8, c: u8) -> Route {
    let dst = pick(&["0.0.0.0/0", "10.9.0.0/16", "192.0.2.0/24", "::/0", "fd09::/64"], b).parse().unwrap();
    let route = Route::new(dst, link).in_table(if c & 1 == 0 { 254 } else { 100 });
    match c % 5 {
        0 => route.via("10.1.0.1".parse().unwrap()),
        1 => route.via("192.0.2.1".parse().unwrap()),
        2 => route.via("fd00:1::1".parse().unwrap()),
        3 => route.link_scope(),
        _ => route,
    }
}

/// Deletes a route that was there from the start, that came with an address, or that dies with its link.
fn some_deletion(kernel: &mut dyn Kernel, place: Place, b: u8) -> Option<Change> {
    let initial = |r: &Route| r.gw == "192.0.2.1".parse().ok() && r.is_default() && r.table == 254;
    let mortal =
        |r: &Route| r.link.as_ref().is_some_and(|l| !["eth0", "eth1", "br1", "lo"].contains(&l.as_str()));
    let deletable =
        |r: &Route| r.dst.to_string() != "fe80::/64" && (r.protocol == 2 || initial(r) || mortal(r));
    let routes: Vec<Route> = see(kernel, place, None).routes.into_iter().filter(deletable).collect();
    let route = routes.get(usize::from(b) % routes.len().max(1))?;
    Some(Change::delete_route(place, route.clone()))
}

fn some_rule(b: u8) -> Rule {
    let (priority, table) = (u32::from(b % 3), 100);
    Rule { family: Family::V4, priority, from: None, to: None, iif: None, mark: None, table }
}

fn some_sysctl(kernel: &mut dyn Kernel, place: Place, link: &IfName, b: u8) -> Option<Change> {
    let key = match b % 6 {
        0 => SysctlKey::ip_forward(),
        1 => SysctlKey::new("net/ipv4/conf/all/forwarding").unwrap(),
        2 => SysctlKey::conf("ipv6", link, "accept_dad"),
        3 => SysctlKey::conf("ipv6", link, "keep_addr_on_down"),
        4 => SysctlKey::conf("ipv4", link, "promote_secondaries"),
        _ => SysctlKey::conf("ipv4", link, "rp_filter"),
    };
    let value = see(kernel, place, Some(key.clone())).sysctl(&key)?.to_owned();
    let other = if value == "0" { "1" } else { "0" };
    Some(Change::sysctl(place, Sysctl { key, value }, other))
}

fn some_attr(kernel: &mut dyn Kernel, place: Place, link: &IfName, (b, c): (u8, u8)) -> Option<Change> {
    let wanted = match b % 6 {
        // A bridge's own MTU follows its ports until somebody sets it, a macvlan's its parent's when that shrinks.
        0 if !["br0", "br1", "eth0", "v2"].contains(&link.as_str()) => {
            Attr::Mtu(1400 + u32::from(c % 2) * 50)
        }
        1 if link.as_str() != "lo" => Attr::Mac(Mac([2, 0, 0, 0, 0, c])),
        2 => Attr::Promisc(c & 1 == 1),
        3 => Attr::Hairpin(c & 1 == 1),
        4 => Attr::TxQueueLen(c.into()),
        _ => Attr::Alias(c.to_string()),
    };
    let fact = see(kernel, place, None).link(link).cloned()?;
    let present = match &wanted {
        Attr::Mtu(_) => Attr::Mtu(fact.mtu),
        Attr::Mac(_) => Attr::Mac(fact.mac?),
        Attr::Promisc(_) => Attr::Promisc(fact.promisc),
        Attr::Hairpin(_) => Attr::Hairpin(fact.hairpin?),
        Attr::TxQueueLen(_) => Attr::TxQueueLen(fact.tx_queue_len),
        _ => Attr::Alias(fact.alias.unwrap_or_default()),
    };
    Some(Change::attr(place, link, present, wanted))
}

fn some_vlan(place: Place, link: IfName, b: u8) -> Change {
    let vlan = |vid, first| PortVlan { link, vid, pvid: first, untagged: first };
    let diff = match b % 3 {
        0 => Diff::delete(vlan(1, true)),
        // Not the one that ports start in: the kernel does not say that it was there, so no plan may make it and have it removed.
        n => Diff::create(vlan(u16::from(n) + 1, false)),
    };
    Change { place, object: Object::PortVlan(diff) }
}

fn some_firewall(b: u8, c: u8) -> FwObject {
    let chains = ["forward", "mine", "shared"];
    let other = pick(&chains[1..], c).to_owned();
    match b % 4 {
        0 => FwObject::Table(table()),
        1 => base_chain(),
        2 => chain(&other),
        _ => rule(pick(&chains, c / 2), pick(&["c1", "c2"], c), FwVerdict::Jump(other)),
    }
}

/// A plan whose first steps are shared and whose others are owned, and the machine's states after each part.
struct Case {
    plan: Plan,
    shared: Snapshot,
    applied: Snapshot,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.plan.steps.iter().map(|s| format!("{:?}: {}", s.stake, s.change)))
            .finish()
    }
}

fn grow(shared: &[Seed], owned: &[Seed]) -> Case {
    let door = machine();
    let mut kernel = door.open(Some(POD)).unwrap();
    let mut plan = Plan::default();
    for seed in shared {
        valid(kernel.as_mut(), *seed).into_iter().for_each(|c| plan.ensure(c));
    }
    let shared = door.snapshot();
    for seed in owned {
        valid(kernel.as_mut(), *seed).into_iter().for_each(|c| plan.own(c));
    }
    Case { plan, shared, applied: door.snapshot() }
}

fn valid(kernel: &mut dyn Kernel, seed: Seed) -> Option<Change> {
    candidate(kernel, seed).filter(|change| kernel.apply(change).is_ok())
}

fn seeds(count: usize) -> impl Strategy<Value = Vec<Seed>> {
    // Links first, else most other steps find nothing to apply to.
    let links = prop::collection::vec((Just(0), any::<u8>(), any::<u8>(), any::<u8>()), 0..4);
    let ups = prop::collection::vec((Just(1), any::<u8>(), any::<u8>(), any::<u8>()), 0..6);
    let rest = prop::collection::vec(any::<Seed>(), 0..count);
    (links, ups, rest).prop_map(|(links, ups, rest)| [links, ups, rest].concat())
}

/// Whether taking a link down again, which an owned step may have brought up, leaves the effect of a shared one: addresses,
/// routes and neighbours only on links that are up from the start.
fn outlives_owned(&(kind, link, ..): &Seed) -> bool {
    // A shared deletion would stay, and with it what owned routes came back over.
    if kind % 12 == 4 {
        return false;
    }
    ![2, 3, 6].contains(&(kind % 12)) || usize::from(link) % LINKS.len() < 2
}

fn cases() -> impl Strategy<Value = Case> {
    let shared = seeds(8).prop_map(|seeds| seeds.into_iter().filter(outlives_owned).collect());
    (prop_oneof![Just(Vec::new()), shared], seeds(20)).prop_map(|(shared, owned)| grow(&shared, &owned))
}

/// Runs `plan` on a new machine; the machine, a kernel on it, and what came of it.
fn run(
    plan: &Plan,
    prepare: impl FnOnce(&FakeDoor),
) -> (FakeDoor, Box<dyn Kernel>, Result<Applied, ApplyError>) {
    let door = machine();
    let mut kernel = door.open(Some(POD)).unwrap();
    prepare(&door);
    let result = apply(kernel.as_mut(), plan);
    (door, kernel, result)
}

/// Whether a plan deletes a way that routes to gateways may need: without it they cannot be made again.
fn deletes_ways(plan: &Plan) -> bool {
    let is_way = |d: &Diff<Route>| d.before.as_ref().is_some_and(|r| r.gw.is_none());
    plan.steps.iter().any(|s| matches!(&s.change.object, Object::Route(d) if is_way(d)))
}

fn operations(plan: &Plan) -> u64 {
    run(plan, |_| {}).0.operations()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_valid_plan_applies(case in cases()) {
        let (door, _, result) = run(&case.plan, |_| {});
        prop_assert!(result.is_ok(), "{:?}", result);
        prop_assert_eq!(case.applied.diff(&door.snapshot()), Vec::<String>::new());
    }

    #[test]
    fn whatever_fails_the_state_is_as_before(case in cases()) {
        let before = machine().snapshot();
        for n in 1..=operations(&case.plan) {
            let (door, _, result) = run(&case.plan, |door| door.fail_at(n));
            let error = result.unwrap_err();
            prop_assert_eq!(&error.undo, &[]);
            prop_assert_eq!(before.diff(&door.snapshot()), Vec::<String>::new(), "at operation {}: {}", n, error);
        }
    }

    #[test]
    fn an_applied_plan_undone_leaves_nothing(case in cases()) {
        let (door, mut kernel, result) = run(&case.plan, |_| {});
        prop_assert_eq!(result.unwrap().undo(kernel.as_mut(), &case.plan), []);
        prop_assert_eq!(machine().snapshot().diff(&door.snapshot()), Vec::<String>::new());
    }

    #[test]
    fn an_applied_plan_removed_leaves_only_what_is_shared(case in cases()) {
        let (door, mut kernel, _) = run(&case.plan, |_| {});
        prop_assert_eq!(remove(kernel.as_mut(), &case.plan), []);
        prop_assert_eq!(case.shared.diff(&door.snapshot()), Vec::<String>::new());
        prop_assert_eq!(remove(kernel.as_mut(), &case.plan), [], "a second time");
        prop_assert_eq!(case.shared.diff(&door.snapshot()), Vec::<String>::new());
    }

    #[test]
    fn wherever_it_crashes_removal_cleans_up(owned in seeds(20)) {
        let case = grow(&[], &owned);
        for n in 1..=operations(&case.plan) {
            let (door, mut kernel, result) = run(&case.plan, |door| door.crash_at(n));
            prop_assert!(result.is_err());
            door.heal();
            prop_assert_eq!(remove(kernel.as_mut(), &case.plan), []);
            prop_assert_eq!(case.shared.diff(&door.snapshot()), Vec::<String>::new(), "at operation {}", n);
        }
    }

    #[test]
    fn an_applied_plan_converges_to_itself(case in cases()) {
        let (door, mut kernel, _) = run(&case.plan, |_| {});
        prop_assert_eq!(converge(kernel.as_mut(), &case.plan, &[]), Ok(()));
        prop_assert_eq!(case.applied.diff(&door.snapshot()), Vec::<String>::new());
    }

    #[test]
    fn what_was_lost_is_restored(case in cases(), losses in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        prop_assume!(!case.plan.steps.is_empty() && !deletes_ways(&case.plan));
        let (door, mut kernel, _) = run(&case.plan, |_| {});
        for loss in losses {
            let step = &case.plan.steps[loss.index(case.plan.steps.len())];
            // Some losses cannot happen: a chain that is in use, a value that is no longer this step's.
            let _ = step.change.clone().inverse().map(|change| kernel.apply(&change));
        }
        prop_assert_eq!(converge(kernel.as_mut(), &case.plan, &[]), Ok(()));
        prop_assert_eq!(case.applied.diff(&door.snapshot()), Vec::<String>::new());
    }
}
