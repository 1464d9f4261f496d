//! firewall (spec/plugins.md 3.4), with packets.

mod firewalld;

use std::process::Command;

use polynic_e2e::{Call, Node, Pod, is_cut_off, reaches};
use polynic_kernel::testing::say_skipped;
use serde_json::{Value, json};

use crate::life::{conf, host_local, records};
use firewalld::{BusDaemon, Firewalld};

/// A pod on a bridge that is its gateway, and the result to chain on.
fn attached(node: &Node, pod: &Pod, bridge: &str, subnets: &[&str]) -> Value {
    let mut ipam = host_local(node, subnets);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let conf = conf("bridge", json!({"name": bridge, "bridge": bridge, "isGateway": true, "ipam": ipam}));
    Call::new(pod, conf).add()
}

fn firewall(pod: &Pod, keys: Value, prev: &Value) -> Call {
    Call::new(pod, conf("firewall", keys)).key("prevResult", prev.clone())
}

fn address(result: &Value, at: usize) -> String {
    result["ips"][at]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

/// Runs a command on the node; nothing if there is no such program.
fn run(node: &Node, line: &'static str) -> Option<String> {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let words: Vec<&str> = words.collect();
    let output = node.netns().run(move || Command::new(program).args(words).output()).unwrap().ok()?;
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn pods_get_through_a_node_that_lets_nothing_through() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let prev = attached(&node, &pod, "br6", &["10.6.0.0/24", "fd00:6::/64"]);
    node.wire().ip("route add 10.6.0.0/24 via 192.168.1.10\nroute add fd00:6::/64 via fd00:1::10");
    let (world, pod_v4) = ("192.168.1.1", address(&prev, 0));
    assert!(reaches(&pod.netns, &node.wire().netns, world));
    if run(&node, "iptables-nft -P FORWARD DROP").is_none() {
        return say_skipped("there is no `iptables-nft` (Debian: iptables)");
    }
    run(&node, "ip6tables-nft -P FORWARD DROP").unwrap();
    assert!(is_cut_off(&pod.netns, &node.wire().netns, world));
    let before = node.state();
    let call = firewall(&pod, json!({}), &prev);
    let result = call.add();
    assert_eq!(result, prev);
    assert!(reaches(&pod.netns, &node.wire().netns, world));
    assert!(reaches(&pod.netns, &node.wire().netns, "fd00:1::1"));
    assert!(is_cut_off(&node.wire().netns, &pod.netns, &pod_v4), "only answers may come in");
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(call.add(), result, "a repeated ADD");
    let listed = run(&node, "iptables-nft -S").unwrap();
    for line in [
        "-P FORWARD DROP",
        "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD",
        "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN",
    ] {
        assert!(listed.lines().any(|l| l == line), "{line} in\n{listed}");
    }
    let of_pod: Vec<&str> = listed.lines().filter(|l| l.contains(&pod_v4)).collect();
    assert_eq!(of_pod.len(), 2, "{listed}");
    assert!(of_pod[0].contains("-m conntrack --ctstate RELATED,ESTABLISHED"), "{listed}");
    // The administrator's word comes first.
    run(&node, "iptables-nft -A CNI-ADMIN -d 192.168.1.1 -j DROP").unwrap();
    assert!(is_cut_off(&pod.netns, &node.wire().netns, world));
    run(&node, "iptables-nft -F CNI-ADMIN").unwrap();
    assert!(reaches(&pod.netns, &node.wire().netns, world));
    call.del();
    assert!(is_cut_off(&pod.netns, &node.wire().netns, world));
    node.state().without(&["CNI-FORWARD", "CNI-ADMIN"]).assert_same(&before, "after DEL");
    assert!(!run(&node, "iptables-nft -S").unwrap().contains(&pod_v4));
    call.del();
    // Once more, and DEL without anything to go by.
    call.add();
    std::fs::remove_dir_all(records(&pod.id)).unwrap();
    let mut bare = call.without("CNI_NETNS");
    bare.conf.as_object_mut().unwrap().remove("prevResult");
    bare.del();
    assert!(!run(&node, "iptables-nft -S").unwrap().contains(&pod_v4));
}

#[test]
fn chains_that_iptables_made_are_used() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let prev = attached(&node, &pod, "br6", &["10.6.0.0/24"]);
    if run(&node, "iptables-nft -N CNI-FORWARD").is_none() {
        return say_skipped("there is no `iptables-nft` (Debian: iptables)");
    }
    let rule =
        ["-I", "FORWARD", "-m", "comment", "--comment", "CNI firewall plugin rules", "-j", "CNI-FORWARD"];
    let made = node.netns().run(move || Command::new("iptables-nft").args(rule).status().unwrap()).unwrap();
    assert!(made.success());
    firewall(&pod, json!({"cniVersion": "0.3.1"}), &downgraded(&prev)).add();
    let listed = run(&node, "iptables-nft -S FORWARD").unwrap();
    assert_eq!(listed.matches("CNI-FORWARD").count(), 1, "{listed}");
}

