use serde_json::json;

use super::client::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn brief(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

#[tokio::test]
async fn a_watch_tells_of_every_change_in_order() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(MAPS, config_map("old")).await.expect(201);
    let mut all = server.client().await.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(all.brief().await, brief("ADDED", "old"));
    client.post(MAPS, config_map("a")).await.expect(201);
    client.patch("merge", &format!("{MAPS}/a"), json!({"data": {"k": "2"}})).await.expect(200);
    client.delete(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(all.brief().await, brief("ADDED", "a"));
    assert_eq!(all.brief().await, brief("MODIFIED", "a"));
    let deleted = all.next().await.unwrap();
    assert_eq!((&deleted["type"], &deleted["object"]["data"]["k"]), (&json!("DELETED"), &json!("2")));
}

#[tokio::test]
async fn a_watch_goes_on_from_a_list() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(MAPS, config_map("a")).await.expect(201);
    let list = client.get(MAPS).await.expect(200);
    client.post(MAPS, config_map("b")).await.expect(201);
    let since = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = server.client().await.watch(&format!("{MAPS}?watch=true&resourceVersion={since}")).await;
    assert_eq!(events.brief().await, brief("ADDED", "b"));
}

#[tokio::test]
async fn what_stops_matching_a_selector_is_deleted_for_its_watchers() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut events = server.client().await.watch(&format!("{MAPS}?watch=1&labelSelector=on%3Dyes")).await;
    client.post(MAPS, config_map("a")).await.expect(201);
    let path = format!("{MAPS}/a");
    for label in [json!("yes"), json!("no"), json!("yes")] {
        client.patch("merge", &path, json!({"metadata": {"labels": {"on": label}}})).await.expect(200);
    }
    client.delete(&path).await.expect(200);
    for kind in ["ADDED", "DELETED", "ADDED", "DELETED"] {
        assert_eq!(events.brief().await, brief(kind, "a"));
    }
}

#[tokio::test]
async fn history_from_before_a_restart_has_expired() {
    let server = TestServer::start().await;
    server.client().await.post(MAPS, config_map("a")).await.expect(201);
    let server = server.restart().await;
    let mut events = server.client().await.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let error = events.next().await.unwrap();
    assert_eq!(
        (&error["type"], &error["object"]["code"], &error["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert!(events.next().await.is_none(), "the stream ends after an error");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = TestServer::start().await;
    server.client().await.post(MAPS, config_map("a")).await.expect(201);
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut events = server.client().await.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(events.brief().await, brief("ADDED", "a"));
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_or_the_server_stops() {
    let server = TestServer::start().await;
    let mut short = server.client().await.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert!(short.next().await.is_none());
    let mut long = server.client().await.watch(&format!("{MAPS}?watch=1")).await;
    server.running.shutdown().await;
    assert!(long.next().await.is_none());
}
