//! `sriov` (spec/sriov.md). Few machines have a kernel with simulated cards: elsewhere the tests run in a throw-away kernel.

use std::path::Path;

use polynic_e2e::{Call, Node, Pod, State, reaches, run_in_vm};
use polynic_kernel::netns::unpin;
use serde_json::{Value, json};

use crate::card::Card;
use crate::life::{conf, host_local};

/// What a function of `netdevsim` starts with.
const INITIAL: &str = "vf 2 link/ether 00:00:00:00:00:00 brd ff:ff:ff:ff:ff:ff, spoof checking off, link-state auto, \
                       trust off, query_rss off";
/// What [`everything`] makes of it.
const CONFIGURED: &str = "vf 2 link/ether 02:00:00:00:00:aa brd ff:ff:ff:ff:ff:ff, vlan 5, qos 3, vlan protocol 802.1ad, \
                          tx rate 100 (Mbps), max_tx_rate 100Mbps, min_tx_rate 10Mbps, spoof checking on, link-state enable, trust on, \
                          query_rss off";

/// A node with a card, the link of whose function 2 is a second wire to the same router.
struct Bench {
    node: Node,
    card: Card,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::new()?;
        let router = node.wire().path.trim_start_matches("/run/netns/").to_owned();
        node.ip(&format!(
            "link add vf2 address 02:00:00:00:00:11 mtu 1400 type veth peer name wire2 netns {router}"
        ));
        node.wire().ip("address add 192.168.2.1/24 dev wire2
             address add fd00:2::1/64 dev wire2 nodad
             link set wire2 up");
        let card = Card::insert(&node, "vf2")?;
        Some(Self { node, card })
    }

    fn everything(&self) -> Value {
        let mut conf = conf(
            "sriov",
            json!({"deviceID": self.card.vf, "vlan": 5, "vlanQoS": 3, "vlanProto": "802.1AD", "mac": "02:00:00:00:00:AA",
                "spoofchk": "on", "trust": "on", "link_state": "enable", "min_tx_rate": 10, "max_tx_rate": 100}),
        );
        conf["ipam"] = host_local(&self.node, &["192.168.2.0/24", "fd00:2::/64"]);
        conf["ipam"]["ranges"][0][0]["rangeStart"] = json!("192.168.2.50");
        conf["ipam"]["ranges"][1][0]["rangeStart"] = json!("fd00:2::50");
        conf
    }

    fn settings(&self) -> String {
        self.card.settings(&self.node)
    }

    fn assert_as_before(&self, before: &State, when: &str) {
        self.node.state().assert_same(before, when);
        assert_eq!(self.settings(), INITIAL, "{when}");
        assert_eq!(self.node.addresses_held("net"), [""; 0], "{when}");
        assert_eq!(holder(&self.card), None, "{when}");
    }
}

fn holder(card: &Card) -> Option<String> {
    std::fs::read_to_string(Path::new("/var/lib/cni/sriov/pci").join(&card.vf)).ok()
}

#[test]
fn a_function_gets_its_settings_and_goes_into_the_pod_and_back() {
    let Some(bench) = Bench::new() else { return };
    let pod = Pod::new();
    let (before, empty) = (bench.node.state(), pod.state());
    assert_eq!(bench.settings(), INITIAL);
    let call = Call::new(&pod, bench.everything());
    let result = call.add();
    assert_eq!(bench.settings(), CONFIGURED);
    assert_eq!(holder(&bench.card).as_deref(), Some(pod.path.as_str()));
    let interface = &result["interfaces"][0];
    assert_eq!((&interface["name"], &interface["mac"]), (&json!("net1"), &json!("02:00:00:00:00:aa")));
    assert_eq!(pod.state().mac("net1"), "02:00:00:00:00:aa");
    assert!(bench.node.state().starting("link vf2 ").is_empty());
    for (address, start) in [("192.168.2.1", "addr net1 192.168.2.5"), ("fd00:2::1", "addr net1 fd00:2::5")] {
        assert_eq!(pod.state().starting(start).len(), 1, "{:?}", pod.state());
        assert!(reaches(&pod.netns, &bench.node.wire().netns, address), "{address}");
    }
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(call.add(), result, "a repeated ADD");
    call.del();
    bench.assert_as_before(&before, "after DEL");
    assert_eq!(bench.node.state().mac("vf2"), "02:00:00:00:00:11");
    pod.state().assert_same(&empty, "the pod after DEL");
    call.del();
    bench.assert_as_before(&before, "after another DEL");
}

