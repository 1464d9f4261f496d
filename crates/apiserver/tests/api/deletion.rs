use serde_json::{Value, json};

use super::client::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn bound_pod(client: &mut Client, namespace: &str, name: &str) -> String {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    client.post(&path, pod(name)).await.expect(201);
    client.post(&format!("{path}/{name}/binding"), json!({"target": {"name": "n1"}})).await.expect(201);
    format!("{path}/{name}")
}

#[tokio::test]
async fn a_pod_on_a_node_waits_for_its_kubelet() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let path = bound_pod(&mut client, "default", "a").await;
    let marked = client.delete(&path).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    client.get(&path).await.expect(200);
    let wrong = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}});
    assert_eq!(client.call("DELETE", &path, &wrong).await.reason(409), "Conflict");
    let right = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": marked["metadata"]["uid"]}});
    client.call("DELETE", &path, &right).await.expect(200);
    client.get(&path).await.expect(404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_taken_out() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/x"]);
    client.post(MAPS, object).await.expect(201);
    let path = format!("{MAPS}/a");
    client.delete(&path).await.expect(200);
    let more = json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}});
    assert_eq!(client.patch("merge", &path, more).await.reason(422), "Invalid");
    client.patch("merge", &path, json!({"metadata": {"finalizers": null}})).await.expect(200);
    client.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for n in 0..3 {
        let mut object = config_map(&format!("m{n}"));
        object["metadata"]["labels"] = json!({"n": n.to_string()});
        client.post(MAPS, object).await.expect(201);
    }
    let gone = client.delete(&format!("{MAPS}?labelSelector=n+notin+(1)")).await.expect(200);
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    let left = client.get(MAPS).await.expect(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "m1");
}

#[tokio::test]
async fn a_namespace_goes_when_its_last_pod_has_gone() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post("/api/v1/namespaces", json!({"metadata": {"name": "team"}})).await.expect(201);
    client.post("/api/v1/namespaces/team/configmaps", config_map("m")).await.expect(201);
    let pod_path = bound_pod(&mut client, "team", "p").await;
    let ending = client.delete("/api/v1/namespaces/team").await.expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    client.get("/api/v1/namespaces/team/configmaps/m").await.expect(404);
    assert_eq!(
        client.post("/api/v1/namespaces/team/configmaps", config_map("n")).await.reason(403),
        "Forbidden"
    );
    client.get("/api/v1/namespaces/team").await.expect(200);
    client.call("DELETE", &pod_path, &json!({"gracePeriodSeconds": 0})).await.expect(200);
    client.get("/api/v1/namespaces/team").await.expect(404);
}

#[tokio::test]
async fn an_empty_namespace_goes_at_once_and_default_never() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post("/api/v1/namespaces", json!({"metadata": {"name": "team"}})).await.expect(201);
    client.delete("/api/v1/namespaces/team").await.expect(200);
    client.get("/api/v1/namespaces/team").await.expect(404);
    assert_eq!(client.delete("/api/v1/namespaces/default").await.reason(403), "Forbidden");
    assert_eq!(
        client.call("DELETE", "/api/v1/namespaces/kube-system", &Value::Null).await.reason(403),
        "Forbidden"
    );
}

/// Waits until `path` answers `code`; what the collector does takes a moment.
async fn until(client: &mut Client, path: &str, code: u16) {
    for _ in 0..400 {
        if client.get(path).await.code == code {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{path} does not answer {code}");
}

/// A config map with an owner, which blocks its deletion.
fn owned(name: &str, owner: &Value) -> Value {
    let mut object = config_map(name);
    let uid = &owner["metadata"]["uid"];
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "uid": uid,
        "name": owner["metadata"]["name"], "blockOwnerDeletion": true}]);
    object
}