/// The same result in the form of 0.3.1.
fn downgraded(result: &Value) -> Value {
    let mut result = result.clone();
    result["cniVersion"] = json!("0.3.1");
    for ip in result["ips"].as_array_mut().unwrap() {
        ip["version"] = json!("4");
    }
    result
}

#[test]
fn bridges_are_kept_apart_as_asked() {
    let Some(node) = Node::new() else { return };
    let (a, b, c) = (Pod::new(), Pod::new(), Pod::new());
    let prev_a = attached(&node, &a, "br6", &["10.6.0.0/24"]);
    let prev_b = attached(&node, &b, "br7", &["10.7.0.0/24"]);
    let prev_c = attached(&node, &c, "br6", &["10.6.0.0/24"]);
    let (at_b, at_c) = (address(&prev_b, 0), address(&prev_c, 0));
    assert!(reaches(&a.netns, &b.netns, &at_b));
    let same = json!({"ingressPolicy": "same-bridge"});
    let calls =
        [(&a, &prev_a), (&b, &prev_b), (&c, &prev_c)].map(|(pod, prev)| firewall(pod, same.clone(), prev));
    for call in &calls {
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "");
    }
    assert!(is_cut_off(&a.netns, &b.netns, &at_b), "another bridge");
    assert!(reaches(&a.netns, &c.netns, &at_c), "the same bridge");
    calls.iter().for_each(Call::del);
}

/// Within a bridge too, where the machine shows bridged packets to its firewall.
#[test]
fn pods_of_an_isolated_bridge_reach_the_world_and_nobody_else() {
    let Some(node) = Node::new() else { return };
    let (a, b, c) = (Pod::new(), Pod::new(), Pod::new());
    let prev_a = attached(&node, &a, "br6", &["10.6.0.0/24", "fd00:6::/64"]);
    let prev_b = attached(&node, &b, "br7", &["10.7.0.0/24", "fd00:7::/64"]);
    let prev_c = attached(&node, &c, "br6", &["10.6.0.0/24", "fd00:6::/64"]);
    node.wire().ip("route add 10.0.0.0/8 via 192.168.1.10\nroute add fd00::/16 via fd00:1::10");
    for at in [0, 1] {
        assert!(
            reaches(&a.netns, &b.netns, &address(&prev_b, at)),
            "another bridge, {at}: {:#?}",
            node.state().lines()
        );
        assert!(
            reaches(&a.netns, &c.netns, &address(&prev_c, at)),
            "the same bridge, {at}: {:#?}",
            node.state().lines()
        );
    }
    let isolated = json!({"backend": "iptables", "ingressPolicy": "isolated"});
    let calls = [(&a, &prev_a), (&b, &prev_b), (&c, &prev_c)]
        .map(|(pod, prev)| firewall(pod, isolated.clone(), prev));
    for call in &calls {
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "");
    }
    let bridged = |file: &'static str| {
        let path = format!("/proc/sys/net/bridge/{file}");
        node.netns().run(move || std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")).unwrap()
    };
    let shown = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"].map(bridged);
    for (at, shown) in [0, 1].into_iter().zip(shown) {
        assert!(is_cut_off(&a.netns, &b.netns, &address(&prev_b, at)), "another bridge, {at}");
        if shown {
            assert!(is_cut_off(&a.netns, &c.netns, &address(&prev_c, at)), "the same bridge, {at}");
        } else {
            say_skipped(
                "packets between ports of a bridge do not pass this machine's firewall (br_netfilter)",
            );
        }
    }
    assert!(reaches(&a.netns, &node.wire().netns, "198.51.100.7"));
    assert!(reaches(&a.netns, &node.wire().netns, "2001:db8::7"));
    assert!(reaches(&node.wire().netns, &a.netns, &address(&prev_a, 0)), "the world may come in");
    calls.iter().for_each(Call::del);
}

/// Whether a program of the old iptables did that; not every kernel has what it takes.
fn with_legacy(node: &Node, program: &'static str, policy: &'static str) -> bool {
    let words = ["-P", "FORWARD", policy];
    let ran = node.netns().run(move || Command::new(program).args(words).output()).unwrap();
    ran.is_ok_and(|output| output.status.success())
}

