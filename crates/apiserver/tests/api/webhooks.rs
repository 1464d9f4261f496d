use std::sync::Arc;

use serde_json::{Value, json};

use super::client::*;
use super::hook_server::HookServer;

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A configuration with one webhook, about config maps.
fn configuration(name: &str, hook: &HookServer, change: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": hook.url(&format!("/{name}")), "caBundle": hook.ca_bundle()},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        webhook[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "webhooks": [webhook]})
}

fn labelled(request: &Value, label: &str) -> Value {
    let (op, path) = if request["object"]["metadata"]["labels"].is_object() {
        ("add", format!("/metadata/labels/{label}"))
    } else {
        ("add", "/metadata/labels".to_owned())
    };
    let value = if path.ends_with("labels") { json!({label: "yes"}) } else { json!("yes") };
    patch(&json!([{"op": op, "path": path, "value": value}]))
}

fn patch(operations: &Value) -> Value {
    use base64::Engine as _;
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"})
}

#[tokio::test]
async fn a_validating_webhook_sees_all_writes_and_may_refuse_them() {
    let hook = HookServer::start(|request| {
        let name = request["name"].as_str().unwrap_or_default();
        json!({"allowed": !name.starts_with("bad"), "warnings": ["seen"],
               "status": {"message": "bad names are bad", "code": 403, "reason": "Forbidden"}})
    })
    .await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(VALIDATING, configuration("check", &hook, json!({}))).await.expect(201);
    let refused = client.post(MAPS, config_map("bad")).await.expect(403);
    let message = "admission webhook \"check.example.com\" denied the request: bad names are bad";
    assert_eq!(
        (&refused["message"], &refused["reason"], &refused["code"]),
        (&json!(message), &json!("Forbidden"), &json!(403))
    );
    client.get(&format!("{MAPS}/bad")).await.expect(404);
    client.post(MAPS, config_map("good")).await.expect(201);
    let path = format!("{MAPS}/good");
    client.patch("merge", &path, json!({"data": {"k": "w"}})).await.expect(200);
    client.delete(&path).await.expect(200);
    let seen = hook.seen();
    let operations: Vec<&str> = seen.iter().map(|r| r["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["CREATE", "CREATE", "UPDATE", "DELETE"]);
    let create = &seen[1];
    assert_eq!(create["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(create["requestResource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&create["namespace"], &create["name"]), (&json!("default"), &json!("good")));
    assert!(create["object"]["metadata"]["uid"].is_string() && create["oldObject"].is_null());
    assert_eq!((&create["dryRun"], &create["options"]["kind"]), (&json!(false), &json!("CreateOptions")));
    assert_eq!(create["userInfo"]["groups"][0], "system:masters");
    assert_eq!(
        (&seen[2]["oldObject"]["data"]["k"], &seen[2]["object"]["data"]["k"]),
        (&json!("v"), &json!("w"))
    );
    assert!(seen[3]["object"].is_null() && seen[3]["oldObject"]["data"]["k"] == "w");
}

#[tokio::test]
async fn warnings_of_webhooks_reach_the_client() {
    let hook = HookServer::start(|_| json!({"allowed": true, "warnings": ["mind the gap"]})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(VALIDATING, configuration("warn", &hook, json!({}))).await.expect(201);
    let headers = [("content-type", "application/json")];
    let response = client.send("POST", MAPS, &headers, config_map("a").to_string()).await.unwrap();
    assert_eq!(response.headers()["warning"], "299 - \"mind the gap\"");
}

#[tokio::test]
async fn mutating_webhooks_run_in_order_and_again_if_a_later_one_changed_something() {
    let hook = HookServer::start(|request| labelled(request, request["hook"].as_str().unwrap())).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    client.post(MUTATING, configuration("b", &hook, json!({}))).await.expect(201);
    client.post(MUTATING, configuration("a", &hook, again)).await.expect(201);
    let created = client.post(MAPS, config_map("m")).await.expect(201);
    assert_eq!(created["metadata"]["labels"], json!({"a": "yes", "b": "yes"}));
    let order: Vec<String> = hook.seen().iter().map(|r| r["hook"].as_str().unwrap().to_owned()).collect();
    assert_eq!(order, ["a", "b", "a"]);
    assert!(hook.seen()[0]["object"]["metadata"].get("uid").is_none(), "not an object of the server yet");
}

#[tokio::test]
async fn what_a_webhook_made_is_checked_like_what_a_client_sent() {
    let wrong = json!([{"op": "add", "path": "/metadata/labels", "value": {"-": "x"}}]);
    let hook = HookServer::start(move |_| patch(&wrong)).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(MUTATING, configuration("a", &hook, json!({}))).await.expect(201);
    assert_eq!(client.post(MAPS, config_map("m")).await.reason(422), "Invalid");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_fails_the_request_or_is_ignored() {
    let hook = HookServer::start(|_| json!({"allowed": true})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let nobody = json!({"clientConfig": {"url": "https://127.0.0.1:1/x"}});
    client.post(VALIDATING, configuration("down", &hook, nobody.clone())).await.expect(201);
    let failed = client.post(MAPS, config_map("a")).await.expect(500);
    let why = "failed calling webhook \"down.example.com\": failed to call webhook: Post \"https://127.0.0.1:1/x?timeout=10s\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(failed["message"], format!("Internal error occurred: {why}"));
    assert_eq!(failed["details"], json!({"causes": [{"message": why}]}));
    client.delete(&format!("{VALIDATING}/down")).await.expect(200);
    let mut ignored = nobody;
    ignored["failurePolicy"] = json!("Ignore");
    client.post(VALIDATING, configuration("ignored", &hook, ignored)).await.expect(201);
    client.post(MAPS, config_map("a")).await.expect(201);
    let distrusted = json!({"clientConfig": {"url": hook.url("/x")}});
    client.post(VALIDATING, configuration("stranger", &hook, distrusted)).await.expect(201);
    let failed = client.post(MAPS, config_map("b")).await.expect(500);
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.ends_with("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        "{message}"
    );
}

#[tokio::test]
async fn selectors_decide_who_is_asked() {
    let hook = HookServer::start(|_| json!({"allowed": false})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let selective = json!({
        "objectSelector": {"matchLabels": {"watch": "me"}},
        "namespaceSelector": {"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]},
    });
    client.post(VALIDATING, configuration("some", &hook, selective)).await.expect(201);
    let mut labelled = config_map("a");
    labelled["metadata"]["labels"] = json!({"watch": "me"});
    client.post(MAPS, config_map("plain")).await.expect(201);
    let refused = client.post(MAPS, labelled.clone()).await.expect(400);
    assert_eq!(
        refused["message"],
        "admission webhook \"some.example.com\" denied the request without explanation"
    );
    let off = json!({"metadata": {"labels": {"off": "1"}}});
    client.patch("merge", "/api/v1/namespaces/default", off).await.expect(200);
    client.post(MAPS, labelled).await.expect(201);
}

#[tokio::test]
async fn dry_runs_ask_only_webhooks_without_side_effects() {
    let hook = HookServer::start(|_| json!({"allowed": true})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(VALIDATING, configuration("a", &hook, json!({}))).await.expect(201);
    client.post(&format!("{MAPS}?dryRun=All"), config_map("x")).await.expect(201);
    client.get(&format!("{MAPS}/x")).await.expect(404);
    let seen = hook.seen();
    assert_eq!((&seen[0]["dryRun"], &seen[0]["options"]["dryRun"]), (&json!(true), &json!(["All"])));
}

#[tokio::test]
async fn a_service_is_reached_by_its_endpoints() {
    let hook = HookServer::start(|_| json!({"allowed": false, "status": {"message": "reached"}})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}});
    client.post("/api/v1/namespaces/default/services", service).await.expect(201);
    let by_service = json!({
        "clientConfig": {"caBundle": hook.ca_bundle(), "service": {"namespace": "default", "name": "hook", "path": "/x"}},
        "timeoutSeconds": 2,
    });
    client.post(VALIDATING, configuration("svc", &hook, by_service)).await.expect(201);
    let failed = client.post(MAPS, config_map("a")).await.expect(500);
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("Post \"https://hook.default.svc:443/x?timeout=2s\""), "{message}");
}

/// A webhook may ask the server that waits for it.
#[tokio::test]
async fn a_webhook_may_use_the_server_meanwhile() {
    let server = Arc::new(TestServer::start().await);
    let asked = server.clone();
    let hook = HookServer::start_async(move |_| {
        let server = asked.clone();
        async move {
            let mut client = server.client().await;
            client
                .post("/api/v1/namespaces", json!({"metadata": {"name": "made-meanwhile"}}))
                .await
                .expect(201);
            json!({"allowed": true})
        }
    })
    .await;
    let mut client = server.client().await;
    client.post(VALIDATING, configuration("a", &hook, json!({}))).await.expect(201);
    client.post(MAPS, config_map("x")).await.expect(201);
    client.get("/api/v1/namespaces/made-meanwhile").await.expect(200);
}

#[tokio::test]
async fn configurations_survive_a_restart_and_cannot_lock_anybody_out() {
    let hook = HookServer::start(|_| json!({"allowed": false})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let everything = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    client.post(VALIDATING, configuration("all", &hook, everything)).await.expect(201);
    let server = server.restart().await;
    let mut client = server.client().await;
    client.post(MAPS, config_map("x")).await.expect(400);
    client.delete(&format!("{VALIDATING}/all")).await.expect(200);
    client.post(MAPS, config_map("x")).await.expect(201);
}

#[tokio::test]
async fn conditions_decide_too_and_an_error_in_one_counts_as_a_failure() {
    let hook = HookServer::start(|_| json!({"allowed": false})).await;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let conditioned =
        |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
    let loud = conditioned("request.operation == 'CREATE' && object.metadata.name.startsWith('loud')");
    client.post(VALIDATING, configuration("some", &hook, loud)).await.expect(201);
    client.post(MAPS, config_map("quiet")).await.expect(201);
    client.post(MAPS, config_map("loud")).await.expect(400);
    client.delete(&format!("{VALIDATING}/some")).await.expect(200);
    let broken = conditioned("object.missing == 1");
    client.post(VALIDATING, configuration("broken", &hook, broken)).await.expect(201);
    let refused = client.post(MAPS, config_map("loud")).await.expect(403);
    let why = "expression 'object.missing == 1' resulted in error: no such key: missing";
    assert_eq!(refused["message"], format!("configmaps \"loud\" is forbidden: {why}"));
}
