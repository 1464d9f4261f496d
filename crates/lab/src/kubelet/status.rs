//! What the kubelet tells the API server about a pod. Pure: objects in, merge patches of the status out.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::Sandbox;

/// Whether the object already says that the pod runs in this very sandbox.
pub fn says_running(pod: &Pod, sandbox: &Sandbox) -> bool {
    let Some(status) = &pod.status else { return false };
    let ids = status.container_statuses.iter().flatten().filter_map(|c| c.container_id.as_deref());
    // The node controller takes readiness away while a node is silent.
    let unready = |c: &k8s_openapi::api::core::v1::PodCondition| c.type_ == "Ready" && c.status != "True";
    let told = status.ephemeral_container_statuses.iter().flatten().count();
    status.phase.as_deref() == Some("Running")
        && told == debuggers(pod).count()
        && !status.conditions.iter().flatten().any(unready)
        && ids.clone().count() > 0
        && ids.eq(container_ids(pod, sandbox))
}

/// The status of a pod whose sandbox is complete. Images are not run, so containers start with it.
pub fn running(pod: &Pod, sandbox: &Sandbox, host_ips: &[IpAddr], started: Timestamp) -> Value {
    let started_at = json!(started.to_string());
    let container = |(container, id): (&Container, String)| {
        json!({
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "containerID": id,
            "ready": true,
            "started": true,
            "restartCount": 0,
            "state": {"running": {"startedAt": started_at}},
        })
    };
    let ids: Vec<String> = container_ids(pod, sandbox).collect();
    let statuses: Vec<Value> = containers(pod).zip(ids).map(container).collect();
    let mut status = base(host_ips, started);
    status["phase"] = json!("Running");
    status["podIP"] = json!(sandbox.ips.first());
    status["podIPs"] = sandbox.ips.iter().map(|ip| json!({"ip": ip})).collect();
    status["containerStatuses"] = statuses.into();
    let debuggers: Vec<Value> = debuggers(pod).map(|debugger| refused(debugger, started)).collect();
    if !debuggers.is_empty() {
        status["ephemeralContainerStatuses"] = debuggers.into();
    }
    status["conditions"] = conditions(pod, None);
    json!({ "status": status })
}

/// The status of a pod that has no sandbox yet, with the reason.
pub fn waiting(pod: &Pod, host_ips: &[IpAddr], message: &str, started: Timestamp) -> Value {
    let container = |container: &Container| {
        json!({
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": false,
            "started": false,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating", "message": message}},
        })
    };
    let mut status = base(host_ips, started);
    status["phase"] = json!("Pending");
    status["podIP"] = Value::Null;
    status["podIPs"] = Value::Null;
    status["containerStatuses"] = containers(pod).map(container).collect();
    status["conditions"] = conditions(pod, Some(message));
    json!({ "status": status })
}

/// What the lab answers to `kubectl debug`.
pub const NO_DEBUGGERS: &str =
    "the lab runs no images: run this machine's tools in the pod's network with kubectl exec instead";

fn debuggers(pod: &Pod) -> impl Iterator<Item = &EphemeralContainer> {
    pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten())
}

/// A debugging container ends at once and says why, so that nobody waits for it.
fn refused(container: &EphemeralContainer, now: Timestamp) -> Value {
    let moment = json!(now.to_string());
    let ended = json!({
        "exitCode": 1, "reason": "NotSupported", "message": NO_DEBUGGERS, "startedAt": moment, "finishedAt": moment,
    });
    json!({
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": false,
        "restartCount": 0,
        "state": {"terminated": ended},
    })
}

fn base(host_ips: &[IpAddr], started: Timestamp) -> Value {
    let ips: Vec<Value> = host_ips.iter().map(|ip| json!({"ip": ip})).collect();
    json!({"hostIP": host_ips.first(), "hostIPs": ips, "startTime": started.to_string()})
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| &spec.containers)
}

/// Made up, but as unique as the sandbox: there are no containers.
fn container_ids(pod: &Pod, sandbox: &Sandbox) -> impl Iterator<Item = String> {
    let short = sandbox.container_id.get(..16).unwrap_or(&sandbox.container_id).to_owned();
    containers(pod).map(move |container| format!("lab://{short}/{}", container.name))
}

