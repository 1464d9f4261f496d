use super::super::testing::{node, owned_by, pod, told, world};
use super::*;
use serde_json::Value;

fn two_nodes() -> Snapshot {
    let mut world = world(100);
    world.nodes = vec![node("node1", json!({})), node("node2", json!({}))];
    world
}

fn placed_by(world: &mut Snapshot, pods: Vec<Pod>) -> Vec<String> {
    world.pods.extend(pods);
    told(&decide(world))
}

#[test]
fn siblings_are_spread_over_the_nodes() {
    let mut world = two_nodes();
    world.pods = vec![pod(
        "there",
        json!({"spec": {"nodeName": "node1"}, "metadata": {"ownerReferences": owned_by("ReplicaSet", "s")}}),
    )];
    let own = |name: &str| pod(name, json!({"metadata": {"ownerReferences": owned_by("ReplicaSet", "s")}}));
    assert_eq!(
        placed_by(&mut world, vec![own("a"), own("b"), own("c")]),
        ["bind a node2", "bind b node1", "bind c node2"]
    );
}

#[test]
fn selectors_and_required_affinity_are_obeyed() {
    let mut world = two_nodes();
    let picky = pod("picky", json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "node2"}}}));
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node1"]}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}});
    let averse = pod("averse", json!({"spec": {"affinity": affinity}}));
    let field = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node1"]}]});
    let tied = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [field]}}});
    let tied = pod("tied", json!({"spec": {"affinity": tied}}));
    assert_eq!(
        placed_by(&mut world, vec![picky, averse, tied]),
        ["bind picky node2", "bind averse node2", "bind tied node1"]
    );
}

#[test]
fn preferences_weigh_more_than_spreading() {
    let mut world = two_nodes();
    world.pods = vec![pod("there", json!({"spec": {"nodeName": "node2"}}))];
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node2"]}]});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}});
    assert_eq!(
        placed_by(&mut world, vec![pod("fond", json!({"spec": {"affinity": affinity}}))]),
        ["bind fond node2"]
    );
}

#[test]
fn taints_keep_pods_away_that_do_not_tolerate_them() {
    let mut world = two_nodes();
    let taint = json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}});
    world.nodes[0] = node("node1", taint);
    let tolerant = |toleration: Value| json!({"spec": {"tolerations": [toleration], "nodeSelector": {"kubernetes.io/hostname": "node1"}}});
    let plain = pod("plain", json!({}));
    let equal = pod("equal", tolerant(json!({"key": "gpu", "operator": "Equal", "value": "yes"})));
    let any = pod("any", tolerant(json!({"operator": "Exists"})));
    let wrong = pod("wrong", tolerant(json!({"key": "gpu", "value": "no"})));
    assert_eq!(
        placed_by(&mut world, vec![plain, equal, any, wrong]),
        ["bind plain node2", "bind equal node1", "bind any node1"]
    );
}

#[test]
fn anti_affinity_by_host_name_is_kept_both_ways() {
    let mut world = two_nodes();
    let term =
        json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}});
    let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let lonely =
        |name: &str| pod(name, json!({"metadata": {"labels": {"app": "a"}}, "spec": {"affinity": affinity}}));
    let same_label = pod("d", json!({"metadata": {"labels": {"app": "a"}}}));
    let lines = placed_by(&mut world, vec![lonely("a"), lonely("b"), lonely("c"), same_label]);
    assert_eq!(lines, ["bind a node1", "bind b node2"]);
}

#[test]
fn what_fits_nowhere_is_told_why_and_once() {
    let mut world = two_nodes();
    world.nodes[0] = node("node1", json!({"spec": {"unschedulable": true}}));
    world.pods = vec![pod("p", json!({"spec": {"nodeSelector": {"disk": "ssd"}}}))];
    let actions = decide(&world);
    let Action::Tell(note) = &actions[0] else { panic!("{actions:?}") };
    let expected = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable.";
    assert_eq!((note.reason, note.message.as_str()), ("FailedScheduling", expected));
    let Action::Patch { patch, .. } = &actions[1] else { panic!("{actions:?}") };
    world.pods[0].status = Some(serde_json::from_value(patch["status"].clone()).unwrap());
    assert_eq!(decide(&world), []);
}

#[test]
fn pods_with_a_node_or_another_scheduler_or_a_gate_are_left_alone() {
    let mut world = two_nodes();
    let bound = pod("bound", json!({"spec": {"nodeName": "node1"}}));
    let other = pod("other", json!({"spec": {"schedulerName": "mine"}}));
    let gated = pod("gated", json!({"spec": {"schedulingGates": [{"name": "x/y"}]}}));
    assert_eq!(placed_by(&mut world, vec![bound, other, gated]), [] as [&str; 0]);
}

#[test]
fn host_ports_are_given_once_per_node() {
    let mut world = two_nodes();
    let port = |name: &str| {
        pod(
            name,
            json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}}),
        )
    };
    assert_eq!(
        placed_by(&mut world, vec![port("a"), port("b"), port("c")]),
        ["bind a node1", "bind b node2"]
    );
}
