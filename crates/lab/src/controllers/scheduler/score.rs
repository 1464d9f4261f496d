//! Which of the nodes that fit is best: what the pod prefers, then few siblings, then few pods.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::super::meta;
use super::{Placed, fit};

/// The more the better.
pub fn of(pod: &Pod, node: &Node, placed: &Placed<'_>) -> impl Ord + use<> {
    let others = placed.on(node);
    let siblings = others.iter().filter(|other| are_siblings(pod, other)).count();
    let soft_taint = fit::untolerated(pod, node, &["PreferNoSchedule"]).is_some();
    (
        preference(pod, node) - if soft_taint { 100 } else { 0 },
        std::cmp::Reverse(siblings),
        std::cmp::Reverse(others.len()),
    )
}

/// The weights of the preferred terms that hold.
fn preference(pod: &Pod, node: &Node) -> i32 {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let terms =
        affinity.iter().flat_map(|a| a.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    terms.filter(|term| fit::term_matches(&term.preference, node)).map(|term| term.weight).sum()
}

/// Whether one owner manages both; pods without an owner are all siblings of those in their namespace.
fn are_siblings(pod: &Pod, other: &Pod) -> bool {
    let owner = |pod: &Pod| meta::controller_of(pod).map(|reference| reference.uid.clone());
    pod.metadata.namespace == other.metadata.namespace && owner(pod) == owner(other)
}
