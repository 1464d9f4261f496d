use serde_json::json;

use super::client::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_goes_through_its_life() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let created = client.post(PODS, pod("a")).await.expect(201);
    assert_eq!(
        (&created["status"]["phase"], &created["spec"]["restartPolicy"]),
        (&json!("Pending"), &json!("Always"))
    );
    let read = client.get(&format!("{PODS}/a")).await.expect(200);
    assert_eq!(read, created);
    let list = client.get(PODS).await.expect(200);
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("PodList"), 1));
    let deleted = client.delete(&format!("{PODS}/a")).await.expect(200);
    assert_eq!(deleted["metadata"]["name"], "a");
    assert_eq!(client.get(&format!("{PODS}/a")).await.reason(404), "NotFound");
}

#[tokio::test]
async fn a_stale_write_conflicts_and_a_patch_without_version_does_not() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut first = client.post(MAPS, config_map("a")).await.expect(201);
    let mut second = first.clone();
    first["data"]["k"] = json!("1");
    let path = format!("{MAPS}/a");
    client.put(&path, &first).await.expect(200);
    second["data"]["k"] = json!("2");
    let refused = client.put(&path, &second).await.expect(409);
    assert_eq!(refused["reason"], "Conflict");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .starts_with("Operation cannot be fulfilled on configmaps \"a\": the object")
    );
    let patched = client.patch("merge", &path, json!({"data": {"k": "3"}})).await.expect(200);
    assert_eq!(patched["data"]["k"], "3");
    let versioned = json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "4"}});
    assert_eq!(client.patch("merge", &path, versioned).await.reason(409), "Conflict");
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_revision() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let created = client.post(MAPS, config_map("a")).await.expect(201);
    let same = client.put(&format!("{MAPS}/a"), &created).await.expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn errors_are_the_ones_clients_know() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(MAPS, config_map("a")).await.expect(201);
    let twice = client.post(MAPS, config_map("a")).await.expect(409);
    assert_eq!(twice["message"], "configmaps \"a\" already exists");
    assert_eq!(client.post(MAPS, config_map("Not_A_Name")).await.reason(422), "Invalid");
    let nowhere = client.post("/api/v1/namespaces/nowhere/configmaps", config_map("a")).await.expect(404);
    assert_eq!(nowhere["message"], "namespaces \"nowhere\" not found");
    assert_eq!(client.post(MAPS, pod("x")).await.reason(400), "BadRequest");
    assert_eq!(client.get("/apis/none.io/v1/things").await.reason(404), "NotFound");
    assert_eq!(client.put(&format!("{MAPS}/b"), &config_map("b")).await.reason(404), "NotFound");
    assert_eq!(
        client.call("POST", &format!("{MAPS}/b"), &config_map("b")).await.reason(405),
        "MethodNotAllowed"
    );
    let mut wrong = config_map("a");
    wrong["metadata"]["uid"] = json!("other");
    assert_eq!(client.put(&format!("{MAPS}/a"), &wrong).await.reason(409), "Conflict");
}

#[tokio::test]
async fn a_name_is_generated_once_per_object() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let body = json!({"metadata": {"generateName": "x-"}});
    let first = client.post(MAPS, body.clone()).await.expect(201)["metadata"]["name"].clone();
    let second = client.post(MAPS, body).await.expect(201)["metadata"]["name"].clone();
    assert_ne!(first, second);
    assert!(first.as_str().unwrap().starts_with("x-") && first.as_str().unwrap().len() == 7);
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client
        .post(&format!("{MAPS}?dryRun=All&fieldManager=x&fieldValidation=Strict"), config_map("a"))
        .await
        .expect(201);
    assert_eq!(client.get(&format!("{MAPS}/a")).await.reason(404), "NotFound");
    client.post(MAPS, config_map("a")).await.expect(201);
    client.delete(&format!("{MAPS}/a?dryRun=All")).await.expect(200);
    client.patch("merge", &format!("{MAPS}/a?dryRun=All"), json!({"data": {"k": "w"}})).await.expect(200);
    assert_eq!(client.get(&format!("{MAPS}/a")).await.expect(200)["data"]["k"], "v");
}

