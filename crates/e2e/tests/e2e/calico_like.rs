//! calico-like (spec/calico-like-default-network.md).

use polynic_e2e::{Call, Node, Pod, reaches, run_in_vm, source_seen};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

fn calico(node: &Node, keys: Value) -> Value {
    let ipam = host_local(node, &["10.244.0.0/24", "fd00:244::/64"]);
    let mut conf = conf("calico-like", json!({"mtu": 1450, "ipam": ipam}));
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn call(node: &Node, pod: &Pod, keys: Value) -> Call {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.id);
    Call::new(pod, calico(node, keys)).with("CNI_IFNAME", "eth0").with("CNI_ARGS", &args)
}

fn place(node: &Node) -> Place<'_> {
    Place { node, shared: &["ip_forward", "forwarding=", "accept_ra", "table inet polynic_calico_like"] }
}

#[test]
fn it_looks_like_the_default_network_of_the_guides() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = call(&node, &pod, json!({}));
    let before = place(&node).before(&pod);
    let result = place(&node).attach(
        &pod,
        &call,
        &[
            "link eth0 up mtu 1450 kind veth",
            "addr eth0 10.244.0.2/32 scope global",
            "addr eth0 fd00:244::2/128 scope global",
            "route 4 169.254.1.1 dev eth0 scope link",
            "route 4 default via 169.254.1.1 dev eth0",
            "route 6 fd00:244::2 dev eth0 proto kernel metric 256",
            "route 6 default via fe80::ecee:eeff:feee:eeee dev eth0 metric 1024",
        ],
    );
    let host_end = result["interfaces"][0]["name"].as_str().unwrap();
    assert!(host_end.starts_with("cali") && host_end.len() == 15, "{host_end}");
    let state = node.state();
    assert_eq!(state.mac(host_end), "ee:ee:ee:ee:ee:ee");
    for line in [
        format!("link {host_end} up mtu 1450 kind veth"),
        format!("route 4 10.244.0.2 dev {host_end} scope link"),
        format!("route 6 fd00:244::2 dev {host_end} metric 1024"),
        format!("sysctl ipv4/conf/{host_end}/proxy_arp=1"),
        format!("sysctl ipv4/neigh/{host_end}/proxy_delay=0"),
        format!("sysctl ipv6/conf/{host_end}/proxy_ndp=1"),
        format!("sysctl ipv6/conf/{host_end}/accept_dad=0"),
    ] {
        assert!(state.has(&line), "{line} in\n{state:?}");
    }
    assert_eq!(state.starting(&format!("addr {host_end}")), [""; 0]);
    assert_eq!(result["routes"], json!([{"dst": "10.244.0.2/32"}, {"dst": "fd00:244::2/128"}]));
    place(&node).detach(&pod, &call, &before);
}

#[test]
fn pods_reach_each_other_and_the_node_in_both_families() {
    let Some(node) = Node::new() else { return };
    let (a, b) = (Pod::new(), Pod::new());
    let calls = [&a, &b].map(|pod| call(&node, pod, json!({})));
    calls.iter().for_each(|call| drop(call.add()));
    assert!(reaches(&a.netns, &b.netns, "10.244.0.3") && reaches(&a.netns, &b.netns, "fd00:244::3"));
    assert!(reaches(&a.netns, node.netns(), "192.168.1.10") && reaches(node.netns(), &a.netns, "10.244.0.2"));
    assert!(reaches(&a.netns, node.netns(), "fd00:1::10") && reaches(node.netns(), &a.netns, "fd00:244::2"));
    calls.iter().for_each(Call::del);
}

#[test]
fn the_strict_check_drops_sources_that_are_routed_elsewhere() {
    let Some(node) = Node::new() else { return };
    for (strict, expected) in [(false, true), (true, false)] {
        let pod = Pod::new();
        let call = call(&node, &pod, json!({"strictReversePath": strict}));
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "");
        assert!(reaches(&pod.netns, node.netns(), "192.168.1.10"), "its own source, strict: {strict}");
        // An address that the node's routes place on the wire: the pod sends with it, the answer cannot come back.
        let seen = foreign_source_arrives(&node, &pod);
        assert_eq!(seen, expected, "a foreign source, strict: {strict}");
        call.del();
    }
}

/// Whether a datagram of the pod with a source that belongs to the wire gets to the node.
fn foreign_source_arrives(node: &Node, pod: &Pod) -> bool {
    use std::net::UdpSocket;
    use std::time::Duration;
    pod.ip("address add 192.168.1.77/32 dev eth0");
    let server = node.netns().run(|| UdpSocket::bind("192.168.1.10:0").unwrap()).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let target = server.local_addr().unwrap();
    let client = pod.netns.run(|| UdpSocket::bind("192.168.1.77:0").unwrap()).unwrap();
    let mut buffer = [0; 8];
    (0..5).any(|_| client.send_to(b"x", target).is_ok() && server.recv_from(&mut buffer).is_ok())
}

#[test]
fn it_deletes_with_whatever_is_left() {
    let Some(node) = Node::new() else { return };
    // The table of the strict check is shared and outlives its makers.
    let first = Pod::new();
    call(&node, &first, json!({"strictReversePath": true})).add();
    call(&node, &first, json!({"strictReversePath": true})).del();
    place(&node).deletes_with_whatever_is_left(|pod| call(&node, pod, json!({"strictReversePath": true})));
}

