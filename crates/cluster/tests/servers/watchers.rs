//! kube-rs' watchers and reflectors: with a list first, and with a streaming list.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use polynic_cluster::client_from;
use serde_json::json;

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
            tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("no event came");
        match event.unwrap().unwrap() {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                return (true, object.metadata.name.unwrap());
            }
            watcher::Event::Delete(object) => return (false, object.metadata.name.unwrap()),
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }
}

async fn follow(maps: &Api<ConfigMap>, config: watcher::Config) {
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
    maps.delete("after", &DeleteParams::default()).await.unwrap();
}

async fn maps(kubeconfig: &Path) -> Api<ConfigMap> {
    let client = client_from(Some(kubeconfig)).await.unwrap().unwrap();
    Api::namespaced(client, "kube-public")
}

pub async fn all(kubeconfig: &Path) {
    follow(&maps(kubeconfig).await, watcher::Config::default()).await;
}

#[test]
fn a_reflector_follows_after_a_list() {
    let (_directory, kubeconfig) = crate::embedded();
    crate::block_on(all(&kubeconfig));
}

/// Only here: a real server cannot serve it from Debian's etcd, see docs/apiserver-differences.md.
#[test]
fn a_reflector_follows_after_a_streaming_list() {
    let (_directory, kubeconfig) = crate::embedded();
    crate::block_on(async {
        follow(&maps(&kubeconfig).await, watcher::Config::default().streaming_lists()).await
    });
}
