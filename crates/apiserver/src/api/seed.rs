//! What exists from the start: the namespaces, the range that services get addresses from, the service of this server itself,
//! the two priority classes of the system.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Api, Target, WriteOptions};
use crate::status::Status;
use crate::strategy::moment;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Where services get their addresses: of both families, the first being the one that they get unless they ask for more.
pub const SERVICE_RANGES: [&str; 2] = ["10.96.0.0/12", "fd00:10:96::/112"];

/// Group, plural, namespace and object.
type Row = (&'static str, &'static str, &'static str, Value);

fn rows(ranges: &[String]) -> Vec<Row> {
    let mut rows: Vec<Row> =
        NAMESPACES.iter().map(|name| ("", "namespaces", "", json!({"metadata": {"name": name}}))).collect();
    rows.push((
        "networking.k8s.io",
        "servicecidrs",
        "",
        json!({
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ranges},
        }),
    ));
    rows.push(("", "services", "default", json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": server_address(ranges), "sessionAffinity": "None", "type": "ClusterIP",
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

/// The first address of the first range is this server's.
fn server_address(ranges: &[String]) -> Option<String> {
    let (network, _) = ranges.first()?.split_once('/')?;
    Some(match network.parse().ok()? {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) + 1).to_string(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) + 1).to_string(),
    })
}

impl Api {
    pub(super) async fn seed(&self, service_ranges: &[String]) -> Result<(), Status> {
        let kinds = self.registry.snapshot();
        for (group, plural, namespace, object) in rows(service_ranges) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_the_range_is_the_servers() {
        let first = |range: &str| server_address(&[range.to_owned()]);
        assert_eq!(first("10.233.0.0/18").as_deref(), Some("10.233.0.1"));
        assert_eq!(first("fd00:10:96::/112").as_deref(), Some("fd00:10:96::1"));
        assert_eq!(first("nonsense"), None);
    }
}
