//! A full disk: writes fail with a clean error, reads go on, and once there is room again writes do too. The disk is a small
//! tmpfs in a mount namespace of its own, where this test program runs again, told by its environment what to do.

use std::fs;
use std::path::Path;
use std::process::Command;

use polynic_apiserver::{Config, Server};
use serde_json::{Value, json};

use super::client::*;

const DIR: &str = "POLYNIC_TEST_FULL_DISK";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Not a test by itself: the part that runs on the small disk.
#[tokio::test]
async fn on_a_small_disk() {
    let Some(disk) = std::env::var_os(DIR) else { return };
    let disk = Path::new(&disk);
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let running = Server::start(Config::new(disk.join("data"))).await.unwrap();
    let credentials = Credentials { ca: running.ca_pem().into(), token: running.token().into() };
    let mut client = Client::connect(running.addr(), &credentials).await.unwrap();
    let mut kept = Vec::new();
    let refused = fill(&mut client, &mut kept).await;
    assert_eq!(
        (&refused["reason"], &refused["kind"]),
        (&json!("InternalError"), &json!("Status")),
        "{refused}"
    );
    assert!(!kept.is_empty(), "not one object fitted");
    all_there(&mut client, &kept).await;
    assert_eq!(client.get(&format!("{MAPS}/refused")).await.reason(404), "NotFound");
    client.get("/healthz").await.expect(200);
    fs::remove_file(&ballast).unwrap();
    client.post(MAPS, large("afterwards")).await.expect(201);
    kept.push("afterwards".into());
    running.shutdown().await;
    let running = Server::start(Config::new(disk.join("data"))).await.unwrap();
    let mut client = Client::connect(running.addr(), &credentials).await.unwrap();
    all_there(&mut client, &kept).await;
    let list = client.get(MAPS).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), kept.len());
}

fn large(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "x".repeat(200 << 10)}})
}

/// Writes until the disk is full; answers the refusal.
async fn fill(client: &mut Client, kept: &mut Vec<String>) -> Value {
    for n in 0..200 {
        let name = format!("m{n}");
        let answer = client.post(MAPS, large(&name)).await;
        if answer.code != 201 {
            assert_eq!(client.post(MAPS, large("refused")).await.code, 500, "a second write is refused too");
            return answer.expect(500);
        }
        kept.push(name);
    }
    panic!("the disk does not fill up");
}

async fn all_there(client: &mut Client, names: &[String]) {
    for name in names {
        client.get(&format!("{MAPS}/{name}")).await.expect(200);
    }
}

#[test]
fn a_full_disk_costs_no_object_and_no_server() {
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8M tmpfs \"$POLYNIC_TEST_FULL_DISK\" && exec \"$@\"";
    let unshare = |inner: &[&std::ffi::OsStr]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).args(inner);
        command.env(DIR, disk.path()).output()
    };
    match unshare(&["true".as_ref()]) {
        Ok(output) if output.status.success() => {}
        other => {
            println!("skipped: no mount namespace with a disk of its own here: {other:?}");
            return;
        }
    }
    let this = std::env::current_exe().unwrap();
    let arguments =
        [this.as_os_str(), "--exact".as_ref(), "full_disk::on_a_small_disk".as_ref(), "--nocapture".as_ref()];
    let output = unshare(&arguments).unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}
