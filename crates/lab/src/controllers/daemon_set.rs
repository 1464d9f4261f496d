//! DaemonSets: one pod on each node that fits, also on nodes that come later.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, Pod, Toleration};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::action::{Action, Kind, Target};
use super::deployment::{Round, resolve};
use super::revision::History;
use super::scheduler::fit;
use super::snapshot::Snapshot;
use super::{meta, pod_facts, pod_template};

/// The label with the hash of a pod's template.
const REVISION: &str = "controller-revision-hash";
/// Taints that daemons live with, beside those that their template tolerates.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// What to do about all of them.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let alive = world.daemon_sets.iter().filter(|set| !meta::is_ending(*set));
    alive
        .filter_map(|set| Some((set, set.spec.as_ref()?)))
        .flat_map(|(set, spec)| one(world, set, spec))
        .collect()
}

/// A set, its pods, and where they should be.
struct Case<'a> {
    world: &'a Snapshot,
    set: &'a DaemonSet,
    spec: &'a DaemonSetSpec,
    history: History<'a>,
    pods: Vec<&'a Pod>,
    wanted: Vec<&'a Node>,
    /// Nodes whose pods may stay: a taint that only keeps new pods away does not drive them off.
    kept: Vec<&'a Node>,
}

fn one(world: &Snapshot, set: &DaemonSet, spec: &DaemonSetSpec) -> Vec<Action> {
    let (pods, mut actions) = meta::claim((Kind::DaemonSet, set), (Kind::Pod, &world.pods), &spec.selector);
    let history = History::of(&world.revisions, set, &spec.template);
    let sample = template_pod(spec);
    let wanted = world.nodes.iter().filter(|node| fit::suits_daemon(&sample, node)).collect();
    let kept = world.nodes.iter().filter(|node| fit::keeps_daemon(&sample, node)).collect();
    let case = Case { world, set, spec, history, pods, wanted, kept };
    actions.extend(case.history.record(Kind::DaemonSet, set, &spec.template));
    actions.extend(case.place());
    actions.extend(case.renew());
    actions.extend(case.status());
    let name = |hash: &str| format!("{}-{hash}", set.name_any());
    let used: Vec<String> =
        case.pods.iter().filter_map(|pod| pod_facts::label(pod, REVISION)).map(name).collect();
    actions.extend(case.history.clean_up(spec.revision_history_limit, &used));
    actions
}

/// A pod as the template makes it, with the tolerations of daemons: to see which nodes it suits.
fn template_pod(spec: &DaemonSetSpec) -> Pod {
    let mut pod = Pod { spec: spec.template.spec.clone(), ..Pod::default() };
    let tolerations = pod.spec.get_or_insert_default().tolerations.get_or_insert_default();
    tolerations.extend(TOLERATED.map(|(key, effect)| Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some(effect.into()),
        ..Toleration::default()
    }));
    pod
}

/// The node that a daemon is for: bound to it, or tied to it until it is bound.
fn node_of(pod: &Pod) -> Option<&str> {
    pod_facts::node(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms =
            &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        let field = terms.first()?.match_fields.as_ref()?.first()?;
        field.values.as_ref()?.first().map(String::as_str)
    })
}

