//! What a node has on disk before its kubelet starts: the plugins, the default network's list, Multus' configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::multus;
use crate::state::{State, write_json};
use crate::underlay::{Layout, Node};

/// The address at which every process of the lab reaches the API server: each node has a socket there.
pub const API_INSIDE: &str = "https://127.0.0.1:6443";

/// The default network's list, which Multus delegates to.
const PRIMARY: &str = "10-calico.conflist";

/// The names under which the program serves as a plugin; it knows them best.
pub fn plugins(polynic: &Path) -> Result<Vec<String>> {
    let what = || format!("ask {} for its plugins", polynic.display());
    let answer =
        Command::new(polynic).arg("plugins").stdin(Stdio::null()).output().map_err(Error::io(what()))?;
    if !answer.status.success() {
        return Err(Error::Waited(format!("{}: it ended with {}", what(), answer.status)));
    }
    Ok(plugin_names(&String::from_utf8_lossy(&answer.stdout)))
}

/// A name per line. What could not be a file's name is no plugin's.
fn plugin_names(text: &str) -> Vec<String> {
    let fine = |name: &&str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && *name != PROGRAM
    };
    text.lines().map(str::trim).filter(fine).map(str::to_owned).collect()
}

/// The program's own name among the plugins.
const PROGRAM: &str = "polynic";

/// Fills the node's directories. What comes back is the file without which the node cannot serve pods, if somebody else has to write it.
pub fn prepare(state: &State, layout: &Layout, node: Node, kubeconfig: &str) -> Result<Option<PathBuf>> {
    let conf_dir: PathBuf = state.node(&node.name()).join("etc/cni/net.d");
    let primary = &primary(layout.pod_networks(node), state.spec()?.strict_reverse_path);
    write_json(&conf_dir.join(PRIMARY), primary)?;
    let multus = multus::Files { conf_dir, shape: layout.shape(), primary, kubeconfig };
    multus.write()?;
    Ok(multus.awaited())
}

/// The default network of the guides (spec/calico-like-default-network.md 1), with host-local in place of Calico's own IPAM.
fn primary(networks: [IpNet; 2], strict_reverse_path: bool) -> Value {
    let ranges = networks.map(|net| json!([{"subnet": net}]));
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

/// Whether a node's object says that it is ready; otherwise `problem` becomes its reason.
pub fn is_ready(node: &NodeObject, problem: &mut String) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let Some(ready) = conditions.into_iter().find(|c| c.type_ == "Ready") else { return false };
    if ready.status != "True" {
        *problem = ready.message.clone().unwrap_or_default();
    }
    ready.status == "True"
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
    fn the_default_network_has_the_nodes_own_part_of_both_families() {
        let primary = primary(crate::shape::Shape::default().pods.part(3), true);
        let list = ConfList::parse(primary.to_string().as_bytes()).unwrap();
        assert_eq!(
            (list.name.as_str(), list.plugins[0].plugin_type.as_str()),
            ("k8s-pod-network", "calico-like")
        );
        assert_eq!(primary["plugins"][0]["ipam"]["ranges"][1][0]["subnet"], "fd00:10:244:3::/64");
    }

    #[test]
    fn plugins_are_what_the_program_says_one_per_line() {
        assert_eq!(plugin_names("macvlan\nhost-local\n\n../x\npolynic\n"), ["macvlan", "host-local"]);
        let why = plugins(Path::new("/bin/false")).unwrap_err().to_string();
        assert!(why.contains("ask /bin/false for its plugins"), "{why}");
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
