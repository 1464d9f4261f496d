//! What exists from the start: the namespaces, the range that services get addresses from, the service of this server itself,
//! the two priority classes of the system.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Api, Target, WriteOptions};
use crate::status::Status;
use crate::strategy::moment;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Where services get their addresses: of both families, the first being the one that they get unless they ask for more.
const SERVICE_RANGES: [&str; 2] = ["10.96.0.0/12", "fd00:10:96::/112"];
/// The first address of that range, which is this server's.
const SERVER_ADDRESS: &str = "10.96.0.1";

/// Group, plural, namespace and object.
type Row = (&'static str, &'static str, &'static str, Value);

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> =
        NAMESPACES.iter().map(|name| ("", "namespaces", "", json!({"metadata": {"name": name}}))).collect();
    rows.push((
        "networking.k8s.io",
        "servicecidrs",
        "",
        json!({
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": SERVICE_RANGES},
        }),
    ));
    rows.push(("", "services", "default", json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": SERVER_ADDRESS, "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    })));
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their node.",
        ),
    ] {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        rows.push(("scheduling.k8s.io", "priorityclasses", "", class));
    }
    rows
}

impl Api {
    pub(super) async fn seed(&self) -> Result<(), Status> {
        let kinds = self.registry.snapshot();
        for (group, plural, namespace, object) in rows() {
            let Some(resource) = kinds.find(group, "v1", plural) else { continue };
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let target = Target { resource: resource.clone(), namespace: namespace.into(), name };
            if self.store.get(&target.key())?.is_some() {
                continue;
            }
            self.create(&target, object, WriteOptions::default()).await?;
            if plural == "servicecidrs" {
                self.settle_range(&target).await?;
            }
        }
        Ok(())
    }

    /// Says that the range is in use, as the real server's controller does.
    async fn settle_range(&self, target: &Target) -> Result<(), Status> {
        let key = target.key();
        self.store
            .transact(move |txn| {
                let Some(mut range) = txn.get(&key)? else { return Ok(()) };
                range["status"] = json!({"conditions": [{
                    "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": moment(Timestamp::now()),
                    "message": "Kubernetes default Service CIDR is ready",
                }]});
                txn.put(&key, range)?;
                Ok(())
            })
            .await
    }
}
