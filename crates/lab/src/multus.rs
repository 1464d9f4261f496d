//! Multus' part of a node, thin or thick: what its installer or its daemon's manifest puts there.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::Result;
use crate::hold::STATE_INSIDE;
use crate::services::Service;
use crate::shape::Shape;
use crate::state::{write_json, write_private};

/// What the runtime calls for a pod; in a thick lab the agent writes it.
const CONFIG: &str = "00-multus.conf";
/// Where a runtime looks for its configuration.
const CONF_DIR: &str = "/etc/cni/net.d";
/// In that directory: where thin Multus has its credentials, and the daemon its configuration.
const OWN_DIR: &str = "multus.d";
const KUBECONFIG: &str = "multus.kubeconfig";
const DAEMON_CONFIG: &str = "daemon-config.json";

/// What a node has on disk for Multus.
pub struct Files<'a> {
    /// The directory [`CONF_DIR`] of the node, as it lies on the machine.
    pub conf_dir: PathBuf,
    /// What the lab is like.
    pub shape: &'a Shape,
    /// The list of the default network.
    pub primary: &'a Value,
    /// Credentials for thin Multus.
    pub kubeconfig: &'a str,
}

impl Files<'_> {
    /// Writes them.
    pub fn write(&self) -> Result<()> {
        let own = self.conf_dir.join(OWN_DIR);
        if self.shape.thick {
            return write_json(
                &own.join(DAEMON_CONFIG),
                &with_policies(daemon_config(self.primary), self.shape),
            );
        }
        write_private(&own.join(KUBECONFIG), self.kubeconfig)?;
        write_json(&self.conf_dir.join(CONFIG), &with_policies(thin(self.primary), self.shape))
    }

    /// The file without which a thick node serves no pods, because they would get the default network alone.
    pub fn awaited(&self) -> Option<PathBuf> {
        self.shape.thick.then(|| self.conf_dir.join(CONFIG))
    }
}

fn with_policies(mut config: Value, shape: &Shape) -> Value {
    if shape.policies {
        config["multiNetworkPolicy"] = json!(true);
    }
    config
}

/// What Multus' installer writes for a primary below version 1.0.0 (spec/multus.md 14.1).
fn thin(primary: &Value) -> Value {
    json!({
        "cniVersion": primary["cniVersion"],
        "name": "multus-cni-network",
        "type": "multus",
        "confDir": "/etc/cni/multus/net.d",
        "cniConf": "/etc/cni/multus/net.d",
        "kubeconfig": Path::new(CONF_DIR).join(OWN_DIR).join(KUBECONFIG),
        "delegates": [primary],
    })
}

/// The stock daemon configuration (spec/multus.md 15), with the node's directories where the agent sees them.
fn daemon_config(primary: &Value) -> Value {
    json!({
        "cniVersion": primary["cniVersion"],
        "logLevel": "verbose",
        "logToStderr": true,
        "cniConfigDir": CONF_DIR,
        "multusAutoconfigDir": CONF_DIR,
        "multusConfigFile": "auto",
    })
}

/// The service of a node that `multus-shim` asks.
pub fn service(node: &str) -> Service {
    let config = Path::new(CONF_DIR).join(OWN_DIR).join(DAEMON_CONFIG);
    let words = [
        "multus-daemon".to_owned(),
        "-config".to_owned(),
        config.display().to_string(),
        "-kubeconfig".to_owned(),
        format!("{STATE_INSIDE}/kubeconfig-inside"),
    ];
    let environment = vec![("MULTUS_NODE_NAME".to_owned(), node.to_owned())];
    Service { title: "multus", words: words.to_vec(), environment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::ConfList;
    use std::fs;

    fn written(shape: &Shape) -> (tempfile::TempDir, Option<PathBuf>) {
        let node = tempfile::tempdir().unwrap();
        fs::create_dir(node.path().join(OWN_DIR)).unwrap();
        let primary = json!({"cniVersion": "0.3.1", "name": "n", "plugins": [{"type": "ptp"}]});
        let conf_dir = node.path().to_owned();
        let files = Files { conf_dir, shape, primary: &primary, kubeconfig: "{}" };
        files.write().unwrap();
        let awaited = files.awaited();
        (node, awaited)
    }

    #[test]
    fn a_thin_node_has_a_configuration_that_carries_the_default_network() {
        let (node, awaited) = written(&Shape { policies: true, ..Shape::default() });
        let text = fs::read(node.path().join(CONFIG)).unwrap();
        let single = ConfList::parse_single(&text).unwrap();
        assert_eq!(single.plugins[0].plugin_type, "multus");
        let multus: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(multus["delegates"][0]["name"], "n");
        assert_eq!(multus["multiNetworkPolicy"], true);
        assert_eq!((awaited, node.path().join(OWN_DIR).join(KUBECONFIG).exists()), (None, true));
    }

    #[test]
    fn a_thick_node_waits_for_what_its_agent_writes() {
        let (node, awaited) = written(&Shape { thick: true, ..Shape::default() });
        let config = fs::read(node.path().join(OWN_DIR).join(DAEMON_CONFIG)).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["multusConfigFile"], &config["cniVersion"]), (&json!("auto"), &json!("0.3.1")));
        assert_eq!(config.get("multiNetworkPolicy"), None);
        let awaited = awaited.unwrap();
        assert!(awaited.ends_with(CONFIG) && !awaited.exists());
        assert!(!node.path().join(OWN_DIR).join(KUBECONFIG).exists());
    }
}
