//! What else the routing plugins do with packets: replies by the way that requests came, conflicts, hardware addresses.

use polynic_e2e::{Pod, ways};
use serde_json::{Value, json};

use super::site::{ETH0_A, NET1_A, Site, call};
use super::{OWN_OVERLAY, coordinator, router, veth};

/// As with a NodePort: somebody beyond the node asks through it, and the pod's default route is another way.
#[test]
fn what_came_through_the_node_is_answered_through_it() {
    for rp_filter in [0, 1, 2] {
        let Some(site) = Site::new(rp_filter) else { return };
        let pod = site.pod();
        site.attach(&pod, ETH0_A, &coordinator(""));
        let wire = site.node.wire();
        let [v4, v6] = ETH0_A.addresses;
        let by = |outcome: Result<polynic_e2e::Ways, String>| outcome.map(|w| w.back);
        assert_eq!(by(ways(&wire.netns, None, &pod.netns, v4)), Ok("eth0".into()));
        wire.ip(&format!("route add {v4}/32 via 192.168.1.10\nroute add {v6}/128 via fd00:1::10"));
        for address in [v4, v6] {
            assert_eq!(
                by(ways(&wire.netns, None, &pod.netns, address)),
                Ok("veth0".into()),
                "{address}, {rp_filter}"
            );
        }
    }
}

fn conflicting(plugin: Value) -> Value {
    let mut plugin = plugin;
    plugin["ip_conflict"] = json!({"enabled": true, "interval": "100ms", "retries": 3});
    plugin
}

#[test]
fn an_address_that_somebody_has_fails_add_by_name_and_changes_nothing() {
    let Some(site) = Site::new(0) else { return };
    for (plugin, nic) in [(router(), NET1_A), (veth(), ETH0_A)] {
        for family in [0, 1] {
            let pod = site.pod();
            if nic.name != "eth0" {
                site.overlay(&pod, OWN_OVERLAY);
            }
            let prev = call(&pod, nic.name, nic.conf()).add();
            let taken = nic.addresses[family];
            let wire = site.node.wire();
            let net = if family == 0 { format!("{taken}/24") } else { format!("{taken}/64") };
            wire.ip(&format!("address add {net} dev wire {}", if family == 0 { "" } else { "nodad" }));
            let (before, node) = (pod.state(), site.node.state());
            let mut conf = conflicting(plugin.clone());
            (conf["cniVersion"], conf["name"]) = (json!("1.0.0"), json!("lan"));
            conf["prevResult"] = prev;
            let chained = call(&pod, nic.name, conf);
            let (code, msg) = chained.run("ADD").error();
            let mac = wire.state().mac("wire").to_owned();
            let expected = format!(
                "pod's interface {} with an conflicting ip {taken}, {taken} is located at {mac}",
                nic.name
            );
            assert_eq!((code, msg), (999, expected));
            pod.state().assert_same(&before, "the pod");
            site.node.state().assert_same(&node, "the node");
            wire.ip(&format!("address del {net} dev wire"));
            chained.add();
            chained.del();
            call(&pod, nic.name, nic.conf()).del();
            if nic.name != "eth0" {
                let overlay =
                    json!({"cniVersion": "1.0.0", "name": "overlay", "type": "calico-like", "ipam": {}});
                call(&pod, "eth0", overlay).del();
            }
        }
    }
}

/// In the files in which the replaced plugins say so, though nobody asked. Here they are this test binary's own.
#[test]
fn what_calls_did_is_found_where_it_always_was() {
    let Some(site) = Site::new(0) else { return };
    let lines = |file: &str, pod: &Pod| {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let own = lines.filter(|line| line["ContainerID"] == pod.id.as_str());
        own.map(|line| format!("{} {}", line["level"], line["Action"])).collect::<Vec<String>>()
    };
    for (plugin, file) in
        [(veth(), "/var/log/meta-plugins/veth.log"), (coordinator(""), "/var/log/spidernet/coordinator.log")]
    {
        let pod = site.pod();
        let (chained, _) = site.attach(&pod, ETH0_A, &plugin);
        chained.del();
        let said = [r#""debug" "ADD""#, r#""info" "ADD""#, r#""debug" "DEL""#, r#""info" "DEL""#];
        assert_eq!(lines(file, &pod), said, "{plugin}");
        call(&pod, ETH0_A.name, ETH0_A.conf()).del();
    }
}

fn with_prefix(plugin: Value, key: &str, prefix: &str) -> Value {
    let mut plugin = plugin;
    plugin[key] = json!(prefix);
    plugin
}

#[test]
fn hardware_addresses_follow_from_prefix_and_address() {
    let Some(site) = Site::new(0) else { return };
    let cases = [
        (with_prefix(router(), "mac_prefix", "0a:1b"), NET1_A),
        (with_prefix(veth(), "mac_prefix", "0A:1B"), ETH0_A),
        (with_prefix(coordinator(""), "podMACPrefix", "0a:1b"), ETH0_A),
    ];
    for (plugin, nic) in cases {
        let pod = site.pod();
        if nic.name != "eth0" {
            site.overlay(&pod, OWN_OVERLAY);
        }
        let (chained, result) = site.attach(&pod, nic, &plugin);
        let expected = format!(
            "0a:1b:c0:a8:01:{:02x}",
            nic.addresses[0].rsplit('.').next().unwrap().parse::<u8>().unwrap()
        );
        assert_eq!(pod.state().mac(nic.name), expected);
        assert_eq!(result["interfaces"][0]["mac"], expected.as_str());
        assert_eq!(chained.check(&result).silent(), "");
        assert!(ways(&site.node.wire().netns, None, &pod.netns, nic.addresses[0]).is_ok());
        chained.del();
        call(&pod, nic.name, nic.conf()).del();
    }
}

#[test]
fn prefixes_that_are_none_are_refused_by_key() {
    let Some(site) = Site::new(0) else { return };
    let pod = site.pod();
    let prev = call(&pod, "eth0", ETH0_A.conf()).add();
    let before = pod.state();
    for (plugin, key, prefix, text) in [
        (veth(), "mac_prefix", "0a", "mac_prefix"),
        (veth(), "mac_prefix", "0a-1b", "mac_prefix"),
        (veth(), "mac_prefix", "01:1b", "failed to update mac address, maybe mac_prefix is invalid: 01:1b"),
        (coordinator(""), "podMACPrefix", "zz:11", "mac_prefix"),
        (coordinator(""), "podMACPrefix", "03:11", "maybe hardware_prefix(03:11) is invalid"),
    ] {
        let mut conf = with_prefix(plugin, key, prefix);
        (conf["cniVersion"], conf["name"], conf["prevResult"]) = (json!("1.0.0"), json!("lan"), prev.clone());
        let (code, msg) = call(&pod, "eth0", conf).run("ADD").error();
        assert!(code == 999 && msg.contains(text), "{code} {msg}");
        pod.state().assert_same(&before, prefix);
    }
}

#[test]
fn without_an_agent_the_error_says_so_and_del_succeeds() {
    let Some(_site) = Site::new(0) else { return };
    // Everything but the socket is there: the plugin is called where it is not.
    let pod = Pod::new();
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "type": "coordinator"});
    let (_, msg) = call(&pod, "eth0", conf.clone()).run("ADD").error();
    assert!(msg.contains("prevResult"), "{msg}");
    call(&pod, "eth0", conf).del();
}
