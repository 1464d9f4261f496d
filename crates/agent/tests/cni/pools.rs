//! Addresses of pools for networks that are plugged in: taken and given back as for any other.

use serde_json::json;

use crate::api::until;
use crate::node::{NADS, node};

#[test]
fn an_address_of_a_pool_comes_and_goes_with_its_network() {
    let Some(node) = node() else { return };
    let addresses = node.world.agent("n1");
    node.world.pool("lan", json!({"subnet": "10.210.0.0/24", "ips": ["10.210.0.10-10.210.0.19"]}));
    let ipam = json!({"type": "spiderpool", "ipam_unix_socket_path": node.world.socket("n1"), "default_ipv4_ippool": ["lan"]});
    let bridge = json!({"type": "bridge", "bridge": node.bridge_name("pooled"), "ipam": ipam});
    node.world.create(NADS, &node.nad_with("pooled", &bridge));
    let agent = node.agent();
    let pod = node.pod("vm", "pooled");
    pod.add();
    let first = node.world.records("lan");
    assert_eq!(first.len(), 1, "{first:?}");
    node.edit("vm", "pooled,pooled@hot0");
    until("the second is there", || {
        pod.status() == ["fabric eth0", "default/pooled net1", "default/pooled hot0"]
    });
    let held = |interface: &str| pod.links()[interface][0].trim_end_matches("/24").to_owned();
    let mut wanted = vec![held("net1"), held("hot0")];
    wanted.sort_unstable();
    assert_eq!(node.world.records("lan").into_keys().collect::<Vec<_>>(), wanted);
    node.edit("vm", "pooled@hot0");
    until("the first is gone", || pod.status() == ["fabric eth0", "default/pooled hot0"]);
    until("its address is free", || node.world.records("lan").len() == 1);
    assert!(node.world.records("lan").contains_key(&held("hot0")));
    drop(agent);
    pod.del();
    addresses.stop();
}

polynic_control_plane::on_a_real_server!(an_address_of_a_pool_comes_and_goes_with_its_network,);
