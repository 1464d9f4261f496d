//! Links that not every kernel has: VLAN, ipvlan, VRF. Few scenarios: they run in a throw-away kernel with one slow processor.

use serde_json::{Value, json};

use super::{Scenario, conf, routed, with};

pub(super) fn all() -> Vec<Scenario> {
    [vlan(), ipvlan(), vrf()].into_iter().flatten().collect()
}

fn main(plugin: &str, name: &str, keys: Value) -> Scenario {
    let base = conf(plugin, json!({"master": "eth0", "ipam": routed(&["192.168.1.0/24"])}));
    Scenario::new(&format!("lacking {plugin} {name}"), with(base, keys))
}

fn vlan() -> Vec<Scenario> {
    let vlan = |name: &str, keys: Value| main("vlan", name, with(json!({"vlanId": 7}), keys));
    vec![vlan("plain", json!({})), vlan("mtu", json!({"mtu": 1400})), vlan("number", json!({"vlanId": 5000}))]
}

fn ipvlan() -> Vec<Scenario> {
    let ipvlan = |name: &str, keys: Value| main("ipvlan", name, keys);
    vec![
        ipvlan("plain", json!({})),
        ipvlan("l3", json!({"mode": "l3"})),
        ipvlan("default master", json!({"master": ""})),
        ipvlan("mode", json!({"mode": "l4"})),
    ]
}

fn vrf() -> Vec<Scenario> {
    let macvlan = |ranges: &[&str]| conf("macvlan", json!({"master": "eth0", "ipam": routed(ranges)}));
    let vrf = |name: &str, ranges: &[&str], keys: Value| {
        Scenario::new(&format!("lacking vrf {name}"), conf("vrf", keys)).behind(macvlan(ranges))
    };
    let v4: &[&str] = &["192.168.1.0/24"];
    vec![
        vrf("plain", v4, json!({"vrfname": "blue"})),
        vrf("dual stack", &["192.168.1.0/24", "fd00:1::/64"], json!({"vrfname": "blue"})),
        vrf("one that is there", v4, json!({"vrfname": "blue"}))
            .in_pod("link add blue type vrf table 55\nlink set blue up"),
        vrf("of another table", v4, json!({"vrfname": "blue", "table": 7}))
            .in_pod("link add blue type vrf table 55"),
        vrf("name of another link", v4, json!({"vrfname": "lo"})),
    ]
}
