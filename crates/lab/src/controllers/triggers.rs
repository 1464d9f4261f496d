//! What wakes the controllers.

use std::sync::Arc;

use k8s_openapi::api::{apps, core, discovery};
use kube::Client;
use tokio::sync::Notify;

use crate::notice::follow;

/// Notifies whenever an object that controllers look at changes. Leases and what controllers make for others to read are left out.
pub fn watch(client: &Client) -> Arc<Notify> {
    let changed = Arc::new(Notify::new());
    follow::<core::v1::Node>(client, &changed);
    follow::<core::v1::Pod>(client, &changed);
    follow::<core::v1::Service>(client, &changed);
    follow::<core::v1::Namespace>(client, &changed);
    follow::<core::v1::ServiceAccount>(client, &changed);
    follow::<apps::v1::Deployment>(client, &changed);
    follow::<apps::v1::ReplicaSet>(client, &changed);
    follow::<apps::v1::StatefulSet>(client, &changed);
    follow::<apps::v1::DaemonSet>(client, &changed);
    follow::<discovery::v1::EndpointSlice>(client, &changed);
    changed
}