#[test]
fn a_failed_add_leaves_the_function_as_it_was() {
    let Some(bench) = Bench::new() else { return };
    bench.node.ip("link set vf2 up");
    let pod = Pod::new();
    let before = bench.node.state();
    let mut conf = bench.everything();
    conf["ipam"]["routes"] = json!([{"dst": "10.0.0.0/8", "gw": "10.9.9.9"}]);
    let (_, text) = Call::new(&pod, conf).run("ADD").error();
    assert!(text.contains("10.0.0.0/8"), "{text}");
    bench.assert_as_before(&before, "after the failed ADD");
    let call = Call::new(&pod, bench.everything());
    call.add();
    call.del();
}

#[test]
fn a_setting_that_the_card_refuses_is_named() {
    let Some(bench) = Bench::new() else { return };
    let pod = Pod::new();
    let before = bench.node.state();
    let mut conf = bench.everything();
    conf["mac"] = json!("03:00:00:00:00:01");
    let (_, text) = Call::new(&pod, conf).run("ADD").error();
    assert!(text.contains("of VF 2 on"), "{text}");
    bench.assert_as_before(&before, "after the failed ADD");
}

#[test]
fn a_function_of_a_vanished_pod_is_reset() {
    let Some(bench) = Bench::new() else { return };
    for named in [true, false] {
        let pod = Pod::new();
        let call = Call::new(&pod, bench.everything());
        call.add();
        unpin(Path::new(&pod.path)).unwrap();
        match named {
            true => call.del(),
            false => call.without("CNI_NETNS").del(),
        }
        assert_eq!(bench.settings(), INITIAL, "netns named: {named}");
        assert_eq!(bench.node.addresses_held("net"), [""; 0]);
        assert_eq!(holder(&bench.card), None);
        // This link, unlike a card's, dies with the namespace.
        drop(pod);
        let router = bench.node.wire().path.trim_start_matches("/run/netns/").to_owned();
        if bench.node.state().starting("link vf2 ").is_empty() {
            bench.node.ip(&format!("link add vf2 type veth peer name w{named} netns {router}"));
        }
    }
}

#[test]
fn a_driver_in_user_space_keeps_the_function() {
    let Some(bench) = Bench::new() else { return };
    bench.card.bind("vfio-pci");
    let pod = Pod::new();
    let (before, empty) = (bench.node.state(), pod.state());
    let call = Call::new(&pod, bench.everything());
    let result = call.add();
    assert_eq!(bench.settings(), CONFIGURED);
    pod.state().assert_same(&empty, "the pod after ADD");
    assert_eq!(result["ips"].as_array().unwrap().len(), 2);
    assert_eq!(call.check(&result).silent(), "");
    call.del();
    bench.assert_as_before(&before, "after DEL");
}

#[test]
fn a_name_that_is_taken_on_the_node_sends_the_link_home_under_another() {
    let Some(bench) = Bench::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, bench.everything());
    call.add();
    bench.node.ip("link add vf2 type bridge");
    call.del();
    assert_eq!(bench.node.state().starting("link temp_").len(), 1, "{:?}", bench.node.state());
    assert_eq!(bench.settings(), INITIAL);
}

/// Another plugin's work on the function's link is taken back by that plugin; what the pod did to it, by this one.
#[test]
fn a_chained_plugin_may_change_the_link() {
    let Some(bench) = Bench::new() else { return };
    let pod = Pod::new();
    let before = bench.node.state();
    let call = Call::new(&pod, bench.everything());
    let result = call.add();
    let tuning = Call::new(
        &pod,
        conf(
            "tuning",
            json!({"prevResult": result, "mtu": 1300, "sysctl": {"net.ipv4.conf.IFNAME.rp_filter": "0"}}),
        ),
    );
    let tuned = tuning.add();
    assert_eq!(call.check(&tuned).silent(), "");
    tuning.del();
    pod.ip("link set net1 mtu 1290");
    call.del();
    bench.assert_as_before(&before, "after DEL");
}

#[test]
fn what_this_kernel_lacks_is_tested_in_one_that_has_it() {
    run_in_vm(&["sriov::a_"]);
}
