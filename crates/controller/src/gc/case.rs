//! Live reads of what a decision looks at.

use k8s_openapi::api::core::v1::{self as core, Node};
use kube::api::ListParams;
use kube::{Api, Client};
use polynic_ipam::gc::PodCase;
use polynic_ipam::{
    Controller, Deletion, Endpoint, FixedOwner, Phase, Pod, PodKey, RestartPolicy, Settings, Store as _,
};

use super::Gc;

/// A pod in the words of decisions.
pub(super) fn plain(pod: &core::Pod) -> Pod {
    let (meta, spec) = (&pod.metadata, pod.spec.as_ref());
    let status = pod.status.as_ref();
    let key = PodKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let node = spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    Pod {
        labels: meta.labels.clone().unwrap_or_default(),
        annotations: meta.annotations.clone().unwrap_or_default(),
        phase: phase(status.and_then(|status| status.phase.as_deref())),
        evicted: status.and_then(|status| status.reason.as_deref()) == Some("Evicted"),
        restart: match spec.and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        deletion: meta.deletion_timestamp.as_ref().map(|at| Deletion {
            at: at.0.as_second(),
            grace: seconds(meta.deletion_grace_period_seconds, 0),
        }),
        controller: controller(pod),
        has_ips: status.and_then(|status| status.pod_ips.as_ref()).is_some_and(|ips| !ips.is_empty()),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        ..Pod::new(key, meta.uid.clone().unwrap_or_default(), node)
    }
}

/// A pod with what GC wants to know, as far as the pod itself says it.
pub(super) fn case(pod: &core::Pod, node_ready: bool, fixed_owner: Option<FixedOwner>) -> PodCase {
    PodCase {
        pod: plain(pod),
        node_ready,
        finished_at: finished_at(pod),
        termination_grace: seconds(
            pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds),
            30,
        ),
        fixed_owner,
    }
}

/// When the last of its containers ended. A pod that ended without any (evicted, or given up by the control plane with its node) ended with
/// the newest change of its conditions, or else not before it began.
fn finished_at(pod: &core::Pod) -> Option<i64> {
    let status = pod.status.as_ref();
    let of_containers = status
        .into_iter()
        .flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten());
    let ends = of_containers.filter_map(|one| one.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let changes = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let changes = changes.filter_map(|condition| condition.last_transition_time.as_ref());
    let begin =
        status.and_then(|status| status.start_time.as_ref()).or(pod.metadata.creation_timestamp.as_ref());
    let newest = ends.max_by_key(|at| at.0).or_else(|| changes.max_by_key(|at| at.0)).or(begin);
    newest.map(|at| at.0.as_second())
}

fn seconds(number: Option<i64>, default: u32) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
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

fn controller(pod: &core::Pod) -> Option<Controller> {
    let owner =
        pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(Controller {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

/// Whether a pod is that of a name: its own, or the virtual machine's that it runs.
pub(super) fn is_named(pod: &Pod, key: &PodKey) -> bool {
    let machine = pod.controller.as_ref().filter(|controller| controller.kind == "VirtualMachineInstance");
    pod.key == *key
        || (pod.key.namespace == key.namespace && machine.is_some_and(|machine| machine.name == key.name))
}

impl Gc {
    /// The pod of a name, read from the API server; of several pods of a virtual machine the one with the UID, if there is one.
    pub(super) async fn live_pod(&self, key: &PodKey, uid: &str) -> Result<Option<core::Pod>, String> {
        if key.namespace.is_empty() {
            return Err(format!("a record names a pod {key} without a namespace"));
        }
        let failed = |why: kube::Error| format!("reading pod {key}: {why}");
        let api: Api<core::Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        if let Some(pod) = api.get_opt(&key.name).await.map_err(failed)? {
            return Ok(Some(pod));
        }
        if !self.options.fixed.kubevirt {
            return Ok(None);
        }
        let launchers = ListParams::default().labels("kubevirt.io=virt-launcher");
        let pods = api.list(&launchers).await.map_err(failed)?.items;
        let mut own: Vec<core::Pod> = pods.into_iter().filter(|pod| is_named(&plain(pod), key)).collect();
        own.sort_by_key(|pod| pod.metadata.uid.as_deref() != Some(uid));
        Ok(own.into_iter().next())
    }

    /// A live pod with its node and the owner of its addresses.
    pub(super) async fn live_case(&self, pod: &core::Pod) -> Result<PodCase, String> {
        let own = plain(pod);
        let owner = match self.options.fixed.fixed(&own) {
            Some(_) => Some(self.store.fixed_owner(&own).await.map_err(|why| why.0)?),
            None => None,
        };
        let ready = node_ready(&self.client, &own.node).await?;
        Ok(case(pod, ready, owner))
    }

    /// What the owner of a name wants, whose pod is gone and whose endpoint is not its pod's.
    pub(super) async fn owner_of_gone(&self, endpoint: &Endpoint) -> Result<Option<FixedOwner>, String> {
        let Some(stand_in) = stand_in(endpoint, &self.options.fixed) else { return Ok(None) };
        self.store.fixed_owner(&stand_in).await.map(Some).map_err(|why| why.0)
    }
}

/// A pod that has the controller that an endpoint remembers.
fn stand_in(endpoint: &Endpoint, settings: &Settings) -> Option<Pod> {
    let api_version = match endpoint.owner_kind.as_str() {
        "StatefulSet" => "apps/v1",
        "VirtualMachineInstance" | "VirtualMachine" => "kubevirt.io/v1",
        _ => return None,
    };
    let kind = if api_version == "apps/v1" { "StatefulSet" } else { "VirtualMachineInstance" };
    // A machine's endpoint has the machine's name; its top controller may be something that made the machine.
    let name = if kind == "StatefulSet" { &endpoint.owner_name } else { &endpoint.key.name };
    let mut pod = Pod::new(endpoint.key.clone(), &endpoint.uid, &endpoint.node);
    pod.controller = Some(Controller {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.clone(),
        uid: String::new(),
    });
    settings.fixed(&pod).map(|_| pod)
}

async fn node_ready(client: &Client, name: &str) -> Result<bool, String> {
    if name.is_empty() {
        return Ok(false);
    }
    let node = Api::<Node>::all(client.clone()).get_opt(name).await;
    let node = node.map_err(|why| format!("reading node {name}: {why}"))?;
    let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
    Ok(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn finished(status: Value) -> Option<String> {
        let metadata = json!({"name": "a", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"});
        let pod: core::Pod = serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap();
        finished_at(&pod).map(|at| jiff::Timestamp::from_second(at).unwrap().to_string())
    }

    #[test]
    fn a_pod_without_containers_has_ended_all_the_same() {
        let ended = |at: &str| json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "finishedAt": at}}});
        let changed =
            |at: &str| json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": at});
        let with = |containers: Value| json!({"containerStatuses": containers, "conditions": [changed("2026-01-01T05:00:00Z")], "startTime": "2026-01-01T00:00:09Z"});
        let containers = json!([ended("2026-01-01T01:00:00Z"), ended("2026-01-01T03:00:00Z")]);
        assert_eq!(finished(with(containers)).unwrap(), "2026-01-01T03:00:00Z");
        assert_eq!(finished(with(json!([]))).unwrap(), "2026-01-01T05:00:00Z");
        assert_eq!(finished(json!({"startTime": "2026-01-01T00:00:09Z"})).unwrap(), "2026-01-01T00:00:09Z");
        assert_eq!(finished(json!({})).unwrap(), "2026-01-01T00:00:00Z");
    }
}