#[tokio::test]
async fn dependents_follow_their_owner() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let owner = client.post(MAPS, config_map("owner")).await.expect(201);
    let child = client.post(MAPS, owned("child", &owner)).await.expect(201);
    client.post(MAPS, owned("grandchild", &child)).await.expect(201);
    client.delete(&format!("{MAPS}/owner")).await.expect(200);
    until(&mut client, &format!("{MAPS}/grandchild"), 404).await;
    client.get(&format!("{MAPS}/child")).await.expect(404);
}

#[tokio::test]
async fn a_dependent_of_nobody_goes_at_once_and_one_with_another_owner_stays() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let nobody = json!({"metadata": {"name": "nobody", "uid": "no-such-uid"}});
    client.post(MAPS, owned("stray", &nobody)).await.expect(201);
    until(&mut client, &format!("{MAPS}/stray"), 404).await;
    let owner = client.post(MAPS, config_map("owner")).await.expect(201);
    let mut both = owned("both", &owner);
    let stray = owned("x", &nobody)["metadata"]["ownerReferences"][0].clone();
    both["metadata"]["ownerReferences"].as_array_mut().unwrap().push(stray);
    client.post(MAPS, both).await.expect(201);
    let path = format!("{MAPS}/both");
    for _ in 0..400 {
        let object = client.get(&path).await.expect(200);
        if object["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the reference to nobody stays");
}

#[tokio::test]
async fn a_namespaced_owner_of_another_namespace_is_none() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post("/api/v1/namespaces", json!({"metadata": {"name": "team"}})).await.expect(201);
    let owner = client.post(MAPS, config_map("owner")).await.expect(201);
    let path = "/api/v1/namespaces/team/configmaps";
    client.post(path, owned("child", &owner)).await.expect(201);
    until(&mut client, &format!("{path}/child"), 404).await;
    client.get(&format!("{MAPS}/owner")).await.expect(200);
}

#[tokio::test]
async fn an_orphaning_owner_leaves_its_dependents_without_a_reference() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let owner = client.post(MAPS, config_map("owner")).await.expect(201);
    client.post(MAPS, owned("child", &owner)).await.expect(201);
    let path = format!("{MAPS}/owner");
    client.call("DELETE", &path, &json!({"propagationPolicy": "Orphan"})).await.expect(200);
    until(&mut client, &path, 404).await;
    let child = client.get(&format!("{MAPS}/child")).await.expect(200);
    assert!(child["metadata"].get("ownerReferences").is_none(), "{child}");
}

#[tokio::test]
async fn an_owner_deleted_in_the_foreground_goes_last() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let owner = client.post(MAPS, config_map("owner")).await.expect(201);
    let mut child = owned("child", &owner);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.post(MAPS, child).await.expect(201);
    let path = format!("{MAPS}/owner");
    let waiting = client.call("DELETE", &path, &json!({"propagationPolicy": "Foreground"})).await.expect(200);
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let held = format!("{MAPS}/child");
    for _ in 0..400 {
        if client.get(&held).await.expect(200)["metadata"]["deletionTimestamp"].is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    client.get(&path).await.expect(200);
    client.patch("merge", &held, json!({"metadata": {"finalizers": null}})).await.expect(200);
    until(&mut client, &path, 404).await;
    client.get(&held).await.expect(404);
}

#[tokio::test]
async fn a_namespace_says_what_it_waits_for() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post("/api/v1/namespaces", json!({"metadata": {"name": "team"}})).await.expect(201);
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.post("/api/v1/namespaces/team/configmaps", held).await.expect(201);
    client.delete("/api/v1/namespaces/team").await.expect(200);
    let namespace = client.get("/api/v1/namespaces/team").await.expect(200);
    let of = |kind: &str| {
        let conditions = namespace["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|c| c["type"] == kind).unwrap()["message"].clone()
    };
    assert_eq!(
        of("NamespaceContentRemaining"),
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    let finalizers =
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
    assert_eq!(of("NamespaceFinalizersRemaining"), finalizers);
    let held = "/api/v1/namespaces/team/configmaps/held";
    client.patch("merge", held, json!({"metadata": {"finalizers": null}})).await.expect(200);
    client.get("/api/v1/namespaces/team").await.expect(404);
}
