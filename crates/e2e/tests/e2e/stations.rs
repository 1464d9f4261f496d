//! `ipvlan`, `vlan`, `dummy`, `tap` (spec/plugins.md 1.3, 1.6, 1.8, 1.9), and VLANs of `bridge`. Most kernels for containers
//! lack some of these link types: then the tests run in a throw-away kernel.

use polynic_e2e::{Call, Node, Pod, State, reaches, run_in_vm};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

fn place(node: &Node) -> Place<'_> {
    Place { node, shared: &[] }
}

/// A configuration with addresses from the end of the node's network.
fn with_addresses(node: &Node, plugin: &str, keys: Value) -> Value {
    let mut conf = conf(plugin, keys);
    conf["ipam"] = host_local(node, &["192.168.1.0/24", "fd00:1::/64"]);
    conf["ipam"]["ranges"][0][0]["rangeStart"] = json!("192.168.1.200");
    conf["ipam"]["ranges"][1][0]["rangeStart"] = json!("fd00:1::200");
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    conf
}

fn mac(state: &State, link: &str) -> String {
    state.mac(link).to_owned()
}

#[test]
fn an_ipvlan_reaches_the_world_in_each_mode() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["link eth0 type ipvlan"]) {
        return;
    }
    for mode in ["l2", "l3", "l3s"] {
        let pod = Pod::new();
        let before = place(&node).before(&pod);
        let call = Call::new(
            &pod,
            with_addresses(&node, "ipvlan", json!({"master": "eth0", "mode": mode, "mtu": 1400})),
        );
        let result = call.add();
        let link = format!("link net1 up mtu 1400 kind ipvlan mode {mode}");
        assert!(pod.state().has(&link), "{link} in\n{:?}", pod.state());
        assert_eq!(result["interfaces"][0]["mac"], json!(mac(&node.state(), "eth0")));
        assert_eq!(call.check(&result).silent(), "");
        if mode == "l2" {
            assert!(reaches(&pod.netns, &node.wire().netns, "192.168.1.1"));
            assert!(reaches(&pod.netns, &node.wire().netns, "fd00:1::1"));
            assert!(reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
        }
        place(&node).detach(&pod, &call, &before);
    }
}

#[test]
fn an_ipvlan_takes_parent_and_addresses_from_the_chain() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["link eth0 type ipvlan"]) {
        return;
    }
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    let prev = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}],
        "ips": [{"address": "192.168.1.66/24", "gateway": "192.168.1.1", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}]});
    let call = Call::new(&pod, conf("ipvlan", json!({"prevResult": prev})));
    let result = call.add();
    assert_eq!(result["interfaces"][0]["name"], "net1");
    assert!(pod.state().has("addr net1 192.168.1.66/24 brd 192.168.1.255 scope global"));
    assert!(reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
    place(&node).detach(&pod, &call, &before);
}

