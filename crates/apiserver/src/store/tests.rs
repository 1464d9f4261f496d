use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;

fn open(dir: &tempfile::TempDir) -> Store {
    open_with(dir, Limits::default())
}

fn open_with(dir: &tempfile::TempDir, limits: Limits) -> Store {
    Store::open(&dir.path().join("store.redb"), limits, Box::new(|_| {})).unwrap()
}

fn object(n: u64) -> Value {
    json!({"metadata": {"name": "x"}, "n": n})
}

async fn put(store: &Store, key: &str, n: u64) -> u64 {
    let key = key.to_owned();
    let stored: Result<Value, StoreError> = store.transact(move |txn| txn.put(&key, object(n))).await;
    stored.unwrap()["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn remove(store: &Store, key: &str) {
    let key = key.to_owned();
    let done: Result<Value, StoreError> = store
        .transact(move |txn| {
            let last = txn.get(&key)?.unwrap();
            txn.remove(&key, last)
        })
        .await;
    done.unwrap();
}

#[tokio::test]
async fn every_change_gets_the_next_revision_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    assert_eq!(put(&store, "a/1", 1).await, 1);
    assert_eq!(put(&store, "b/1", 1).await, 2);
    drop(store);
    let store = open(&dir);
    assert_eq!(put(&store, "a/1", 2).await, 3);
    let body: Value = serde_json::from_slice(&store.get("a/1").unwrap().unwrap().body).unwrap();
    assert_eq!((&body["n"], &body["metadata"]["resourceVersion"]), (&json!(2), &json!("3")));
}

#[tokio::test]
async fn a_failed_decision_and_a_dry_run_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let failed: Result<(), StoreError> = store
        .transact(|txn| {
            txn.put("a", object(1))?;
            Err(StoreError::Stopped)
        })
        .await;
    assert!(failed.is_err());
    let dry: Result<Value, StoreError> = store
        .transact(|txn| {
            txn.discard();
            txn.put("a", object(1))
        })
        .await;
    assert!(dry.is_ok());
    assert!(store.get("a").unwrap().is_none());
    assert_eq!(store.list(Range::under("")).unwrap().revision, 0);
}

#[tokio::test]
async fn a_panicking_decision_costs_only_its_caller() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let lost: Result<(), StoreError> = store.transact(|_| panic!("on purpose")).await;
    assert!(matches!(lost, Err(StoreError::Stopped)));
    assert_eq!(put(&store, "a", 1).await, 1);
}

#[tokio::test]
async fn a_list_can_be_cut_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for key in ["p/1", "p/2", "p/3", "q/1"] {
        put(&store, key, 1).await;
    }
    let first = store.list(Range { limit: 2, ..Range::under("p/") }).unwrap();
    assert_eq!(first.items.iter().map(|i| i.key.as_str()).collect::<Vec<_>>(), ["p/1", "p/2"]);
    assert_eq!(first.rest, 1);
    let rest = store.list(Range { start: "p/2\0", limit: 2, ..Range::under("p/") }).unwrap();
    assert_eq!(rest.items.iter().map(|i| i.key.as_str()).collect::<Vec<_>>(), ["p/3"]);
    assert_eq!(rest.rest, 0);
}

#[tokio::test]
async fn a_watch_replays_the_past_and_follows_without_gap_or_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, "p/1", 1).await;
    let since = put(&store, "p/1", 2).await;
    put(&store, "p/1", 3).await;
    put(&store, "q/1", 1).await;
    let mut watcher = store.watch("p/", since).unwrap();
    remove(&store, "p/1").await;
    put(&store, "p/1", 4).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = watcher.next().await.unwrap();
        seen.push((event.revision, event.change));
    }
    assert_eq!(seen, [(3, Change::Modified), (5, Change::Deleted), (6, Change::Added)]);
    assert!(watcher.ready().is_none());
}

