//! macvlan (spec/plugins.md 1.2).

use polynic_e2e::{Call, Node, Pod, is_cut_off, reaches, source_seen};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

fn macvlan(node: &Node, keys: Value) -> Value {
    let mut conf = conf("macvlan", json!({"master": "eth0", "ipam": host_local(node, &["192.168.1.0/24"])}));
    conf["ipam"]["ranges"][0][0]["rangeStart"] = json!("192.168.1.200");
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn place(node: &Node) -> Place<'_> {
    // A macvlan makes its parent's driver listen to more addresses; that is the parent's own affair.
    Place { node, shared: &[] }
}

#[test]
fn it_lives_in_every_mode() {
    let Some(node) = Node::new() else { return };
    for mode in ["bridge", "private", "vepa", "passthru"] {
        let pod = Pod::new();
        let before = place(&node).before(&pod);
        let call = Call::new(&pod, macvlan(&node, json!({"mode": mode})));
        call.add();
        let link = format!("link net1 up mtu 1500 kind macvlan mode {mode} bcqueuelen 1000");
        assert!(pod.state().has(&link), "{link} in\n{:?}", pod.state());
        assert!(reaches(&pod.netns, &node.wire().netns, "192.168.1.1"), "{mode}");
        place(&node).detach(&pod, &call, &before);
    }
}

/// What `ip` shows of the pod's routes, without blanks at the ends of lines.
fn routes(pod: &Pod) -> Vec<String> {
    let show = |family: &'static str| {
        let words = [family, "route", "show", "table", "all"];
        std::process::Command::new("ip").args(words).output().unwrap().stdout
    };
    let text = pod.netns.run(move || [show("-4"), show("-6")].concat()).unwrap();
    let lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(|l| l.trim().to_owned()).collect();
    // Next hops of a route have lines of their own.
    lines.iter().map(|line| line.trim_end_matches(" pref medium").to_owned()).collect()
}

#[test]
fn routes_have_what_is_said_of_them_and_check_insists() {
    let Some(_node) = Node::new() else { return };
    let pod = Pod::new();
    let ipam = json!({"type": "static", "addresses": [{"address": "10.10.0.1/24"}, {"address": "fd10::1/64"}], "routes": [
        {"dst": "0.0.0.0/0", "gw": "10.10.0.254", "mtu": 1300, "advmss": 1200, "priority": 50},
        {"dst": "172.16.0.0/12", "gw": "10.10.0.5", "table": 100},
        {"dst": "10.20.0.0/16", "scope": 253},
        {"dst": "fd20::/64", "gw": "fd10::5", "mtu": 1290, "priority": 77},
        {"dst": "fd20::/64", "gw": "fd10::6", "priority": 77}]});
    let call =
        Call::new(&pod, conf("macvlan", json!({"cniVersion": "1.1.0", "master": "eth0", "ipam": ipam})));
    let result = call.add();
    let shown = routes(&pod);
    for line in [
        "default via 10.10.0.254 dev net1 metric 50 mtu 1300 advmss 1200",
        "172.16.0.0/12 via 10.10.0.5 dev net1 table 100",
        "10.20.0.0/16 dev net1 scope link",
        "fd20::/64 metric 77 mtu 1290",
        "nexthop via fd10::5 dev net1 weight 1",
        "nexthop via fd10::6 dev net1 weight 1",
    ] {
        assert!(shown.iter().any(|l| l == line), "{line} in {shown:#?}");
    }
    assert_eq!(result["routes"].as_array().unwrap().len(), 5);
    assert_eq!(call.check(&result).silent(), "");
    for (broken, mended, text) in [
        (
            "route replace default via 10.10.0.254 dev net1 metric 50 mtu 1300",
            "route replace default via 10.10.0.254 dev net1 metric 50 mtu 1300 advmss 1200",
            "default via 10.10.0.254",
        ),
        (
            "route del 172.16.0.0/12 table 100",
            "route add 172.16.0.0/12 via 10.10.0.5 dev net1 table 100",
            "172.16.0.0/12",
        ),
        ("route del 10.20.0.0/16", "route add 10.20.0.0/16 dev net1 scope link", "10.20.0.0/16"),
        (
            "route del fd20::/64 via fd10::6 metric 77",
            "route append fd20::/64 via fd10::6 dev net1 metric 77",
            "fd20::/64",
        ),
    ] {
        pod.ip(broken);
        let (_, said) = call.check(&result).error();
        assert!(said.contains(text), "{broken}: {said}");
        pod.ip(mended);
        assert_eq!(call.check(&result).silent(), "", "{mended}");
    }
    call.del();
}

