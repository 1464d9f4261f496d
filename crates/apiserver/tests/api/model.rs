//! Random concurrent clients against what a Kubernetes API promises: writes of an object are linearizable, conflicts are where
//! they must be and nowhere else, and a watch is the history, whole and in order.
//!
//! A run prints its seed; `POLYNIC_SEED=n` runs it again. The operations of each client are the same then, though not how
//! they interleave.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::client::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CLIENTS: u64 = 8;
const STEPS: u64 = 1250;
const NAMES: u64 = 6;

/// A small generator of repeatable nonsense (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % sides
    }
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    /// That it be made.
    Create,
    /// That it be changed, whatever it is.
    Patch,
    /// That it be changed, or deleted, if it is of this revision.
    If(u64),
    /// That it be deleted, whatever it is.
    Delete,
}

/// One operation: what was asked, what came back, and between which revisions of the store it took place.
#[derive(Debug, Clone)]
struct Done {
    name: String,
    asked: Asked,
    code: u16,
    /// The object that was answered, if it was written.
    object: Option<Value>,
    between: (u64, u64),
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn revision(client: &mut Client) -> u64 {
    version(&client.get(&format!("{MAPS}?limit=1")).await.expect(200))
}

struct Player {
    client: Client,
    dice: Dice,
    /// The newest revision that this client has heard of.
    newest: u64,
}

impl Player {
    async fn play(mut self) -> Vec<Done> {
        let mut done = Vec::new();
        for _ in 0..STEPS {
            let step = self.step().await;
            self.newest = self.newest.max(step.between.1);
            done.push(step);
        }
        done
    }

    async fn step(&mut self) -> Done {
        let name = format!("m{}", self.dice.roll(NAMES));
        let (path, value) = (format!("{MAPS}/{name}"), self.dice.roll(1_000_000).to_string());
        let object = json!({"metadata": {"name": name}, "data": {"v": value}});
        let since = self.newest;
        let (asked, answer) = match self.dice.roll(6) {
            0 | 1 => (Asked::Create, self.client.post(MAPS, object).await),
            2 => (Asked::Patch, self.client.patch("merge", &path, json!({"data": {"v": value}})).await),
            3 => (Asked::Delete, self.client.delete(&path).await),
            4 => {
                let version = self.known(&path).await;
                let mut object = object;
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                (Asked::If(version), self.client.put(&path, &object).await)
            }
            _ => {
                let version = self.known(&path).await;
                let options = json!({"preconditions": {"resourceVersion": version.to_string()}});
                (Asked::If(version), self.client.call("DELETE", &path, &options).await)
            }
        };
        let is_object = answer.body["kind"] == "ConfigMap";
        let written = Some(answer.body.clone()).filter(|_| is_object);
        let until = match &written {
            Some(object) => version(object),
            None => revision(&mut self.client).await,
        };
        Done { name, asked, code: answer.code, object: written, between: (since, until.max(since)) }
    }

