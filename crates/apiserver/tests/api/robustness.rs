use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use polynic_apiserver::{Config, Server, StartError};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::client::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn without_the_token_there_is_health_and_nothing_else() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for token in ["", "wrong"] {
        client.token = token.into();
        client.get("/healthz").await.expect(200);
        client.get("/version").await.expect(200);
        for path in [MAPS, "/api", "/apis", "/openapi/v3", "/api/v1/namespaces"] {
            assert_eq!(client.get(path).await.reason(401), "Unauthorized");
        }
    }
}

#[tokio::test]
async fn the_kubeconfig_is_private_and_good_after_a_restart() {
    let server = TestServer::start().await;
    let (ca, token) = (server.running.ca_pem().to_owned(), server.running.token().to_owned());
    let mode = std::fs::metadata(server.running.kubeconfig_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = server.restart().await;
    assert_eq!((server.running.ca_pem(), server.running.token()), (ca.as_str(), token.as_str()));
    server.client().await.get("/api").await.expect(200);
}

#[tokio::test]
async fn a_server_runs_on_a_listener_that_is_handed_in() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let running = Server::start_on(Config::new(dir.path()), listener).await.unwrap();
    assert_eq!(running.addr(), addr);
    assert!(running.kubeconfig().contains(&format!("server: https://{addr}\n")));
    TestServer { running, dir }.client().await.get("/api").await.expect(200);
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let server = TestServer::start().await;
    let second = Server::start(Config::new(server.dir.path())).await;
    assert!(matches!(second.err(), Some(StartError::Api { .. })));
    server.client().await.get("/api").await.expect(200);
}

#[tokio::test]
async fn bad_requests_get_a_status_and_the_server_lives_on() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let json_type = [("content-type", "application/json")];
    for body in [
        "",
        "{",
        "[]",
        "\"x\"",
        "null",
        "{\"metadata\": 5}",
        "{\"metadata\":{\"labels\":{\"a\":{}}}}",
        "\u{0}",
    ] {
        let answer = client.try_call("POST", MAPS, &json_type, body.to_owned()).await.unwrap();
        assert_eq!(answer.reason(400), "BadRequest", "{body}");
    }
    let deep =
        format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(client.try_call("POST", MAPS, &json_type, deep).await.unwrap().reason(400), "BadRequest");
    for query in [
        "labelSelector=a%3D%3D%3D",
        "fieldSelector=nope",
        "fieldSelector=spec.x%3D1",
        "limit=x",
        "continue=%21",
    ] {
        assert_eq!(client.get(&format!("{MAPS}?{query}")).await.reason(400), "BadRequest", "{query}");
    }
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    let answer = client.try_call("POST", MAPS, &protobuf, "k8s\0").await.unwrap();
    assert_eq!(answer.reason(415), "UnsupportedMediaType");
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    assert_eq!(client.try_call("GET", MAPS, &accept, "").await.unwrap().reason(406), "NotAcceptable");
    client.get(MAPS).await.expect(200);
}

#[tokio::test]
async fn an_oversize_body_is_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let big = json!({"metadata": {"name": "big"}, "data": {"k": "x".repeat(3 << 20)}});
    assert_eq!(client.post(MAPS, big).await.reason(413), "RequestEntityTooLarge");
    let mut client = server.client().await;
    client.get(&format!("{MAPS}/big")).await.expect(404);
}

#[tokio::test]
async fn garbage_on_the_wire_harms_nobody() {
    let server = TestServer::start().await;
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0x16, 3, 1, 255, 255], &[0; 64]] {
        let mut stream = tokio::net::TcpStream::connect(server.running.addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
    }
    server.client().await.get("/healthz").await.expect(200);
}

/// What one writer saw: the resourceVersion that each acknowledged value got.
async fn increments(server: &TestServer, times: usize) -> BTreeMap<u64, u64> {
    let mut client = server.client().await;
    let (path, mut seen) = (format!("{MAPS}/counter"), BTreeMap::new());
    while seen.len() < times {
        let mut object = client.get(&path).await.expect(200);
        let next = object["data"]["n"].as_str().unwrap().parse::<u64>().unwrap() + 1;
        object["data"]["n"] = json!(next.to_string());
        let answer = client.put(&path, &object).await;
        if answer.code == 409 {
            continue;
        }
        let version = answer.expect(200)["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        seen.insert(version, next);
    }
    seen
}

#[tokio::test]
async fn concurrent_read_modify_writes_lose_nothing() {
    let server = TestServer::start().await;
    let object = json!({"metadata": {"name": "counter"}, "data": {"n": "0"}});
    server.client().await.post(MAPS, object).await.expect(201);
    let (a, b, c) = tokio::join!(increments(&server, 20), increments(&server, 20), increments(&server, 20));
    let all: BTreeMap<u64, u64> = [a, b, c].into_iter().flatten().collect();
    let values: Vec<u64> = all.values().copied().collect();
    assert_eq!(
        values,
        (1..=60).collect::<Vec<u64>>(),
        "in the order of revisions, each increment follows the one before"
    );
    let last: Value = server.client().await.get(&format!("{MAPS}/counter")).await.expect(200);
    assert_eq!(last["data"]["n"], "60");
}

/// Half of a handshake, of a head, of a body: each waits for its own time-out, and nobody for them.
#[tokio::test]
async fn clients_that_stop_half_way_hold_up_nobody() {
    let server = TestServer::start().await;
    let addr = server.running.addr();
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        stream.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        silent.push(stream);
    }
    let mut half_way = Vec::new();
    for _ in 0..30 {
        let mut stream = server.tls().await;
        stream.write_all(b"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nAuth").await.unwrap();
        half_way.push(stream);
        let mut stream = server.tls().await;
        let (path, token) = (MAPS, server.running.token());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        half_way.push(stream);
    }
    let mut client = server.client().await;
    client.post(MAPS, config_map("meanwhile")).await.expect(201);
    client.get(&format!("{MAPS}/meanwhile")).await.expect(200);
    // The server is not kept from stopping either.
    server.restart().await.client().await.get(&format!("{MAPS}/meanwhile")).await.expect(200);
    drop((silent, half_way));
}

/// A watcher that reads nothing is not written for without bound: its stream ends, and it can go on from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_is_ended() {
    let server = TestServer::start_with(|config| config.limits.watcher_bytes = 1 << 20).await;
    let mut sleeping = server.client().await.watch(&format!("{MAPS}?watch=1&resourceVersion=0")).await;
    let mut client = server.client().await;
    let writes = 150;
    client.post(MAPS, config_map("big")).await.expect(201);
    for n in 0..writes {
        let data = json!({"data": {"n": n.to_string(), "k": "x".repeat(256 << 10)}});
        client.patch("merge", &format!("{MAPS}/big"), data).await.expect(200);
    }
    let (mut seen, mut last) = (0, String::new());
    while let Some(event) = sleeping.next().await {
        last = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        seen += 1;
    }
    assert!(seen < writes, "all {seen} events were kept for it");
    let from = format!("{MAPS}?watch=1&resourceVersion={last}");
    let again = server.client().await.watch(&from).await.next().await.unwrap();
    // What it missed is in the window still, or it is told that it is not.
    assert!(["MODIFIED", "ERROR"].contains(&again["type"].as_str().unwrap()), "{again}");
}
