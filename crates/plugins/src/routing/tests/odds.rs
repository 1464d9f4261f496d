//! Errors by their texts, and where the plugins are better on purpose (spec/decisions.md).

use polynic_cni::{Error, Verb};
use polynic_net::{Announcement, Family, IfName, Place};
use polynic_wire::messages::CoordinatorConfig;
use serde_json::{Value, json};

use super::machine::{CALI, Machine, NETNS, Topology, with_prev};
use super::pods::nic;

const OVERLAY: Topology =
    Topology { everywhere: true, tunnel: false, overlay: true, ipv4: true, ipv6: false, rp_filter: 1 };
const UNDERLAY: Topology = Topology { overlay: false, ..OVERLAY };

fn hijack(plugin: &str) -> Value {
    json!({"cniVersion": "0.4.0", "name": "lan", "type": plugin, "service_hijack_subnet": ["10.233.0.0/18"],
        "overlay_hijack_subnet": ["10.244.64.0/18"]})
}

fn coordinator() -> Value {
    json!({"cniVersion": "0.4.0", "name": "lan", "type": "coordinator"})
}

fn agent() -> CoordinatorConfig {
    CoordinatorConfig { mode: "auto".into(), tune_pod_routes: true, ..Default::default() }
}

fn machine(topology: Topology) -> Machine {
    let machine = Machine::new(topology);
    machine.agent.says(Some(agent()));
    machine
}

fn with(mut conf: Value, key: &str, value: Value) -> Value {
    conf[key] = value;
    conf
}

/// ADD for an interface that was just made; refused, it changes nothing.
fn refused(topology: Topology, name: &str, conf: &Value) -> Error {
    let machine = machine(topology);
    let prev = machine.attach(&nic(name, 0, true, false, true));
    let before = machine.snapshot();
    let error = machine.add(name, conf, &prev).expect_err(&conf.to_string());
    assert_eq!(before.diff(&machine.snapshot()), Vec::<String>::new(), "{conf}");
    assert_eq!(machine.records(), Vec::<String>::new(), "{conf}");
    // The runtime calls DEL with the same configuration, and again until it succeeds.
    machine.call(Verb::Del, name, conf).unwrap();
    error
}

#[test]
fn what_is_refused_has_the_documented_text() {
    let net1 = |conf: Value| (OVERLAY, "net1", conf);
    let eth0 = |conf: Value| (UNDERLAY, "eth0", conf);
    let cases = [
        (
            net1(with(hijack("router"), "service_hijack_subnet", json!([]))),
            "the subnet of overlay cni(such as calico or cilium) must be given",
        ),
        (
            eth0(with(hijack("veth"), "overlay_hijack_subnet", json!([]))),
            "the subnet of service clusterip must be given",
        ),
        (
            net1(with(hijack("router"), "service_hijack_subnet", json!(["10.0.0.1"]))),
            "invalid CIDR address: 10.0.0.1",
        ),
        (net1(with(hijack("router"), "additional_hijack_subnet", json!(["x"]))), "invalid CIDR address: x"),
        (net1(with(hijack("router"), "mac_prefix", json!("0a-1b"))), "mac_prefix"),
        (
            net1(with(hijack("router"), "mac_prefix", json!("03:1b"))),
            "failed to update mac address, maybe mac_prefix is invalid: 03:1b",
        ),
        (net1(with(hijack("router"), "overlay_interface", json!("net1"))), "must be a veth"),
        (net1(with(hijack("router"), "host_rule_table", json!(255))), "invalid host_rule_table 255"),
        (
            net1(with(hijack("router"), "ip_conflict", json!({"enabled": true, "interval": "5"}))),
            "invalid interval 5",
        ),
        ((OVERLAY, "lan1", hijack("router")), "failed to get the number of rule table for interface lan1"),
        ((OVERLAY, "net0", hijack("router")), "failed to get the number of rule table for interface net0"),
        (net1(with(coordinator(), "mode", json!("both"))), "unknown tuneMode: both"),
        (
            net1(with(coordinator(), "mode", json!("underlay"))),
            "when creating interface net1 in underlay mode, it detects that the auxiliary interface eth0 was not created by previous interface. please enable coordinator plugin in previous interface",
        ),
        (
            eth0(with(coordinator(), "mode", json!("overlay"))),
            "when creating interface eth0 in overlay mode, it detects that",
        ),
        (
            net1(with(coordinator(), "podRPFilter", json!(5))),
            "invalid rp_filter value 5, available options: [-1,0,1,2]",
        ),
        (net1(with(coordinator(), "vethMTU", json!(0))), "vethMTU must be greater than 0"),
        (net1(with(coordinator(), "serviceCIDR", json!(["10.0.0.1"]))), "invalid CIDR address: 10.0.0.1"),
        (
            net1(with(coordinator(), "policyRoutes", json!([{"dst": "10.1.0.0/16", "gw": "fd00::1"}]))),
            "route dst \"10.1.0.0/16\" and gw \"fd00::1\" must use the same IP family",
        ),
        (
            net1(with(coordinator(), "policyRoutes", json!([{"dst": "x", "gw": "10.0.0.1"}]))),
            "invalid route dst \"x\"",
        ),
        (
            net1(with(coordinator(), "policyRoutes", json!([{"dst": "10.1.0.1", "gw": "y"}]))),
            "invalid route gw \"y\"",
        ),
        // Only the kernel knows whether a gateway can be reached.
        (
            net1(with(coordinator(), "policyRoutes", json!([{"dst": "10.1.0.1", "gw": "203.0.113.1"}]))),
            "Network is unreachable",
        ),
        (net1(with(coordinator(), "podMACPrefix", json!("1:2"))), "mac_prefix"),
        (
            net1(with(coordinator(), "podMACPrefix", json!("0f:11"))),
            "failed to update hardware address for interface net1, maybe hardware_prefix(0f:11) is invalid",
        ),
    ];
    for ((topology, name, conf), text) in cases {
        let error = refused(topology, name, &conf);
        assert!(error.code == 999 && error.msg.contains(text), "{conf}: {error}");
        assert!(error.details.contains("pod blue/web"), "{error:?}");
    }
}