#[tokio::test]
async fn a_watch_from_before_the_window_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, Limits { window_events: 2, ..Limits::default() });
    for n in 0..4 {
        put(&store, "a", n).await;
    }
    assert!(matches!(store.watch("", 1), Err(StoreError::Compacted { asked: 1, oldest: 2 })));
    assert!(store.watch("", 2).is_ok());
    drop(store);
    let store = open(&dir);
    assert!(
        matches!(store.watch("", 3), Err(StoreError::Compacted { oldest: 4, .. })),
        "history ends with the process"
    );
}

#[tokio::test]
async fn a_slow_watcher_is_ended_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, Limits { watcher_buffer: 2, ..Limits::default() });
    let mut slow = store.watch("", 0).unwrap();
    for n in 0..3 {
        put(&store, "a", n).await;
    }
    let mut fresh = store.watch("", 3).unwrap();
    put(&store, "a", 9).await;
    assert_eq!(slow.next().await.unwrap().revision, 1);
    assert_eq!(slow.next().await.unwrap().revision, 2);
    assert!(slow.next().await.is_none());
    assert_eq!(fresh.next().await.unwrap().revision, 4);
}

#[tokio::test]
async fn the_observer_sees_a_commit_before_its_writer_does() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let observer: Observer =
        Box::new(move |events| sink.lock().unwrap().extend(events.iter().map(|e| e.revision)));
    let store = Store::open(&dir.path().join("s"), Limits::default(), observer).unwrap();
    let revision = put(&store, "a", 1).await;
    assert_eq!(*seen.lock().unwrap(), [revision]);
}

#[tokio::test]
async fn concurrent_increments_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    put(&store, "counter", 0).await;
    let tasks: Vec<_> = (0..64).map(|_| tokio::spawn(increment(store.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let body: Value = serde_json::from_slice(&store.get("counter").unwrap().unwrap().body).unwrap();
    assert_eq!(body["n"], 64);
}

async fn increment(store: Arc<Store>) {
    let done: Result<Value, StoreError> = store
        .transact(|txn| {
            let n = txn.get("counter")?.unwrap()["n"].as_u64().unwrap();
            txn.put("counter", object(n + 1))
        })
        .await;
    done.unwrap();
}

/// Keys and contents under `p/` at a revision.
fn at(store: &Store, revision: u64) -> Vec<(String, u64)> {
    let listing = store.list_at(Range::under("p/"), revision).unwrap();
    let row = |stored: &Stored| {
        let object: Value = serde_json::from_slice(&stored.body).unwrap();
        (stored.key.clone(), object["n"].as_u64().unwrap())
    };
    listing.items.iter().map(row).collect()
}

#[tokio::test]
async fn a_list_of_the_past_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, Limits { window_events: 5, ..Limits::default() });
    for key in ["p/a", "p/b", "q/c"] {
        put(&store, key, 1).await;
    }
    put(&store, "p/c", 2).await;
    put(&store, "p/b", 3).await;
    remove(&store, "p/a").await;
    put(&store, "p/a", 4).await;
    let rows = |list: &[(&str, u64)]| list.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(at(&store, 3), rows(&[("p/a", 1), ("p/b", 1)]));
    assert_eq!(at(&store, 5), rows(&[("p/a", 1), ("p/b", 3), ("p/c", 2)]));
    assert_eq!(at(&store, 6), rows(&[("p/b", 3), ("p/c", 2)]));
    assert_eq!(at(&store, 7), rows(&[("p/a", 4), ("p/b", 3), ("p/c", 2)]));
    let page = store.list_at(Range { start: "p/a\0", limit: 1, ..Range::under("p/") }, 5).unwrap();
    assert_eq!((page.items[0].key.as_str(), page.rest), ("p/b", 1));
    assert!(matches!(store.list_at(Range::under("p/"), 8), Err(StoreError::Future { current: 7, .. })));
    assert!(matches!(store.list_at(Range::under("p/"), 1), Err(StoreError::Compacted { oldest: 2, .. })));
}