/// A node whose neighbour on the wire has its addresses in VLAN 7; nothing where this kernel has no VLANs.
fn node_on_vlan_7() -> Option<Node> {
    let node = Node::new()?;
    if !node.offers(&["link eth0 type vlan id 9"]) {
        return None;
    }
    node.wire().ip("link add link wire name wire7 type vlan id 7
                    address flush dev wire
                    address add 192.168.1.1/24 dev wire7
                    address add fd00:1::1/64 dev wire7 nodad
                    link set wire7 up");
    Some(node)
}

#[test]
fn a_vlan_speaks_to_its_own_vlan_only() {
    let Some(node) = node_on_vlan_7() else { return };
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    let call =
        Call::new(&pod, with_addresses(&node, "vlan", json!({"master": "eth0", "vlanId": 7, "mtu": 1400})));
    place(&node).attach(
        &pod,
        &call,
        &[
            "link net1 up mtu 1400 kind vlan id 7",
            "addr net1 192.168.1.200/24 brd 192.168.1.255 scope global",
            "addr net1 fd00:1::200/64 scope global",
            "route 4 192.168.1.0/24 dev net1 proto kernel scope link src 192.168.1.200",
            "route 4 default via 192.168.1.1 dev net1",
            "route 6 fd00:1::/64 dev net1 proto kernel metric 256",
            "route 6 default via fd00:1::1 dev net1 metric 1024",
        ],
    );
    assert!(reaches(&pod.netns, &node.wire().netns, "192.168.1.1"));
    assert!(reaches(&pod.netns, &node.wire().netns, "fd00:1::1"));
    let second = Pod::new();
    let error = Call::new(&second, call.conf.clone()).run("ADD").error_object();
    assert!(error.to_string().contains("VLAN device already exists"), "{error}");
    place(&node).detach(&pod, &call, &before);
    place(&node).deletes_with_whatever_is_left(|pod| Call::new(pod, call.conf.clone()));
}

/// The parent may be an interface that the pod has already.
#[test]
fn a_vlan_on_the_pods_own_interface_leaves_the_node_alone() {
    let Some(node) = node_on_vlan_7() else { return };
    let pod = Pod::new();
    // The macvlan has an effect on its master.
    let before = place(&node).before(&pod);
    let parent = Call::new(&pod, conf("macvlan", json!({"master": "eth0"}))).with("CNI_IFNAME", "port0");
    parent.add();
    let mut conf = with_addresses(
        &node,
        "vlan",
        json!({"master": "port0", "vlanId": 7, "linkInContainer": true, "mtu": 1400}),
    );
    conf["ipam"]["ranges"].as_array_mut().unwrap().pop();
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    let call = Call::new(&pod, conf.clone());
    place(&node).attach(
        &pod,
        &call,
        &[
            "link net1 up mtu 1400 kind vlan id 7",
            "addr net1 192.168.1.200/24 brd 192.168.1.255 scope global",
            "route 4 192.168.1.0/24 dev net1 proto kernel scope link src 192.168.1.200",
            "route 4 default via 192.168.1.1 dev net1",
        ],
    );
    assert!(reaches(&pod.netns, &node.wire().netns, "192.168.1.1"));
    assert!(node.state().starting("link net1").is_empty(), "{:?}", node.state());
    // DEL needs neither the uplink nor the namespace.
    pod.ip("link set port0 down");
    call.del();
    pod.ip("link set port0 up");
    call.del();
    pod.state().without(&["port0"]).assert_same(&before.1.without(&["port0"]), "after DEL");
    assert_eq!(node.addresses_held("net"), [""; 0]);
    // A parent of the node is none of the pod's, and the other way round.
    for (key, value) in [("master", json!("eth0")), ("linkInContainer", json!(false))] {
        let error = Call::new(&pod, conf.clone()).key(key, value).run("ADD").error().1;
        assert!(error.contains("Link not found"), "{key}: {error}");
    }
    parent.del();
    place(&node).assert_nothing_left(&pod, &before, "after all");
}

#[test]
fn a_vlan_has_any_id_from_0_to_4094() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["link eth0 type vlan id 9"]) {
        return;
    }
    let with_id = |pod: &Pod, id: i64| {
        Call::new(pod, with_addresses(&node, "vlan", json!({"master": "eth0", "vlanId": id})))
    };
    for id in [0, 1, 4094] {
        let pod = Pod::new();
        let before = place(&node).before(&pod);
        let call = with_id(&pod, id);
        let result = call.add();
        assert!(pod.state().has(&format!("link net1 up mtu 1500 kind vlan id {id}")), "{:?}", pod.state());
        assert_eq!(call.check(&result).silent(), "", "{id}");
        let other = with_id(&pod, if id == 0 { 1 } else { 0 }).check(&result).error();
        assert_eq!(other.0, 999, "{other:?}");
        place(&node).detach(&pod, &call, &before);
    }
    let pod = Pod::new();
    for id in [-1, 4095, 4096, 65_536] {
        let error = with_id(&pod, id).run("ADD").error();
        assert_eq!(error, (999, format!("invalid VLAN ID {id} (must be between 0 and 4095 inclusive)")));
    }
    for (mtu, text) in [
        (1501, "invalid MTU 1501, must be [0, master MTU(1500)]"),
        (-1, "invalid MTU -1, must be [0, master MTU(1500)]"),
    ] {
        let error = with_id(&pod, 7).key("mtu", json!(mtu)).run("ADD").error();
        assert_eq!(error, (999, text.to_owned()));
    }
    assert_eq!(node.addresses_held("net"), [""; 0]);
}