#[test]
fn an_interface_without_addresses_is_refused_by_coordinator_alone() {
    let bare = super::machine::Nic { name: "net1".into(), master: "eth0".into(), addresses: Vec::new() };
    let machine = machine(OVERLAY);
    let prev = machine.attach(&bare);
    let error = machine.add("net1", &coordinator(), &prev).unwrap_err();
    assert_eq!(error.msg, "no usable IP addresses on \"net1\"");
    let conflict = with(hijack("router"), "ip_conflict", json!({"enabled": true}));
    let error = machine.add("net1", &conflict, &prev).unwrap_err();
    assert_eq!(error.msg, "interface net1 has no any ip configured");
    machine.add("net1", &hijack("router"), &prev).unwrap();
}

#[test]
fn router_and_veth_in_one_pod_are_refused() {
    let machine = machine(OVERLAY);
    let first = machine.attach(&nic("net1", 0, true, false, true));
    let second = machine.attach(&nic("net2", 1, true, false, true));
    machine.add("net1", &hijack("router"), &first).unwrap();
    let error = machine.add("net2", &hijack("veth"), &second).unwrap_err();
    assert!(error.msg.contains("router and veth"), "{error}");
    machine.call(Verb::Del, "net1", &hijack("router")).unwrap();
    machine.add("net1", &hijack("veth"), &first).unwrap();
    let error = machine.add("net2", &hijack("router"), &second).unwrap_err();
    assert!(error.msg.contains("router and veth"), "{error}");
}

#[test]
fn an_agent_that_is_away_is_named_and_what_it_says_passed_on() {
    let machine = machine(OVERLAY);
    machine.agent.says(None);
    let prev = machine.attach(&nic("net1", 0, true, false, true));
    let error = machine.add("net1", &coordinator(), &prev).unwrap_err();
    assert_eq!(error.msg, "failed to GetCoordinatorConfig: no agent");
    machine.call(Verb::Del, "net1", &with_prev(&coordinator(), &prev)).unwrap();
}

#[test]
fn disabled_by_any_spelling_is_what_came_before() {
    for mode in ["disable", "disabled"] {
        let machine = machine(OVERLAY);
        let prev = machine.attach(&nic("net1", 0, true, false, true));
        let before = machine.snapshot();
        machine.agent.says(Some(CoordinatorConfig { mode: mode.into(), ..agent() }));
        machine.add("net1", &coordinator(), &prev).unwrap();
        assert_eq!(before.diff(&machine.snapshot()), Vec::<String>::new());
        machine.call(Verb::Del, "net1", &coordinator()).unwrap();
    }
}

