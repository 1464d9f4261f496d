//! ReplicaSets: as many pods as wanted, all alike.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::action::{Action, Kind, Note, Target};
use super::snapshot::Snapshot;
use super::{meta, pod_facts, pod_template};

/// Pods made or deleted in one pass: the next pass sees how it went.
const BURST: usize = 250;
/// The annotation by which users say which pods to delete first (a number, lowest first).
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What to do about all of them.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let alive = world.replica_sets.iter().filter(|set| !meta::is_ending(*set));
    alive
        .filter_map(|set| Some((set, set.spec.as_ref()?)))
        .flat_map(|(set, spec)| one(world, set, spec))
        .collect()
}

fn one(world: &Snapshot, set: &ReplicaSet, spec: &ReplicaSetSpec) -> Vec<Action> {
    let (pods, mut actions) = meta::claim((Kind::ReplicaSet, set), (Kind::Pod, &world.pods), &spec.selector);
    let active: Vec<&Pod> = pods.iter().copied().filter(|pod| pod_facts::is_active(pod)).collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    if active.len() < wanted {
        actions.extend(more(set, spec, wanted - active.len()));
    }
    if active.len() > wanted {
        actions.extend(fewer(world, set, &active, active.len() - wanted));
    }
    actions.extend(status(world, set, spec, &active));
    actions
}

fn more(set: &ReplicaSet, spec: &ReplicaSetSpec, count: usize) -> Vec<Action> {
    let Some(template) = &spec.template else { return Vec::new() };
    let mut pod = pod_template::pod(template, &meta::reference(Kind::ReplicaSet, set));
    pod["metadata"]["generateName"] = json!(format!("{}-", set.name_any()));
    let namespace = set.namespace().unwrap_or_default();
    let create = Action::Create { kind: Kind::Pod, namespace, object: pod };
    vec![create; count.min(BURST)]
}

fn fewer(world: &Snapshot, set: &ReplicaSet, active: &[&Pod], count: usize) -> Vec<Action> {
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(|pod| rank(world, active, pod));
    let chosen = ranked.into_iter().take(count.min(BURST));
    let tell = |pod: &Pod| {
        let message = format!("Deleted pod: {}", pod.name_any());
        Note::normal(Target::of(Kind::ReplicaSet, set), "SuccessfulDelete", message)
    };
    chosen.flat_map(|pod| [Action::delete(Target::of(Kind::Pod, pod)), tell(pod)]).collect()
}

/// Who goes first: without a node, not running, not ready, cheap by the user's word, crowded, young.
fn rank(world: &Snapshot, active: &[&Pod], pod: &Pod) -> impl Ord + use<> {
    let node = pod_facts::node(pod);
    let cost = pod.annotations().get(DELETION_COST).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    let neighbours = active.iter().filter(|other| node.is_some() && pod_facts::node(other) == node).count();
    let made =
        pod.metadata.creation_timestamp.as_ref().map_or(world.now.as_second(), |time| time.0.as_second());
    (
        node.is_some(),
        pod_facts::phase(pod) == "Running",
        pod_facts::is_ready(pod),
        cost,
        std::cmp::Reverse(neighbours),
        std::cmp::Reverse(made),
        pod.name_any(),
    )
}

fn status(world: &Snapshot, set: &ReplicaSet, spec: &ReplicaSetSpec, active: &[&Pod]) -> Option<Action> {
    let labels = spec
        .template
        .as_ref()
        .and_then(|t| t.metadata.as_ref())
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    let labelled = |pod: &&&Pod| labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let available = |pod: &&&Pod| pod_facts::is_available(pod, spec.min_ready_seconds, world.now);
    let now = json!({
        "replicas": active.len(),
        "fullyLabeledReplicas": active.iter().filter(labelled).count(),
        "readyReplicas": active.iter().filter(|pod| pod_facts::is_ready(pod)).count(),
        "availableReplicas": active.iter().filter(available).count(),
        "observedGeneration": set.metadata.generation,
    });
    let posted = set.status.as_ref().map(|status| {
        json!({
            "replicas": status.replicas,
            "fullyLabeledReplicas": status.fully_labeled_replicas.unwrap_or(0),
            "readyReplicas": status.ready_replicas.unwrap_or(0),
            "availableReplicas": status.available_replicas.unwrap_or(0),
            "observedGeneration": status.observed_generation,
        })
    });
    (posted != Some(now.clone()))
        .then(|| Action::status(Target::of(Kind::ReplicaSet, set), Value::clone(&now)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{merged, object, owned_by, pod, ready, status_of, told, world};
    use super::*;

    fn set(replicas: i32) -> ReplicaSet {
        let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
        object(
            json!({
                "metadata": {"name": "s", "namespace": "n", "uid": "s", "generation": 3},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template},
            }),
            json!({}),
        )
    }

    fn own(name: &str, over: Value) -> Pod {
        let base =
            json!({"metadata": {"labels": {"app": "a"}, "ownerReferences": owned_by("ReplicaSet", "s")}});
        pod(name, merged(base, over))
    }

    #[test]
    fn missing_pods_are_made_and_the_status_counts() {
        let mut world = world(100);
        world.replica_sets = vec![set(3)];
        world.pods =
            vec![own("p1", json!({"status": ready()})), own("gone", json!({"status": {"phase": "Failed"}}))];
        let actions = decide(&world);
        assert_eq!(told(&actions), ["create Pod s-", "create Pod s-"]);
        let status = status_of(&actions, "s").unwrap();
        assert_eq!(
            status,
            json!({"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 3})
        );
    }

    #[test]
    fn a_pod_on_its_way_out_is_replaced_at_once() {
        let mut world = world(100);
        world.replica_sets = vec![set(1)];
        world.pods = vec![own("p1", json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}}))];
        assert_eq!(told(&decide(&world)), ["create Pod s-"]);
    }

    #[test]
    fn what_serves_least_goes_first() {
        let mut world = world(100);
        world.replica_sets = vec![set(1)];
        let on = |node: &str, status: Value| json!({"spec": {"nodeName": node}, "status": status});
        world.pods = vec![
            own("serves", on("n1", ready())),
            own("starts", on("n1", json!({"phase": "Pending"}))),
            own("waits", json!({})),
        ];
        assert_eq!(told(&decide(&world)), ["delete Pod waits", "delete Pod starts"]);
    }

    #[test]
    fn nothing_is_done_when_all_is_well() {
        let mut world = world(100);
        world.replica_sets = vec![set(1)];
        world.pods = vec![own("p1", json!({"status": ready()}))];
        let status = status_of(&decide(&world), "s").unwrap();
        world.replica_sets[0].status = Some(serde_json::from_value(status).unwrap());
        assert_eq!(decide(&world), []);
    }
}
