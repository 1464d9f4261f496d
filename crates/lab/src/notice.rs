//! Watches whose only message is that something changed.

use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::backoff::Backoff;

/// Notifies whenever an object of a kind changes, and when the watch was away and is back: then anything may have changed. The client's own
/// back-off goes up to half a minute, which is longer than anybody in a lab wants to wait after its API server was away.
pub fn follow<K>(client: &Client, changed: &Arc<Notify>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let (api, changed) = (Api::<K>::all(client.clone()), Arc::clone(changed));
    tokio::spawn(async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        let mut patience = Backoff::of_requests();
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => {
                    patience.reset();
                    changed.notify_one();
                }
                Err(why) => {
                    tracing::debug!(kind = %K::kind(&()), %why, "a watch broke off");
                    tokio::time::sleep(patience.wait()).await;
                }
            }
        }
    });
}
