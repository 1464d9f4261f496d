//! One set of properties for all main plugins, on the fake kernel.

use std::collections::BTreeMap;
use std::path::Path;

use polynic_cni::{Error, Invocation, Output, Success, Verb};
use polynic_kernel::fake::Snapshot;
use polynic_kernel::{Door, FakeDoor};
use polynic_net::{Change, IfName, Place};
use serde_json::{Value, json};

use crate::Registry;
use crate::testing::{self, NETNS};

mod chained;
mod on_link;
mod sharing;

struct World {
    door: FakeDoor,
    registry: Registry,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let door = FakeDoor::new();
        door.host(|host| {
            host.physical("eth0").address("eth0", "192.168.1.10/24");
            host.route("0.0.0.0/0", Some("192.168.1.1"), "eth0").physical("eth1");
        });
        door.add_netns(NETNS);
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(testing::host(&door, directory.path()));
        Self { door, registry, directory }
    }

    fn call(&self, verb: Verb, conf: &Value) -> Result<Output, Error> {
        self.call_in(verb, conf, "c1", NETNS)
    }

    fn call_in(&self, verb: Verb, conf: &Value, container_id: &str, netns: &str) -> Result<Output, Error> {
        let invocation = self.invocation(container_id, netns, conf);
        let plugin = self.registry.plugin(conf["type"].as_str().unwrap()).unwrap();
        polynic_cni::invoke(&plugin, verb, &invocation)
    }

    fn invocation(&self, container_id: &str, netns: &str, conf: &Value) -> Invocation {
        let mut conf = conf.clone();
        if conf.get("ipam").is_some_and(|i| i["type"] == "host-local") {
            conf["ipam"]["dataDir"] = json!(self.directory.path().join("addresses"));
        }
        Invocation { container_id: container_id.into(), netns: netns.into(), ..testing::invocation(&conf) }
    }

    /// The pod's rules, without the kernel's own.
    fn rules(&self) -> Vec<polynic_net::Rule> {
        let mut needs = polynic_net::Needs::default();
        needs.pod.rules = true;
        let facts = self.door.open(Some(NETNS)).unwrap().observe(&needs).unwrap();
        let rules = facts.pod.unwrap().rules.into_iter();
        rules.filter(|r| ![0, 32766, 32767].contains(&r.priority)).collect()
    }

    fn add(&self, conf: &Value) -> Result<Success, Error> {
        self.call(Verb::Add, conf)?.into_success("test")
    }

    /// CHECK and DEL as a runtime calls them, with what ADD answered.
    fn with_prev(conf: &Value, result: &Success) -> Value {
        let mut conf = conf.clone();
        conf["prevResult"] = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
        conf
    }

    /// Everything that is kept: the kernel's state, held addresses, records.
    fn state(&self) -> (Snapshot, BTreeMap<String, Vec<u8>>) {
        let mut files = BTreeMap::new();
        collect(&self.directory.path().join("addresses"), &mut files);
        collect(&self.directory.path().join("state/attachments"), &mut files);
        files.retain(|name, _| !name.contains("last_reserved_ip") && !name.ends_with("/lock"));
        (self.door.snapshot(), files)
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => collect(&entry.path(), files),
            false => {
                drop(files.insert(entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()))
            }
        }
    }
}