#[tokio::test]
async fn status_is_apart_from_spec_but_annotations_pass_for_pods() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut object = client.post(PODS, pod("a")).await.expect(201);
    object["status"] = json!({"phase": "Running"});
    object["metadata"]["labels"] = json!({"l": "1"});
    let mut main = client.put(&format!("{PODS}/a"), &object).await.expect(200);
    assert_eq!(
        (&main["status"]["phase"], &main["metadata"]["labels"]["l"]),
        (&json!("Pending"), &json!("1"))
    );
    main["status"]["phase"] = json!("Running");
    main["spec"]["containers"][0]["image"] = json!("other");
    main["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/network-status": "[]"});
    let after = client.put(&format!("{PODS}/a/status"), &main).await.expect(200);
    assert_eq!(
        (&after["status"]["phase"], &after["spec"]["containers"][0]["image"]),
        (&json!("Running"), &json!("alpine"))
    );
    assert_eq!(after["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"], "[]");
    assert_eq!(after["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_binding_gives_a_pod_its_node_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(PODS, pod("a")).await.expect(201);
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    client.post(&format!("{PODS}/a/binding"), binding.clone()).await.expect(201);
    let bound = client.get(&format!("{PODS}/a")).await.expect(200);
    assert_eq!(
        (&bound["spec"]["nodeName"], &bound["status"]["conditions"][0]["type"]),
        (&json!("n1"), &json!("PodScheduled"))
    );
    assert_eq!(client.post(&format!("{PODS}/a/binding"), binding).await.reason(409), "Conflict");
    let on_node = client.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await.expect(200);
    assert_eq!(on_node["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn patches_of_all_three_types_apply_to_pods() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(PODS, pod("a")).await.expect(201);
    let path = format!("{PODS}/a");
    let json_patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"x": "1"}}]);
    client.patch("json", &path, json_patch).await.expect(200);
    client.patch("merge", &path, json!({"metadata": {"labels": {"y": "2"}}})).await.expect(200);
    let strategic = json!({"spec": {"containers": [{"name": "c", "image": "busybox"}]}});
    let done = client.patch("strategic-merge", &path, strategic).await.expect(200);
    assert_eq!(
        (&done["metadata"]["labels"], &done["metadata"]["generation"]),
        (&json!({"x": "1", "y": "2"}), &json!(2))
    );
    assert_eq!(done["spec"]["containers"][0]["terminationMessagePath"], "/dev/termination-log");
    let failing = json!([{"op": "test", "path": "/metadata/name", "value": "b"}]);
    assert_eq!(client.patch("json", &path, failing).await.reason(422), "Invalid");
    let forbidden = json!({"spec": {"hostNetwork": true}});
    assert_eq!(client.patch("merge", &path, forbidden).await.reason(422), "Invalid");
}

#[tokio::test]
async fn lists_are_selected_and_cut() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for n in 0..5 {
        let mut object = config_map(&format!("m{n}"));
        object["metadata"]["labels"] = json!({"odd": (n % 2 == 1).to_string()});
        client.post(MAPS, object).await.expect(201);
    }
    let odd = client.get(&format!("{MAPS}?labelSelector=odd%3Dtrue&limit=1")).await.expect(200);
    assert_eq!(odd["items"][0]["metadata"]["name"], "m1");
    let next = odd["metadata"]["continue"].as_str().unwrap();
    let rest =
        client.get(&format!("{MAPS}?labelSelector=odd%3Dtrue&limit=1&continue={next}")).await.expect(200);
    assert_eq!(rest["items"][0]["metadata"]["name"], "m3");
    assert!(rest["metadata"].get("continue").is_none());
    assert_eq!(rest["metadata"]["resourceVersion"], odd["metadata"]["resourceVersion"]);
    let one = client.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dm4").await.expect(200);
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn events_are_one_store_in_two_groups() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let event = json!({
        "metadata": {"name": "e"}, "reason": "Failed", "note": "why", "type": "Warning", "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reportingController": "polynic", "action": "Attach",
    });
    let created = client.post("/apis/events.k8s.io/v1/namespaces/default/events", event).await.expect(201);
    assert_eq!((&created["apiVersion"], &created["note"]), (&json!("events.k8s.io/v1"), &json!("why")));
    let core = client
        .get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp")
        .await
        .expect(200);
    assert_eq!(
        (&core["items"][0]["message"], &core["items"][0]["involvedObject"]["name"], &core["apiVersion"]),
        (&json!("why"), &json!("p"), &json!("v1"))
    );
    let patch = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let path = "/apis/events.k8s.io/v1/namespaces/default/events/e";
    assert_eq!(client.patch("merge", path, patch).await.expect(200)["series"]["count"], 2);
}

#[tokio::test]
async fn tables_and_metadata_come_on_request() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(PODS, pod("a")).await.expect(201);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let answer = client.try_call("GET", PODS, &table, "").await.unwrap().expect(200);
    assert_eq!((&answer["kind"], &answer["rows"][0]["cells"][2]), (&json!("Table"), &json!("Pending")));
    let meta = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let answer = client.try_call("GET", PODS, &meta, "").await.unwrap().expect(200);
    assert_eq!(answer["kind"], "PartialObjectMetadataList");
    assert!(answer["items"][0].get("spec").is_none());
}
