//! kube-rs' watchers and reflectors on the embedded API server: with a list first, and with a streaming list.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Config, config};
use polynic_apiserver::{Running, Server};
use serde_json::json;

/// A server and a client of it.
async fn cluster(dir: &tempfile::TempDir) -> (Running, Api<ConfigMap>) {
    let running = Server::start(polynic_apiserver::Config::new(dir.path())).await.unwrap();
    let kubeconfig = config::Kubeconfig::from_yaml(running.kubeconfig()).unwrap();
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &config::KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    (running, Api::default_namespaced(client))
}

fn map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    ConfigMap { metadata, data: Some(BTreeMap::from([("k".into(), "1".into())])), ..ConfigMap::default() }
}

/// The next object that the stream tells of, and whether it is there.
async fn next<S>(events: &mut S) -> (bool, String)
where
    S: Stream<Item = Result<watcher::Event<ConfigMap>, watcher::Error>> + Unpin,
{
    loop {
        let event =
            tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("no event came");
        match event.unwrap().unwrap() {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                return (true, object.metadata.name.unwrap());
            }
            watcher::Event::Delete(object) => return (false, object.metadata.name.unwrap()),
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }
}

async fn follow(config: watcher::Config) {
    let dir = tempfile::tempdir().unwrap();
    let (running, maps) = cluster(&dir).await;
    maps.create(&PostParams::default(), &map("before")).await.unwrap();
    let (reader, writer) = reflector::store();
    let events = watcher(maps.clone(), config).reflect(writer);
    pin_mut!(events);
    assert_eq!(next(&mut events).await, (true, "before".into()));
    maps.create(&PostParams::default(), &map("after")).await.unwrap();
    assert_eq!(next(&mut events).await, (true, "after".into()));
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after"}, "data": {"k": "2"}});
    let force = PatchParams::apply("test").force();
    maps.patch("after", &force, &Patch::Apply(&applied)).await.unwrap();
    assert_eq!(next(&mut events).await, (true, "after".into()));
    maps.delete("before", &DeleteParams::default()).await.unwrap();
    assert_eq!(next(&mut events).await, (false, "before".into()));
    let known = reader.state();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].data.as_ref().unwrap()["k"], "2");
    running.shutdown().await;
}

#[tokio::test]
async fn a_reflector_follows_after_a_list() {
    follow(watcher::Config::default()).await;
}

#[tokio::test]
async fn a_reflector_follows_after_a_streaming_list() {
    follow(watcher::Config::default().streaming_lists()).await;
}
