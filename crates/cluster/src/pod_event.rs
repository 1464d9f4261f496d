//! Events about a pod as the API wants them (core/v1, spec/multus.md 11).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use polynic_api::PodEvent;
use polynic_api::event::{COMPONENT, Severity};
use polynic_attach::PodRef;
use serde_json::{Value, json};

/// For how long the same warning about the same pod is one object. A runtime tries again every few seconds, each time with another process.
const TOLD: u64 = 600;

/// The object to post. A warning that was posted already has the same name, so that the server refuses it.
pub(crate) fn object(pod: &PodRef, event: &PodEvent, now: Timestamp) -> Value {
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name(pod, event, now),
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

/// The pod's name with what tells Events apart: of warnings their content and ten minutes of time, of others the moment and a number.
fn name(pod: &PodRef, event: &PodEvent, now: Timestamp) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    if event.severity == Severity::Warning {
        let window = now.as_second().unsigned_abs() / TOLD;
        let mut hasher = DefaultHasher::new();
        (&pod.uid, &event.reason, &event.message, window).hash(&mut hasher);
        return format!("{}.{:016x}", pod.name, hasher.finish());
    }
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}.{:x}{number:02x}", pod.name, now.as_nanosecond())
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
    fn a_warning_is_one_object_for_ten_minutes() {
        let pod = |uid: &str| PodRef { namespace: "blue".into(), name: "p".into(), uid: uid.into() };
        let warning = |message: &str| PodEvent {
            severity: Severity::Warning,
            message: message.to_owned(),
            ..PodEvent::added_interface("net1", &[], "blue/lan")
        };
        let name = |uid: &str, message: &str, time: &str| {
            object(&pod(uid), &warning(message), time.parse().unwrap())["metadata"]["name"].clone()
        };
        let first = name("u", "no route", "2026-01-02T03:00:01Z");
        assert_eq!(first, name("u", "no route", "2026-01-02T03:09:59Z"));
        assert_ne!(first, name("u", "no route", "2026-01-02T03:10:00Z"));
        assert_ne!(first, name("u", "no address", "2026-01-02T03:00:01Z"));
        assert_ne!(first, name("u2", "no route", "2026-01-02T03:00:01Z"));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shortened(&"ä".repeat(600));
        assert!(cut.len() <= 1024 && cut.ends_with("ä..."), "{}", cut.len());
        assert_eq!(shortened("short"), "short");
    }
}
