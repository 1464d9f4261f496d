//! The load: writes by one and by many, pods, lists, and watchers of one change.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Outcome;
use crate::figures::Figures;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const WRITERS: usize = 32;
const WRITES: usize = 3_200;
const OBJECTS: usize = 5_000;
const WATCHERS: usize = 1_000;

/// Puts the whole load on a server. Afterwards it holds more than 10,000 objects.
pub async fn load(server: &Server, figures: &mut Figures) -> Outcome<()> {
    figures.memory("resident, empty", server.resident());
    figures.rate("writes by one", 200, create(server, 1, 200, MAPS, |n| map("one", n)).await?);
    let took = create(server, WRITERS, WRITES, MAPS, |n| map("many", n)).await?;
    figures.rate("writes by 32", WRITES, took);
    figures.rate("pods created by 32", OBJECTS, create(server, WRITERS, OBJECTS, PODS, pod).await?);
    figures.time("list of 5,000 pods", list(server).await?);
    figures.memory("resident, 5,000 pods and 3,400 config maps", server.resident());
    create(server, WRITERS, 2_000, MAPS, |n| map("more", n)).await?;
    figures.time("1,000 watchers told", watchers(server).await?);
    figures.memory("resident, 10,400 objects and 1,000 watchers", server.resident());
    Ok(())
}

fn map(kind: &str, n: usize) -> Value {
    json!({"metadata": {"name": format!("{kind}-{n}")}, "data": {"k": "v"}})
}

fn pod(n: usize) -> Value {
    let spec = json!({"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]});
    json!({"metadata": {"name": format!("p{n}")}, "spec": spec})
}

/// How long some writers need to create objects, each over a connection of its own.
async fn create(
    server: &Server,
    writers: usize,
    count: usize,
    path: &'static str,
    object: impl Fn(usize) -> Value + Copy + Send + 'static,
) -> Outcome<Duration> {
    let mut clients = Vec::new();
    for _ in 0..writers {
        clients.push(server.connect().await?);
    }
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (writer, mut client) in clients.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            for n in (writer..count).step_by(writers) {
                client.post(path, object(n)).await.expect(201);
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    Ok(begun.elapsed())
}

/// The best of five.
async fn list(server: &Server) -> Outcome<Duration> {
    let mut client = server.connect().await?;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let response = client.send("GET", PODS, &[], "").await?;
        http_body_util::BodyExt::collect(response.into_body()).await?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

/// How long it takes until all watchers know of one change.
async fn watchers(server: &Server) -> Outcome<Duration> {
    let mut client = server.connect().await?;
    let list = client.get(&format!("{MAPS}?limit=1")).await.expect(200);
    let since = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let mut all = Vec::new();
    for _ in 0..WATCHERS {
        let path = format!("{MAPS}?watch=1&resourceVersion={since}");
        all.push(server.connect().await?.watch(&path).await);
    }
    let begun = Instant::now();
    client.post(MAPS, json!({"metadata": {"name": "watched"}})).await.expect(201);
    for events in &mut all {
        events.next().await.ok_or("a watch ended")?;
    }
    Ok(begun.elapsed())
}
