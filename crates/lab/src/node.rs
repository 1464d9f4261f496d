//! What a node has on disk before its kubelet starts: the plugins, the default network's list, Multus' configuration.

use std::fs;
use std::path::PathBuf;

use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::state::{State, write_json, write_whole};
use crate::underlay::Node;

/// The names under which our program is called on a node. Plugins that it does not know yet are a clear error when called.
pub const PLUGINS: [&str; 38] = [
    "bandwidth",
    "bond",
    "bridge",
    "calico-like",
    "coordinator",
    "dhcp",
    "dummy",
    "firewall",
    "flannel",
    "host-device",
    "host-local",
    "ib-sriov",
    "ifacer",
    "ipvlan",
    "loopback",
    "macvlan",
    "multus",
    "multus-shim",
    "ovs",
    "passthru",
    "portmap",
    "ptp",
    "rdma",
    "router",
    "route-override",
    "sbr",
    "spiderpool",
    "sriov",
    "static",
    "tap",
    "tuning",
    "veth",
    "vlan",
    "vrf",
    "vxlan",
    "whereabouts",
    "cnitool",
    "macvtap",
];

/// The address at which every process of the lab reaches the API server: each node has a socket there.
pub const API_INSIDE: &str = "https://127.0.0.1:6443";

/// The default network's list, which Multus' configuration carries as its delegate.
const PRIMARY: &str = "10-calico.conflist";
const MULTUS: &str = "00-multus.conf";

/// Fills the node's directories.
pub fn prepare(state: &State, node: Node, kubeconfig: &str) -> Result<()> {
    let name = node.name();
    let conf: PathBuf = state.node(&name).join("etc/cni/net.d");
    let primary = primary(node, state.spec()?.strict_reverse_path);
    write_private(&conf.join("multus.d/multus.kubeconfig"), kubeconfig)?;
    write_json(&conf.join(PRIMARY), &primary)?;
    write_json(&conf.join(MULTUS), &multus(&primary))
}

fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    write_whole(path, text.as_bytes())?;
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, private).map_err(Error::io(format!("protect {}", path.display())))
}

/// The default network of the guides (spec/calico-like-default-network.md 1), with host-local in place of Calico's own IPAM.
fn primary(node: Node, strict_reverse_path: bool) -> Value {
    let ranges = node.pod_networks().map(|net| json!([{"subnet": net}]));
    json!({
        "cniVersion": "0.3.1",
        "name": "k8s-pod-network",
        "plugins": [{
            "type": "calico-like",
            "mtu": 0,
            "strictReversePath": strict_reverse_path,
            "ipam": {"type": "host-local", "ranges": ranges},
        }],
    })
}

/// What Multus' installer writes for a primary below version 1.0.0 (spec/multus.md 14.1).
fn multus(primary: &Value) -> Value {
    json!({
        "cniVersion": primary["cniVersion"],
        "name": "multus-cni-network",
        "type": "multus",
        "confDir": "/etc/cni/multus/net.d",
        "cniConf": "/etc/cni/multus/net.d",
        "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
        "delegates": [primary],
    })
}

/// The kubeconfig of `user` with another address of the API server.
pub fn readdressed(user: &str, server: &str) -> Result<String> {
    let bad = |why: String| Error::Input(format!("the API server's kubeconfig: {why}"));
    let mut config = Kubeconfig::from_yaml(user).map_err(|why| bad(why.to_string()))?;
    for cluster in &mut config.clusters {
        if let Some(cluster) = &mut cluster.cluster {
            cluster.server = Some(server.to_owned());
        }
    }
    // JSON is YAML, and one writer less.
    serde_json::to_string_pretty(&config).map_err(|why| bad(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::ConfList;

    #[test]
    fn what_a_node_gets_is_loadable_and_first_in_order() {
        let primary = primary(Node { number: 3 }, true);
        let list = ConfList::parse(primary.to_string().as_bytes()).unwrap();
        assert_eq!(
            (list.name.as_str(), list.plugins[0].plugin_type.as_str()),
            ("k8s-pod-network", "calico-like")
        );
        assert_eq!(primary["plugins"][0]["ipam"]["ranges"][1][0]["subnet"], "fd00:10:244:3::/64");
        let multus = multus(&primary);
        let single = ConfList::parse_single(multus.to_string().as_bytes()).unwrap();
        assert_eq!(single.plugins[0].plugin_type, "multus");
        assert_eq!(multus["delegates"][0], primary);
        assert!(MULTUS < PRIMARY);
    }

    #[test]
    fn only_the_address_of_a_kubeconfig_changes() {
        let user = "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:40001', certificate-authority-data: eA==}}]";
        let inside = Kubeconfig::from_yaml(&readdressed(user, API_INSIDE).unwrap()).unwrap();
        let cluster = inside.clusters[0].cluster.clone().unwrap();
        assert_eq!(cluster.server.as_deref(), Some(API_INSIDE));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("eA=="));
    }
}