    /// A revision of the object at `path`: the present one, or one that is out of date by now.
    async fn known(&mut self, path: &str) -> u64 {
        let answer = self.client.get(path).await;
        let present = if answer.code == 200 { version(&answer.body) } else { self.newest.max(1) };
        if self.dice.roll(3) == 0 { present.saturating_sub(1).max(1) } else { present }
    }
}

/// What each revision did to which object.
type History = BTreeMap<u64, (String, Value)>;

/// Follows a watch up to the object that is made last.
async fn history(mut events: Events) -> History {
    let mut seen = History::new();
    let mut last = 0;
    loop {
        let event = events.next().await.expect("the watch ended: it was too slow");
        let revision = version(&event["object"]);
        assert!(revision > last, "revision {revision} after {last}");
        last = revision;
        let is_end = event["object"]["metadata"]["name"] == "marker";
        seen.insert(revision, (event["type"].as_str().unwrap().to_owned(), event["object"].clone()));
        if is_end {
            return seen;
        }
    }
}

/// The revisions of one object over time: from when on it had which, none while it was not there.
type Life = BTreeMap<u64, Option<u64>>;

fn lives(history: &History) -> BTreeMap<String, Life> {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for (at, (kind, object)) in history {
        let life = lives.entry(object["metadata"]["name"].as_str().unwrap().to_owned());
        life.or_insert_with(|| Life::from([(0, None)])).insert(*at, (kind != "DELETED").then_some(*at));
    }
    lives
}

/// True if at some moment between these revisions the object was in a state that `fits`.
fn ever(life: &Life, (since, until): (u64, u64), fits: impl Fn(Option<u64>) -> bool) -> bool {
    let at_start = life.range(..=since).next_back().map(|(_, state)| *state);
    at_start
        .into_iter()
        .chain(life.range((Bound::Excluded(since), Bound::Included(until))).map(|(_, state)| *state))
        .any(fits)
}

/// Checks one operation against the history.
fn check(done: &Done, history: &History, life: &Life) {
    let before = |revision: u64| life.range(..revision).next_back().and_then(|(_, state)| *state);
    let saw = |fits: &dyn Fn(Option<u64>) -> bool| assert!(ever(life, done.between, fits), "{done:?}");
    match (done.code, &done.object) {
        (200 | 201, Some(object)) => {
            let revision = version(object);
            let (kind, stored) = &history[&revision];
            assert_eq!((stored, kind == "ADDED"), (object, done.asked == Asked::Create), "{done:?}");
            if let Asked::If(wanted) = done.asked {
                assert!(wanted == revision || before(revision) == Some(wanted), "{done:?}");
            }
        }
        // A deletion answers no revision.
        (200, None) => match done.asked {
            Asked::If(wanted) => saw(&|state| state == Some(wanted)),
            _ => saw(&|state| state.is_some()),
        },
        (404, _) => saw(&|state| state.is_none()),
        (409, _) => match done.asked {
            Asked::Create => saw(&|state| state.is_some()),
            Asked::If(wanted) => saw(&|state| state.is_some_and(|revision| revision != wanted)),
            _ => panic!("nothing to conflict with: {done:?}"),
        },
        _ => panic!("{done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_operations_are_one_history() {
    let from_time = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("POLYNIC_SEED").map_or_else(|_| from_time(), |seed| seed.parse().unwrap());
    println!("POLYNIC_SEED={seed}");
    let server = TestServer::start().await;
    let since = revision(&mut server.client().await).await;
    let events = server.client().await.watch(&format!("{MAPS}?watch=1&resourceVersion={since}")).await;
    let following = tokio::spawn(history(events));
    let mut tasks = Vec::new();
    for player in 0..CLIENTS {
        let dice = Dice(seed.wrapping_mul(CLIENTS).wrapping_add(player));
        let player = Player { client: server.client().await, dice, newest: since };
        tasks.push(tokio::spawn(player.play()));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let mut client = server.client().await;
    let list = client.get(MAPS).await.expect(200);
    client.post(MAPS, config_map("marker")).await.expect(201);
    let history = following.await.unwrap();
    let lives = lives(&history);
    all.iter().for_each(|done| check(done, &history, &lives[&done.name]));
    check_story(&history, &list);
}

/// Objects come before they change and go after; what is left in the end is what a list shows.
fn check_story(history: &History, list: &Value) {
    let mut present = BTreeMap::new();
    for (kind, object) in history.values() {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let was_there =
            if kind == "DELETED" { present.remove(&name) } else { present.insert(name, object.clone()) };
        assert_eq!(was_there.is_none(), kind == "ADDED", "{kind} {object}");
    }
    present.remove("marker");
    // The items of a list do not repeat its type.
    let untyped = |mut object: Value| {
        let fields = object.as_object_mut().unwrap();
        assert_eq!(
            (fields.remove("apiVersion"), fields.remove("kind")),
            (Some("v1".into()), Some("ConfigMap".into()))
        );
        object
    };
    assert_eq!(list["items"], json!(present.into_values().map(untyped).collect::<Vec<_>>()));
}
