//! The scheduler: pods without a node get the best of those that fit.
//!
//! [`fit`] says which nodes a pod can go to and why not to others, [`score`] which of them is best. Bindings of one pass count for the next pod of the
//! same pass.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use serde_json::json;

use super::action::{Action, Kind, Note, Target};
use super::snapshot::Snapshot;
use super::{meta, pod_facts};

pub mod fit;
mod score;

/// The name by which pods ask for this scheduler.
const NAME: &str = "default-scheduler";

/// Bindings, and for pods that fit nowhere the reasons.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let mut placed = Placed::of(world);
    let mut actions = Vec::new();
    for pod in world.pods.iter().filter(|pod| waits(pod)) {
        match choose(world, &placed, pod) {
            Ok(node) => {
                placed.add(&node.name_any(), pod);
                actions.extend(bind(pod, node));
            }
            Err(why) => actions.extend(refuse(pod, why)),
        }
    }
    actions
}

fn bind(pod: &Pod, node: &Node) -> [Action; 2] {
    let (target, node) = (Target::of(Kind::Pod, pod), node.name_any());
    let message = format!("Successfully assigned {}/{} to {node}", target.namespace, target.name);
    [Action::Bind { pod: target.clone(), node }, Note::normal(target, "Scheduled", message)]
}

fn waits(pod: &Pod) -> bool {
    let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(NAME);
    let gated = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.scheduling_gates.as_ref())
        .is_some_and(|gates| !gates.is_empty());
    pod_facts::node(pod).is_none() && !meta::is_ending(pod) && scheduler == NAME && !gated
}

/// Which pods are on which node, as far as they count.
pub struct Placed<'a>(BTreeMap<String, Vec<&'a Pod>>);

impl<'a> Placed<'a> {
    fn of(world: &'a Snapshot) -> Placed<'a> {
        let mut placed = Placed(BTreeMap::new());
        for pod in world.pods.iter().filter(|pod| !pod_facts::has_ended(pod)) {
            if let Some(node) = pod_facts::node(pod) {
                placed.add(node, pod);
            }
        }
        placed
    }

    fn add(&mut self, node: &str, pod: &'a Pod) {
        self.0.entry(node.to_owned()).or_default().push(pod);
    }

    /// All pods, with the name of their node.
    pub fn all(&self) -> impl Iterator<Item = (&str, &'a Pod)> {
        self.0.iter().flat_map(|(node, pods)| pods.iter().map(move |pod| (node.as_str(), *pod)))
    }

    /// The pods on a node.
    pub fn on(&self, node: &Node) -> &[&'a Pod] {
        self.0.get(&node.name_any()).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The best node, or why there is none: each reason with the number of nodes it is about.
fn choose<'w>(world: &'w Snapshot, placed: &Placed<'_>, pod: &Pod) -> Result<&'w Node, String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut fitting = Vec::new();
    for node in &world.nodes {
        match fit::obstacle(pod, node, world, placed) {
            None => fitting.push(node),
            Some(why) => *reasons.entry(why).or_default() += 1,
        }
    }
    let best = fitting
        .into_iter()
        .max_by_key(|node| (score::of(pod, node, placed), std::cmp::Reverse(node.name_any())));
    best.ok_or_else(|| message(world.nodes.len(), &reasons))
}

fn message(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let reasons: Vec<String> = reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}

/// Says so once: in an event and in the pod's condition.
fn refuse(pod: &Pod, why: String) -> Vec<Action> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let (said, others): (Vec<_>, Vec<_>) =
        conditions.partition(|condition| condition.type_ == "PodScheduled");
    if said.first().is_some_and(|condition| condition.message.as_deref() == Some(&why)) {
        return Vec::new();
    }
    let condition =
        json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why});
    let mut all: Vec<_> =
        others.into_iter().filter_map(|condition| serde_json::to_value(condition).ok()).collect();
    all.push(condition);
    let target = Target::of(Kind::Pod, pod);
    vec![
        Note::warning(target.clone(), "FailedScheduling", why),
        Action::status(target, json!({ "conditions": all })),
    ]
}

#[cfg(test)]
mod tests;
