//! Events about a pod as the API wants them (core/v1, spec/multus.md 11).

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use polynic_api::PodEvent;
use polynic_api::event::COMPONENT;
use polynic_attach::PodRef;
use serde_json::{Value, json};

/// The object to post. Its name is the pod's with the time and a number, so that no two are alike.
pub(crate) fn object(pod: &PodRef, event: &PodEvent, now: Timestamp) -> Value {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{:x}{number:02x}", pod.name, now.as_nanosecond()),
            "namespace": pod.namespace,
        },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
        },
        "type": event.severity.as_str(),
        "reason": event.reason,
        "message": shortened(&event.message),
        "source": {"component": COMPONENT},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    })
}

/// The API refuses messages of more than 1024 bytes.
fn shortened(message: &str) -> String {
    const LONGEST: usize = 1024;
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let mark = "...";
    let end = (0..=LONGEST - mark.len()).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{mark}", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_the_pod_and_says_what_happened() {
        let pod = PodRef { namespace: "blue".into(), name: "p".into(), uid: "u".into() };
        let event = PodEvent::added_interface("net1", &[], "blue/lan");
        let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let object = object(&pod, &event, now);
        assert_eq!(object["involvedObject"]["uid"], "u");
        assert_eq!((&object["type"], &object["reason"]), (&json!("Normal"), &json!("AddedInterface")));
        assert_eq!(object["lastTimestamp"], "2026-01-02T03:04:05Z");
        assert_eq!(object["source"]["component"], "multus");
        let again = super::object(&pod, &event, now);
        assert_ne!(object["metadata"]["name"], again["metadata"]["name"]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shortened(&"ä".repeat(600));
        assert!(cut.len() <= 1024 && cut.ends_with("ä..."), "{}", cut.len());
        assert_eq!(shortened("short"), "short");
    }
}