#[test]
fn a_name_that_the_previous_sandbox_still_holds_means_try_again() {
    let Some(node) = Node::new() else { return };
    let (old, new) = (Pod::new(), Pod::new());
    let first = call(&node, &old, json!({}));
    let second = call(&node, &new, json!({})).with("CNI_ARGS", first.env("CNI_ARGS"));
    first.add();
    let (code, msg) = second.run("ADD").error();
    assert!(code == 11 && msg.contains("previous sandbox"), "{code} {msg}");
    first.del();
    second.add();
    second.del();
}

/// Beginnings of names that the default network passes over when it looks for the node's own address (spec/calico-like-default-network.md 3,
/// `first-found`).
const PASSED_OVER: [&str; 14] = [
    "docker",
    "cbr",
    "dummy",
    "podman",
    "virbr",
    "lxcbr",
    "veth",
    "lo",
    "br-",
    "cali",
    "tunl",
    "flannel",
    "cni",
    "nodelocaldns",
];

#[test]
fn links_that_plugins_make_on_the_node_are_none_that_the_default_network_would_take_for_its_own() {
    let Some(node) = Node::new() else { return };
    let before: Vec<String> = node.state().link_names().into_iter().map(str::to_owned).collect();
    let (one, two) = (Pod::new(), Pod::new());
    let bridge = conf("bridge", json!({"isGateway": true, "ipam": host_local(&node, &["10.77.0.0/24"])}));
    let ptp = conf("ptp", json!({"ipam": host_local(&node, &["10.78.0.0/24"])}));
    let calls = [Call::new(&one, bridge), Call::new(&two, ptp)];
    calls.iter().for_each(|call| drop(call.add()));
    let state = node.state();
    let made: Vec<&str> =
        state.link_names().into_iter().filter(|name| !before.iter().any(|b| b == name)).collect();
    assert!(made.len() >= 3, "{made:?}");
    for name in made {
        let has_address = !state.starting(&format!("addr {name} ")).is_empty();
        assert!(!has_address || PASSED_OVER.iter().any(|start| name.starts_with(start)), "{name}");
    }
    assert!(!state.starting("addr cni0 ").is_empty());
    calls.iter().for_each(Call::del);
}

/// Two pods with the default network and one more: each is reached by either, answers by the same, and keeps its default route and what the
/// default network promises, also once the second one is gone.
fn stands_beside_it(node: &Node, second: &Value) {
    let (a, b) = (Pod::new(), Pod::new());
    let before = node.state();
    let first = [&a, &b].map(|pod| call(node, pod, json!({"strictReversePath": true})));
    first.iter().for_each(|call| drop(call.add()));
    let calls = [&a, &b].map(|pod| Call::new(pod, second.clone()));
    let [source, target] = calls.each_ref().map(|call| {
        let address = call.add()["ips"][0]["address"].as_str().unwrap().to_owned();
        address.split('/').next().unwrap().to_owned()
    });
    let by_default = || {
        let own = |pod: &Pod| pod.state().starting("addr eth0 10.244.")[0].replace("addr eth0 ", "");
        let (from, to) = (own(&a), own(&b));
        let bare = |text: &str| text.split(['/', ' ']).next().unwrap().to_owned();
        assert_eq!(
            source_seen(&a.netns, &b.netns, &bare(&to)),
            Some(bare(&from).parse().unwrap()),
            "{second}"
        );
        assert!(reaches(&a.netns, node.netns(), "192.168.1.10"), "{second}");
        assert!(a.state().has("route 4 default via 169.254.1.1 dev eth0"), "{second}");
    };
    by_default();
    assert_eq!(source_seen(&a.netns, &b.netns, &target), Some(source.parse().unwrap()), "{second}");
    assert_eq!(source_seen(&b.netns, &a.netns, &source), Some(target.parse().unwrap()), "{second}");
    calls.iter().for_each(Call::del);
    by_default();
    first.iter().for_each(Call::del);
    let left = node.state().without(place(node).shared).diff(&before.without(place(node).shared));
    let left: Vec<String> = left.into_iter().filter(|line| !line.contains("second")).collect();
    assert_eq!(left, Vec::<String>::new(), "{second}");
}

fn second(node: &Node, plugin: &str, keys: Value) -> Value {
    let mut conf = conf(plugin, keys);
    (conf["name"], conf["ipam"]) = (json!("second"), host_local(node, &["10.79.0.0/24"]));
    conf
}

#[test]
fn second_networks_of_every_kind_stand_beside_it() {
    let Some(node) = Node::new() else { return };
    stands_beside_it(&node, &second(&node, "bridge", json!({"bridge": "second", "isGateway": true})));
    stands_beside_it(&node, &second(&node, "macvlan", json!({"master": "eth0"})));
    stands_beside_it(&node, &second(&node, "ptp", json!({})));
}

#[test]
fn a_second_network_of_ipvlan_stands_beside_it() {
    let Some(node) = Node::new() else { return };
    if node.offers(&["link eth0 type ipvlan"]) {
        stands_beside_it(&node, &second(&node, "ipvlan", json!({"master": "eth0"})));
    }
}

#[test]
fn in_a_kernel_that_has_ipvlan() {
    run_in_vm(&["calico_like::a_second_network"]);
}
