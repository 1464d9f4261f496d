//! portmap (spec/plugins.md 3.2), with packets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use polynic_e2e::{Call, Node, Pod, Service, State, client, reference_plugins};
use serde_json::{Value, json};

use crate::life::{conf, host_local, records};

/// What attachments share and DEL leaves.
const SHARED: [&str; 6] = ["ip_forward", "forwarding=", "accept_ra", "cni_hostport", "br6", "route_localnet"];

/// A pod behind a bridge that is its gateway, and the result to chain on. All pods of a node are in one network.
fn attached(node: &Node, pod: &Pod, ifname: &str) -> (Call, Value) {
    let mut ipam = host_local(node, &["10.6.0.0/24", "fd00:6::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let conf = conf("bridge", json!({"bridge": "br6", "isGateway": true, "hairpinMode": true, "ipam": ipam}));
    let call = Call::new(pod, conf).with("CNI_IFNAME", ifname);
    let result = call.add();
    (call, result)
}

fn mapped(pod: &Pod, keys: Value, mappings: Value, prev: &Value) -> Call {
    let call = Call::new(pod, conf("portmap", keys)).key("prevResult", prev.clone());
    call.key("runtimeConfig", json!({ "portMappings": mappings }))
}

fn udp(host_port: u16, container_port: u16) -> Value {
    json!({"hostPort": host_port, "containerPort": container_port, "protocol": "udp"})
}

fn own(state: &State) -> State {
    state.without(&SHARED)
}

fn address(result: &Value, at: usize) -> String {
    result["ips"][at]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

#[test]
fn everybody_gets_to_the_pod_by_the_nodes_port() {
    let Some(node) = Node::new() else { return };
    let (pod, neighbour) = (Pod::new(), Pod::new());
    let (bridge, prev) = attached(&node, &pod, "net1");
    let (other, _) = attached(&node, &neighbour, "net1");
    let before = own(&node.state());
    let call = mapped(&pod, json!({}), json!([udp(8053, 53)]), &prev);
    let result = call.add();
    assert_eq!(result, prev, "the result is the previous one");
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(bridge.check(&result).silent(), "");
    assert_eq!(call.add(), result, "a repeated ADD");
    let service = Service::new(&pod.netns, 53);
    let source = |from: &dyn Fn(&str) -> Option<std::net::IpAddr>, target: &str| {
        from(target).map(|ip| ip.to_string()).unwrap_or_else(|| format!("nobody gets to {target}"))
    };
    let from_wire = |target: &str| service.source_of(&node.wire().netns, target);
    let from_node = |target: &str| service.source_of(node.netns(), target);
    let from_pod = |target: &str| service.source_of(&pod.netns, target);
    let from_neighbour = |target: &str| service.source_of(&neighbour.netns, target);
    let (v4, v6) = ("192.168.1.10:8053", "[fd00:1::10]:8053");
    // The world is seen as it is.
    assert_eq!(source(&from_wire, v4), "192.168.1.1");
    assert_eq!(source(&from_wire, v6), "fd00:1::1");
    // The node may take any of its addresses; that the answer came back counts.
    assert_ne!(from_node(v4), None);
    assert_ne!(from_node(v6), None);
    assert_eq!(source(&from_node, "127.0.0.1:8053"), "10.6.0.1");
    // Who could be answered directly, and would not understand it, is seen as the gateway.
    assert_eq!(source(&from_pod, v4), "10.6.0.1");
    assert_eq!(source(&from_pod, v6), "fd00:6::1");
    assert_eq!(source(&from_neighbour, v4), "10.6.0.1");
    // Direct traffic between pods is nobody's business.
    let direct = format!("{}:53", address(&prev, 0));
    assert_eq!(source(&from_neighbour, &direct).rsplit('.').nth(1), Some("0"));
    assert_ne!(source(&from_neighbour, &direct), "10.6.0.1");
    call.del();
    own(&node.state()).assert_same(&before, "after DEL");
    assert!(service.is_cut_off(&node.wire().netns, v4));
    call.del();
    bridge.del();
    other.del();
}

#[test]
fn tcp_is_mapped_as_well() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev) = attached(&node, &pod, "net1");
    let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]);
    mapped(&pod, json!({}), mappings, &prev).add();
    let listener = pod.netns.run(|| TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
    });
    let target: SocketAddr = "192.168.1.10:8080".parse().unwrap();
    let patience = std::time::Duration::from_secs(60);
    let said = node.wire().netns.run(move || {
        let mut stream = TcpStream::connect_timeout(&target, patience).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).map(|_| said)
    });
    assert_eq!(said.unwrap().unwrap(), "hello");
    server.join().unwrap();
}

