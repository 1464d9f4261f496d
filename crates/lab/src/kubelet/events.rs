//! Events on pods. The same event again is counted, not written anew, so that a failing pod does not flood the API server.

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Kubelet;

/// Reports that a pod's sandbox could not be made, in the kubelet's words.
pub async fn failed_sandbox(kubelet: &Kubelet, pod: &Pod, message: &str) {
    let message = format!("Failed to create pod sandbox: {message}");
    let event = warning(pod, "FailedCreatePodSandBox", &message, &kubelet.node.name());
    if let Err(why) = write(kubelet, pod, event).await {
        tracing::warn!(pod = %pod.name_any(), %why, "cannot write an event");
    }
}

async fn write(kubelet: &Kubelet, pod: &Pod, event: Value) -> Result<(), kube::Error> {
    let events: Api<Event> = Api::namespaced(kubelet.client(), &pod.namespace().unwrap_or_default());
    let name = event["metadata"]["name"].as_str().unwrap_or_default();
    match events.get_opt(name).await? {
        Some(known) => {
            let again =
                json!({"count": known.count.unwrap_or(1) + 1, "lastTimestamp": event["lastTimestamp"]});
            events.patch(name, &PatchParams::default(), &Patch::Merge(again)).await?;
        }
        None => {
            let event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
            events.create(&PostParams::default(), &event).await?;
        }
    }
    Ok(())
}

fn warning(pod: &Pod, reason: &str, message: &str, node: &str) -> Value {
    let now = Timestamp::now().to_string();
    let uid = pod.uid().unwrap_or_default();
    json!({
        "metadata": {"name": name(pod, &uid, reason, message), "namespace": pod.namespace()},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "namespace": pod.namespace(), "uid": uid,
            "resourceVersion": pod.resource_version(),
        },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": "kubelet", "host": node},
        "reportingComponent": "kubelet",
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

/// One name per pod, reason and message. Container ids are left out of account: they differ with every attempt.
fn name(pod: &Pod, uid: &str, reason: &str, message: &str) -> String {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let stable: Vec<&str> = words.filter(|word| word.len() != 64).collect();
    let mut hash = Sha256::new();
    for part in [uid, reason, &stable.join(" ")] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digits: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{digits}", pod.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}})).unwrap()
    }

    fn named(message: &str) -> String {
        let event = warning(&pod(), "FailedCreatePodSandBox", message, "node1");
        event["metadata"]["name"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_same_failure_of_another_attempt_is_the_same_event() {
        let of = |digit: &str| named(&format!("for sandbox \"{}\": no address", digit.repeat(64)));
        assert_eq!(of("a"), of("b"));
        assert_ne!(of("a"), named("for sandbox \"x\": another cause"));
    }

    #[test]
    fn events_are_events() {
        let event: Event = serde_json::from_value(warning(&pod(), "R", "m", "node1")).unwrap();
        assert_eq!(event.involved_object.uid.as_deref(), Some("u"));
        assert_eq!(event.count, Some(1));
    }
}