#[test]
fn what_the_old_iptables_drops_is_said_by_name() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let prev = attached(&node, &pod, "br6", &["10.6.0.0/24", "fd00:6::/64"]);
    let call = firewall(&pod, json!({}), &prev);
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        if !with_legacy(&node, program, "DROP") {
            return say_skipped(&format!("`{program}` (Debian: iptables) does not work here"));
        }
        let before = node.state();
        let error = call.run("ADD").error().1;
        assert!(error.starts_with(&format!("{program} drops what passes through this node")), "{error}");
        node.state().assert_same(&before, "nothing was done");
        assert!(with_legacy(&node, program, "ACCEPT"));
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "");
        call.del();
    }
}

#[test]
fn firewalld_is_told_whom_to_trust() {
    let Some(node) = Node::new() else { return };
    let Some(bus) = BusDaemon::start(node.directory()) else { return };
    let pod = Pod::new();
    let prev = attached(&node, &pod, "br6", &["10.6.0.0/24", "fd00:6::/64"]);
    let before = node.state();
    let over_bus = |keys: Value| firewall(&pod, keys, &prev).with("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    let error = over_bus(json!({"backend": "firewalld"})).run("ADD").error().1;
    assert!(error.contains("nobody has its name"), "{error}");
    let firewalld = Firewalld::start(&bus);
    for (keys, zone) in
        [(json!({}), "trusted"), (json!({"backend": "firewalld", "firewalldZone": "pods"}), "pods")]
    {
        let call = over_bus(keys);
        let sources = [0, 1].map(|at| format!("{zone} {}/{}", address(&prev, at), [32, 128][at]));
        let result = call.add();
        assert_eq!(result, prev);
        assert_eq!(firewalld.sources(), sources);
        node.state().assert_same(&before, "no rule of ours");
        assert_eq!(call.check(&result).silent(), "");
        // As a reload of firewalld does.
        firewalld.sources.lock().unwrap().clear();
        let error = call.check(&result).error().1;
        assert!(error.contains(&format!("to firewalld's zone {zone} is missing")), "{error}");
        call.add();
        assert_eq!(firewalld.sources(), sources);
        call.del();
        assert_eq!(firewalld.sources(), [""; 0]);
        call.del();
        // What the replaced plugin told it is known from the previous result.
        firewalld.sources.lock().unwrap().extend(sources);
        call.del();
        assert_eq!(firewalld.sources(), [""; 0]);
    }
    let error = over_bus(json!({"firewalldZone": "nowhere"})).run("ADD").error().1;
    assert!(error.contains("INVALID_ZONE: nowhere"), "{error}");
    let call = over_bus(json!({}));
    call.add();
    drop(firewalld);
    call.del();
    node.state().assert_same(&before, "after all");
}

/// A bus that is broken is as good as none: firewalld does not run, as far as anybody can tell.
#[test]
fn a_bus_that_answers_wrongly_or_not_at_all_is_none() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let prev = attached(&node, &pod, "br6", &["10.6.0.0/24"]);
    for (behaviour, at) in
        [firewalld::hang, firewalld::talk_nonsense, firewalld::hang_up].into_iter().zip(0..)
    {
        let address = firewalld::broken_bus(&format!("{}/bus{at}", node.directory()), behaviour);
        let call = firewall(&pod, json!({}), &prev).with("DBUS_SYSTEM_BUS_ADDRESS", &address);
        assert_eq!(call.add(), prev, "{at}");
        assert_eq!(
            node.state().starting("nft table ip filter chain CNI-FORWARD ip ").len(),
            2,
            "{:?}",
            node.state()
        );
        assert_eq!(call.check(&prev).silent(), "", "{at}");
        call.del();
        let asked = call.clone().key("backend", json!("firewalld")).run("ADD").error().1;
        assert!(asked.contains("nobody has its name"), "{at}: {asked}");
        call.key("backend", json!("firewalld")).del();
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let prev = attached(&node, &pod, "br6", &["10.6.0.0/24"]);
    let before = node.state();
    let bare = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.6.0.9/24"}]});
    for (keys, prev, text) in [
        (json!({"ingressPolicy": "closed"}), &prev, "unknown ingress policy: \"closed\""),
        (json!({"backend": "firewalld"}), &prev, "nobody has its name on the system's bus"),
        (
            json!({"ingressPolicy": "isolated"}),
            &bare,
            "interface needs to be set for ingress policy \"isolated\"",
        ),
    ] {
        let (_, said) = firewall(&pod, keys.clone(), prev).run("ADD").error();
        assert!(said.contains(text), "{keys}: {said}");
    }
    if run(&node, "nft add table inet firewalld").is_some() {
        let (_, said) = firewall(&pod, json!({}), &prev).run("ADD").error();
        assert!(said.starts_with("firewalld runs on this node"), "{said}");
        run(&node, "nft delete table inet firewalld").unwrap();
    }
    let without = Call::new(&pod, conf("firewall", json!({})));
    assert_eq!(without.run("ADD").error().1, "missing prevResult from earlier plugin");
    node.state().assert_same(&before, "nothing was done");
}
