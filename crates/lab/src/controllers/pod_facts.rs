//! What controllers ask about a pod.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;

/// Its phase; empty if it has none yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Neither ended nor on its way out.
pub fn is_active(pod: &Pod) -> bool {
    !has_ended(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether its containers have all ended for good.
pub fn has_ended(pod: &Pod) -> bool {
    ["Succeeded", "Failed"].contains(&phase(pod))
}

/// Its node; none if it is not bound.
pub fn node(pod: &Pod) -> Option<&str> {
    let name = pod.spec.as_ref()?.node_name.as_deref();
    name.filter(|name| !name.is_empty())
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")
}

/// Whether it serves.
pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Running, ready and not on its way out.
pub fn is_healthy(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether it has been ready for `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: Option<i32>, now: Timestamp) -> bool {
    let Some(condition) = ready_condition(pod).filter(|condition| condition.status == "True") else {
        return false;
    };
    let wanted = i64::from(min_ready_seconds.unwrap_or(0));
    let since = condition.last_transition_time.as_ref().map(|time| time.0);
    wanted == 0 || since.is_some_and(|since| now.as_second() - since.as_second() >= wanted)
}

/// The value of one of its labels.
pub fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::testing::pod;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_available_once_it_has_been_ready_long_enough() {
        let pod = pod(
            "a",
            json!({"status": {"phase": "Running", "conditions":
            [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:10Z"}]}}),
        );
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(is_available(&pod, None, at(10)));
        assert!(!is_available(&pod, Some(5), at(14)));
        assert!(is_available(&pod, Some(5), at(15)));
        assert!(is_healthy(&pod) && is_active(&pod));
    }

    #[test]
    fn a_pod_on_its_way_out_is_neither_active_nor_healthy() {
        let pod = pod(
            "a",
            json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:10Z"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
        );
        assert!(!is_active(&pod) && !is_healthy(&pod) && is_ready(&pod));
    }
}
