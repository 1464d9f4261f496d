//! The node's sign of life: a Lease that is renewed for as long as the kubelet runs.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Kubelet;
use crate::controllers::node_lifecycle::GRACE;

/// How often: several times within what the node controller waits.
const PERIOD: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kube-node-lease";

/// Renews the lease until the kubelet ends.
pub async fn keep(kubelet: Arc<Kubelet>) {
    loop {
        if let Err(why) = renew(&kubelet).await {
            tracing::warn!(%why, "cannot renew the node's lease");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Gives one sign of life.
pub async fn renew(kubelet: &Kubelet) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(kubelet.client(), NAMESPACE);
    let name = kubelet.node.name();
    let lease = lease(&name, Timestamp::now());
    match leases.patch(&name, &PatchParams::default(), &Patch::Merge(&lease)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
            leases.create(&PostParams::default(), &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

fn lease(node: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node, "namespace": NAMESPACE},
        "spec": {
            "holderIdentity": node, "leaseDurationSeconds": GRACE,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_says_who_and_when() {
        let lease: Lease = serde_json::from_value(lease("node1", Timestamp::UNIX_EPOCH)).unwrap();
        let spec = lease.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("node1"));
        assert_eq!(spec.renew_time.unwrap().0, Timestamp::UNIX_EPOCH);
    }
}
