//! Network policies in a cluster: the kind, and on each node who keeps them in force.

use kube::Client;
use polynic_api::multi_policy;

use crate::api;
use crate::error::Result;
use crate::hold::STATE_INSIDE;
use crate::services::Service;

/// Makes the kind known.
pub async fn install(client: &Client) -> Result<()> {
    api::define(client, multi_policy::CRD).await
}

/// The service of a node.
pub fn service(node: &str) -> Service {
    let words = [
        "multi-networkpolicy-nftables".to_owned(),
        format!("--hostname-override={node}"),
        format!("--kubeconfig={STATE_INSIDE}/kubeconfig-inside"),
    ];
    Service { title: "policies", words: words.to_vec(), environment: Vec::new() }
}
