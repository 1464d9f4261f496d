//! Events, one store for two forms: core/v1 (stored) and events.k8s.io/v1, which renames fields.

use serde_json::{Map, Value, json};

use super::Strategy;
use crate::json::text;
use crate::status::Cause;

pub(crate) struct Event;

impl Strategy for Event {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let about = text(object, "involvedObject.namespace");
        let own = text(object, "metadata.namespace");
        let free = about == own || (about.is_empty() && ["default", "kube-system"].contains(&own));
        let detail = "does not match event.namespace";
        (!free).then(|| Cause::invalid("involvedObject.namespace", about, detail)).into_iter().collect()
    }
}

/// core/v1 name, events.k8s.io/v1 name.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Turns an event of events.k8s.io/v1 into one of core/v1.
pub(crate) fn to_core(event: &mut Value) {
    convert(event, "v1", |from| RENAMED.iter().find(|(_, new)| *new == from).map(|(old, _)| *old));
}

/// Turns an event of core/v1 into one of events.k8s.io/v1.
pub(crate) fn to_events_group(event: &mut Value) {
    convert(event, "events.k8s.io/v1", |from| {
        RENAMED.iter().find(|(old, _)| *old == from).map(|(_, new)| *new)
    });
}

fn convert(event: &mut Value, api_version: &str, rename: impl Fn(&str) -> Option<&'static str>) {
    let Some(fields) = event.as_object_mut() else { return };
    let renamed: Map<String, Value> = std::mem::take(fields)
        .into_iter()
        .map(|(key, value)| (rename(&key).map_or(key, str::to_owned), value))
        .collect();
    *fields = renamed;
    fields.insert("apiVersion".into(), json!(api_version));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_both_ways_unchanged() {
        let new = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"name": "p"}, "note": "n", "reason": "r",
            "reportingController": "c", "eventTime": "t", "type": "Normal", "action": "a",
        });
        let mut event = new.clone();
        to_core(&mut event);
        assert_eq!((&event["involvedObject"]["name"], &event["message"]), (&json!("p"), &json!("n")));
        assert_eq!(event["apiVersion"], "v1");
        to_events_group(&mut event);
        assert_eq!(event, new);
    }
}
