use super::super::testing::{merged, object, owned_by, pod, ready, status_of, told, world};
use super::*;

fn set(over: Value) -> StatefulSet {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}});
    object(
        json!({
            "metadata": {"name": "s", "namespace": "n", "uid": "s", "generation": 1},
            "spec": {"replicas": 3, "serviceName": "svc", "selector": {"matchLabels": {"app": "a"}}, "template": template},
        }),
        over,
    )
}

fn image(name: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}})
}

/// The name of a set's present revision.
fn revision(set: &StatefulSet) -> String {
    format!("s-{}", pod_template::hash(&set.spec.as_ref().unwrap().template))
}

fn own(number: i32, revision: &str, status: Value) -> Pod {
    let labels = json!({"app": "a", "controller-revision-hash": revision});
    let meta = json!({"labels": labels, "ownerReferences": owned_by("StatefulSet", "s")});
    pod(&format!("s-{number}"), merged(json!({"metadata": meta}), json!({"status": status})))
}

/// A cluster with the set and pods of these numbers, all of its present revision and serving.
fn with(over: Value, numbers: std::ops::Range<i32>) -> Snapshot {
    let mut world = world(100);
    let set = set(over);
    world.pods = numbers.map(|number| own(number, &revision(&set), ready())).collect();
    world.stateful_sets = vec![set];
    world
}

/// What is done to pods.
fn on_pods(world: &Snapshot) -> Vec<String> {
    told(&decide(world)).into_iter().filter(|line| line.contains(" Pod ")).collect()
}

#[test]
fn the_next_pod_comes_when_all_before_it_serve() {
    let mut world = with(json!({}), 0..1);
    assert_eq!(on_pods(&world), ["create Pod s-1"]);
    world.pods[0] = own(0, "x", json!({"phase": "Pending"}));
    assert_eq!(on_pods(&world), [] as [&str; 0]);
    let parallel = with(json!({"spec": {"podManagementPolicy": "Parallel"}}), 0..1);
    assert_eq!(on_pods(&parallel), ["create Pod s-1", "create Pod s-2"]);
}

#[test]
fn a_pod_has_a_lasting_name_and_knows_its_service() {
    let world = with(json!({}), 0..0);
    let actions = decide(&world);
    let created = actions.iter().find_map(|action| match action {
        Action::Create { kind: Kind::Pod, object, .. } => Some(object.clone()),
        _ => None,
    });
    let pod = created.unwrap();
    assert_eq!((&pod["metadata"]["name"], &pod["spec"]["hostname"]), (&json!("s-0"), &json!("s-0")));
    assert_eq!(pod["spec"]["subdomain"], "svc");
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "0");
    assert!(told(&actions)[0].starts_with("create ControllerRevision s-"), "{actions:?}");
}

#[test]
fn the_last_pod_goes_first_and_alone() {
    let world = with(json!({"spec": {"replicas": 1}}), 0..3);
    assert_eq!(on_pods(&world), ["delete Pod s-2"]);
}

#[test]
fn renewal_goes_from_the_last_pod_down_to_the_partition() {
    let mut world = with(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}), 0..3);
    let old = revision(&world.stateful_sets[0]);
    let over = merged(image("v2"), json!({"status": {"replicas": 3, "currentRevision": old}}));
    world.stateful_sets[0] = object(serde_json::to_value(&world.stateful_sets[0]).unwrap(), over);
    let new = revision(&world.stateful_sets[0]);
    assert_eq!(on_pods(&world), ["delete Pod s-2"]);
    world.pods[2] = own(2, &new, json!({"phase": "Pending"}));
    assert_eq!(on_pods(&world), [] as [&str; 0]);
    world.pods[2] = own(2, &new, ready());
    assert_eq!(on_pods(&world), ["delete Pod s-1"]);
    world.pods[1] = own(1, &new, ready());
    assert_eq!(on_pods(&world), [] as [&str; 0]);
    let status = status_of(&decide(&world), "s").unwrap();
    assert_eq!((&status["updatedReplicas"], &status["currentReplicas"]), (&json!(2), &json!(1)));
    assert_eq!(status["currentRevision"], json!(old));
}

#[test]
fn below_the_partition_a_lost_pod_comes_back_with_the_old_template() {
    let mut world = with(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 3}}}}), 1..3);
    let old = revision(&world.stateful_sets[0]);
    let set = &world.stateful_sets[0];
    let history = History::of(&[], set, &set.spec.as_ref().unwrap().template);
    let Some(Action::Create { object: recorded, .. }) =
        history.record(Kind::StatefulSet, set, &set.spec.as_ref().unwrap().template)
    else {
        panic!()
    };
    world.revisions = vec![object(recorded, json!({"metadata": {"namespace": "n", "uid": "r1"}}))];
    let over = merged(image("v2"), json!({"status": {"replicas": 3, "currentRevision": old}}));
    world.stateful_sets[0] = object(serde_json::to_value(&world.stateful_sets[0]).unwrap(), over);
    let images: Vec<Value> = decide(&world)
        .into_iter()
        .filter_map(|action| match action {
            Action::Create { kind: Kind::Pod, object, .. } => {
                Some(object["spec"]["containers"][0]["image"].clone())
            }
            _ => None,
        })
        .collect();
    assert_eq!(images, ["v1"]);
}

#[test]
fn a_completed_rollout_makes_the_new_revision_the_current_one() {
    let world = with(json!({"status": {"replicas": 3, "currentRevision": "s-old"}}), 0..3);
    let status = status_of(&decide(&world), "s").unwrap();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["availableReplicas"], 3);
}

#[test]
fn a_pod_comes_with_its_claims_and_mounts_them() {
    let claims = json!([{"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let world = with(json!({"spec": {"volumeClaimTemplates": claims}}), 0..0);
    let made: Vec<(Kind, Value)> = decide(&world)
        .into_iter()
        .filter_map(|action| match action {
            Action::Create { kind, object, .. } => Some((kind, object)),
            _ => None,
        })
        .filter(|(kind, _)| [Kind::PersistentVolumeClaim, Kind::Pod].contains(kind))
        .collect();
    let [(Kind::PersistentVolumeClaim, claim), (Kind::Pod, pod)] = made.as_slice() else {
        panic!("{made:?}")
    };
    let name = claim["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("www-") && name.ends_with("-0"), "{name}");
    let volume = json!({"name": "www", "persistentVolumeClaim": {"claimName": name}});
    assert_eq!(pod["spec"]["volumes"], json!([volume]));
}
