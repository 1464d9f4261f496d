//! A small load for an API server, the embedded one or any other: `load [ADDR CA-FILE TOKEN]`. Without arguments it starts an
//! embedded server in a temporary directory. Prints figures; asserts none.

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::error::Error;
use std::time::{Duration, Instant};

use polynic_apiserver::{Config, Server};
use serde_json::json;

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared with the tests, which use more of it"
)]
#[path = "../tests/api/client.rs"]
mod client;

use client::{Client, Credentials};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const WRITERS: usize = 32;
const WRITES: usize = 100;
const OBJECTS: usize = 5_000;
const WATCHERS: usize = 1_000;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Where a server is.
struct Target {
    addr: std::net::SocketAddr,
    ca: String,
    token: String,
}

impl Target {
    async fn connect(&self) -> Outcome<Client> {
        Client::connect(self.addr, &Credentials { ca: self.ca.clone(), token: self.token.clone() }).await
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [addr, ca, token] = arguments.as_slice() {
        let target = Target { addr: addr.parse()?, ca: std::fs::read_to_string(ca)?, token: token.clone() };
        return load(&target).await;
    }
    let dir = tempfile::tempdir()?;
    let begun = Instant::now();
    let running = Server::start(Config::new(dir.path())).await?;
    println!("ready, empty:                {:?}", begun.elapsed());
    let target = Target { addr: running.addr(), ca: running.ca_pem().into(), token: running.token().into() };
    println!("resident, empty:             {} KiB", resident());
    load(&target).await?;
    running.shutdown().await;
    let begun = Instant::now();
    let running = Server::start(Config::new(dir.path())).await?;
    println!("ready again with all of it:  {:?}", begun.elapsed());
    running.shutdown().await;
    Ok(())
}

async fn load(target: &Target) -> Outcome<()> {
    writes(target, 1, WRITES).await?;
    writes(target, WRITERS, WRITES).await?;
    pods(target).await?;
    lists(target).await?;
    println!("resident, with the load:     {} KiB", resident());
    watchers(target).await
}

/// How many small objects a second some writers make together.
async fn writes(target: &Target, writers: usize, each: usize) -> Outcome<()> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let mut client = target.connect().await?;
        tasks.push(tokio::spawn(async move {
            for n in 0..each {
                let object =
                    json!({"metadata": {"name": format!("w{writers}-{writer}-{n}")}, "data": {"k": "v"}});
                client.post(MAPS, object).await.expect(201);
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    let rate = (writers * each) as f64 / begun.elapsed().as_secs_f64();
    println!("writes, {writers:>2} writers:          {rate:.0}/s");
    Ok(())
}

async fn pods(target: &Target) -> Outcome<()> {
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let mut client = target.connect().await?;
        tasks.push(tokio::spawn(async move {
            for n in (writer..OBJECTS).step_by(WRITERS) {
                let spec = json!({"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]});
                let pod = json!({"metadata": {"name": format!("p{n}")}, "spec": spec});
                client.post(PODS, pod).await.expect(201);
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn lists(target: &Target) -> Outcome<()> {
    let mut client = target.connect().await?;
    let mut best = Duration::MAX;
    let mut size = 0;
    for _ in 0..5 {
        let begun = Instant::now();
        let response = client.send("GET", PODS, &[], "").await?;
        size = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes().len();
        best = best.min(begun.elapsed());
    }
    println!("list of {OBJECTS} pods:          {best:?}, {} KiB", size >> 10);
    Ok(())
}

/// How long it takes until all watchers know of one change.
async fn watchers(target: &Target) -> Outcome<()> {
    let mut client = target.connect().await?;
    let list = client.get(&format!("{MAPS}?limit=1")).await.expect(200);
    let since = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let mut all = Vec::new();
    for _ in 0..WATCHERS {
        let path = format!("{MAPS}?watch=1&resourceVersion={since}");
        all.push(target.connect().await?.watch(&path).await);
    }
    let begun = Instant::now();
    client.post(MAPS, json!({"metadata": {"name": "watched"}})).await.expect(201);
    for events in &mut all {
        events.next().await.ok_or("a watch ended")?;
    }
    println!("{WATCHERS} watchers told:         {:?}", begun.elapsed());
    println!("resident, with watchers:     {} KiB", resident());
    Ok(())
}

/// Memory of this process: of load and server together where the server is embedded.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