fn host_local(v6: bool) -> Value {
    let mut ranges =
        vec![json!([{"subnet": "192.168.1.0/24", "rangeStart": "192.168.1.200", "gateway": "192.168.1.1"}])];
    if v6 {
        ranges.push(json!([{"subnet": "fd00:1::/64"}]));
    }
    json!({"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]})
}

/// Configurations that between them take every path of every planner that the fake kernel can follow.
fn configurations() -> Vec<Value> {
    let addresses = json!([{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}, {"address": "fd09::5/64", "gateway": "fd09::1"}]);
    let fixed = json!({"type": "static", "addresses": addresses, "routes": [
        {"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.50.0.0/16", "gw": "10.9.0.7", "priority": 50, "table": 120, "mtu": 1400}]});
    let mut confs = vec![
        json!({"type": "macvlan", "master": "eth0", "ipam": host_local(false)}),
        json!({"type": "macvlan", "mode": "passthru", "mtu": 1400, "ipam": fixed}),
        json!({"type": "macvlan", "master": "eth0", "mac": "02:00:00:00:00:77"}),
        json!({"type": "bridge", "bridge": "br1"}),
        json!({"type": "bridge", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": host_local(true)}),
        json!({"type": "bridge", "isGateway": true, "promiscMode": true, "portIsolation": true, "macspoofchk": true, "mtu": 1400, "enabledad": true, "ipam": fixed}),
        json!({"type": "bridge", "vlan": 100, "isGateway": true, "vlanTrunk": [{"id": 7}, {"minID": 100, "maxID": 102}], "ipam": host_local(false)}),
        json!({"type": "bridge", "disableContainerInterface": true}),
        json!({"type": "ptp", "ipMasq": true, "ipam": host_local(true)}),
        json!({"type": "ptp", "mtu": 1400, "ipam": fixed}),
        json!({"type": "calico-like", "mtu": 1450, "strictReversePath": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]}}),
        json!({"type": "loopback"}),
        json!({"type": "ipvlan", "master": "eth0", "mode": "l3", "mtu": 1400, "ipam": host_local(true)}),
        json!({"type": "ipvlan", "ipam": fixed}),
        json!({"type": "vlan", "master": "eth0", "vlanId": 7, "mtu": 1400, "ipam": host_local(true)}),
        json!({"type": "dummy", "ipam": fixed}),
        json!({"type": "tap", "owner": 1000, "group": 1000, "multiQueue": true, "mac": "02:00:00:00:00:78", "ipam": host_local(false)}),
        json!({"type": "tap", "mtu": 1400}),
        json!({"type": "host-device", "device": "eth1", "ipam": host_local(true)}),
        json!({"type": "host-device", "device": "eth1"}),
    ];
    for conf in &mut confs {
        conf["cniVersion"] = json!("1.1.0");
        conf["name"] = json!("lab");
    }
    confs
}

fn operations(conf: &Value) -> u64 {
    let world = World::new();
    let before = world.door.operations();
    world.add(conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
    world.door.operations() - before
}

#[test]
fn a_failure_at_any_step_leaves_everything_as_it_was() {
    for conf in configurations() {
        let steps = operations(&conf);
        assert!(steps > 0);
        for step in 1..=steps {
            let world = World::new();
            let before = world.state();
            world.door.fail_at(step);
            let error = world.add(&conf).expect_err("the step failed");
            assert!(error.details.contains("pod blue/web") && error.details.contains("\"lab\""), "{error:?}");
            assert_same(&before, &world.state(), &format!("{conf}, step {step} of {steps}"));
            world.add(&conf).unwrap_or_else(|e| panic!("{conf}, again after step {step}: {e}"));
        }
    }
}

fn assert_same(
    before: &(Snapshot, BTreeMap<String, Vec<u8>>),
    after: &(Snapshot, BTreeMap<String, Vec<u8>>),
    what: &str,
) {
    assert_eq!(before.0.diff(&after.0), Vec::<String>::new(), "{what}");
    assert_eq!(before.1, after.1, "{what}");
}

/// What stays after DEL is shared, and a second ADD and DEL add nothing to it.
#[test]
fn del_removes_what_is_the_attachments_own() {
    for conf in configurations() {
        let world = World::new();
        let empty = world.state().1;
        let first = world.add(&conf).unwrap();
        world.call(Verb::Del, &World::with_prev(&conf, &first)).unwrap();
        let shared = world.state();
        assert_eq!(shared.1, empty, "{conf}");
        world.add(&conf).unwrap();
        world.call(Verb::Del, &conf).unwrap();
        assert_same(&shared, &world.state(), &conf.to_string());
        world.call(Verb::Del, &conf).unwrap_or_else(|e| panic!("{conf}: second DEL: {e}"));
        assert_same(&shared, &world.state(), &conf.to_string());
    }
}

#[test]
fn an_add_that_died_at_any_step_is_cleaned_by_del_or_by_the_next_add() {
    for conf in configurations() {
        let steps = steps_when_shared(&conf);
        for step in 1..=steps {
            let world = World::new();
            world.add(&conf).unwrap();
            world.call(Verb::Del, &conf).unwrap();
            let shared = world.state();
            world.door.crash_at(step);
            world.add(&conf).expect_err("the process died");
            world.door.heal();
            if step % 2 == 0 {
                world.add(&conf).unwrap_or_else(|e| panic!("{conf}, ADD after a crash at {step}: {e}"));
            }
            world
                .call(Verb::Del, &conf)
                .unwrap_or_else(|e| panic!("{conf}, DEL after a crash at {step}: {e}"));
            assert_same(&shared, &world.state(), &format!("{conf}, crash at {step} of {steps}"));
        }
    }
}

/// Steps of an ADD that finds the shared objects there.
fn steps_when_shared(conf: &Value) -> u64 {
    let world = World::new();
    world.add(conf).unwrap();
    world.call(Verb::Del, conf).unwrap();
    let before = world.door.operations();
    world.add(conf).unwrap();
    world.door.operations() - before
}

#[test]
fn the_same_add_again_answers_the_same_and_changes_nothing() {
    for conf in configurations() {
        let world = World::new();
        let first = world.add(&conf).unwrap();
        let state = world.state();
        assert_eq!(world.add(&conf).unwrap(), first, "{conf}");
        assert_same(&state, &world.state(), &conf.to_string());
    }
}

/// Found by the fuzz target `plugin`.
#[test]
fn the_same_add_again_in_a_version_that_cannot_express_its_answer_changes_nothing() {
    let world = World::new();
    let mut conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "macvlan", "master": "eth0"});
    world.add(&conf).unwrap();
    world.door.open(Some(NETNS)).unwrap().delete_links(Place::Pod, &["net1".parse().unwrap()]).unwrap();
    conf["cniVersion"] = json!("0.2.0");
    let before = world.state();
    let error = world.add(&conf).unwrap_err();
    assert!(error.msg.contains("cannot convert"), "{error}");
    assert_same(&before, &world.state(), "the link stays away");
}

#[test]
fn somebody_elses_interface_is_not_touched() {
    for conf in configurations().iter().filter(|c| c["type"] != "loopback") {
        let world = World::new();
        world.door.pod(NETNS, |pod| {
            pod.physical("net1");
        });
        let before = world.state();
        let error = world.add(conf).unwrap_err();
        assert!(error.msg.contains("exists") && error.msg.contains("net1"), "{error}");
        assert_same(&before, &world.state(), &conf.to_string());
    }
}

#[test]
fn check_holds_after_add_and_names_what_is_broken() {
    for conf in configurations().iter().filter(|c| c["type"] != "loopback") {
        let world = World::new();
        let result = world.add(conf).unwrap();
        let conf = World::with_prev(conf, &result);
        world.call(Verb::Check, &conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
        let mut other = result.clone();
        other.interfaces.last_mut().unwrap().mac = "02:ff:00:00:00:01".into();
        other.interfaces.iter_mut().for_each(|i| i.mac = "02:ff:00:00:00:01".into());
        assert!(world.call(Verb::Check, &World::with_prev(&conf, &other)).is_err(), "{conf}");
        world.door.pod(NETNS, |pod| {
            let name = IfName::new("net1").unwrap();
            let down =
                Change::attr(Place::Pod, &name, polynic_net::Attr::Up(true), polynic_net::Attr::Up(false));
            if conf["disableContainerInterface"] != true {
                pod.change(&down);
            }
        });
        if conf["disableContainerInterface"] != true {
            assert!(world.call(Verb::Check, &conf).is_err(), "{conf}: interface down");
        }
    }
}

/// As `multus` does where another network supplies the pod's default route.
#[test]
fn check_does_not_ask_for_a_default_route_that_the_result_lost() {
    let world = World::new();
    let conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "macvlan", "master": "eth0", "ipam": host_local(false)});
    let mut result = world.add(&conf).unwrap();
    world.door.pod(NETNS, |pod| {
        let route = polynic_net::Route::new("0.0.0.0/0".parse().unwrap(), &"net1".parse().unwrap());
        pod.change(&Change::delete_route(Place::Pod, route.via("192.168.1.1".parse().unwrap())));
    });
    let why = world.call(Verb::Check, &World::with_prev(&conf, &result)).unwrap_err();
    assert!(why.msg.contains("0.0.0.0") || why.msg.contains("default"), "{why}");
    result.routes.clear();
    world.call(Verb::Check, &World::with_prev(&conf, &result)).unwrap();
}

