//! flannel's part of a cluster: its daemon on each node, over the second NIC, as the guide for a second network installs it.

use std::path::Path;

use crate::error::Result;
use crate::hold::STATE_INSIDE;
use crate::services::Service;
use crate::state::{State, write_whole};

/// The network configuration's name in the lab's directory.
const CONFIG: &str = "net-conf.json";

/// Where the daemon tells the CNI plugin a node's subnet, in the node's own /run.
pub const SUBNET_FILE: &str = "/run/flannel/subnet.env";

/// Writes the network configuration, which the stock manifests have in a ConfigMap.
pub fn install(state: &State, conf: &str) -> Result<()> {
    write_whole(&state.directory().join(CONFIG), conf.as_bytes())
}

/// The daemon of a node, with the flags of the guide.
pub fn service(node: &str, nic: &str) -> Service {
    let words = [
        "flanneld".to_owned(),
        "--ip-masq".to_owned(),
        "--kube-subnet-mgr".to_owned(),
        format!("--iface={nic}"),
        format!("--net-config-path={STATE_INSIDE}/{CONFIG}"),
        format!("--kubeconfig-file={STATE_INSIDE}/kubeconfig-inside"),
    ];
    let environment = vec![("NODE_NAME".to_owned(), node.to_owned())];
    Service { title: "flanneld", words: words.to_vec(), environment }
}

/// What a node's subnet file says, seen through the process that holds the node; nothing while there is none.
pub fn subnet_file(holder: u32) -> Option<String> {
    let path = SUBNET_FILE.trim_start_matches('/');
    std::fs::read_to_string(Path::new(&format!("/proc/{holder}/root")).join(path)).ok()
}