#[test]
fn it_is_what_the_contract_says() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let mut conf = macvlan(&node, json!({"mtu": 1400, "bcqueuelen": 50}));
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "192.168.1.7", "priority": 7, "mtu": 1300, "table": 100}]);
    let call = Call::new(&pod, conf);
    let before = place(&node).before(&pod);
    place(&node).attach(
        &pod,
        &call,
        &[
            "link net1 up mtu 1400 kind macvlan mode bridge bcqueuelen 50",
            "addr net1 192.168.1.200/24 brd 192.168.1.255 scope global",
            "route 4 192.168.1.0/24 dev net1 proto kernel scope link src 192.168.1.200",
            "route 4 default via 192.168.1.1 dev net1",
            "route 4 10.9.0.0/16 via 192.168.1.7 dev net1 metric 7 table 100 metrics [{\"mtu\":1300}]",
        ],
    );
    assert!(pod.state().has("sysctl ipv4/conf/net1/arp_notify=1"));
    // Behind the router, by the default route; its answer comes back because the network is its own.
    assert!(reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
    place(&node).detach(&pod, &call, &before);
}

#[test]
fn stations_of_one_parent_reach_each_other_in_bridge_mode_only() {
    let Some(node) = Node::new() else { return };
    for (mode, expected) in [("bridge", true), ("private", false)] {
        let (a, b) = (Pod::new(), Pod::new());
        let calls = [&a, &b].map(|pod| Call::new(pod, macvlan(&node, json!({"mode": mode}))));
        let addresses = calls.each_ref().map(|call| {
            let address = call.add()["ips"][0]["address"].as_str().unwrap().to_owned();
            address.trim_end_matches("/24").to_owned()
        });
        let gets_through = match expected {
            true => reaches(&a.netns, &b.netns, &addresses[1]),
            false => !is_cut_off(&a.netns, &b.netns, &addresses[1]),
        };
        assert_eq!(gets_through, expected, "{mode}");
        assert_eq!(source_seen(&a.netns, &node.wire().netns, "192.168.1.1"), addresses[0].parse().ok());
        calls.iter().for_each(Call::del);
    }
}

#[test]
fn the_mac_comes_from_the_strongest_source() {
    let Some(node) = Node::new() else { return };
    let plain = macvlan(&node, json!({"mac": "02:00:00:00:00:01"}));
    let mut by_runtime = plain.clone();
    by_runtime["runtimeConfig"] = json!({"mac": "02:00:00:00:00:03"});
    let args = "IgnoreUnknown=1;MAC=02:00:00:00:00:02";
    for (conf, args, expected) in [
        (&plain, "", "02:00:00:00:00:01"),
        (&plain, args, "02:00:00:00:00:02"),
        (&plain, "MAC=02:00:00:00:00:02", "02:00:00:00:00:02"),
        (&by_runtime, args, "02:00:00:00:00:03"),
    ] {
        let pod = Pod::new();
        let call = Call::new(&pod, conf.clone()).with("CNI_ARGS", args);
        assert_eq!(call.add()["interfaces"][0]["mac"], expected);
        assert_eq!(pod.state().mac("net1"), expected);
        call.del();
    }
}

#[test]
fn a_parent_in_the_pod_and_the_parent_of_the_default_route() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    pod.ip("link add up0 type veth peer name up1\nlink set up0 up\nlink set up1 up\nlink set up0 mtu 1444");
    pod.ip("address add 172.16.0.9/24 dev up0\nroute add default via 172.16.0.1");
    let keys = json!({"linkInContainer": true, "master": "up0", "ipam": {}});
    let call = Call::new(&pod, macvlan(&node, keys));
    let before = place(&node).before(&pod);
    let result = call.add();
    assert!(pod.state().has("link net1 up mtu 1444 kind macvlan mode bridge bcqueuelen 1000"));
    assert_eq!(call.check(&result).silent(), "");
    place(&node).detach(&pod, &call, &before);

    let without = |call: Call| call.key("master", Value::Null);
    let in_pod = without(call.clone());
    in_pod.add();
    assert!(pod.state().starting("link net1 up mtu 1444").len() == 1);
    in_pod.del();
    let on_node = without(call).key("linkInContainer", json!(false));
    on_node.add();
    assert!(pod.state().starting("link net1 up mtu 1500").len() == 1);
    on_node.del();
}

#[test]
fn it_deletes_with_whatever_is_left() {
    let Some(node) = Node::new() else { return };
    place(&node).deletes_with_whatever_is_left(|pod| Call::new(pod, macvlan(&node, json!({}))));
}

#[test]
fn what_cannot_work_changes_nothing() {
    let Some(node) = Node::new() else { return };
    node.ip("link add idle type veth peer name idle-peer");
    let cases = [
        (json!({"master": "nope"}), "Link not found"),
        (json!({"mode": "fast"}), "unknown macvlan mode: \"fast\""),
        (json!({"mtu": 1501}), "invalid MTU 1501, must be [0, master MTU(1500)]"),
        (json!({"mtu": -1}), "invalid MTU -1, must be [0, master MTU(1500)]"),
        (json!({"mac": "nonsense"}), "nonsense"),
    ];
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    for (keys, text) in cases {
        let call = Call::new(&pod, macvlan(&node, keys));
        let (code, msg) = call.run("ADD").error();
        assert!(code == 999 && msg.contains(text), "{code} {msg}");
        place(&node).assert_nothing_left(&pod, &before, text);
    }
    node.ip("route del default\nroute del ::/0");
    let (_, msg) = Call::new(&pod, macvlan(&node, json!({"master": ""}))).run("ADD").error();
    assert!(msg.contains("no default route interface found"), "{msg}");
}