impl Case<'_> {
    fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().copied().filter(move |pod| node_of(pod) == Some(node))
    }

    fn may_stay(&self, node: &str) -> bool {
        self.kept.iter().any(|kept| kept.name_any() == node)
    }

    /// A pod where there is none; none where there should not be one, or where it has ended.
    fn place(&self) -> Vec<Action> {
        let missing = self.wanted.iter().filter(|node| self.on(&node.name_any()).next().is_none());
        let mut actions: Vec<Action> = missing.map(|node| self.create(&node.name_any())).collect();
        let misplaced =
            |pod: &&&Pod| !node_of(pod).is_some_and(|node| self.may_stay(node)) || pod_facts::has_ended(pod);
        let doubled = |pod: &&&Pod| {
            let first = node_of(pod).and_then(|node| {
                self.on(node).filter(|pod| pod_facts::is_active(pod)).min_by_key(|pod| pod.name_any())
            });
            first.is_some_and(|first| first.name_any() != pod.name_any())
        };
        let surplus =
            self.pods.iter().filter(|pod| !meta::is_ending(**pod) && (misplaced(pod) || doubled(pod)));
        actions.extend(surplus.map(|pod| Action::delete(Target::of(Kind::Pod, *pod))));
        actions
    }

    fn create(&self, node: &str) -> Action {
        let mut object = pod_template::pod(&self.spec.template, &meta::reference(Kind::DaemonSet, self.set));
        object["metadata"]["generateName"] = json!(format!("{}-", self.set.name_any()));
        object["metadata"]["labels"][REVISION] = json!(self.history.hash);
        object["spec"]["tolerations"] = json!(template_pod(self.spec).spec.and_then(|spec| spec.tolerations));
        let field = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
        object["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [field]});
        let namespace = self.set.namespace().unwrap_or_default();
        Action::Create { kind: Kind::Pod, namespace, object }
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod_facts::label(pod, REVISION) == Some(&self.history.hash)
    }

    fn serves(&self, pod: &Pod) -> bool {
        pod_facts::is_healthy(pod)
            && pod_facts::is_available(pod, self.spec.min_ready_seconds, self.world.now)
    }

    /// Deletes old pods, as many as may be missing at a time; those that do not serve are missing already.
    fn renew(&self) -> Vec<Action> {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return Vec::new();
        }
        let wanted = i32::try_from(self.wanted.len()).unwrap_or(i32::MAX);
        let limit = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.as_ref());
        let limit = limit.map_or(1, |limit| resolve(Some(limit), wanted, Round::Up).max(1));
        let serving =
            self.wanted.iter().filter(|node| self.on(&node.name_any()).any(|pod| self.serves(pod))).count();
        let missing = wanted - i32::try_from(serving).unwrap_or(0);
        let old = self.pods.iter().filter(|pod| !self.is_new(pod) && !meta::is_ending(**pod));
        let (serve, idle): (Vec<&Pod>, Vec<&Pod>) = old.copied().partition(|pod| self.serves(pod));
        let may_go = usize::try_from(limit - missing).unwrap_or(0);
        idle.into_iter()
            .chain(serve.into_iter().take(may_go))
            .map(|pod| Action::delete(Target::of(Kind::Pod, pod)))
            .collect()
    }

    fn status(&self) -> Option<Action> {
        let placed = |fits: &dyn Fn(&Pod) -> bool| {
            self.wanted.iter().filter(|node| self.on(&node.name_any()).any(fits)).count()
        };
        let (wanted, available) = (self.wanted.len(), placed(&|pod| self.serves(pod)));
        let misplaced =
            self.pods.iter().filter(|pod| !node_of(pod).is_some_and(|node| self.may_stay(node))).count();
        let status = json!({
            "desiredNumberScheduled": wanted,
            "currentNumberScheduled": placed(&|_| true),
            "updatedNumberScheduled": placed(&|pod| self.is_new(pod)),
            "numberReady": placed(&pod_facts::is_healthy),
            "numberAvailable": available,
            "numberUnavailable": wanted - available,
            "numberMisscheduled": misplaced,
            "observedGeneration": self.set.metadata.generation,
        });
        let posted =
            self.set.status.as_ref().and_then(|status| serde_json::to_value(status).ok()).unwrap_or_default();
        let plain = |value: &Value| if *value == 0 { Value::Null } else { value.clone() };
        let differs = posted.is_null()
            || status.as_object()?.iter().any(|(key, value)| plain(&posted[key]) != plain(value));
        differs.then(|| Action::status(Target::of(Kind::DaemonSet, self.set), status))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{merged, node, object, owned_by, pod, ready, status_of, told, world};
    use super::*;

    fn set(over: Value) -> DaemonSet {
        let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}});
        object(
            json!({
                "metadata": {"name": "d", "namespace": "n", "uid": "d", "generation": 1},
                "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template},
            }),
            over,
        )
    }

    fn own(name: &str, node: &str, revision: &str, over: Value) -> Pod {
        let labels = json!({"app": "a", "controller-revision-hash": revision});
        let meta = json!({"labels": labels, "ownerReferences": owned_by("DaemonSet", "d")});
        pod(name, merged(json!({"metadata": meta, "spec": {"nodeName": node}, "status": ready()}), over))
    }

    fn on_pods(world: &Snapshot) -> Vec<String> {
        told(&decide(world)).into_iter().filter(|line| line.contains(" Pod ")).collect()
    }

    fn present(set: &DaemonSet) -> String {
        pod_template::hash(&set.spec.as_ref().unwrap().template)
    }

    #[test]
    fn every_node_that_fits_gets_one_tied_to_it() {
        let mut world = world(100);
        let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
        let cordoned = json!({"spec": {"unschedulable": true}});
        world.nodes = vec![node("n1", json!({})), node("n2", taint), node("n3", cordoned)];
        world.daemon_sets = vec![set(json!({}))];
        let actions = decide(&world);
        let nodes: Vec<String> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Create { kind: Kind::Pod, object, .. } => {
                    let pod: Pod = serde_json::from_value(object.clone()).unwrap();
                    node_of(&pod).map(str::to_owned)
                }
                _ => None,
            })
            .collect();
        assert_eq!(nodes, ["n1", "n3"]);
        assert_eq!(status_of(&actions, "d").unwrap()["desiredNumberScheduled"], 2);
    }

    #[test]
    fn pods_leave_nodes_that_do_not_fit_any_more() {
        let mut world = world(100);
        world.nodes = vec![node("n1", json!({}))];
        let set = set(json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}}));
        world.pods = vec![own("p1", "n1", &present(&set), json!({}))];
        world.daemon_sets = vec![set];
        assert_eq!(on_pods(&world), ["delete Pod p1"]);
    }

    #[test]
    fn renewal_takes_one_serving_pod_at_a_time() {
        let mut world = world(100);
        world.nodes = vec![node("n1", json!({})), node("n2", json!({}))];
        world.daemon_sets = vec![set(json!({}))];
        let new = present(&world.daemon_sets[0]);
        world.pods = vec![own("p1", "n1", "old", json!({})), own("p2", "n2", "old", json!({}))];
        assert_eq!(on_pods(&world), ["delete Pod p1"]);
        world.pods[0] = own("p3", "n1", &new, json!({"status": {"phase": "Pending", "conditions": []}}));
        assert_eq!(on_pods(&world), [] as [&str; 0]);
        world.pods[0] = own("p3", "n1", &new, json!({}));
        assert_eq!(on_pods(&world), ["delete Pod p2"]);
    }
}
