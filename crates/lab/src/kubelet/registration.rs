//! The Node object: made when the kubelet starts, Ready for as long as the default network's configuration can be loaded and says so.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Kubelet, sandbox};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::underlay::{Layout, Node};

/// How often readiness and what the object says of it are looked at.
const GLANCE: Duration = Duration::from_secs(2);

impl Kubelet {
    /// The node's own addresses.
    pub(super) fn host_ips(&self) -> Vec<IpAddr> {
        addresses(&self.layout, self.node)
    }
}

fn addresses(layout: &Layout, node: Node) -> Vec<IpAddr> {
    layout.address(node, 0).into_iter().flatten().map(|net| net.addr()).collect()
}

/// Makes the Node object; one that an earlier kubelet made is fine.
pub async fn register(kubelet: &Kubelet) -> Result<()> {
    let nodes: Api<NodeObject> = Api::all(kubelet.client());
    let object = serde_json::from_value(object(&kubelet.layout, kubelet.node))
        .map_err(|why| Error::Input(why.to_string()))?;
    let mut backoff = Backoff::of_requests();
    for _ in 0..20 {
        match nodes.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => break,
            Ok(_) => break,
            Err(why) => tracing::warn!(%why, "cannot register the node"),
        }
        tokio::time::sleep(backoff.wait()).await;
    }
    post(kubelet, &readiness().await).await.map_err(Error::api(format!("register {}", kubelet.node.name())))
}

/// Keeps the Ready condition true to the facts. The object itself is compared, not what was posted last: the node controller may have
/// written "Unknown" since, from a view that is older than the lease.
pub async fn keep(kubelet: Arc<Kubelet>) {
    loop {
        tokio::time::sleep(GLANCE).await;
        if let Err(why) = correct(&kubelet).await {
            tracing::warn!(%why, "cannot post the node's status");
        }
    }
}

async fn correct(kubelet: &Kubelet) -> Result<(), kube::Error> {
    let ready = readiness().await;
    let nodes: Api<NodeObject> = Api::all(kubelet.client());
    let object = nodes.get(&kubelet.node.name()).await?;
    if says(&object, &condition(&ready)) {
        return Ok(());
    }
    post(kubelet, &ready).await
}

/// Whether the object has this condition, its times aside.
fn says(object: &NodeObject, wanted: &Value) -> bool {
    let mut conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| {
        condition.type_ == wanted["type"]
            && condition.status == wanted["status"]
            && condition.reason.as_deref() == wanted["reason"].as_str()
            && condition.message.as_deref() == wanted["message"].as_str()
    })
}

async fn readiness() -> Result<(), String> {
    match tokio::task::spawn_blocking(sandbox::network_is_ready).await {
        Ok(result) => result,
        Err(why) => Err(why.to_string()),
    }
}

async fn post(kubelet: &Kubelet, ready: &Result<(), String>) -> Result<(), kube::Error> {
    let nodes: Api<NodeObject> = Api::all(kubelet.client());
    let patch = patch(status(&kubelet.layout, kubelet.node, ready));
    nodes
        .patch_status(&kubelet.node.name(), &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .map(drop)
}

/// As kubelet has it: conditions of others, flannel for one, stay. Addresses are listed by type, of which there can be several, so all are
/// replaced.
fn patch(mut status: Value) -> Value {
    if let Some(addresses) = status["status"]["addresses"].as_array_mut() {
        addresses.insert(0, json!({"$patch": "replace"}));
    }
    status
}

fn object(layout: &Layout, node: Node) -> Value {
    let [v4, v6] = layout.node_cidrs(node);
    let spec = match layout.shape().nodes_without_cidrs {
        true => json!({}),
        false => json!({"podCIDR": v4, "podCIDRs": [v4, v6]}),
    };
    json!({
        "metadata": {
            "name": node.name(),
            "labels": {
                "kubernetes.io/hostname": node.name(),
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            },
        },
        "spec": spec,
    })
}

fn status(layout: &Layout, node: Node, ready: &Result<(), String>) -> Value {
    let mut all: Vec<Value> =
        addresses(layout, node).iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
    all.push(json!({"type": "Hostname", "address": node.name()}));
    json!({"status": {
        "addresses": all,
        "conditions": [condition(ready)],
        "capacity": {"pods": "110"},
        "allocatable": {"pods": "110"},
        "nodeInfo": {
            "kubeletVersion": concat!("polynic-lab/", env!("CARGO_PKG_VERSION")), "containerRuntimeVersion": "lab://1",
            "osImage": "the machine's own", "kernelVersion": kernel(), "architecture": std::env::consts::ARCH,
            "operatingSystem": "linux", "bootID": "", "machineID": "", "systemUUID": "", "kubeProxyVersion": "",
        },
    }})
}

/// The version of the kernel that all nodes share.
fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn condition(ready: &Result<(), String>) -> Value {
    let now = Timestamp::now().to_string();
    let (status, reason, message) = match ready {
        Ok(()) => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
        Err(why) => ("False", "KubeletNotReady", format!("container runtime network not ready: {why}")),
    };
    json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn the_node_is_ready_as_long_as_its_network_is() {
        let layout = Layout::new(2, &Shape::default()).unwrap();
        let node = Node { number: 2 };
        let condition = |ready| status(&layout, node, &ready)["status"]["conditions"][0].clone();
        assert_eq!(condition(Ok(()))["status"], "True");
        let not = condition(Err("no net configurations".into()));
        assert_eq!(not["status"], "False");
        assert!(not["message"].as_str().unwrap().contains("no net configurations"));
    }

    #[test]
    fn all_addresses_are_replaced_and_conditions_are_merged() {
        let layout = Layout::new(2, &Shape::default()).unwrap();
        let patch = patch(status(&layout, Node { number: 2 }, &Ok(())));
        assert_eq!(patch["status"]["addresses"][0], json!({"$patch": "replace"}));
        assert_eq!(patch["status"]["addresses"].as_array().unwrap().len(), 4, "two families and the name");
        assert_eq!(patch["status"]["conditions"][0]["type"], "Ready");
    }

    #[test]
    fn a_condition_that_somebody_else_has_changed_is_seen() {
        let layout = Layout::new(2, &Shape::default()).unwrap();
        let posted = status(&layout, Node { number: 2 }, &Ok(()));
        let object = |status: &Value| serde_json::from_value::<NodeObject>(status.clone()).unwrap();
        assert!(says(&object(&posted), &condition(&Ok(()))));
        assert!(!says(&object(&posted), &condition(&Err("no net configurations".into()))));
        let mut lost = posted.clone();
        lost["status"]["conditions"][0]["status"] = "Unknown".into();
        assert!(!says(&object(&lost), &condition(&Ok(()))));
        assert!(!says(&object(&json!({})), &condition(&Ok(()))), "an object that was made anew has none");
    }

    #[test]
    fn the_object_carries_addresses_and_the_share_of_pod_addresses() {
        let layout = Layout::new(2, &Shape::default()).unwrap();
        let node = Node { number: 2 };
        assert_eq!(object(&layout, node)["spec"]["podCIDRs"], json!(["10.244.2.0/24", "fd00:10:244:2::/64"]));
        let all = status(&layout, node, &Ok(()))["status"]["addresses"].clone();
        assert_eq!(all[0], json!({"type": "InternalIP", "address": "192.168.1.11"}));
        assert_eq!(all[2], json!({"type": "Hostname", "address": "node2"}));
        let mut merged = object(&layout, node);
        merged["status"] = status(&layout, node, &Ok(()))["status"].clone();
        serde_json::from_value::<NodeObject>(merged).unwrap();
    }
}