#[test]
fn check_needs_prev_result() {
    let world = World::new();
    let conf = &configurations()[0];
    world.add(conf).unwrap();
    let error = world.call(Verb::Check, conf).unwrap_err();
    assert_eq!(error.msg, "required prevResult missing");
}

#[test]
fn del_works_without_namespace_and_without_record() {
    for conf in configurations() {
        // The namespace is gone, and its links with it; a reboot takes the records too.
        for (netns, with_record) in [("", true), ("/gone", true), ("", false), (NETNS, false)] {
            let world = World::new();
            world.add(&conf).unwrap();
            if !with_record {
                std::fs::remove_dir_all(world.directory.path().join("state")).unwrap();
            }
            if netns != NETNS {
                world.door.remove_netns(NETNS);
            }
            world
                .call_in(Verb::Del, &conf, "c1", netns)
                .unwrap_or_else(|e| panic!("{conf}, netns {netns:?}: {e}"));
            let (kernel, files) = world.state();
            let own = |line: &&String| ["net1", "veth", "cali", "c1"].iter().any(|word| line.contains(word));
            // The port of a VLAN's gateway is shared: nothing but a veth, so it is the one exception.
            let left: Vec<&String> = kernel.lines().iter().filter(own).collect();
            if conf.get("vlan").is_none() && conf["strictReversePath"] != true {
                assert_eq!(left, Vec::<&String>::new(), "{conf}, netns {netns:?}, record {with_record}");
            }
            assert_eq!(files, BTreeMap::new(), "{conf}, netns {netns:?}, record {with_record}");
        }
    }
}

