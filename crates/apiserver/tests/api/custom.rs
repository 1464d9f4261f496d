use serde_json::{Value, json};

use super::client::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

fn definition() -> Value {
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
               "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
    };
    json!({
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
                 "versions": [version("v1", true), version("v1beta1", false)]},
    })
}

fn thing(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"a": 1}})
}

#[tokio::test]
async fn a_definition_makes_a_kind_at_once_and_for_good() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    assert_eq!(client.post(THINGS, thing("a")).await.reason(404), "NotFound");
    client.post(DEFINITIONS, definition()).await.expect(201);
    client.post(THINGS, thing("a")).await.expect(201);
    let server = server.restart().await;
    let mut client = server.client().await;
    client.get(&format!("{THINGS}/a")).await.expect(200);
    let kinds = client.get("/apis/example.com/v1").await.expect(200);
    assert_eq!(kinds["resources"][0]["shortNames"], json!(["th"]));
}

#[tokio::test]
async fn every_served_version_shows_the_same_object() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(DEFINITIONS, definition()).await.expect(201);
    client.post(THINGS, thing("a")).await.expect(201);
    let beta = client.get("/apis/example.com/v1beta1/namespaces/default/things/a").await.expect(200);
    assert_eq!((&beta["apiVersion"], &beta["spec"]["a"]), (&json!("example.com/v1beta1"), &json!(1)));
}

#[tokio::test]
async fn custom_objects_have_generation_status_and_no_strategic_patch() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(DEFINITIONS, definition()).await.expect(201);
    let mut object = thing("a");
    object["status"] = json!({"s": 1});
    let created = client.post(THINGS, object).await.expect(201);
    assert!(created.get("status").is_none(), "status is not for creators");
    let path = format!("{THINGS}/a");
    let status = json!({"status": {"s": 2}, "spec": {"a": 9}, "metadata": {"labels": {"x": "y"}}});
    let after = client.patch("merge", &format!("{path}/status"), status).await.expect(200);
    assert_eq!(
        (&after["status"]["s"], &after["spec"]["a"], &after["metadata"]["generation"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert!(after["metadata"].get("labels").is_none());
    let after = client.patch("merge", &path, json!({"spec": {"a": 2}, "status": {"s": 3}})).await.expect(200);
    assert_eq!((&after["status"]["s"], &after["metadata"]["generation"]), (&json!(2), &json!(2)));
    let refused = client.patch("strategic-merge", &path, json!({})).await.reason(415);
    assert_eq!(refused, "UnsupportedMediaType");
    let mut unversioned = after;
    unversioned["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(client.put(&path, &unversioned).await.reason(422), "Invalid");
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(DEFINITIONS, definition()).await.expect(201);
    let mut held = thing("held");
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    client.post(THINGS, held).await.expect(201);
    client.post(THINGS, thing("free")).await.expect(201);
    let path = format!("{DEFINITIONS}/things.example.com");
    client.delete(&path).await.expect(200);
    client.get(&format!("{THINGS}/free")).await.expect(404);
    client.get(&path).await.expect(200);
    client
        .patch("merge", &format!("{THINGS}/held"), json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    client.get(&path).await.expect(404);
    let gone = client.get("/apis/example.com/v1").await;
    assert_eq!(gone.reason(404), "NotFound");
}

/// The definitions that this project's own users bring.
#[tokio::test]
async fn the_definitions_of_networks_and_pools_are_accepted_and_served() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/crds");
    let mut served = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let definition: Value = serde_saphyr::from_str(&text).unwrap();
        client.post(DEFINITIONS, definition.clone()).await.expect(201);
        let name = definition["metadata"]["name"].as_str().unwrap();
        let stored = client.get(&format!("{DEFINITIONS}/{name}")).await.expect(200);
        assert_eq!(stored["status"]["conditions"][1]["type"], "Established", "{name}");
        let (spec, version) = (&definition["spec"], &definition["spec"]["versions"][0]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let path = format!(
            "/apis/{}/{}/{}",
            text(&spec["group"]),
            text(&version["name"]),
            text(&spec["names"]["plural"])
        );
        client.get(&path).await.expect(200);
        served += 1;
    }
    assert!(served >= 7, "{served}");
}

#[tokio::test]
async fn a_name_that_another_definition_has_waits_until_it_is_free() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(DEFINITIONS, definition()).await.expect(201);
    let mut second = definition();
    second["metadata"]["name"] = json!("others.example.com");
    second["spec"]["names"] = json!({"plural": "others", "kind": "Thing"});
    client.post(DEFINITIONS, second).await.expect(201);
    let path = format!("{DEFINITIONS}/others.example.com");
    let waiting = client.get(&path).await.expect(200);
    assert_eq!(waiting["status"]["conditions"][0]["status"], "False");
    client.get("/apis/example.com/v1/others").await.expect(404);
    client.delete(&format!("{DEFINITIONS}/things.example.com")).await.expect(200);
    client.get("/apis/example.com/v1/others").await.expect(200);
}
