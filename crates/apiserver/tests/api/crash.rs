//! kill -9: whatever was acknowledged is there afterwards. The server runs in a child process, which is this test
//! program again, told by its environment to serve.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use polynic_apiserver::{Config, Server};
use serde_json::json;
use tokio::process::{Child, Command};

use super::client::{Client, Credentials};

const DIR: &str = "POLYNIC_TEST_SERVE";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Not a test by itself: the child's part.
#[tokio::test]
async fn child_server() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let running = Server::start(Config::new(&dir)).await.unwrap();
    let ready = Path::new(&dir).join("addr");
    std::fs::write(ready.with_extension("new"), running.addr().to_string()).unwrap();
    std::fs::rename(ready.with_extension("new"), ready).unwrap();
    std::future::pending::<()>().await;
}

async fn spawn(dir: &Path) -> (Child, Client) {
    let _ = std::fs::remove_file(dir.join("addr"));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_server", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let addr = wait_for_addr(dir).await;
    (child, Client::connect(addr, &Credentials::read(dir)).await.unwrap())
}

async fn wait_for_addr(dir: &Path) -> SocketAddr {
    for _ in 0..600 {
        if let Ok(text) = std::fs::read_to_string(dir.join("addr")) {
            return text.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the child server did not start");
}

/// Writes until the server is gone; answers how many writes were acknowledged.
async fn write_until_dead(mut client: Client, writer: usize) -> usize {
    let headers = [("content-type", "application/json")];
    for n in 0.. {
        let object = json!({"metadata": {"name": format!("w{writer}-{n}")}, "data": {"n": n.to_string()}});
        match client.try_call("POST", MAPS, &headers, object.to_string()).await {
            Ok(answer) => drop(answer.expect(201)),
            Err(_) => return n,
        }
    }
    unreachable!("the loop has no end of its own")
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = [0; 3];
    for round in 0..3 {
        let (mut child, mut client) = spawn(dir.path()).await;
        for (writer, count) in acknowledged.iter().enumerate().take(round) {
            for n in 0..*count {
                client.get(&format!("{MAPS}/w{writer}-{n}")).await.expect(200);
            }
        }
        let writing = tokio::spawn(write_until_dead(client, round));
        tokio::time::sleep(Duration::from_millis(300)).await;
        child.kill().await.unwrap();
        acknowledged[round] = writing.await.unwrap();
        assert!(acknowledged[round] > 0, "nothing was written before the kill");
    }
    let (_child, mut client) = spawn(dir.path()).await;
    let list = client.get(MAPS).await.expect(200);
    let (found, wanted) = (list["items"].as_array().unwrap().len(), acknowledged.iter().sum::<usize>());
    // The write that the kill interrupted may be there or not: one a round at most.
    assert!((wanted..=wanted + 3).contains(&found), "{found} found, {wanted} acknowledged");
}