#[test]
fn skip_call_does_nothing_after_the_configuration_was_checked() {
    for plugin in ["router", "veth"] {
        let machine = machine(UNDERLAY);
        let prev = machine.attach(&nic("eth0", 0, true, false, true));
        let before = machine.snapshot();
        let skip = with(hijack(plugin), "skip_call", json!(true));
        machine.add("eth0", &skip, &prev).unwrap();
        assert_eq!(before.diff(&machine.snapshot()), Vec::<String>::new());
        let bad = with(skip, "service_hijack_subnet", json!([]));
        assert!(machine.add("eth0", &bad, &prev).is_err());
    }
}

#[test]
fn only_op_mac_needs_no_networks_and_changes_the_address_alone() {
    for (plugin, topology, name) in [("router", OVERLAY, "net1"), ("veth", UNDERLAY, "eth0")] {
        let machine = machine(topology);
        let prev = machine.attach(&nic(name, 0, true, false, true));
        let before = machine.snapshot();
        let conf = json!({"cniVersion": "0.4.0", "name": "lan", "type": plugin, "mac_prefix": "0a:1b", "only_op_mac": true});
        let result = machine.add(name, &conf, &prev).unwrap();
        assert!(result.interfaces[0].mac.starts_with("0a:1b:ac:13:18:"), "{result:?}");
        let changed = before.diff(&machine.snapshot());
        assert!(
            changed.len() == 2 && changed.iter().all(|l| l.contains(&format!("link {name}"))),
            "{changed:?}"
        );
        // Without a prefix it is not asked for at all.
        let error = machine.add(name, &with(conf, "mac_prefix", json!("")), &prev).unwrap_err();
        assert!(error.msg.contains("must be given"), "{error}");
    }
}

