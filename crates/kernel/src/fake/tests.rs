//! The kernel's rules, one test each. What they claim was checked against Linux 6.18.

mod addresses;
mod firewall;
mod links;
mod routes;
mod settings;
mod traffic;

use polynic_net::{
    Address, Attr, Change, Facts, Link, LinkKind, LinkNeed, LinkRef, Macvlan, MacvlanMode, Needs, NsFacts,
    Route, Veth,
};

use super::*;

const POD: &str = "/run/netns/a";

fn name(s: &str) -> IfName {
    IfName::new(s).unwrap()
}

/// A host with `eth0` and a pod, and a kernel that sees both.
struct Machine {
    door: FakeDoor,
    kernel: Box<dyn Kernel>,
}

impl Machine {
    fn new() -> Self {
        let door = FakeDoor::new();
        door.add_netns(POD);
        door.host(|host| {
            host.physical("eth0").address("eth0", "192.0.2.10/24");
        });
        let kernel = door.open(Some(POD)).unwrap();
        Self { door, kernel }
    }

    #[track_caller]
    fn ok(&mut self, change: Change) -> &mut Self {
        self.kernel.apply(&change).unwrap();
        self
    }

    /// The error number with which a change is refused.
    #[track_caller]
    fn refused(&mut self, change: Change) -> i32 {
        self.kernel.apply(&change).unwrap_err().errno().unwrap().0
    }

    fn facts(&mut self) -> Facts {
        let names: Vec<IfName> = ["lo", "eth0", "net1", "net2", "veth1", "br0"].map(name).to_vec();
        let mut needs = Needs::default();
        for at in [&mut needs.host, &mut needs.pod] {
            at.links = LinkNeed::All;
            at.addresses.clone_from(&names);
            (at.routes, at.rules, at.neighbours) = (true, true, true);
        }
        self.kernel.observe(&needs).unwrap()
    }

    fn host(&mut self) -> NsFacts {
        self.facts().host
    }

    fn pod(&mut self) -> NsFacts {
        self.facts().pod.unwrap()
    }
}

fn veth() -> Change {
    let peer = Veth { place: Place::Host, name: name("veth1"), mac: None, mtu: None };
    Change::create_link(Place::Pod, Link::new(name("net1"), LinkKind::Veth(peer)))
}

fn macvlan(link: &str, mode: MacvlanMode) -> Link {
    let parent = LinkRef { place: Place::Host, name: name("eth0") };
    Link::new(name(link), LinkKind::Macvlan(Macvlan { parent, mode, bc_queue_len: None }))
}

fn bridge() -> Change {
    Change::create_link(Place::Host, Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: false }))
}

fn enslave(link: &str) -> Change {
    Change::attr(Place::Host, &name(link), Attr::Master(None), Attr::Master(Some(name("br0"))))
}

fn up(place: Place, link: &str) -> Change {
    Change::up(place, &name(link))
}

fn down(place: Place, link: &str) -> Change {
    up(place, link).inverse().unwrap()
}

fn address(place: Place, link: &str, net: &str) -> Change {
    Change::add_address(place, Address::new(&name(link), net.parse().unwrap()))
}

fn route(dst: &str, link: &str) -> Route {
    Route::new(dst.parse().unwrap(), &name(link))
}

fn delete(change: Change) -> Change {
    change.inverse().unwrap()
}

#[test]
fn an_ordered_failure_strikes_once_and_changes_nothing() {
    let mut m = Machine::new();
    let before = m.door.snapshot();
    m.door.fail_at_with(2, Errno(12));
    m.ok(up(Place::Pod, "lo"));
    assert_eq!(m.refused(veth()), 12);
    m.ok(down(Place::Pod, "lo"));
    assert_eq!(before, m.door.snapshot());
    m.ok(veth());
    assert_eq!(m.door.operations(), 4);
}

#[test]
fn a_forked_machine_goes_its_own_way() {
    let mut m = Machine::new();
    let other = m.door.fork();
    let before = other.snapshot();
    m.ok(veth());
    assert_eq!(before, other.snapshot());
    assert_eq!(other.operations(), 0);
}

#[test]
fn after_a_crash_nothing_works_until_the_next_process() {
    let mut m = Machine::new();
    m.door.crash_at(2);
    m.ok(up(Place::Pod, "lo"));
    for _ in 0..2 {
        assert!(matches!(m.kernel.apply(&veth()), Err(KernelError::Talk { .. })));
    }
    assert!(m.pod().link(&name("lo")).unwrap().up);
    m.door.heal();
    m.ok(veth());
}

#[test]
fn a_namespace_is_opened_by_its_path_and_known_by_its_identity() {
    let m = Machine::new();
    assert!(m.door.open(Some("/run/netns/b")).is_err_and(|e| e.is_missing()));
    assert_eq!(m.door.open(None).unwrap().pod_id(), None);
    let first = m.kernel.pod_id().unwrap();
    assert_ne!(first, m.kernel.host_id());
    m.door.remove_netns(POD);
    assert_eq!(m.kernel.pod_id(), None);
    m.door.add_netns(POD);
    assert_ne!(m.door.open(Some(POD)).unwrap().pod_id(), Some(first));
}

#[test]
fn a_namespace_takes_its_links_with_it_but_a_lost_path_takes_nothing() {
    let mut m = Machine::new();
    m.ok(veth());
    m.door.unlink_netns(POD);
    assert!(m.door.open(Some(POD)).is_err());
    assert!(m.host().link(&name("veth1")).is_some());
    m.door.add_netns(POD);
    m.kernel = m.door.open(Some(POD)).unwrap();
    m.ok(delete(Change::create_link(Place::Host, Link::new(name("veth1"), LinkKind::Ifb)))).ok(veth());
    m.door.remove_netns(POD);
    assert!(m.host().link(&name("veth1")).is_none());
    assert!(m.kernel.apply(&up(Place::Pod, "lo")).is_err_and(|e| e.is_absent()));
    assert_eq!(m.facts().pod, None);
}

#[test]
fn snapshots_name_what_differs() {
    let mut m = Machine::new();
    let before = m.door.snapshot();
    m.ok(address(Place::Host, "eth0", "198.51.100.1/32"));
    let expected = ["+ host: address 198.51.100.1/32 on eth0 nodad=false"];
    assert_eq!(before.diff(&m.door.snapshot()), expected);
    assert_eq!(m.door.snapshot().diff(&before), ["- host: address 198.51.100.1/32 on eth0 nodad=false"]);
}

#[test]
fn waiting_fails_where_it_would_in_vain() {
    use polynic_net::Wait;
    let mut m = Machine::new();
    let oper = || Change::wait(Place::Host, Wait::OperUp { link: name("veth1") });
    let dad = || Change::wait(Place::Pod, Wait::Dad { link: name("net1") });
    assert_eq!(m.refused(oper()), 19);
    m.ok(veth()).ok(up(Place::Host, "veth1"));
    assert!(matches!(m.kernel.apply(&oper()), Err(KernelError::Waited(_))));
    m.ok(up(Place::Pod, "net1")).ok(oper()).ok(address(Place::Pod, "net1", "fd00::2/64")).ok(dad());
    m.door.set_dad_failing(true);
    let error = m.kernel.apply(&dad()).unwrap_err();
    assert_eq!(error.to_string(), "link net1 has address fd00::2 in DADFAILED state");
    assert!(m.pod().addresses.iter().any(|a| a.dad_failed));
}
