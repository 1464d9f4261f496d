//! A kernel that was booted with `ipv6.disable=1`: there is no setting, no address and no rule of that family, and pods with IPv4 work as
//! everywhere else.

use polynic_e2e::{Call, Node, Pod, Service, has_ipv6, left_to_vm, reaches, run_in_vm_booted_with};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

/// What attachments share and DEL leaves.
const SHARED: [&str; 7] = ["br5", "ip_forward", "CNI", "cni_", "ip filter", "ip nat", "table bridge nat"];

/// A node of a kernel without IPv6.
fn node() -> Option<Node> {
    if has_ipv6() {
        left_to_vm("IPv6 switched off");
        return None;
    }
    Node::new()
}

fn place(node: &Node) -> Place<'_> {
    Place { node, shared: &SHARED }
}

fn addresses(node: &Node, subnet: &str) -> Value {
    let mut ipam = host_local(node, &[subnet]);
    ipam["ranges"][0][0]["rangeStart"] = json!(subnet.replace("0/24", "200"));
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    ipam
}

/// ADD, a packet to the world, CHECK, the same ADD again, DEL.
fn lives(node: &Node, conf: Value) {
    let pod = Pod::new();
    let before = place(node).before(&pod);
    let call = Call::new(&pod, conf.clone());
    let result = call.add();
    assert!(reaches(&pod.netns, &node.wire().netns, "192.168.1.1"), "{conf}");
    assert_eq!(call.check(&result).silent(), "", "{conf}");
    assert_eq!(call.add(), result, "{conf}");
    place(node).detach(&pod, &call, &before);
}

#[test]
fn a_pod_gets_an_interface_of_each_kind() {
    let Some(node) = node() else { return };
    let lan = || addresses(&node, "192.168.1.0/24");
    let own = || addresses(&node, "10.5.0.0/24");
    node.wire().ip("route add 10.5.0.0/24 via 192.168.1.10");
    for keys in [
        json!({"type": "macvlan", "master": "eth0", "ipam": lan()}),
        json!({"type": "macvlan", "ipam": lan()}),
        json!({"type": "ipvlan", "master": "eth0", "ipam": lan()}),
        json!({"type": "bridge", "bridge": "br5", "isDefaultGateway": true, "ipMasq": true, "enabledad": true, "ipam": own()}),
        json!({"type": "bridge", "bridge": "br5", "isGateway": true, "macspoofchk": true, "promiscMode": true, "ipam": own()}),
        json!({"type": "ptp", "ipMasq": true, "ipam": own()}),
    ] {
        let plugin = keys["type"].as_str().unwrap().to_owned();
        lives(&node, conf(&plugin, keys));
    }
}

#[test]
fn a_device_and_a_vlan_work() {
    let Some(node) = node() else { return };
    let router = node.wire().path.trim_start_matches("/run/netns/").to_owned();
    node.ip(&format!("link add eth1 type veth peer name wire1 netns {router}"));
    node.wire().ip("address flush dev wire
                    address add 192.168.1.1/24 dev wire1
                    link set wire1 up");
    let ipam = addresses(&node, "192.168.1.0/24");
    lives(&node, conf("host-device", json!({"device": "eth1", "ipam": ipam})));
    node.wire().ip("address flush dev wire1
                    link add link wire name wire7 type vlan id 7
                    address add 192.168.1.1/24 dev wire7
                    link set wire7 up");
    lives(&node, conf("vlan", json!({"master": "eth0", "vlanId": 7, "ipam": ipam})));
}

/// A pod on a bridge, to chain on.
fn attached(node: &Node, pod: &Pod) -> (Call, Value) {
    node.wire().ip("route replace 10.5.0.0/24 via 192.168.1.10");
    let keys =
        json!({"bridge": "br5", "isGateway": true, "ipMasq": true, "ipam": addresses(node, "10.5.0.0/24")});
    let first = Call::new(pod, conf("bridge", keys));
    let result = first.add();
    (first, result)
}

#[test]
fn a_port_is_mapped_and_the_firewall_lets_through() {
    let Some(node) = node() else { return };
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    let (first, prev) = attached(&node, &pod);
    let mappings = json!({"portMappings": [{"hostPort": 8053, "containerPort": 53, "protocol": "udp"}]});
    let ports = Call::new(&pod, conf("portmap", json!({})))
        .key("runtimeConfig", mappings)
        .key("prevResult", prev.clone());
    let firewall = Call::new(&pod, conf("firewall", json!({"ingressPolicy": "same-bridge"})))
        .key("prevResult", prev.clone());
    for call in [&ports, &firewall] {
        assert_eq!(call.add(), prev);
        assert_eq!(call.check(&prev).silent(), "", "{}", call.conf);
        assert_eq!(call.add(), prev);
    }
    let service = Service::for_ipv4(&pod.netns, 53);
    assert!(service.source_of(&node.wire().netns, "192.168.1.10:8053").is_some());
    assert!(reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
    for call in [&firewall, &ports] {
        call.del();
    }
    place(&node).detach(&pod, &first, &before);
}

#[test]
fn settings_rules_and_limits_work() {
    let Some(node) = node() else { return };
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    let (first, prev) = attached(&node, &pod);
    let chained = [
        json!({"type": "tuning", "mtu": 1400, "mac": "02:00:00:00:00:55", "sysctl": {"net.ipv4.conf.IFNAME.proxy_arp": "1"}}),
        json!({"type": "bandwidth", "ingressRate": 80_000_000, "ingressBurst": 8_000_000, "egressRate": 80_000_000, "egressBurst": 8_000_000}),
        json!({"type": "sbr"}),
        json!({"type": "vrf", "vrfname": "blue"}),
    ];
    for keys in chained {
        let plugin = keys["type"].as_str().unwrap().to_owned();
        let call = Call::new(&pod, conf(&plugin, keys.clone())).key("prevResult", prev.clone());
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "", "{keys}");
        // These move the routes to where only packets with the pod's address look.
        if !["sbr", "vrf"].contains(&plugin.as_str()) {
            assert!(reaches(&pod.netns, &node.wire().netns, "192.168.1.1"), "{keys}");
        }
        call.del();
    }
    first.del();
    place(&node).assert_nothing_left(&pod, &before, "after DEL");
}

#[test]
fn what_needs_another_boot_is_tested_in_a_kernel_of_its_own() {
    run_in_vm_booted_with("ipv6.disable=1", &["without_ipv6::a_", "without_ipv6::settings"]);
}