#[test]
fn addresses_conditions_and_sources_are_as_asked() {
    let Some(node) = Node::new() else { return };
    node.ip("address add 192.168.1.11/24 dev eth0");
    node.wire().ip("address add 192.168.1.2/24 dev wire");
    let pod = Pod::new();
    let (_, prev) = attached(&node, &pod, "net1");
    let mut here = udp(8053, 53);
    here["hostIP"] = json!("192.168.1.11");
    let service = Service::new(&pod.netns, 53);
    let wire = &node.wire().netns;
    let call = mapped(&pod, json!({"masqAll": true}), json!([here]), &prev);
    call.add();
    let seen = service.source_of(wire, "192.168.1.11:8053").map(|ip| ip.to_string());
    assert_eq!(seen.as_deref(), Some("10.6.0.1"), "every source is masqueraded");
    assert!(service.is_cut_off(wire, "192.168.1.10:8053"), "the other address of the node is not mapped");
    call.del();
    for conditions in [json!(["!", "-d", "192.168.1.11"]), json!(["ip", "daddr", "!=", "192.168.1.11"])] {
        let keys = json!({"conditionsV4": conditions, "snat": false});
        let call = mapped(&pod, keys, json!([udp(8054, 53)]), &prev);
        call.add();
        assert_ne!(service.source_of(wire, "192.168.1.10:8054"), None, "{conditions}");
        assert!(service.is_cut_off(wire, "192.168.1.11:8054"), "{conditions}");
        call.del();
    }
}

#[test]
fn a_flow_that_began_before_follows_the_port_to_its_new_pod() {
    let Some(node) = Node::new() else { return };
    let (old, new) = (Pod::new(), Pod::new());
    let (_, prev) = attached(&node, &old, "net1");
    let first = mapped(&old, json!({}), json!([udp(8053, 53)]), &prev);
    first.add();
    let service = Service::new(&old.netns, 53);
    let target = "192.168.1.10:8053";
    let socket = client(&node.wire().netns, target);
    assert!(service.source_of_socket(&socket, target).is_some());
    first.del();
    let (_, prev) = attached(&node, &new, "net1");
    mapped(&new, json!({}), json!([udp(8053, 53)]), &prev).add();
    let service = Service::new(&new.netns, 53);
    assert!(service.source_of_socket(&socket, target).is_some(), "the old flow still goes to the old pod");
}

#[test]
fn two_attachments_of_one_network_are_independent() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev1) = attached(&node, &pod, "net1");
    let (_, prev2) = attached(&node, &pod, "net2");
    let before = own(&node.state());
    let ours = |state: &State| {
        state
            .starting("nft table ip cni_hostport chain hostports ")
            .iter()
            .filter(|line| line.contains("dnat to"))
            .count()
    };
    let one = mapped(&pod, json!({}), json!([udp(8053, 53)]), &prev1);
    let keys = json!({"conditionsV4": ["-i", "eth0"]});
    let two = mapped(&pod, keys, json!([udp(8054, 53)]), &prev2).with("CNI_IFNAME", "net2");
    let results = [one.add(), two.add()];
    assert_eq!(ours(&node.state()), 2, "{:?}", node.state());
    one.del();
    assert_eq!(ours(&node.state()), 1);
    assert_eq!(two.check(&results[1]).silent(), "");
    assert!(!one.check(&results[0]).silent().is_empty(), "CHECK misses what is gone");
    assert_ne!(Service::new(&pod.netns, 53).source_of(&node.wire().netns, "192.168.1.10:8054"), None);
    // No namespace, no previous result, no record.
    std::fs::remove_dir_all(records(&pod.id)).unwrap();
    let mut bare = two.without("CNI_NETNS");
    bare.conf.as_object_mut().unwrap().remove("prevResult");
    bare.del();
    own(&node.state()).assert_same(&before, "after DEL of both");
}

#[test]
fn rules_of_the_replaced_backend_go_with_their_container() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev) = attached(&node, &pod, "net1");
    let call = mapped(&pod, json!({}), json!([udp(8053, 53)]), &prev);
    let (add, del) = (call.add(), ());
    assert_eq!((add, del), (prev, ()));
    call.del();
    let before = node.state();
    let rule = format!(
        "add rule ip cni_hostport hostports udp dport 9000 dnat to 10.6.0.2:53 comment \"{}\"",
        pod.id
    );
    let made = node.netns().run(move || std::process::Command::new("nft").arg(rule).status()).unwrap();
    if !made.is_ok_and(|status| status.success()) {
        polynic_kernel::testing::say_skipped("there is no `nft` (Debian: nftables)");
        return;
    }
    call.del();
    node.state().assert_same(&before, "after DEL without a record");
}

#[test]
fn chains_of_the_replaced_iptables_backend_go_with_their_container() {
    let Some(reference) = reference_plugins() else { return };
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let ipam = host_local(&node, &["10.6.0.0/24", "fd00:6::/64"]);
    let first = conf("bridge", json!({"bridge": "br6", "isGateway": true, "ipMasq": true, "ipam": ipam}));
    let first = Call::new(&pod, first);
    let prev = first.clone().from_directory(reference).add();
    let second = mapped(&pod, json!({}), json!([udp(8053, 53), udp(8054, 54)]), &prev);
    second.clone().from_directory(reference).add();
    let of_pod = |state: &State| {
        let rules = state.starting("nft ").into_iter();
        rules.filter(|line| line.contains("10.6.0.2") || line.contains("CNI-DN-")).count()
    };
    assert!(of_pod(&node.state()) > 4, "{:?}", node.state());
    second.del();
    first.del();
    let state = node.state();
    let left = state.lines().iter().filter(|l| l.contains("jump CNI-") && !l.contains("CNI-HOSTPORT-"));
    assert_eq!((of_pod(&state), left.count()), (0, 0), "{state:?}");
}
