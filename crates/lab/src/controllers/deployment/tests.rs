//! A Deployment is played through: what the decision asks for is carried out on paper, pods become ready one by one.

use super::super::action::Part;
use super::super::testing::{merged, object, status_of, told, world};
use super::*;
use serde_json::Value;

fn deployment(over: Value) -> Deployment {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}});
    object(
        json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "d", "generation": 1},
            "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "a"}}, "template": template},
        }),
        over,
    )
}

fn image(name: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}})
}

/// The cluster after the actions, with every wanted pod there but, where `serve` is false, not serving.
fn play(world: &mut Snapshot, actions: &[Action], serve: bool) {
    for action in actions {
        match action {
            Action::Create { kind: Kind::ReplicaSet, object, .. } => {
                let name = object["metadata"]["name"].clone();
                let extra = json!({"metadata": {"namespace": "n", "uid": name, "generation": 1}});
                world.replica_sets.push(serde_json::from_value(merged(object.clone(), extra)).unwrap());
            }
            Action::Patch { target, part: Part::Main, patch } if target.kind == Kind::ReplicaSet => {
                let set = world.replica_sets.iter_mut().find(|set| set.name_any() == target.name).unwrap();
                *set = serde_json::from_value(merged(serde_json::to_value(&*set).unwrap(), patch.clone()))
                    .unwrap();
            }
            Action::Patch { target, patch, .. } if target.kind == Kind::Deployment => {
                let one = &mut world.deployments[0];
                *one = serde_json::from_value(merged(serde_json::to_value(&*one).unwrap(), patch.clone()))
                    .unwrap();
            }
            Action::Delete { target, .. } => world.replica_sets.retain(|set| set.name_any() != target.name),
            _ => {}
        }
    }
    for set in &mut world.replica_sets {
        let size = size(set);
        let served = if serve { size } else { available(set).min(size) };
        let status = json!({"replicas": size, "readyReplicas": served, "availableReplicas": served, "observedGeneration": 1});
        set.status = Some(serde_json::from_value(status).unwrap());
    }
}

fn sizes(world: &Snapshot) -> Vec<(i32, i32)> {
    world.replica_sets.iter().map(|set| (size(set), available(set))).collect()
}

/// A world in which version 1 of the Deployment has been rolled out.
fn rolled_out(over: Value) -> Snapshot {
    let mut world = world(100);
    world.deployments = vec![deployment(over)];
    settle(&mut world);
    world
}

fn settle(world: &mut Snapshot) {
    for _ in 0..50 {
        let actions = decide(world);
        if actions.is_empty() {
            return;
        }
        play(world, &actions, true);
    }
    panic!("never done: {:?}", decide(world));
}

#[test]
fn the_first_set_is_made_with_all_pods_and_number_one() {
    let world = rolled_out(json!({}));
    assert_eq!(sizes(&world), [(4, 4)]);
    let set = &world.replica_sets[0];
    assert_eq!((revision(set), revision(&world.deployments[0])), (1, 1));
    assert_eq!(set.labels()[HASH], set.spec.as_ref().unwrap().selector.match_labels.as_ref().unwrap()[HASH]);
    let conditions = world.deployments[0].status.as_ref().unwrap().conditions.as_ref().unwrap();
    let reasons: Vec<_> = conditions.iter().map(|c| c.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["MinimumReplicasAvailable", "NewReplicaSetAvailable"]);
}

#[test]
fn a_rollout_never_has_too_many_pods_nor_too_few_that_serve() {
    let mut world = rolled_out(json!({}));
    world.deployments[0] = object(serde_json::to_value(&world.deployments[0]).unwrap(), image("v2"));
    let mut steps = 0;
    loop {
        let actions = decide(&world);
        if actions.is_empty() {
            break;
        }
        play(&mut world, &actions, steps % 2 == 1);
        let (total, serving) =
            sizes(&world).iter().fold((0, 0), |(t, s), (size, served)| (t + size, s + served));
        assert!(total <= 5 && serving >= 3, "step {steps}: {:?}", sizes(&world));
        steps += 1;
        assert!(steps < 60);
    }
    assert_eq!(sizes(&world), [(0, 0), (4, 4)]);
    assert_eq!(world.replica_sets.iter().map(revision).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_broken_version_stops_the_rollout_while_enough_pods_serve() {
    let mut world = rolled_out(json!({}));
    world.deployments[0] = object(serde_json::to_value(&world.deployments[0]).unwrap(), image("broken"));
    for _ in 0..20 {
        let actions = decide(&world);
        play(&mut world, &actions, false);
    }
    assert_eq!(sizes(&world), [(3, 3), (2, 0)]);
    assert!(decide(&world).is_empty());
    world.now = k8s_openapi::jiff::Timestamp::from_second(1000).unwrap();
    let status = status_of(&decide(&world), "d").unwrap();
    assert_eq!(status["conditions"][1]["reason"], "ProgressDeadlineExceeded");
}

#[test]
fn rolling_back_takes_the_old_set_again_with_a_new_number() {
    let mut world = rolled_out(json!({}));
    for version in ["v2", "v1"] {
        world.deployments[0] = object(serde_json::to_value(&world.deployments[0]).unwrap(), image(version));
        settle(&mut world);
    }
    assert_eq!(sizes(&world), [(4, 4), (0, 0)]);
    assert_eq!(world.replica_sets.iter().map(revision).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(world.replica_sets[0].annotations()[HISTORY], "1");
}

#[test]
fn recreate_waits_until_the_last_old_pod_is_gone() {
    let mut world = rolled_out(json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let old = world.replica_sets[0].name_any();
    let owner = super::super::testing::owned_by("ReplicaSet", &old);
    world.pods = vec![super::super::testing::pod(
        "p",
        json!({"metadata": {"labels": {"app": "a"}, "ownerReferences": owner}}),
    )];
    world.deployments[0] = object(serde_json::to_value(&world.deployments[0]).unwrap(), image("v2"));
    for _ in 0..5 {
        let actions = decide(&world);
        play(&mut world, &actions, true);
    }
    assert_eq!(sizes(&world), [(0, 0)]);
    world.pods.clear();
    settle(&mut world);
    assert_eq!(sizes(&world), [(0, 0), (4, 4)]);
}

#[test]
fn a_paused_deployment_is_scaled_but_not_rolled() {
    let mut world = rolled_out(json!({}));
    let over = merged(image("v2"), json!({"spec": {"paused": true, "replicas": 6}}));
    world.deployments[0] = object(serde_json::to_value(&world.deployments[0]).unwrap(), over);
    settle(&mut world);
    assert_eq!(sizes(&world), [(6, 6)]);
}

#[test]
fn only_so_many_old_sets_are_kept() {
    let mut world = rolled_out(json!({"spec": {"revisionHistoryLimit": 1}}));
    for version in ["v2", "v3", "v4"] {
        world.deployments[0] = object(serde_json::to_value(&world.deployments[0]).unwrap(), image(version));
        settle(&mut world);
    }
    assert_eq!(sizes(&world), [(0, 0), (4, 4)]);
    assert!(told(&decide(&world)).is_empty());
}
