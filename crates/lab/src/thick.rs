//! Thick mode: a node's agent generates Multus' configuration, and serves the shim that it names (spec/multus.md 13).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::hold::STATE_INSIDE;
use crate::process::Identity;
use crate::state::State;

/// The daemon's configuration below `/etc/cni/net.d`, where the published manifests mount it.
pub const CONFIG: &str = "multus.d/daemon-config.json";

/// As published, for a daemon that sees the node's own file system.
pub fn config(cni_version: &Value) -> Value {
    json!({
        "cniVersion": cni_version,
        "logLevel": "verbose",
        "logToStderr": true,
        "cniConfigDir": "/etc/cni/net.d",
        "multusAutoconfigDir": "/etc/cni/net.d",
        "multusConfigFile": "auto",
        "socketDir": "/run/multus/",
    })
}

/// The command line of the service.
pub fn command_line() -> [String; 5] {
    [
        "multus-daemon".to_owned(),
        "-config".to_owned(),
        format!("/etc/cni/net.d/{CONFIG}"),
        "-kubeconfig".to_owned(),
        format!("{STATE_INSIDE}/kubeconfig-inside"),
    ]
}

/// The variable that tells the service its node.
pub fn environment(node: &str) -> (String, String) {
    ("MULTUS_NODE_NAME".to_owned(), node.to_owned())
}

/// The service of a node that has no other agent.
pub fn daemon(node: &str, holder: Identity) -> Daemon {
    let program = ["__become", &holder.pid.to_string(), "--", "/opt/cni/bin/polynic", "agent"];
    let args = program.map(str::to_owned).into_iter().chain(command_line()).collect();
    Daemon { name: format!("{node}-agent"), args, environment: vec![environment(node)], wait_for: None }
}

/// The file after which a node is fit for pods: until then a runtime would give them the default network alone.
pub fn generated(state: &State, node: &str) -> PathBuf {
    state.node(node).join("etc/cni/net.d").join(crate::node::MULTUS)
}
