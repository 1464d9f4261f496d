//! Random concurrent clients against what a Kubernetes API promises: writes of an object are linearizable, and a watch is
//! the history, whole and in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: u64 = 6;
const STEPS: u64 = 60;
const NAMES: u64 = 4;

/// A small generator of repeatable nonsense (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % sides
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// One random operation; answers the revision of the write that was acknowledged, if it was one, and what it left.
async fn step(client: &mut Client, dice: &mut Dice) -> Option<(u64, Value)> {
    let name = format!("m{}", dice.roll(NAMES));
    let (path, value) = (format!("{MAPS}/{name}"), dice.roll(1_000_000).to_string());
    let answer = match dice.roll(4) {
        0 => client.post(MAPS, json!({"metadata": {"name": name}, "data": {"v": value}})).await,
        1 => client.patch("merge", &path, json!({"data": {"v": value}})).await,
        2 => {
            let mut object = client.get(&path).await.body;
            object["data"] = json!({"v": value});
            client.put(&path, &object).await
        }
        _ => {
            assert!([200, 404].contains(&client.delete(&path).await.code));
            return None;
        }
    };
    match answer.code {
        200 | 201 => Some((version(&answer.body), answer.body)),
        404 | 409 => None,
        // A PUT of what the failed GET answered.
        400 => None,
        other => panic!("{other}: {}", answer.body),
    }
}

async fn writer(mut client: Client, seed: u64) -> Vec<(u64, Value)> {
    let (mut dice, mut acknowledged) = (Dice(seed), Vec::new());
    for _ in 0..STEPS {
        acknowledged.extend(step(&mut client, &mut dice).await);
    }
    acknowledged
}

/// Follows a watch up to the revision `end`; answers what each revision did.
async fn history(mut events: Events, end: u64) -> BTreeMap<u64, (String, Value)> {
    let mut seen = BTreeMap::new();
    let mut last = 0;
    while last < end {
        let event = events.next().await.unwrap();
        let revision = version(&event["object"]);
        assert!(revision > last, "revision {revision} after {last}");
        last = revision;
        seen.insert(revision, (event["type"].as_str().unwrap().to_owned(), event["object"].clone()));
    }
    seen
}

#[tokio::test]
async fn a_watch_is_the_whole_history_and_agrees_with_every_answer() {
    let server = TestServer::start().await;
    let since = server.client().await.get(MAPS).await.expect(200)["metadata"]["resourceVersion"].clone();
    let path = format!("{MAPS}?watch=1&resourceVersion={}", since.as_str().unwrap());
    let events = server.client().await.watch(&path).await;
    let mut tasks = Vec::new();
    for seed in 0..WRITERS {
        tasks.push(tokio::spawn(writer(server.client().await, seed)));
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    let mut client = server.client().await;
    let marker = version(&client.post(MAPS, config_map("marker")).await.expect(201));
    let seen = history(events, marker).await;
    for (revision, object) in &acknowledged {
        // A write that changed nothing answers an older revision, which is in the history as well.
        assert_eq!(seen.get(revision).map(|(_, o)| o), Some(object), "revision {revision}");
    }
    let mut present = BTreeMap::new();
    for (kind, object) in seen.values() {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let was_there =
            if kind == "DELETED" { present.remove(&name) } else { present.insert(name, object.clone()) };
        assert_eq!(was_there.is_none(), kind == "ADDED", "{kind} {object}");
    }
    let list = client.get(MAPS).await.expect(200);
    assert_eq!(list["items"], json!(present.into_values().collect::<Vec<_>>()));
}