#[test]
fn gc_removes_what_is_not_listed() {
    for conf in configurations().iter().filter(|c| c["type"] != "loopback") {
        let world = World::new();
        world.add(conf).unwrap();
        let attached = world.state();
        let mut gc = conf.clone();
        world.call_in(Verb::Gc, &gc, "", "").unwrap();
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "net1"}]);
        world.call_in(Verb::Gc, &gc, "", "").unwrap();
        assert_same(&attached, &world.state(), &conf.to_string());
        gc["cni.dev/valid-attachments"] = json!([]);
        world.call_in(Verb::Gc, &gc, "", "").unwrap();
        assert_eq!(world.state().1, BTreeMap::new(), "{conf}");
        assert!(world.door.snapshot().lines().iter().all(|l| !l.contains("net1")), "{conf}");
    }
}

#[test]
fn status_is_50_without_a_master() {
    let world = World::new();
    let mut conf = configurations().remove(0);
    world.call_in(Verb::Status, &conf, "", "").unwrap();
    conf["master"] = json!("eth7");
    let error = world.call_in(Verb::Status, &conf, "", "").unwrap_err();
    assert_eq!((error.code, error.msg.contains("Link not found")), (50, true));
}

#[test]
fn status_is_50_while_the_master_is_down() {
    let world = World::new();
    let conf = configurations().remove(0);
    let down = Change::up(Place::Host, &"eth0".parse().unwrap()).inverse().unwrap();
    world.door.host(|host| {
        host.change(&down);
    });
    let error = world.call_in(Verb::Status, &conf, "", "").unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (50, "master eth0 is down"));
    world.door.host(|host| {
        host.up("eth0");
    });
    world.call_in(Verb::Status, &conf, "", "").unwrap();
}

#[test]
fn every_result_version_can_be_answered_or_is_refused_before_anything_is_done() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        for mut conf in configurations() {
            conf["cniVersion"] = json!(version);
            let world = World::new();
            let before = world.state();
            match world.add(&conf) {
                Ok(result) => assert_eq!(result.cni_version.as_str(), version),
                Err(error) => {
                    assert!(
                        version < "0.3.0" && error.msg.contains("no valid IP addresses"),
                        "{conf}: {error}"
                    );
                    assert_same(&before, &world.state(), &conf.to_string());
                }
            }
        }
    }
}

