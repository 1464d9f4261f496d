//! Nodes that stop showing that they live: their condition, their taints, their pods.
//!
//! As in Kubernetes, pods of a node that is silent are deleted, but stay "Terminating" until the node comes back or its object is removed:
//! nobody else can know that their processes are gone. Only the wait before that is short, because a lab's users wait with it.

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::action::{Action, Kind, Note, Target};
use super::scheduler::fit;
use super::snapshot::Snapshot;
use super::{meta, pod_facts};

/// Seconds of silence after which a node counts as lost (40 in Kubernetes): several times what its kubelet needs on a busy machine.
pub const GRACE: i64 = 12;

/// Seconds that pods tolerate a lost node if they do not say, by the API server's defaults. Here that is no time, as the wait before is short.
const DEFAULT_TOLERATION: i64 = 300;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What to do about nodes, and about pods on nodes that have a taint of effect NoExecute.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let mut actions: Vec<Action> = world.nodes.iter().flat_map(|node| about(world, node)).collect();
    actions.extend(world.pods.iter().filter_map(|pod| evict(world, pod)));
    actions.extend(world.pods.iter().filter_map(|pod| unready(world, pod)));
    actions
}

/// A pod on a node that is lost does not serve, as far as anybody knows: no Service leads there any more.
fn unready(world: &Snapshot, pod: &Pod) -> Option<Action> {
    let name = pod_facts::node(pod).filter(|_| pod_facts::is_ready(pod))?;
    let node = world.nodes.iter().find(|node| node.name_any() == name)?;
    if ready(node)?.status != "Unknown" {
        return None;
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let conditions: Vec<Value> = conditions
        .filter_map(|condition| serde_json::to_value(condition).ok())
        .map(|mut condition| {
            if condition["type"] == "Ready" {
                condition["status"] = json!("False");
                condition["reason"] = json!("NodeNotReady");
                condition["lastTransitionTime"] = json!(stamp(world.now));
            }
            condition
        })
        .collect();
    Some(Action::status(Target::of(Kind::Pod, pod), json!({ "conditions": conditions })))
}

/// What to do about pods whose node does not exist (any more): they go without grace.
pub fn collect(world: &Snapshot) -> Vec<Action> {
    let nodes = || world.nodes.iter().chain(&world.late_nodes);
    let orphaned = |pod: &&Pod| {
        pod_facts::node(pod).is_some_and(|name| !nodes().any(|node| node.name_any() == name))
            && world.now.as_second() - bound_at(pod).unwrap_or(0) >= GRACE
    };
    let gone = world.pods.iter().filter(orphaned);
    gone.map(|pod| Action::Delete { target: Target::of(Kind::Pod, pod), grace: Some(0) }).collect()
}

/// A pod may name its node before the node is there; it is given the time in which a node would be missed.
fn bound_at(pod: &Pod) -> Option<i64> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second())
}

fn about(world: &Snapshot, node: &Node) -> Vec<Action> {
    let silent = is_silent(world, node);
    let ready = ready(node);
    let mut actions = Vec::new();
    if silent && ready.is_some_and(|condition| condition.status != "Unknown") {
        actions.push(lose(world, node));
        let message = format!("Node {} status is now: NodeNotReady", node.name_any());
        actions.push(Note::normal(Target::of(Kind::Node, node), "NodeNotReady", message));
    }
    let status = ready.map(|condition| condition.status.as_str());
    let taint = match status {
        Some("True") if !silent => None,
        Some("False") if !silent => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
        None => return actions,
    };
    actions.extend(retaint(world, node, taint));
    actions
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")
}

/// Whether the last sign of life is too old. A node without a lease has not begun to give any.
fn is_silent(world: &Snapshot, node: &Node) -> bool {
    let silence = world.silence.get(&node.name_any());
    silence.is_some_and(|silence| silence.as_secs() > GRACE.unsigned_abs())
}

