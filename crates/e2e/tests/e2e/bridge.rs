//! bridge (spec/plugins.md 1.1).

use polynic_e2e::{Call, Node, Pod, is_cut_off, reaches, source_seen};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

const SUBNETS: [&str; 2] = ["10.5.0.0/24", "fd00:5::/64"];

fn bridge(node: &Node, keys: Value) -> Value {
    let mut conf = conf("bridge", json!({"bridge": "br5", "ipam": host_local(node, &SUBNETS[..1])}));
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

/// What a bridge network shares: the bridge, forwarding, and the tables and chains that have no owner.
const SHARED: [&str; 6] = [
    "br5",
    "ip_forward",
    "forwarding=",
    "accept_ra",
    "table inet cni_plugins_masquerade",
    "table bridge nat",
];

fn place(node: &Node) -> Place<'_> {
    Place { node, shared: &SHARED }
}

fn address(result: &Value, index: usize) -> String {
    let address = result["ips"][index]["address"].as_str().unwrap();
    address.split('/').next().unwrap().to_owned()
}

#[test]
fn a_default_gateway_serves_both_families() {
    let Some(node) = Node::new() else { return };
    let (a, b) = (Pod::new(), Pod::new());
    let keys = json!({"isDefaultGateway": true, "mtu": 1450, "ipam": host_local(&node, &SUBNETS)});
    let call = Call::new(&a, bridge(&node, keys.clone()));
    let before = place(&node).before(&a);
    let result = place(&node).attach(
        &a,
        &call,
        &[
            "link net1 up mtu 1450 kind veth",
            "addr net1 10.5.0.2/24 brd 10.5.0.255 scope global",
            "addr net1 fd00:5::2/64 scope global",
            "route 4 10.5.0.0/24 dev net1 proto kernel scope link src 10.5.0.2",
            "route 4 default via 10.5.0.1 dev net1",
            "route 6 fd00:5::/64 dev net1 proto kernel metric 256",
            "route 6 default via fd00:5::1 dev net1 metric 1024",
        ],
    );
    let state = node.state();
    for line in [
        "link br5 up mtu 1450 kind bridge vlan_filtering 0",
        "addr br5 10.5.0.1/24 brd 10.5.0.255 scope global",
        "addr br5 fd00:5::1/64 scope global",
        "sysctl ipv4/ip_forward=1",
        "sysctl ipv6/conf/all/forwarding=1",
        "sysctl ipv6/conf/br5/accept_ra=0",
        "sysctl ipv6/conf/vethX/accept_ra=0",
    ] {
        assert!(state.has(line), "{line} in\n{state:?}");
    }
    assert!(a.state().has("sysctl ipv4/conf/net1/arp_notify=1"));
    assert!(a.state().has("sysctl ipv6/conf/net1/accept_dad=0"));
    assert!(a.state().has("sysctl ipv6/conf/net1/keep_addr_on_down=1"));
    let other = Call::new(&b, bridge(&node, keys));
    let peer = other.add();
    assert!(reaches(&a.netns, node.netns(), "10.5.0.1") && reaches(&a.netns, node.netns(), "fd00:5::1"));
    assert!(
        reaches(&a.netns, &b.netns, &address(&peer, 0)) && reaches(&a.netns, &b.netns, &address(&peer, 1))
    );
    assert!(reaches(node.netns(), &a.netns, &address(&result, 0)));
    let mac = node.state().mac("br5").to_owned();
    other.del();
    place(&node).detach(&a, &call, &before);
    assert_eq!(node.state().mac("br5"), mac, "the bridge keeps its MAC");
    assert!(node.state().has("addr br5 10.5.0.1/24 brd 10.5.0.255 scope global"), "the bridge stays");
}

#[test]
fn masquerade_gives_the_world_the_nodes_address() {
    let Some(node) = Node::new() else { return };
    let keys = json!({"isDefaultGateway": true, "ipMasq": true, "ipam": host_local(&node, &SUBNETS)});
    let (a, b) = (Pod::new(), Pod::new());
    let calls = [&a, &b].map(|pod| Call::new(pod, bridge(&node, keys.clone())));
    let first = Pod::new();
    let plain = Call::new(&first, bridge(&node, keys.clone())).key("ipMasq", json!(false));
    plain.add();
    plain.del();
    let before = place(&node).before(&a);
    let results = calls.each_ref().map(Call::add);
    let wire = &node.wire().netns;
    assert_eq!(source_seen(&a.netns, wire, "198.51.100.7"), "192.168.1.10".parse().ok());
    assert_eq!(source_seen(&a.netns, wire, "2001:db8::7"), "fd00:1::10".parse().ok());
    assert_eq!(
        source_seen(&a.netns, &b.netns, &address(&results[1], 0)),
        address(&results[0], 0).parse().ok()
    );
    assert_eq!(calls[0].check(&results[0]).silent(), "");
    // Another pod's rules stay when one goes.
    calls[0].del();
    assert_eq!(source_seen(&b.netns, wire, "198.51.100.7"), "192.168.1.10".parse().ok());
    calls[1].del();
    place(&node).assert_nothing_left(&a, &before, "after both");
    place(&node).assert_nothing_left(&b, &before, "after both");
}