#[test]
fn a_missing_master_and_a_wrong_mtu_are_refused_by_their_texts() {
    let world = World::new();
    let mut conf = configurations().remove(0);
    conf["mtu"] = json!(9000);
    assert_eq!(world.add(&conf).unwrap_err().msg, "invalid MTU 9000, must be [0, master MTU(1500)]");
    conf["master"] = json!("eth7");
    assert!(world.add(&conf).unwrap_err().msg.contains("Link not found"));
    conf["mode"] = json!("x");
    assert_eq!(world.add(&conf).unwrap_err().msg, "unknown macvlan mode: \"x\"");
}

#[test]
fn two_attachments_of_one_network_are_independent() {
    let world = World::new();
    world.door.add_netns("/run/netns/other");
    let conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "bridge", "isGateway": true, "ipMasq": true, "ipam": host_local(false)});
    let first = world.add(&conf).unwrap();
    let alone = world.state();
    let second =
        world.call_in(Verb::Add, &conf, "c2", "/run/netns/other").unwrap().into_success("bridge").unwrap();
    assert_ne!(first.ips[0].address, second.ips[0].address);
    world.call_in(Verb::Del, &conf, "c2", "/run/netns/other").unwrap();
    assert_same(&alone, &world.state(), "the first attachment");
}

/// The recorded plan, one line a step; shared steps are marked.
fn recorded_plan(conf: &Value) -> Vec<String> {
    let world = World::new();
    world.add(conf).unwrap();
    let directory = crate::record::directory(&world.directory.path().join("state"), "c1");
    let chain = crate::record::applied(&directory);
    let steps = chain.iter().flat_map(|r| &r.plan.steps);
    steps
        .map(|s| match s.stake {
            polynic_net::Stake::Owned => s.change.to_string(),
            polynic_net::Stake::Ensured => format!("shared: {}", s.change),
            polynic_net::Stake::Once => format!("once: {}", s.change),
        })
        .collect()
}

#[test]
fn the_plan_of_macvlan() {
    let plan = recorded_plan(&configurations()[0]);
    let expected = [
        "add link macvlan net1 in pod",
        "change sysctl net/ipv4/conf/net1/arp_notify=1 in pod",
        "add address 192.168.1.200/24 on net1 in pod",
        "set Up(true) on net1 in pod",
        "add route default via 192.168.1.1 dev net1 in pod",
    ];
    assert_eq!(plan, expected);
}

#[test]
fn the_plan_of_a_bridge_with_masquerade() {
    let conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "bridge", "isDefaultGateway": true, "ipMasq": true, "ipam": host_local(false)});
    let plan: Vec<String> = recorded_plan(&conf).into_iter().map(mask_names).collect();
    let expected = [
        "shared: add link bridge cni0 in host",
        "shared: change sysctl net/ipv6/conf/cni0/accept_ra=0 in host",
        "shared: set Up(true) on cni0 in host",
        "add link veth net1 in pod",
        "change sysctl net/ipv6/conf/veth*/accept_ra=0 in host",
        "set Up(true) on veth* in host",
        "set Master(Some(IfName(\"cni0\"))) on veth* in host",
        "change sysctl net/ipv6/conf/net1/accept_dad=0 in pod",
        "change sysctl net/ipv4/conf/net1/arp_notify=1 in pod",
        "add address 192.168.1.200/24 on net1 in pod",
        "set Up(true) on net1 in pod",
        "add route default via 192.168.1.1 dev net1 in pod",
        "shared: add address 192.168.1.1/24 on cni0 in host",
        "shared: change sysctl net/ipv4/ip_forward=1 in host",
        "shared: add nf_tables table cni_plugins_masquerade in host",
        "shared: add nf_tables chain masq_checks of cni_plugins_masquerade in host",
        "shared: add nf_tables chain postrouting of cni_plugins_masquerade in host",
        "shared: add nf_tables rule \"polynic: multicast\" in postrouting of cni_plugins_masquerade in host",
        "shared: add nf_tables rule \"polynic: IPv6 multicast\" in postrouting of cni_plugins_masquerade in host",
        "shared: add nf_tables rule \"polynic: attachments\" in postrouting of cni_plugins_masquerade in host",
    ];
    assert_eq!(plan[..expected.len()], expected);
    assert!(plan[expected.len()].contains("net: 192.168.1.200/24, if: net1, id: c1"), "{plan:?}");
    assert_eq!(plan[expected.len() + 1], "wait for veth* to be operational in host");
}

