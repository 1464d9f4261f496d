//! The webhooks of the suite, one server for all cases: the last segment of the path says what a webhook does. Each refuses what is called
//! `probe`, so that a case can wait until a server knows of it.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::hook_server::HookServer;

pub async fn start() -> HookServer {
    HookServer::start_async(|request| async move { answer(&request).await }).await
}

async fn answer(request: &Value) -> Value {
    if request["name"] == "probe" {
        return refusal("probed");
    }
    let hook = request["hook"].as_str().unwrap_or_default();
    match hook.split_once('-').unwrap_or((hook, "")) {
        ("allow", _) => json!({"allowed": true}),
        ("deny", _) => json!({"allowed": false}),
        ("deny403", _) => refusal("no"),
        ("teapot", _) => {
            json!({"allowed": false, "status": {"code": 418, "message": "short and stout", "reason": "Teapot"}})
        }
        ("echo", _) => refusal(&seen(request).to_string()),
        ("warn", _) => json!({"allowed": true, "warnings": ["mind the gap", "and the step"]}),
        ("append", word) => append(request, word),
        ("badlabel", _) => patch(&json!([{"op": "add", "path": "/metadata/labels", "value": {"-": "x"}}])),
        ("badpatch", _) => patch(&json!([{"op": "remove", "path": "/data/none"}])),
        ("rename", _) => patch(&json!([{"op": "replace", "path": "/metadata/name", "value": "other"}])),
        ("nopatch", _) => json!({"allowed": true, "patch": "ew==", "patchType": "JSONPatch"}),
        ("notype", _) => json!({"allowed": true, "patch": "W10="}),
        // Longer than anybody waits.
        _ => std::future::pending().await,
    }
}

fn refusal(message: &str) -> Value {
    json!({"allowed": false, "status": {"code": 403, "message": message, "reason": "Forbidden"}})
}

fn patch(operations: &Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"})
}

/// Adds a word to `data.words`.
fn append(request: &Value, word: &str) -> Value {
    let words = request["object"]["data"]["words"].as_str().unwrap_or_default();
    patch(&json!([{"op": "add", "path": "/data/words", "value": format!("{words}{word}")}]))
}

/// What the webhook was told, without what is different each time.
fn seen(request: &Value) -> Value {
    let told = [
        "kind",
        "resource",
        "subResource",
        "requestKind",
        "requestResource",
        "requestSubResource",
        "name",
        "namespace",
        "operation",
        "dryRun",
        "options",
        "userInfo",
    ];
    let mut seen: Map<String, Value> =
        told.iter().filter_map(|key| Some(((*key).to_owned(), request.get(*key)?.clone()))).collect();
    for side in ["object", "oldObject"] {
        let object = &request[side];
        let shown = json!({
            "type": [object["apiVersion"], object["kind"]], "data": object["data"], "spec": object["spec"],
            "name": object["metadata"]["name"], "has uid": object["metadata"]["uid"].is_string(),
            "has owners": object["metadata"]["managedFields"].is_array(),
        });
        seen.insert(side.into(), if object.is_null() { Value::Null } else { shown });
    }
    Value::Object(seen)
}