#[test]
fn the_spoof_check_drops_a_foreign_mac() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, bridge(&node, json!({"isGateway": true, "macspoofchk": true})));
    let before = place(&node).before(&pod);
    let result = call.add();
    assert_eq!(call.check(&result).silent(), "");
    assert!(reaches(&pod.netns, node.netns(), "10.5.0.1"));
    pod.ip("link set net1 address 02:00:00:00:00:66");
    assert!(is_cut_off(&pod.netns, node.netns(), "10.5.0.1"), "a foreign MAC");
    pod.ip(&format!("link set net1 address {}", result["interfaces"][2]["mac"].as_str().unwrap()));
    assert!(reaches(&pod.netns, node.netns(), "10.5.0.1"), "its own MAC again");
    place(&node).detach(&pod, &call, &before);
}

#[test]
fn ipv6_is_switched_on_for_the_interface_where_pods_have_it_off() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let off = |link: &str| format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
    let files = ["all", "default", "lo"].map(off);
    pod.netns.run(move || files.iter().for_each(|file| std::fs::write(file, "1").unwrap())).unwrap();
    let call =
        Call::new(&pod, bridge(&node, json!({"isGateway": true, "ipam": host_local(&node, &SUBNETS)})));
    let result = call.add();
    for link in ["lo", "net1"] {
        assert!(pod.state().has(&format!("sysctl ipv6/conf/{link}/disable_ipv6=0")), "{:?}", pod.state());
    }
    assert!(reaches(&pod.netns, node.netns(), "fd00:5::1"));
    assert_eq!(call.check(&result).silent(), "");
    call.del();
}

/// One network twice in one pod: masquerade and the check of MACs are each interface's own.
#[test]
fn two_attachments_of_one_network_are_independent() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let keys = json!({"isGateway": true, "ipMasq": true, "macspoofchk": true});
    let first = Call::new(&pod, bridge(&node, keys));
    let second = first.clone().with("CNI_IFNAME", "net2");
    let results = [first.add(), second.add()];
    let from = |at: usize| address(&results[at], 0);
    let of =
        |ip: &str| node.state().lines().iter().filter(|l| l.starts_with("nft ") && l.contains(ip)).count();
    let checked = |ifname: &str| {
        let chain = format!("cni-br-iface-{}-{ifname}", pod.id);
        node.state().lines().iter().filter(|l| l.contains(&chain)).count()
    };
    assert!(checked("net1") > 0 && checked("net2") > 0, "{:?}", node.state());
    assert_eq!((of(&from(0)), of(&from(1))), (1, 1), "{:?}", node.state());
    first.del();
    assert_eq!((checked("net1"), of(&from(0)), of(&from(1))), (0, 0, 1), "{:?}", node.state());
    assert_eq!(second.check(&results[1]).silent(), "");
    pod.ip("route add default via 10.5.0.1");
    let seen = source_seen(&pod.netns, &node.wire().netns, "198.51.100.7");
    assert_eq!(seen, Some("192.168.1.10".parse().unwrap()));
    pod.ip("link set net2 address 02:00:00:00:00:66");
    assert!(is_cut_off(&pod.netns, node.netns(), "10.5.0.1"), "a foreign MAC");
    second.del();
    assert_eq!((checked("net2"), of(&from(1))), (0, 0));
}

#[test]
fn isolated_ports_reach_the_gateway_but_not_each_other() {
    let Some(node) = Node::new() else { return };
    let (a, b) = (Pod::new(), Pod::new());
    let keys = json!({"isGateway": true, "portIsolation": true, "hairpinMode": true});
    let calls = [&a, &b].map(|pod| Call::new(pod, bridge(&node, keys.clone())));
    let results = calls.each_ref().map(Call::add);
    assert!(reaches(&a.netns, node.netns(), "10.5.0.1"));
    assert!(is_cut_off(&a.netns, &b.netns, &address(&results[1], 0)));
    let ports = node.state().without(&["sysctl"]);
    let ports = ports.starting("link vethX");
    assert!(
        ports.iter().all(|l| l.contains("master br5") && l.ends_with("hairpin true isolated true")),
        "{ports:?}"
    );
    assert_eq!(ports.len(), 2);
    calls.iter().for_each(Call::del);
}

