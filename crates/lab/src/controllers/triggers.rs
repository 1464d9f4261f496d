//! Watches whose only message is that something changed.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::{apps, core, discovery};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// Notifies whenever an object that controllers look at changes. Leases and what controllers make for others to read are left out.
pub fn watch(client: &Client) -> Arc<Notify> {
    let changed = Arc::new(Notify::new());
    follow::<core::v1::Node>(client, &changed);
    follow::<core::v1::Pod>(client, &changed);
    follow::<core::v1::Service>(client, &changed);
    follow::<apps::v1::Deployment>(client, &changed);
    follow::<apps::v1::ReplicaSet>(client, &changed);
    follow::<apps::v1::StatefulSet>(client, &changed);
    follow::<apps::v1::DaemonSet>(client, &changed);
    follow::<discovery::v1::EndpointSlice>(client, &changed);
    changed
}

fn follow<K>(client: &Client, changed: &Arc<Notify>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let (api, changed) = (Api::<K>::all(client.clone()), Arc::clone(changed));
    tokio::spawn(async move {
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => changed.notify_one(),
                Err(why) => tracing::debug!(kind = %K::kind(&()), %why, "a watch broke off"),
            }
        }
    });
}
