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