#[test]
fn a_dummy_holds_addresses() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type dummy"]) {
        return;
    }
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    let addresses = json!([{"address": "10.9.0.5/32"}, {"address": "fd09::5/128"}]);
    let conf = conf(
        "dummy",
        json!({"ipam": {"type": "static", "addresses": addresses, "dns": {"nameservers": ["10.9.0.53"]}}}),
    );
    let call = Call::new(&pod, conf);
    let result = place(&node).attach(
        &pod,
        &call,
        &[
            "link net1 up mtu 1500 kind dummy",
            "addr net1 10.9.0.5/32 scope global",
            "addr net1 fd09::5/128 scope global",
            "route 6 fd09::5 dev net1 proto kernel metric 256",
        ],
    );
    assert_eq!(result["dns"]["nameservers"][0], "10.9.0.53");
    pod.ip("link set net1 down");
    assert_eq!(call.check(&result).error().1, "Interface net1 is down");
    place(&node).detach(&pod, &call, &before);
}

/// Whether this user may open the device that makes tap interfaces; many machines give it to everybody, some to root alone.
fn may_make_taps() -> bool {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/net/tun");
    let refused = opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    if refused {
        polynic_kernel::testing::say_skipped("this user may not open /dev/net/tun");
    }
    !refused
}

#[test]
fn a_tap_has_owner_group_and_address_and_joins_a_bridge() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type bridge"]) || !may_make_taps() {
        return;
    }
    let pod = Pod::new();
    pod.ip("link add br0 type bridge");
    let before = place(&node).before(&pod);
    let keys = json!({"owner": 0, "group": 0, "multiQueue": true, "mac": "02:00:00:00:00:99", "mtu": 1400, "bridge": "br0"});
    let call = Call::new(&pod, conf("tap", keys));
    let result = call.add();
    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:99");
    assert_eq!(mac(&pod.state(), "net1"), "02:00:00:00:00:99");
    assert_eq!(
        pod.state().starting("link net1 up mtu 1400 kind tun master br0").len(),
        1,
        "{:?}",
        pod.state()
    );
    assert_eq!(call.check(&result).silent(), "");
    place(&node).detach(&pod, &call, &before);
    let refused = Call::new(&pod, conf("tap", json!({"bridge": "nobr"}))).run("ADD").error();
    assert!(refused.1.contains("failed to find bridge \"nobr\""), "{refused:?}");
    pod.state().assert_same(&before.1, "after the refused ADD");
}

#[test]
fn a_bridge_keeps_vlans_apart_and_carries_trunks() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type bridge vlan_filtering 1", "link eth0 type vlan id 9"]) {
        return;
    }
    let attach = |keys: Value| {
        let pod = Pod::new();
        let mut conf = conf("bridge", json!({"bridge": "br0", "ipam": host_local(&node, &["10.5.0.0/24"])}));
        keys.as_object().unwrap().iter().for_each(|(key, value)| conf[key] = value.clone());
        let call = Call::new(&pod, conf);
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "");
        let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        (pod, call, address)
    };
    let (red, red_call, _) = attach(json!({"vlan": 100}));
    let (also_red, _, red_address) = attach(json!({"vlan": 100}));
    let (blue, _, blue_address) = attach(json!({"vlan": 200}));
    assert!(reaches(&red.netns, &also_red.netns, &red_address));
    assert!(polynic_e2e::is_cut_off(&red.netns, &blue.netns, &blue_address));
    let (trunk, trunk_call, _) = attach(json!({"vlanTrunk": [{"id": 200}, {"minID": 300, "maxID": 302}]}));
    trunk.ip("link add link net1 name v200 type vlan id 200\naddress add 10.5.0.250/24 dev v200\naddress flush dev net1\nlink set v200 up");
    assert!(reaches(&trunk.netns, &blue.netns, &blue_address));
    for call in [red_call, trunk_call] {
        call.del();
    }
}

