//! The part of a pod that addresses depend on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use polynic_ipam::{Controller, Deletion, Phase, Pod, PodKey, RestartPolicy};
use serde::Deserialize;

/// A pod, most of it left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodPart {
    metadata: ObjectMeta,
    spec: SpecPart,
    status: StatusPart,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecPart {
    node_name: Option<String>,
    host_network: Option<bool>,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusPart {
    phase: Option<String>,
    reason: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<serde::de::IgnoredAny>>,
}

impl PodPart {
    /// The pod in the allocator's words.
    pub(super) fn pod(self) -> Pod {
        let PodPart { metadata, spec, status } = self;
        Pod {
            deletion: deletion(&metadata),
            controller: metadata.owner_references.as_deref().and_then(controller),
            key: PodKey::new(metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default()),
            uid: metadata.uid.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            node: spec.node_name.unwrap_or_default(),
            phase: phase(status.phase.as_deref()),
            evicted: status.reason.as_deref() == Some("Evicted"),
            restart: restart(spec.restart_policy.as_deref()),
            has_ips: status.pod_ips.is_some_and(|ips| !ips.is_empty()),
            host_network: spec.host_network.unwrap_or_default(),
        }
    }
}

fn deletion(metadata: &ObjectMeta) -> Option<Deletion> {
    let at = metadata.deletion_timestamp.as_ref()?.0.as_second();
    let grace = metadata.deletion_grace_period_seconds.unwrap_or_default();
    Some(Deletion { at, grace: u32::try_from(grace).unwrap_or_default() })
}

/// The owner that is the controller.
pub(super) fn controller(owners: &[OwnerReference]) -> Option<Controller> {
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some(Controller {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

fn phase(text: Option<&str>) -> Phase {
    match text {
        None | Some("" | "Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some(_) => Phase::Unknown,
    }
}

fn restart(text: Option<&str>) -> RestartPolicy {
    match text {
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        _ => RestartPolicy::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_reduced_to_what_addresses_depend_on() {
        let part: PodPart = serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "a", "uid": "u", "labels": {"app": "web"},
                "deletionTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": 30,
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"},
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "s", "controller": true}]},
            "spec": {"nodeName": "n", "hostNetwork": true, "restartPolicy": "Never", "containers": []},
            "status": {"phase": "Failed", "reason": "Evicted", "podIPs": [{"ip": "10.0.0.1"}]},
        }))
        .unwrap();
        let pod = part.pod();
        assert_eq!(
            (pod.key.to_string().as_str(), pod.uid.as_str(), pod.node.as_str()),
            ("a/web-0", "u", "n")
        );
        assert_eq!(pod.deletion, Some(Deletion { at: 1_767_323_045, grace: 30 }));
        assert_eq!(pod.controller.unwrap().name, "web");
        assert_eq!((pod.phase, pod.restart), (Phase::Failed, RestartPolicy::Never));
        assert!(pod.evicted && pod.has_ips && pod.host_network);
    }

    #[test]
    fn what_is_absent_is_what_kubernetes_takes_it_for() {
        let part: PodPart =
            serde_json::from_value(json!({"metadata": {"name": "b", "namespace": "a"}})).unwrap();
        assert_eq!(part.pod(), Pod::new(PodKey::new("a", "b"), "", ""));
    }
}
