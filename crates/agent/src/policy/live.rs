//! What is read afresh for one pod, past all caches: a policy that was made before the pod is in force before the pod is attached, however
//! far the watches are behind.

use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, Error};
use polynic_policy::{Pod, PodKey, Policy, version};

use super::{objects, watch};

/// A pod and the policies of its namespace.
pub(super) struct Live {
    /// Absent if the API server says that there is none.
    pub(super) pod: Option<Pod>,
    pub(super) policies: Policies,
}

/// The policies of a namespace.
pub(super) struct Policies {
    pub(super) all: Vec<Policy>,
    /// As of which version; 0 if the kind is not known.
    pub(super) version: u64,
}

/// Reads both at once.
pub(super) async fn read(client: &Client, key: &PodKey) -> Result<Live, Error> {
    let pods: Api<core::Pod> = Api::namespaced(client.clone(), &key.namespace);
    let (pod, policies) = futures::try_join!(pods.get_opt(&key.name), policies(client, &key.namespace))?;
    Ok(Live { pod: pod.as_ref().map(objects::pod), policies })
}

/// Whether a pod is gone, or another one has its name.
pub(super) async fn is_gone(client: &Client, key: &PodKey, uid: &str) -> Result<bool, Error> {
    let pods: Api<core::Pod> = Api::namespaced(client.clone(), &key.namespace);
    Ok(pods.get_opt(&key.name).await?.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(uid)))
}

/// Reads the policies of a namespace. A kind that is not known has none.
pub(super) async fn policies(client: &Client, namespace: &str) -> Result<Policies, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &watch::policies());
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(Policies {
            all: list.items.iter().map(watch::read_policy).collect(),
            version: version(list.metadata.resource_version.as_deref()),
        }),
        Err(Error::Api(status)) if status.code == 404 => Ok(Policies { all: Vec::new(), version: 0 }),
        Err(other) => Err(other),
    }
}
