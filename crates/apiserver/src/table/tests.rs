use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn cells(columns: &[Column], object: &Value) -> Value {
    row(columns, object, Include::None, now())["cells"].clone()
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:55:00Z"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n1"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
            {"ready": true, "restartCount": 2, "state": {"running": {}},
             "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:00Z"}}},
            {"ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        ]},
    })
}

#[test]
fn a_pod_reads_as_kubectl_users_know_it() {
    let expected =
        json!(["p", "1/2", "ImagePullBackOff", "2 (60s ago)", "5m", "10.0.0.1", "n1", "<none>", "<none>"]);
    assert_eq!(cells(&pods(), &pod()), expected);
}

#[test]
fn a_pods_status_is_the_most_telling_one() {
    let status = |object: &Value| cells(&pods(), object)[2].clone();
    assert_eq!(status(&json!({"status": {"phase": "Pending"}})), "Pending");
    assert_eq!(status(&json!({"status": {"phase": "Failed", "reason": "Evicted"}})), "Evicted");
    assert_eq!(
        status(&json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}})),
        "Terminating"
    );
    let ended = json!({"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}});
    assert_eq!(status(&ended), "ExitCode:3");
    let init = json!({"spec": {"initContainers": [1, 2]}, "status": {"initContainerStatuses": [
        {"state": {"terminated": {"exitCode": 0}}}, {"state": {"waiting": {"reason": "PodInitializing"}}}]}});
    assert_eq!(status(&init), "Init:1/2");
}

#[test]
fn a_node_shows_its_condition_and_cordon() {
    let node = json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
                   "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]},
    });
    let shown = cells(&nodes(), &node);
    assert_eq!(
        (&shown[1], &shown[2], &shown[5]),
        (&json!("Ready,SchedulingDisabled"), &json!("worker"), &json!("1.2.3.4"))
    );
}

#[test]
fn an_event_shows_when_and_whom() {
    let event = json!({
        "type": "Warning", "reason": "Failed", "message": "no\n", "lastTimestamp": "2026-01-01T00:59:30Z",
        "involvedObject": {"kind": "Pod", "name": "p"},
    });
    let shown = cells(&events(), &event);
    assert_eq!((&shown[0], &shown[3], &shown[6]), (&json!("30s"), &json!("pod/p"), &json!("no")));
}

#[test]
fn a_printer_column_of_the_wrong_type_is_empty() {
    let column = |kind: &'static str| Column {
        kind: kind.into(),
        cell: Cell::Path(JsonPath::parse(".spec.x").unwrap()),
        ..Column::computed("X", |_, _| Value::Null)
    };
    let object = json!({"spec": {"x": "text"}});
    assert_eq!(
        cells(&[column("string"), column("integer"), column("boolean")], &object),
        json!(["text", null, null])
    );
    assert_eq!(cells(&[column("integer")], &json!({"spec": {"x": 5}})), json!([5]));
}

#[test]
fn a_row_carries_what_was_asked_for() {
    let object = json!({"kind": "Pod", "metadata": {"name": "p"}});
    assert_eq!(row(&[], &object, Include::Object, now())["object"], object);
    assert_eq!(row(&[], &object, Include::Metadata, now())["object"]["kind"], "PartialObjectMetadata");
    assert!(row(&[], &object, Include::None, now()).get("object").is_none());
}

#[test]
fn no_object_makes_a_column_panic() {
    let odd = [
        json!(null),
        json!({}),
        json!({"status": [], "spec": "x"}),
        json!({"status": {"containerStatuses": [1, {}]}}),
    ];
    for object in &odd {
        for columns in all_columns() {
            cells(&columns, object);
        }
    }
}

fn all_columns() -> Vec<Vec<Column>> {
    let of_core =
        [pods(), nodes(), events(), services(), namespaces(), config_maps(), secrets(), crds(), leases()];
    let of_workloads = [deployments(), replica_sets(), stateful_sets(), daemon_sets(), endpoint_slices()];
    let others = [network_policies(), roles(), bindings()];
    of_core.into_iter().chain(of_workloads).chain(others).collect()
}
