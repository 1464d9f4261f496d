//! Network policies in a cluster: the kind, and on each node who keeps them in force.

use kube::Client;
use polynic_api::multi_policy;

use crate::api;
use crate::daemon::Daemon;
use crate::error::Result;
use crate::hold::STATE_INSIDE;
use crate::process::Identity;
use crate::spiderpool::daemon;

/// Makes the kind known.
pub async fn install(client: &Client) -> Result<()> {
    api::define(client, multi_policy::CRD).await
}

/// The service of a node, by the command line of the program that it replaces.
pub fn agent(node: &str, holder: Identity) -> Daemon {
    let program = [
        "/opt/cni/bin/polynic".to_owned(),
        "agent".to_owned(),
        "multi-networkpolicy-nftables".to_owned(),
        format!("--hostname-override={node}"),
        format!("--kubeconfig={STATE_INSIDE}/kubeconfig-inside"),
    ];
    daemon(&format!("{node}-policies"), holder.pid, &program, &[])
}
