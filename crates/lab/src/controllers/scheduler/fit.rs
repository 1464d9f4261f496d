//! Whether a pod can go to a node, in the words of kube-scheduler where not.

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorTerm, Pod, PodAffinityTerm, Taint, Toleration,
};
use kube::ResourceExt;

use super::super::meta;
use super::super::snapshot::Snapshot;
use super::Placed;

/// Nodes take so many pods if they do not say.
const PODS: usize = 110;
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Why a pod cannot go to a node; nothing if it can.
pub fn obstacle(pod: &Pod, node: &Node, world: &Snapshot, placed: &Placed<'_>) -> Option<String> {
    if is_cordoned(node) && !tolerates(pod, &cordon()) {
        return Some("node(s) were unschedulable".to_owned());
    }
    if !is_selected(pod, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    if let Some(taint) = untolerated(pod, node, &["NoSchedule", "NoExecute"]) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key));
    }
    let on_node = placed.on(node);
    if on_node.len() >= capacity(node) {
        return Some("Too many pods".to_owned());
    }
    if has_port_conflict(pod, on_node) {
        return Some("node(s) didn't have free ports for the requested pod ports".to_owned());
    }
    affinity_obstacle(pod, node, world, placed).map(str::to_owned)
}

/// Whether a daemon belongs on a node: its selector fits, and it tolerates all taints.
pub fn suits_daemon(pod: &Pod, node: &Node) -> bool {
    let cordoned = is_cordoned(node) && !tolerates(pod, &cordon());
    is_selected(pod, node) && !cordoned && untolerated(pod, node, &["NoSchedule", "NoExecute"]).is_none()
}

/// Whether a daemon that is on a node may stay there.
pub fn keeps_daemon(pod: &Pod, node: &Node) -> bool {
    is_selected(pod, node) && untolerated(pod, node, &["NoExecute"]).is_none()
}

/// The first taint with one of these effects that a pod does not tolerate.
pub fn untolerated<'n>(pod: &Pod, node: &'n Node, effects: &[&str]) -> Option<&'n Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.into_iter().find(|taint| effects.contains(&taint.effect.as_str()) && !tolerates(pod, taint))
}

/// Whether a pod tolerates a taint, for however long.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    toleration(pod, taint).is_some()
}

/// The toleration that fits a taint.
pub fn toleration<'p>(pod: &'p Pod, taint: &Taint) -> Option<&'p Toleration> {
    let all = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    all.into_iter().find(|toleration| {
        let blank = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
        let exists = toleration.operator.as_deref() == Some("Exists");
        let effect = blank(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
        let key = (blank(&toleration.key) && exists) || toleration.key.as_deref() == Some(&taint.key);
        let value = exists
            || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
        effect && key && value
    })
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

fn cordon() -> Taint {
    Taint { key: UNSCHEDULABLE.into(), effect: "NoSchedule".into(), ..Taint::default() }
}

fn is_selected(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let wanted = spec.node_selector.iter().flatten();
    let by_labels = wanted.into_iter().all(|(key, value)| node.labels().get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    by_labels && required.is_none_or(|required| matches(required, node))
}

/// Terms are alternatives.
fn matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// The requirements of one term hold together. A term without any selects nothing.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.name_any();
    let label_fits = |key: &str, operator: &str, values: &[String]| {
        meta::requirement(node.labels().get(key), operator, values)
    };
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|e| label_fits(&e.key, &e.operator, e.values.as_deref().unwrap_or_default()))
        && fields.iter().all(|f| {
            let found = (f.key == "metadata.name").then_some(&name);
            meta::requirement(found, &f.operator, f.values.as_deref().unwrap_or_default())
        })
}

fn capacity(node: &Node) -> usize {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref()?.get("pods"));
    allocatable.and_then(|quantity| quantity.0.parse().ok()).unwrap_or(PODS)
}

/// Host ports, as (port, protocol).
fn host_ports(pod: &Pod) -> Vec<(i32, &str)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| Some((port.host_port?, port.protocol.as_deref().unwrap_or("TCP")))).collect()
}

fn has_port_conflict(pod: &Pod, others: &[&Pod]) -> bool {
    let wanted = host_ports(pod);
    !wanted.is_empty() && others.iter().flat_map(|other| host_ports(other)).any(|port| wanted.contains(&port))
}

/// Required affinity and anti-affinity to other pods.
fn affinity_obstacle(pod: &Pod, node: &Node, world: &Snapshot, placed: &Placed<'_>) -> Option<&'static str> {
    let meets = |term: &PodAffinityTerm, owner: &Pod, other: &Pod| {
        let selector = term.label_selector.as_ref();
        let names = term.namespaces.as_deref().unwrap_or_default();
        let own = names.is_empty() && other.metadata.namespace == owner.metadata.namespace;
        let namespace = own || other.metadata.namespace.as_ref().is_some_and(|name| names.contains(name));
        namespace && selector.is_some_and(|selector| meta::selects(selector, other.metadata.labels.as_ref()))
    };
    let near = |term: &PodAffinityTerm| {
        let peers = peers(&term.topology_key, node, world, placed);
        peers.into_iter().any(|other| meets(term, pod, other))
    };
    let first_of_its_kind = |term: &PodAffinityTerm| {
        meets(term, pod, pod) && !placed.all().any(|(_, other)| meets(term, pod, other))
    };
    if !required(pod, Towards::Affinity).iter().all(|term| near(term) || first_of_its_kind(term)) {
        return Some("node(s) didn't match pod affinity rules");
    }
    if required(pod, Towards::AntiAffinity).iter().any(near) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let forbids = |at: &str, other: &Pod| {
        let terms = required(other, Towards::AntiAffinity);
        terms.iter().any(|term| same_topology(&term.topology_key, at, node, world) && meets(term, other, pod))
    };
    let forbidden = placed.all().any(|(at, other)| forbids(at, other));
    forbidden.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Towards {
    Affinity,
    AntiAffinity,
}

fn required(pod: &Pod, towards: Towards) -> Vec<PodAffinityTerm> {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = match towards {
        Towards::Affinity => affinity
            .and_then(|a| a.pod_affinity.as_ref())
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.clone()),
        Towards::AntiAffinity => affinity
            .and_then(|a| a.pod_anti_affinity.as_ref())
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.clone()),
    };
    terms.unwrap_or_default()
}

/// The pods on all nodes with the same value of the topology label.
fn peers<'p>(key: &str, node: &Node, world: &Snapshot, placed: &Placed<'p>) -> Vec<&'p Pod> {
    let Some(value) = node.labels().get(key) else { return Vec::new() };
    let near = world.nodes.iter().filter(|other| other.labels().get(key) == Some(value));
    near.flat_map(|other| placed.on(other).iter().copied()).collect()
}

fn same_topology(key: &str, name: &str, node: &Node, world: &Snapshot) -> bool {
    let other = world.nodes.iter().find(|other| other.name_any() == name);
    let value = node.labels().get(key);
    value.is_some() && other.is_some_and(|other| other.labels().get(key) == value)
}
