//! The configuration that names its default network, as the chart of Spiderpool writes it (spec/spiderpool.md 16A).

use serde_json::json;

use super::on_host;
use crate::thin::options::Options;

/// What the replaced chart has.
const VERSION: &str = "0.3.1";

/// File name and content for a default network of this name.
pub(in crate::thin) fn named(options: &Options, cluster_network: &str) -> (&'static str, Vec<u8>) {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let document = json!({
        "cniVersion": or(&options.cni_version, VERSION),
        "name": "multus-cni-network",
        "type": "multus",
        "confDir": on_host(&options.networks_dir),
        "logLevel": or(&options.log_level, "debug"),
        "logFile": options.log_file,
        "capabilities": {"portMappings": true, "bandwidth": true},
        "namespaceIsolation": options.namespace_isolation,
        "clusterNetwork": cluster_network,
        "defaultNetworks": [],
        "multusNamespace": or(&options.multus_namespace, "kube-system"),
        "systemNamespaces": [],
        "kubeconfig": options.kubeconfig_on_host,
    });
    ("00-multus.conf", document.to_string().into_bytes())
}