fn lose(world: &Snapshot, node: &Node) -> Action {
    let now = stamp(world.now);
    let conditions: Vec<Value> = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .filter_map(|condition| serde_json::to_value(condition).ok())
        .map(|mut condition| {
            condition["status"] = json!("Unknown");
            condition["reason"] = json!("NodeStatusUnknown");
            condition["message"] = json!("Kubelet stopped posting node status.");
            condition["lastTransitionTime"] = json!(now);
            condition
        })
        .collect();
    Action::status(Target::of(Kind::Node, node), json!({ "conditions": conditions }))
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Gives a node the taints of its state, and takes away those of another. `wanted` is their key.
fn retaint(world: &Snapshot, node: &Node, wanted: Option<&str>) -> Option<Action> {
    let present: Vec<&Taint> = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).collect();
    let ours = |taint: &&&Taint| [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
    let has = |effect: &str| {
        present.iter().any(|taint| Some(taint.key.as_str()) == wanted && taint.effect == effect)
    };
    let right = match wanted {
        None => !present.iter().any(|taint| ours(&taint)),
        Some(_) => has("NoSchedule") && has("NoExecute") && present.iter().filter(ours).count() == 2,
    };
    if right {
        return None;
    }
    let mut all: Vec<Value> = present
        .iter()
        .filter(|taint| !ours(taint))
        .filter_map(|taint| serde_json::to_value(taint).ok())
        .collect();
    for effect in ["NoSchedule", "NoExecute"] {
        all.extend(wanted.map(|key| json!({"key": key, "effect": effect, "timeAdded": stamp(world.now)})));
    }
    Some(Action::patch(Target::of(Kind::Node, node), json!({"spec": {"taints": all}})))
}

/// Deletes a pod that does not tolerate its node's taints, or has done so for as long as it wants to.
fn evict(world: &Snapshot, pod: &Pod) -> Option<Action> {
    if meta::is_ending(pod) {
        return None;
    }
    let name = pod_facts::node(pod)?;
    let node = world.nodes.iter().find(|node| node.name_any() == name)?;
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let over =
        taints.filter(|taint| taint.effect == "NoExecute").any(|taint| match fit::toleration(pod, taint) {
            None => true,
            Some(toleration) => toleration.toleration_seconds.is_some_and(|seconds| {
                let since = taint.time_added.as_ref().map(|time| time.0.as_second());
                let seconds = if seconds == DEFAULT_TOLERATION { 0 } else { seconds };
                since.is_some_and(|since| world.now.as_second() - since >= seconds)
            }),
        });
    over.then(|| Action::delete(Target::of(Kind::Pod, pod)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{node, pod, status_of, told, world};
    use super::*;
    use std::time::Duration;

    fn lost() -> Snapshot {
        let mut world = world(1000);
        world.nodes = vec![node("n1", json!({})), node("n2", json!({}))];
        let silent = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        world.silence = [("n1".to_owned(), silent(GRACE + 1)), ("n2".to_owned(), silent(1))].into();
        world
    }

    #[test]
    fn a_silent_node_is_not_ready_and_tainted_and_its_neighbour_is_not() {
        let world = lost();
        let actions = decide(&world);
        let condition = &status_of(&actions, "n1").unwrap()["conditions"][0];
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("Unknown"), &json!("NodeStatusUnknown"))
        );
        let lines = told(&actions);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("patch Node n1") && lines[0].matches(UNREACHABLE).count() == 2,
            "{lines:?}"
        );
    }

    #[test]
    fn a_node_that_comes_back_loses_the_taints_and_keeps_others() {
        let mut world = lost();
        let taints =
            json!([{"key": UNREACHABLE, "effect": "NoExecute"}, {"key": "mine", "effect": "NoSchedule"}]);
        world.nodes = vec![node("n2", json!({"spec": {"taints": taints}}))];
        assert_eq!(
            told(&decide(&world)),
            [r#"patch Node n2 {"spec":{"taints":[{"effect":"NoSchedule","key":"mine"}]}}"#]
        );
    }

    #[test]
    fn pods_leave_a_lost_node_unless_they_tolerate_it() {
        let mut world = lost();
        let taints = json!([{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "1970-01-01T00:15:00Z"},
            {"key": UNREACHABLE, "effect": "NoSchedule"}]);
        let unknown = json!([{"type": "Ready", "status": "Unknown"}]);
        world.nodes[0] = node("n1", json!({"spec": {"taints": taints}, "status": {"conditions": unknown}}));
        let on = |seconds: Value| {
            json!({"spec": {"nodeName": "n1", "tolerations":
            [{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": seconds}]}})
        };
        world.pods = vec![
            pod("plain", json!({"spec": {"nodeName": "n1"}})),
            pod("patient", on(json!(301))),
            pod("default", on(json!(300))),
            pod("tired", on(json!(100))),
            pod("daemon", on(json!(null))),
            pod("elsewhere", json!({"spec": {"nodeName": "n2"}})),
        ];
        assert_eq!(told(&decide(&world)), ["delete Pod plain", "delete Pod default", "delete Pod tired"]);
    }

    #[test]
    fn a_pod_on_a_lost_node_does_not_serve() {
        use super::super::testing::{merged, ready};
        let mut world = lost();
        let unknown = json!([{"type": "Ready", "status": "Unknown"}]);
        world.nodes[0] = node("n1", json!({"status": {"conditions": unknown}}));
        let on = |name: &str| merged(json!({"spec": {"nodeName": name}}), json!({"status": ready()}));
        world.pods = vec![pod("lost", on("n1")), pod("fine", on("n2"))];
        let actions = decide(&world);
        assert_eq!(status_of(&actions, "lost").unwrap()["conditions"][0]["status"], "False");
        assert!(status_of(&actions, "fine").is_none());
    }

    #[test]
    fn pods_of_a_removed_node_go_without_grace() {
        let mut world = lost();
        world.pods = vec![
            pod("lost", json!({"spec": {"nodeName": "n9"}})),
            pod("fine", json!({"spec": {"nodeName": "n1"}})),
        ];
        let actions = collect(&world);
        assert_eq!(told(&actions), ["delete Pod lost"]);
        let late = Snapshot { late_nodes: vec![node("n9", json!({}))], ..lost() };
        assert_eq!(told(&collect(&Snapshot { pods: world.pods.clone(), ..late })), [] as [&str; 0]);
        assert!(matches!(&actions[0], Action::Delete { grace: Some(0), .. }));
    }
}