#[test]
fn a_conflict_is_named_and_a_free_address_passes() {
    for (plugin, topology, name) in [("router", OVERLAY, "net1"), ("veth", UNDERLAY, "eth0")] {
        let machine = machine(topology);
        let prev = machine.attach(&nic(name, 0, true, false, true));
        let ip = prev["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        machine.door.set_station(ip.parse().unwrap(), "02:00:00:00:00:77".parse().unwrap());
        let conf = with(hijack(plugin), "ip_conflict", json!({"enabled": true}));
        let before = machine.snapshot();
        let error = machine.add(name, &conf, &prev).unwrap_err();
        assert_eq!(
            error.msg,
            format!(
                "pod's interface {name} with an conflicting ip {ip}, {ip} is located at 02:00:00:00:00:77"
            )
        );
        assert_eq!(before.diff(&machine.snapshot()), Vec::<String>::new());
        machine.add(name, &hijack(plugin), &prev).unwrap();
    }
}

#[test]
fn coordinator_announces_a_new_hardware_address_once() {
    let machine = machine(OVERLAY);
    let prev = machine.attach(&nic("net1", 0, true, false, true));
    let conf = with(coordinator(), "podMACPrefix", json!("0a:1b"));
    for _ in 0..2 {
        machine.add("net1", &conf, &prev).unwrap();
    }
    let net1: IfName = "net1".parse().unwrap();
    let pod = machine.pod();
    let own = pod.addresses_of(&net1).find(|a| a.is_global()).unwrap().net.addr();
    let news = Announcement { link: net1.clone(), ip: own, mac: pod.link(&net1).unwrap().mac.unwrap() };
    assert_eq!(machine.door.announced(), [news]);
}

/// The node's physical links are left alone: in a forced overlay mode the pod's `eth0` may be a macvlan.
#[test]
fn an_overlay_interface_that_is_no_cable_is_refused() {
    let machine = machine(UNDERLAY);
    machine.attach(&nic("eth0", 0, true, false, true));
    let prev = machine.attach(&nic("net1", 1, true, false, true));
    let before = machine.snapshot();
    let error = machine.add("net1", &with(coordinator(), "mode", json!("overlay")), &prev).unwrap_err();
    assert!(error.msg.contains("failed to find the other end of eth0 on the node"), "{error}");
    assert_eq!(before.diff(&machine.snapshot()), Vec::<String>::new());
}

/// After net1 went and another came the count of links says 102 again: net2 has that.
#[test]
fn no_table_is_ever_shared() {
    let machine = machine(OVERLAY);
    for (name, network) in [("net1", 0), ("net2", 1)] {
        let prev = machine.attach(&nic(name, network, true, false, true));
        machine.add(name, &with(coordinator(), "name", json!(name)), &prev).unwrap();
    }
    machine.call(Verb::Del, "net1", &with(coordinator(), "name", json!("net1"))).unwrap();
    machine.detach("net1");
    let prev = machine.attach(&nic("net3", 2, true, false, true));
    machine.add("net3", &with(coordinator(), "name", json!("net3")), &prev).unwrap();
    let rules = machine.pod().rules;
    let table = |name: &str| {
        let pod = machine.pod();
        let name: IfName = name.parse().unwrap();
        let ip = pod.addresses_of(&name).find(|a| a.is_global()).unwrap().net.addr();
        rules.iter().find(|r| r.from.is_some_and(|f| f.addr() == ip)).unwrap().table
    };
    assert_eq!((table("net2"), table("net3")), (102, 101));
}

#[test]
fn a_detached_interface_leaves_the_others_as_they_are() {
    let machine = machine(UNDERLAY);
    let mut states = Vec::new();
    for (name, network) in [("eth0", 0), ("net1", 1)] {
        let prev = machine.attach(&nic(name, network, true, false, true));
        machine.add(name, &with(coordinator(), "name", json!(name)), &prev).unwrap();
        states.push(machine.snapshot());
    }
    for _ in 0..2 {
        machine.call(Verb::Del, "net1", &with(coordinator(), "name", json!("net1"))).unwrap();
    }
    machine.detach("net1");
    let changed: Vec<String> =
        states[0].diff(&machine.snapshot()).into_iter().filter(|l| !l.contains("sysctl")).collect();
    assert_eq!(changed, Vec::<String>::new());
}

/// The first interface brought the ways to the node and to the cluster's networks; they are the pod's as long as it has others.
#[test]
fn the_first_interface_may_go_before_the_others() {
    let machine = machine(OVERLAY);
    machine.agent.says(Some(CoordinatorConfig {
        service_cidr: vec!["10.233.0.0/18".into()],
        pod_default_route_nic: "net2".into(),
        ..agent()
    }));
    for (name, network) in [("net1", 0), ("net2", 1)] {
        let prev = machine.attach(&nic(name, network, true, false, true));
        machine.add(name, &with(coordinator(), "name", json!(name)), &prev).unwrap();
    }
    let ways = || {
        let pod = machine.pod();
        let routes = pod.routes.iter().filter(|r| r.table == 254 && r.src.is_some() && r.protocol == 3);
        let mut ways: Vec<String> = routes.map(ToString::to_string).collect();
        ways.extend(pod.neighbours.iter().map(|n| format!("{n:?}")));
        ways.sort();
        ways
    };
    let before = ways();
    assert!(before.len() >= 5, "{before:?}");
    machine.call(Verb::Del, "net1", &with(coordinator(), "name", json!("net1"))).unwrap();
    machine.detach("net1");
    assert_eq!(ways(), before);
    let defaults: Vec<String> = machine
        .pod()
        .routes
        .iter()
        .filter(|r| r.is_default() && r.table == 254)
        .map(ToString::to_string)
        .collect();
    assert_eq!(defaults, ["default via 10.66.0.1 dev net2"]);
}

/// A node with kube-proxy's strict ARP (`arp_ignore`) does not answer for it at the cable. The first call could not know of it.
#[test]
fn an_address_that_the_node_got_meanwhile_is_a_neighbour_too() {
    for plugin in ["veth", "coordinator"] {
        let machine = machine(UNDERLAY);
        let conf = if plugin == "veth" { hijack("veth") } else { coordinator() };
        for (name, network) in [("eth0", 0), ("net1", 1)] {
            let prev = machine.attach(&nic(name, network, true, false, true));
            machine.add(name, &with(conf.clone(), "name", json!(name)), &prev).unwrap();
            if name == "eth0" {
                machine.door.host(|host| {
                    host.address("eth0", "192.168.7.1/24");
                });
            }
        }
        let late: std::net::IpAddr = "192.168.7.1".parse().unwrap();
        let known = machine.pod().neighbours.iter().any(|n| n.ip == late && n.link.as_str() == "veth0");
        assert!(known, "{plugin}");
    }
}

/// The node's administrator has switched IPv6 off for new links, and the cable is one.
#[test]
fn a_new_cable_carries_ipv6_where_new_links_do_not() {
    for plugin in ["veth", "coordinator"] {
        let machine = Machine::new(Topology { ipv6: true, ..UNDERLAY });
        machine.agent.says(Some(agent()));
        machine.door.host(|host| {
            host.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        });
        let conf = if plugin == "veth" { hijack("veth") } else { coordinator() };
        let prev = machine.attach(&nic("eth0", 0, true, true, true));
        machine.add("eth0", &conf, &prev).unwrap();
        let host = machine.facts().host;
        assert!(
            host.routes.iter().any(|r| r.family() == Family::V6 && r.dst.prefix_len() == 128),
            "{plugin}"
        );
    }
}

/// What gave way to an interface that goes still gives way to those that stay; with the last of them everything is as before.
#[test]
fn those_that_gave_way_do_so_as_long_as_there_is_somebody() {
    let machine = machine(OVERLAY);
    let before = machine.snapshot();
    let conf = |name: &str| with(hijack("router"), "name", json!(name));
    for (name, network) in [("net1", 0), ("net2", 1), ("net3", 2)] {
        let prev = machine.attach(&nic(name, network, true, false, true));
        machine.add(name, &conf(name), &prev).unwrap();
    }
    let go = |name: &str| {
        machine.call(Verb::Del, name, &conf(name)).unwrap();
        machine.detach(name);
        let pod = machine.pod();
        let defaults = pod.routes.iter().filter(|r| r.is_default()).map(ToString::to_string);
        let rules = pod.rules.iter().filter(|r| r.table == 100).count();
        let mut defaults: Vec<String> = defaults.collect();
        defaults.sort();
        (defaults, rules)
    };
    let of_eth0 = "default via 169.254.1.1 dev eth0 table 100";
    let of_net2 = "default via 10.66.0.1 dev net2 table 102";
    let of_net3 = "default via 10.77.0.1 dev net3";
    assert_eq!(go("net1"), (vec![of_net2.into(), of_net3.into(), of_eth0.to_owned()], 3));
    assert_eq!(go("net2"), (vec![of_net3.into(), of_eth0.to_owned()], 3));
    assert_eq!(go("net3"), (vec!["default via 169.254.1.1 dev eth0".to_owned()], 0));
    let left: Vec<String> =
        before.diff(&machine.snapshot()).into_iter().filter(|l| l.contains("pod")).collect();
    let left: Vec<&String> = left.iter().filter(|l| !l.contains("sysctl")).collect();
    assert_eq!(left, Vec::<&String>::new());
}

/// A pod may have a VPN, or what a replaced plugin made, with rules and tables of its own: an interface that comes and goes leaves them as they are.
#[test]
fn rules_and_routes_of_the_pods_own_are_nobodys_to_take_away() {
    let machine = machine(OVERLAY);
    machine
        .add("net1", &with(hijack("router"), "name", json!("net1")), &{
            machine.attach(&nic("net1", 0, true, false, true))
        })
        .unwrap();
    machine.door.pod(NETNS, |pod| {
        let own = polynic_net::Rule {
            family: Family::V4,
            priority: 1234,
            from: Some("10.9.9.9/32".parse().unwrap()),
            to: None,
            iif: None,
            mark: None,
            table: 200,
        };
        let eth0 = "eth0".parse().unwrap();
        let way = polynic_net::Route::new("0.0.0.0/0".parse().unwrap(), &eth0);
        pod.change(&polynic_net::Change::add_rule(Place::Pod, own));
        pod.exact_route(way.via("169.254.1.1".parse().unwrap()).in_table(200));
    });
    let before = machine.snapshot();
    let conf = with(hijack("router"), "name", json!("net2"));
    let prev = machine.attach(&nic("net2", 1, true, false, true));
    machine.add("net2", &conf, &prev).unwrap();
    machine.call(Verb::Del, "net2", &conf).unwrap();
    machine.detach("net2");
    let left: Vec<String> = before.diff(&machine.snapshot());
    let left: Vec<&String> = left.iter().filter(|l| l.contains("pod") && !l.contains("sysctl")).collect();
    assert_eq!(left, Vec::<&String>::new());
}

/// What a replaced coordinator left: its cable, and the rules of old releases.
#[test]
fn del_without_record_removes_what_the_replaced_plugin_made() {
    let machine = machine(UNDERLAY);
    let prev = machine.attach(&nic("eth0", 0, true, false, true));
    machine.add("eth0", &coordinator(), &prev).unwrap();
    let ip: std::net::IpAddr =
        prev["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
    let old = polynic_net::Rule {
        family: Family::V4,
        priority: 32765,
        from: None,
        to: Some(ip.into()),
        iif: None,
        mark: None,
        table: 500,
    };
    machine.door.host(|host| {
        host.change(&polynic_net::Change::add_rule(Place::Host, old.clone()));
    });
    machine.forget_records();
    machine.agent.says(None);
    machine.call_in(Verb::Del, "eth0", &with_prev(&coordinator(), &prev), "/gone").unwrap();
    let host = machine.facts().host;
    assert!(!host.rules.contains(&old));
    assert!(host.links.iter().all(|l| !l.name.as_str().starts_with("veth")));
    assert!(host.rules.iter().any(|r| r.priority == 1000));
}

#[test]
fn formats_since_1_0_0_show_the_cable() {
    for (version, interfaces) in [("0.4.0", 1), ("1.0.0", 3), ("1.1.0", 3)] {
        let machine = machine(UNDERLAY);
        let mut prev = machine.attach(&nic("eth0", 0, true, false, true));
        prev["cniVersion"] = json!(version);
        let conf = with(hijack("veth"), "cniVersion", json!(version));
        let result = machine.add("eth0", &conf, &prev).unwrap();
        assert_eq!(result.interfaces.len(), interfaces, "{version}");
        if interfaces > 1 {
            let [host, pod] = &result.interfaces[1..] else { panic!("{result:?}") };
            assert_eq!((host.name.as_str(), host.sandbox.as_str()), ("veth7d3ec95f41a", ""));
            assert_eq!((pod.name.as_str(), pod.sandbox.as_str()), ("veth0", NETNS));
        }
    }
}

#[test]
fn unknown_arguments_are_refused_unless_they_are_to_be_ignored() {
    let machine = machine(OVERLAY);
    let facts = machine.facts();
    assert!(facts.host.links.iter().any(|l| l.name.as_str() == CALI));
    let prev = machine.attach(&nic("net1", 0, true, false, true));
    let conf = with_prev(&hijack("router"), &prev);
    let call = |args: &str| machine.call_with_args("net1", &conf, args);
    assert!(call("FOO=1").unwrap_err().msg.contains("ARGS: unknown args"));
    call("FOO=1;IgnoreUnknown=1").unwrap();
}

#[test]
fn a_log_file_that_is_asked_for_says_what_calls_did() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new/router.log");
    for (plugin, key, level) in
        [("router", "log_options", "log_level"), ("coordinator", "logOptions", "logLevel")]
    {
        let machine = machine(OVERLAY);
        let prev = machine.attach(&nic("net1", 0, true, false, true));
        let name = if plugin == "router" { "log_file" } else { "logFile" };
        let conf = with(hijack(plugin), key, json!({level: "debug", name: file}));
        machine.add("net1", &conf, &prev).unwrap();
        machine.call(Verb::Del, "net1", &conf).unwrap();
        machine.call(Verb::Add, "net1", &conf).unwrap_err();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let said: Vec<&str> = lines.iter().map(|l| l["level"].as_str().unwrap()).collect();
        assert_eq!(said, ["debug", "info", "debug", "info", "debug", "error"], "{text}");
        let first = &lines[0];
        assert_eq!(
            (&first["Action"], &first["PodName"], &first["IfName"]),
            (&json!("ADD"), &json!("web"), &json!("net1"))
        );
        assert_eq!(first["logger"], plugin);
        std::fs::remove_file(&file).unwrap();
        // A file that cannot be made fails ADD, not DEL.
        let bad = with(hijack(plugin), key, json!({level: "info", name: "/proc/nothing/x.log"}));
        let error = machine.add("net1", &bad, &prev).unwrap_err();
        assert!(error.msg.contains("/proc/nothing/x.log"), "{error}");
        machine.call(Verb::Del, "net1", &bad).unwrap();
    }
    let text = refused(OVERLAY, "net1", &with(coordinator(), "logOptions", json!({"logLevel": "loud"}))).msg;
    assert_eq!(text, "unsupported log level loud");
    let text = refused(OVERLAY, "net1", &with(coordinator(), "logOptions", json!({}))).msg;
    assert_eq!(text, "unsupported log level ");
}

#[test]
fn detection_keys_of_old_coordinators_are_read() {
    let ask = |keys: Value, station: Option<&str>| {
        let machine = machine(OVERLAY);
        let prev = machine.attach(&nic("net1", 0, true, false, true));
        let own = prev["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        if let Some(ip) = station {
            let ip = if ip == "own" { own } else { ip.to_owned() };
            machine.door.set_station(ip.parse().unwrap(), "02:00:00:00:00:77".parse().unwrap());
        }
        let mut conf = coordinator();
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        machine.add("net1", &conf, &prev).map_err(|e| e.msg)
    };
    let conflict = json!({"detectIPConflict": true, "hostRPFilter": 0});
    assert!(ask(conflict.clone(), None).is_ok());
    assert!(ask(conflict, Some("own")).unwrap_err().contains("is located at 02:00:00:00:00:77"));
    let gateway = json!({"detectGateway": true, "detectOptions": {"retries": 2, "interval": "10ms", "timeout": "20ms"}});
    assert!(ask(gateway.clone(), Some("172.19.0.1")).is_ok());
    assert_eq!(ask(gateway, None).unwrap_err(), "gateway 172.19.0.1 is unreachable");
    let bad = json!({"detectOptions": {"interval": "x"}});
    assert!(ask(bad, None).unwrap_err().contains("invalid detectOptions.interval x"));
}

#[test]
fn keys_match_in_any_case() {
    let machine = machine(OVERLAY);
    machine.agent.says(Some(CoordinatorConfig { pod_default_route_nic: "eth0".into(), ..agent() }));
    let prev = machine.attach(&nic("net1", 0, true, false, true));
    machine.add("net1", &with(coordinator(), "podDefaultRouteNIC", json!("net1")), &prev).unwrap();
    let main: Vec<_> =
        machine.pod().routes.into_iter().filter(|r| r.is_default() && r.table == 254).collect();
    assert!(main.len() == 1 && main[0].link.as_ref().unwrap().as_str() == "net1", "{main:?}");
}

/// The oldest results name no interface: `router` and `veth` need one, `coordinator` looks at the pod.
#[test]
fn the_oldest_results_are_enough_for_coordinator_alone() {
    let old =
        json!({"cniVersion": "0.2.0", "ip4": {"ip": "172.19.24.176/16", "gateway": "172.19.0.1"}, "dns": {}});
    for (plugin, topology, name) in
        [("router", OVERLAY, "net1"), ("veth", UNDERLAY, "eth0"), ("coordinator", OVERLAY, "net1")]
    {
        let machine = machine(topology);
        machine.attach(&nic(name, 0, true, false, true));
        let outcome = machine.add(name, &with(hijack(plugin), "cniVersion", json!("0.2.0")), &old);
        match plugin {
            "coordinator" => assert_eq!(outcome.unwrap().ips.len(), 1),
            _ => assert_eq!(outcome.unwrap_err().msg, "failed to find interface from prevResult"),
        }
    }
}

/// The replaced plugin looks the interface up on the node, where a link of that name is somebody else's.
#[test]
fn the_nodes_own_links_stay_as_they_are_and_the_pods_gets_its_queue() {
    let machine = machine(UNDERLAY);
    let prev = machine.attach(&nic("eth0", 0, true, false, true));
    let before = machine.facts();
    machine.add("eth0", &with(coordinator(), "txQueueLen", json!(500)), &prev).unwrap();
    let after = machine.facts();
    let eth0 = IfName::new("eth0").unwrap();
    assert_eq!(after.link(Place::Pod, &eth0).unwrap().tx_queue_len, 500);
    assert!(before.link(Place::Host, &eth0).is_some_and(|link| link.tx_queue_len != 500));
    for link in &before.host.links {
        assert_eq!(after.link(Place::Host, &link.name), Some(link));
    }
    let is_new = |link: &IfName| before.link(Place::Host, link).is_none();
    let neighbours = after.host.neighbours.iter().filter(|entry| !before.host.neighbours.contains(entry));
    let routes = after.host.routes.iter().filter(|route| !before.host.routes.contains(route));
    let links: Vec<&IfName> =
        neighbours.map(|entry| &entry.link).chain(routes.filter_map(|route| route.link.as_ref())).collect();
    assert!(links.len() >= 2 && links.iter().all(|link| is_new(link)), "{links:?}");
}