#[test]
fn promiscuous_mode_and_dad_are_set_as_asked() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let keys = json!({"isGateway": true, "promiscMode": true, "enabledad": true, "ipam": host_local(&node, &SUBNETS)});
    let call = Call::new(&pod, bridge(&node, keys));
    let before = place(&node).before(&pod);
    let result = call.add();
    assert_eq!(call.check(&result).silent(), "");
    assert!(
        node.state().has("link br5 up mtu 1500 kind bridge promiscuity 1 vlan_filtering 0"),
        "{:?}",
        node.state()
    );
    assert!(pod.state().has("sysctl ipv6/conf/net1/accept_dad=1"));
    assert!(pod.state().has("sysctl ipv6/conf/net1/enhanced_dad=1"));
    // ADD has waited for the addresses to be usable.
    assert!(reaches(&pod.netns, node.netns(), "fd00:5::1"));
    place(&node).detach(&pod, &call, &before);
}

#[test]
fn without_ipam_it_is_just_a_cable() {
    let Some(node) = Node::new() else { return };
    let (a, b) = (Pod::new(), Pod::new());
    let call = Call::new(&a, bridge(&node, json!({"ipam": {}})));
    let before = place(&node).before(&a);
    place(&node).attach(&a, &call, &["link net1 up mtu 1500 kind veth"]);
    let other = Call::new(&b, bridge(&node, json!({"ipam": {}})));
    other.add();
    a.ip("address add 10.77.0.1/24 dev net1");
    b.ip("address add 10.77.0.2/24 dev net1");
    assert!(reaches(&a.netns, &b.netns, "10.77.0.2"));
    other.del();
    place(&node).detach(&a, &call, &before);

    let down = Call::new(&a, bridge(&node, json!({"ipam": {}, "disableContainerInterface": true})));
    place(&node).attach(&a, &down, &["link net1 down mtu 1500 kind veth"]);
    place(&node).detach(&a, &down, &before);
}

#[test]
fn a_foreign_address_of_the_bridge_is_replaced_only_by_force() {
    let Some(node) = Node::new() else { return };
    node.ip("link add br5 type bridge\naddress add 10.99.0.1/24 dev br5\nlink set br5 up");
    let pod = Pod::new();
    let call = Call::new(&pod, bridge(&node, json!({"isGateway": true})));
    let before = (node.state(), pod.state());
    let (code, msg) = call.run("ADD").error();
    assert_eq!((code, msg.as_str()), (999, "\"br5\" already has an IP address different from 10.5.0.1/24"));
    node.state().assert_same(&before.0, "a failed ADD");
    pod.state().assert_same(&before.1, "a failed ADD");
    assert_eq!(node.addresses_held("net"), [""; 0]);
    let forced = call.key("forceAddress", json!(true));
    forced.add();
    assert_eq!(node.state().starting("addr br5"), ["addr br5 10.5.0.1/24 brd 10.5.0.255 scope global"]);
    forced.del();
}

#[test]
fn an_existing_bridge_keeps_its_mac_when_ports_come() {
    let Some(node) = Node::new() else { return };
    node.ip("link add br5 type bridge\nlink set br5 mtu 1420");
    let mac = node.state().mac("br5").to_owned();
    let pods: Vec<Pod> = (0..4).map(|_| Pod::new()).collect();
    let calls: Vec<Call> = pods.iter().map(|pod| Call::new(pod, bridge(&node, json!({})))).collect();
    let results: Vec<Value> = calls.iter().map(Call::add).collect();
    for (call, result) in calls.iter().zip(&results) {
        assert_eq!(result["interfaces"][0]["mac"], json!(mac));
        assert_eq!(call.check(result).silent(), "");
    }
    calls.iter().for_each(Call::del);
    assert_eq!(node.state().mac("br5"), mac);
    assert!(node.state().has("link br5 up mtu 1420 kind bridge vlan_filtering 0"), "{:?}", node.state());
}

#[test]
fn the_mac_comes_from_the_strongest_source() {
    let Some(node) = Node::new() else { return };
    let (by_args, by_object) =
        ("IgnoreUnknown=1;MAC=02:00:00:00:00:02", json!({"cni": {"mac": "02:00:00:00:00:03"}}));
    let runtime = json!({"mac": "02:00:00:00:00:04"});
    let cases = [
        (json!({}), "02:00:00:00:00:02"),
        (json!({"args": by_object}), "02:00:00:00:00:03"),
        (json!({"args": by_object, "runtimeConfig": runtime}), "02:00:00:00:00:04"),
    ];
    for (keys, expected) in cases {
        let pod = Pod::new();
        let call = Call::new(&pod, bridge(&node, keys)).with("CNI_ARGS", by_args);
        assert_eq!(call.add()["interfaces"][2]["mac"], expected);
        assert_eq!(pod.state().mac("net1"), expected);
        call.del();
    }
}

#[test]
fn it_deletes_with_whatever_is_left() {
    let Some(node) = Node::new() else { return };
    let keys = json!({"isDefaultGateway": true, "ipMasq": true, "macspoofchk": true});
    let conf = bridge(&node, keys);
    // The shared objects first, so that they do not look like something left.
    let first = Pod::new();
    Call::new(&first, conf.clone()).add();
    Call::new(&first, conf.clone()).del();
    place(&node).deletes_with_whatever_is_left(|pod| Call::new(pod, conf.clone()));
}