/// All conditions of a pod; `problem` is why there is no sandbox.
fn conditions(pod: &Pod, problem: Option<&str>) -> Value {
    let now = Timestamp::now().to_string();
    let sandboxed = ["PodReadyToStartContainers", "ContainersReady", "Ready"];
    let mut all: Vec<Value> = ["PodScheduled", "Initialized"]
        .map(|kind| json!({"type": kind, "status": "True"}))
        .into_iter()
        .chain(sandboxed.map(|kind| match problem {
            None => json!({"type": kind, "status": "True"}),
            Some(why) => {
                json!({"type": kind, "status": "False", "reason": "SandboxNotReady", "message": why})
            }
        }))
        .collect();
    for condition in &mut all {
        condition["lastTransitionTime"] = since(pod, condition).unwrap_or_else(|| now.clone()).into();
    }
    all.into()
}

/// Since when the object has had the condition, if it does not change now.
fn since(pod: &Pod, condition: &Value) -> Option<String> {
    let known = pod.status.as_ref()?.conditions.as_ref()?;
    let same = known
        .iter()
        .find(|c| condition["type"] == c.type_.as_str() && condition["status"] == c.status.as_str())?;
    same.last_transition_time.as_ref().map(|time| time.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: Value) -> Pod {
        let containers = json!([{"name": "a", "image": "alpine"}, {"name": "b", "image": "alpine"}]);
        serde_json::from_value(
            json!({"metadata": {"name": "p"}, "spec": {"containers": containers}, "status": status}),
        )
        .unwrap()
    }

    fn sandbox() -> Sandbox {
        serde_json::from_value(json!({
            "namespace": "default", "name": "p", "uid": "u", "node": "node1", "containerId": "c".repeat(64),
            "netns": "/n", "pause": null, "ips": ["10.244.1.2", "fd00::2"],
        }))
        .unwrap()
    }

    fn hosts() -> Vec<IpAddr> {
        vec!["192.168.1.10".parse().unwrap()]
    }

    fn applied(patch: Value) -> Pod {
        pod(patch["status"].clone())
    }

    #[test]
    fn a_running_pod_has_its_addresses_in_both_forms_and_is_ready() {
        let patch = running(&pod(json!({})), &sandbox(), &hosts(), Timestamp::UNIX_EPOCH);
        let status = &patch["status"];
        assert_eq!(status["podIP"], "10.244.1.2");
        assert_eq!(status["podIPs"], json!([{"ip": "10.244.1.2"}, {"ip": "fd00::2"}]));
        assert_eq!(status["hostIP"], "192.168.1.10");
        assert_eq!(status["containerStatuses"].as_array().unwrap().len(), 2);
        let conditions = status["conditions"].as_array().unwrap();
        assert!(conditions.iter().all(|c| c["status"] == "True"), "{conditions:?}");
        for kind in ["Ready", "Initialized", "ContainersReady", "PodScheduled"] {
            assert!(conditions.iter().any(|c| c["type"] == kind), "{kind}");
        }
    }

    #[test]
    fn a_posted_status_is_not_posted_again_for_the_same_sandbox() {
        let posted = applied(running(&pod(json!({})), &sandbox(), &hosts(), Timestamp::now()));
        assert!(says_running(&posted, &sandbox()));
        assert!(!says_running(&pod(json!({})), &sandbox()));
        let other = Sandbox { container_id: "d".repeat(64), ..sandbox() };
        assert!(!says_running(&posted, &other));
    }

    #[test]
    fn the_reason_for_waiting_is_in_the_status_and_addresses_are_withdrawn() {
        let before = applied(running(&pod(json!({})), &sandbox(), &hosts(), Timestamp::now()));
        let status = &waiting(&before, &hosts(), "no net", Timestamp::now())["status"];
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["podIP"], Value::Null);
        assert_eq!(status["containerStatuses"][1]["state"]["waiting"]["message"], "no net");
        let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
        assert_eq!((&ready["status"], &ready["message"]), (&json!("False"), &json!("no net")));
    }

    #[test]
    fn a_condition_that_holds_on_keeps_its_time() {
        let mut first = running(&pod(json!({})), &sandbox(), &hosts(), Timestamp::now());
        let long_ago = "2024-01-01T00:00:00Z";
        for condition in first["status"]["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = long_ago.into();
        }
        let again = running(&applied(first), &sandbox(), &hosts(), Timestamp::now());
        assert_eq!(again["status"]["conditions"][0]["lastTransitionTime"], long_ago);
    }
}
