//! Deployments: a ReplicaSet for each template there was, and the way from one to the next.
//!
//! [`rollout`] decides how many pods each set gets, [`status`] what is said about it. One thing is simpler than in Kubernetes: when a Deployment
//! is scaled in the middle of a rollout, the difference is not spread over its sets in proportion; the rollout goes on towards the new number.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use super::action::{Action, Kind, Note, Target};
use super::snapshot::Snapshot;
use super::{meta, pod_template};

mod rollout;
mod status;

pub use rollout::{Round, resolve};

/// Tells templates apart: a label of sets and pods.
const HASH: &str = "pod-template-hash";
/// The number of a set among the templates there were.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a set had before it was rolled back to.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its sets do not get.
const OWN_ANNOTATIONS: [&str; 5] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM];

/// What to do about all of them.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let alive = world.deployments.iter().filter(|deployment| !meta::is_ending(*deployment));
    alive
        .filter_map(|one| Some((one, one.spec.as_ref()?)))
        .flat_map(|(one, spec)| about(world, one, spec))
        .collect()
}

/// A Deployment and its sets, as the parts of the decision see them.
struct Case<'a> {
    world: &'a Snapshot,
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    /// The set of the present template, once there is one.
    new: Option<&'a ReplicaSet>,
    /// All others, oldest first.
    old: Vec<&'a ReplicaSet>,
    hash: String,
}

impl<'a> Case<'a> {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn target(&self) -> Target {
        Target::of(Kind::Deployment, self.deployment)
    }

    fn all(&self) -> impl Iterator<Item = &'a ReplicaSet> {
        self.old.iter().copied().chain(self.new)
    }

    /// Pods of the old sets that are still there, whatever their state.
    fn old_pods(&self) -> impl Iterator<Item = &'a Pod> {
        let of_old = |pod: &&Pod| self.old.iter().any(|set| meta::is_controlled_by(*pod, *set));
        self.world.pods.iter().filter(of_old)
    }
}

fn about(world: &Snapshot, deployment: &Deployment, spec: &DeploymentSpec) -> Vec<Action> {
    let (mut sets, mut actions) =
        meta::claim((Kind::Deployment, deployment), (Kind::ReplicaSet, &world.replica_sets), &spec.selector);
    sets.retain(|set| !meta::is_ending(*set));
    sets.sort_by_key(|set| {
        (revision(*set), set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.name_any())
    });
    let hash = pod_template::hash(&spec.template);
    let name = format!("{}-{hash}", deployment.name_any());
    let (new, old) = sets.into_iter().partition::<Vec<_>, _>(|set| set.name_any() == name);
    let case = Case { world, deployment, spec, new: new.first().copied(), old, hash };
    if spec.paused != Some(true) {
        actions.extend(number(&case));
    }
    actions.extend(rollout::decide(&case));
    actions.extend(clean_up(&case));
    actions.extend(status::post(&case));
    actions
}

/// The number of a set; 0 without one.
fn revision(object: &impl kube::Resource) -> i64 {
    let text = object.meta().annotations.as_ref().and_then(|all| all.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Makes sure that the new set has the highest number, and the Deployment the same one.
fn number(case: &Case<'_>) -> Vec<Action> {
    let highest = case.old.iter().map(|set| revision(*set)).max().unwrap_or(0);
    let mut actions = Vec::new();
    let mut number = highest + 1;
    if let Some(new) = case.new {
        let present = revision(new);
        number = if present > highest { present } else { number };
        let wanted = set_annotations(case, number);
        if wanted.iter().any(|(key, value)| new.annotations().get(key) != Some(value)) {
            actions.push(Action::patch(
                Target::of(Kind::ReplicaSet, new),
                json!({"metadata": {"annotations": wanted}}),
            ));
        }
    }
    if revision(case.deployment) != number {
        let patch = json!({"metadata": {"annotations": {REVISION: number.to_string()}}});
        actions.push(Action::patch(case.target(), patch));
    }
    actions
}

/// The annotations of the new set when it is number `number`.
fn set_annotations(case: &Case<'_>, number: i64) -> meta::Map {
    let own =
        case.deployment.annotations().iter().filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str()));
    let mut all: meta::Map = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    let surge = rollout::Limits::of(case.spec).surge;
    all.insert(REVISION.into(), number.to_string());
    all.insert(DESIRED.into(), case.replicas().to_string());
    all.insert(MAXIMUM.into(), (case.replicas() + surge).to_string());
    if let Some(new) = case.new.filter(|new| ![0, number].contains(&revision(*new))) {
        let before = new.annotations().get(HISTORY).map(|text| format!("{text},")).unwrap_or_default();
        all.insert(HISTORY.into(), format!("{before}{}", revision(new)));
    }
    all
}

/// The set of the present template, with so many pods.
fn create(case: &Case<'_>, replicas: i32) -> Vec<Action> {
    let deployment = case.deployment;
    let highest = case.old.iter().map(|set| revision(*set)).max().unwrap_or(0);
    let mut template = serde_json::to_value(&case.spec.template).unwrap_or_default();
    let mut selector = serde_json::to_value(&case.spec.selector).unwrap_or_default();
    template["metadata"]["labels"][HASH] = json!(case.hash);
    selector["matchLabels"][HASH] = json!(case.hash);
    let name = format!("{}-{}", deployment.name_any(), case.hash);
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name, "labels": template["metadata"]["labels"], "annotations": set_annotations(case, highest + 1),
            "ownerReferences": [meta::reference(Kind::Deployment, deployment)],
        },
        "spec": {
            "replicas": replicas, "selector": selector, "template": template, "minReadySeconds": case.spec.min_ready_seconds.unwrap_or(0),
        },
    });
    let namespace = deployment.namespace().unwrap_or_default();
    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
    vec![
        Action::Create { kind: Kind::ReplicaSet, namespace, object },
        Note::normal(case.target(), "ScalingReplicaSet", message),
    ]
}

/// Gives a set another number of pods.
fn scale(case: &Case<'_>, set: &ReplicaSet, to: i32) -> Vec<Action> {
    let from = size(set);
    if from == to {
        return Vec::new();
    }
    let direction = if from < to { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {} from {from} to {to}", set.name_any());
    vec![
        Action::patch(Target::of(Kind::ReplicaSet, set), json!({"spec": {"replicas": to}})),
        Note::normal(case.target(), "ScalingReplicaSet", message),
    ]
}

/// How many pods a set should have.
fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// How many of a set's pods serve long enough.
fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// How many pods a set has.
fn present(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Deletes the oldest of the sets that are only kept to roll back to.
fn clean_up(case: &Case<'_>) -> Vec<Action> {
    let limit = usize::try_from(case.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let idle: Vec<&ReplicaSet> =
        case.old.iter().copied().filter(|set| size(set) == 0 && present(set) == 0 && seen(set)).collect();
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).map(|set| Action::delete(Target::of(Kind::ReplicaSet, set))).collect()
}

/// Whether a set's own controller has looked at its present spec.
fn seen(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    observed.unwrap_or(0) >= set.metadata.generation.unwrap_or(0)
}

#[cfg(test)]
mod tests;
