//! Events. The same event again is counted, not written anew, so that what fails again and again does not flood the API server.

use k8s_openapi::api::core::v1::{Event as EventObject, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::controllers::Note;

/// An event to be written.
#[derive(Clone, Debug)]
pub struct Event {
    regarding: Value,
    warning: bool,
    reason: String,
    message: String,
    component: String,
    host: String,
}

impl Event {
    /// A warning of a node's kubelet about a pod.
    pub fn of_kubelet(node: &str, pod: &Pod, reason: &str, message: String) -> Event {
        let regarding = json!({
            "apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "namespace": pod.namespace(), "uid": pod.uid(),
            "resourceVersion": pod.resource_version(),
        });
        Event {
            regarding,
            warning: true,
            reason: reason.to_owned(),
            message,
            component: "kubelet".to_owned(),
            host: node.to_owned(),
        }
    }

    /// What a controller has to say.
    pub fn of_controller(component: &str, note: &Note) -> Event {
        let kind = note.about.kind.resource();
        let mut regarding = json!({
            "apiVersion": kind.api_version, "kind": kind.kind, "name": note.about.name, "uid": note.about.uid,
        });
        if !note.about.namespace.is_empty() {
            regarding["namespace"] = json!(note.about.namespace);
        }
        Event {
            regarding,
            warning: note.warning,
            reason: note.reason.to_owned(),
            message: note.message.clone(),
            component: component.to_owned(),
            host: String::new(),
        }
    }

    /// The same event as a normal one.
    pub fn normal(mut self) -> Event {
        self.warning = false;
        self
    }

    /// Events about cluster-wide objects live in `default`.
    fn namespace(&self) -> &str {
        self.regarding["namespace"].as_str().unwrap_or("default")
    }

    /// One name per object, reason and message. Container ids are left out of account: they differ with every attempt.
    fn name(&self) -> String {
        let words = self.message.split(|c: char| !c.is_ascii_alphanumeric());
        let stable: Vec<&str> = words.filter(|word| word.len() != 64).collect();
        let mut hash = Sha256::new();
        let uid = self.regarding["uid"].as_str().unwrap_or_default();
        for part in [uid, &self.reason, &stable.join(" ")] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digits: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{digits}", self.regarding["name"].as_str().unwrap_or_default())
    }

    fn object(&self, now: Timestamp) -> Value {
        let now = now.to_string();
        json!({
            "metadata": {"name": self.name(), "namespace": self.namespace()},
            "involvedObject": self.regarding,
            "type": if self.warning { "Warning" } else { "Normal" },
            "reason": self.reason,
            "message": self.message,
            "source": {"component": self.component, "host": self.host},
            "reportingComponent": self.component,
            "reportingInstance": self.host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        })
    }
}

/// Writes an event, or counts it once more.
pub async fn write(client: &Client, event: &Event) -> Result<(), kube::Error> {
    let events: Api<EventObject> = Api::namespaced(client.clone(), event.namespace());
    let (name, object) = (event.name(), event.object(Timestamp::now()));
    match events.get_opt(&name).await? {
        Some(known) => {
            let again =
                json!({"count": known.count.unwrap_or(1) + 1, "lastTimestamp": object["lastTimestamp"]});
            events.patch(&name, &PatchParams::default(), &Patch::Merge(again)).await?;
        }
        None => {
            let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
            events.create(&PostParams::default(), &object).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        let pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}})).unwrap();
        Event::of_kubelet("node1", &pod, "FailedCreatePodSandBox", message.to_owned())
    }

    #[test]
    fn the_same_failure_of_another_attempt_is_the_same_event() {
        let of = |digit: &str| event(&format!("for sandbox \"{}\": no address", digit.repeat(64))).name();
        assert_eq!(of("a"), of("b"));
        assert_ne!(of("a"), event("for sandbox \"x\": another cause").name());
    }

    #[test]
    fn events_are_events() {
        let object = event("m").normal().object(Timestamp::UNIX_EPOCH);
        let event: EventObject = serde_json::from_value(object).unwrap();
        assert_eq!(event.involved_object.uid.as_deref(), Some("u"));
        assert_eq!((event.count, event.type_.as_deref()), (Some(1), Some("Normal")));
    }
}