/// Pods of a VLAN have their gateway on a port of the bridge that is in that VLAN only.
#[test]
fn a_bridge_has_a_gateway_in_each_vlan() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type bridge vlan_filtering 1"]) {
        return;
    }
    node.wire().ip("route add 10.5.0.0/16 via 192.168.1.10");
    let attach = |vlan: u16| {
        let pod = Pod::new();
        let mut ipam = host_local(&node, &[&format!("10.5.{vlan}.0/24")]);
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        let keys = json!({"name": format!("net{vlan}"), "bridge": "br0", "isGateway": true, "vlan": vlan, "ipam": ipam});
        let call = Call::new(&pod, conf("bridge", keys));
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "");
        assert_eq!(result["interfaces"][3]["name"], json!(format!("br0.{vlan}")), "{result}");
        (pod, call)
    };
    let (red, red_call) = attach(100);
    let (blue, blue_call) = attach(200);
    for (pod, gateway) in [(&red, "10.5.100.1"), (&blue, "10.5.200.1")] {
        assert!(reaches(&pod.netns, node.netns(), gateway));
        assert!(reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
    }
    for call in [red_call, blue_call] {
        call.del();
    }
}

/// Somebody has made the bridge, and its ports start in a VLAN of his.
#[test]
fn a_bridge_may_start_its_ports_in_any_vlan() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type bridge vlan_filtering 1"]) {
        return;
    }
    for (default, keys, wanted) in [
        (10, json!({"vlan": 100}), "100 PVID Egress Untagged"),
        (0, json!({"vlan": 100}), "100 PVID Egress Untagged"),
        (10, json!({"vlanTrunk": [{"minID": 5, "maxID": 6}]}), "1 PVID Egress Untagged, 5, 6"),
        (
            10,
            json!({"vlan": 100, "preserveDefaultVlan": true}),
            "10 Egress Untagged, 100 PVID Egress Untagged",
        ),
    ] {
        node.ip(&format!(
            "link add br7 type bridge vlan_filtering 1 vlan_default_pvid {default}\nlink set br7 up"
        ));
        let pod = Pod::new();
        let mut conf = conf("bridge", json!({"bridge": "br7"}));
        keys.as_object().unwrap().iter().for_each(|(key, value)| conf[key] = value.clone());
        let call = Call::new(&pod, conf);
        let result = call.add();
        let port = result["interfaces"][1]["name"].as_str().unwrap().to_owned();
        assert_eq!(vlans(&node, &port), wanted, "{default} {keys}");
        assert_eq!(call.check(&result).silent(), "", "{default} {keys}");
        bridge(&node, &format!("vlan add dev {port} vid 1 pvid untagged"));
        assert_eq!(call.check(&result).silent().is_empty(), wanted.starts_with("1 "), "{default} {keys}");
        call.del();
        node.ip("link delete br7");
    }
}

/// VLANs of a port as `bridge` shows them.
fn vlans(node: &Node, port: &str) -> String {
    let text = bridge(node, &format!("vlan show dev {port}"));
    let lines = text.lines().skip(1).map(|line| line.trim_start_matches(port).trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(", ")
}

fn bridge(node: &Node, line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let output =
        node.netns().run(move || std::process::Command::new("bridge").args(words).output().unwrap()).unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_this_kernel_lacks_is_tested_in_one_that_has_it() {
    run_in_vm(&["stations::a", "dhcp::an_ipvlan"]);
}