/// `veth` and eight digits become `veth*`.
fn mask_names(line: String) -> String {
    match line.find("veth").filter(|at| line[at + 4..].starts_with(|c: char| c.is_ascii_hexdigit())) {
        Some(at) => format!("{}veth*{}", &line[..at], &line[at + 12..]),
        None => line,
    }
}

#[test]
fn an_address_stays_taken_while_its_link_cannot_be_removed() {
    let world = World::new();
    let conf = &configurations()[0];
    world.add(conf).unwrap();
    let attached = world.state();
    world.door.fail_at(1);
    let error = world.call(Verb::Del, conf).expect_err("the link stays");
    assert!(error.details.contains("pod blue/web"), "{error:?}");
    assert_same(&attached, &world.state(), "a DEL that failed");
    world.call(Verb::Del, conf).unwrap();
    assert_eq!(world.state().1, BTreeMap::new());
}

#[test]
fn a_second_plugin_of_a_type_in_the_chain_is_no_repetition() {
    for conf in configurations() {
        let world = World::new();
        let first = world.add(&conf).unwrap();
        let state = world.state();
        let second = world.add(&World::with_prev(&conf, &first));
        match conf["type"].as_str() {
            // Nothing stands in its way, and its answer is what it was given.
            Some("loopback") => assert_eq!(second.unwrap(), first),
            _ => assert!(second.unwrap_err().msg.contains("exists"), "{conf}"),
        }
        assert_same(&state, &world.state(), &conf.to_string());
    }
}

/// The kernel gives hardware back under the name that it had in the pod.
#[test]
fn hardware_of_a_vanished_namespace_gets_its_old_name() {
    for device in [json!({"device": "eth1"}), json!({"hwaddr": "02:00:00:00:00:11"})] {
        let world = World::new();
        world.door.host(|host| {
            host.mac("eth1", "02:00:00:00:00:11");
        });
        let mut conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "host-device"});
        conf.as_object_mut().unwrap().extend(device.as_object().unwrap().clone());
        world.add(&conf).unwrap();
        world.door.remove_netns(NETNS);
        let there = |name: &str| {
            world.door.snapshot().lines().iter().any(|l| l.starts_with(&format!("host: link {name} ")))
        };
        assert!(there("net1"), "{:?}", world.door.snapshot());
        world.call(Verb::Del, &conf).unwrap();
        assert!(there("eth1") && !there("net1"), "{:?}", world.door.snapshot());
    }
}

/// The namespace of a pod outlives its DEL, and the kernel gives the device back when nobody waits for it any more.
#[test]
fn a_device_that_came_home_late_is_found_by_the_next_add() {
    let world = World::new();
    let before = world.door.snapshot();
    let conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "host-device", "device": "eth1"});
    world.door.host(|host| {
        host.other_name("eth1", "port-seven-of-the-second-card");
    });
    world.add(&conf).unwrap();
    world.call_in(Verb::Del, &conf, "c1", "").unwrap();
    world.door.remove_netns(NETNS);
    let there = |name: &str| {
        world.door.snapshot().lines().iter().any(|l| l.starts_with(&format!("host: link {name} ")))
    };
    assert!(there("net1") && !there("eth1"), "{:?}", world.door.snapshot());
    world.door.add_netns(NETNS);
    world.door.fail_at(4);
    let taken = world.door.snapshot();
    world.add(&conf).unwrap_err();
    assert_eq!(taken.diff(&world.door.snapshot()), Vec::<String>::new(), "a failed ADD");
    let result = world.add(&conf).unwrap();
    world.call(Verb::Check, &World::with_prev(&conf, &result)).unwrap();
    world.add(&conf).unwrap();
    world.call(Verb::Del, &conf).unwrap();
    assert!(there("eth1") && !there("net1"), "{:?}", world.door.snapshot());
    let changed = before.diff(&world.door.snapshot());
    let changed: Vec<_> = changed.iter().filter(|line| !line.contains(": link eth1 ")).collect();
    assert_eq!(changed, Vec::<&String>::new());
    // By an alternative name too.
    let conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "host-device", "device": "port-seven-of-the-second-card"});
    world.add(&conf).unwrap();
    world.call(Verb::Del, &conf).unwrap();
    assert!(there("eth1"), "{:?}", world.door.snapshot());
}
