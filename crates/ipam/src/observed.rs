//! Everything that a decision about one pod's addresses looks at, read in one go.

use std::sync::Arc;

use crate::{
    Controller, Endpoint, FixedOwner, Namespace, Networks, Pod, PodKey, Pool, ReadError, ReservedIp,
    Settings, Store, Texts,
};

/// What was found about a pod.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The pod and what belongs to it; `None` if there is no pod of that name.
    pub pod: Option<ObservedPod>,
    /// Its endpoint.
    pub endpoint: Option<Endpoint>,
    /// All pools.
    pub pools: Vec<Arc<Pool>>,
    /// All reserved addresses.
    pub reserved: Arc<[ReservedIp]>,
}

/// A pod that exists, with its surroundings.
#[derive(Clone, Debug)]
pub struct ObservedPod {
    /// The pod.
    pub pod: Pod,
    /// The controller of its controller.
    pub parent: Option<Controller>,
    /// Its namespace.
    pub namespace: Namespace,
    /// Labels of its node.
    pub node_labels: Texts,
    /// The networks that it names.
    pub networks: Networks,
    /// For a pod with fixed addresses: whether its owner still wants it.
    pub fixed_owner: Option<FixedOwner>,
}

impl ObservedPod {
    /// The top controller (spec/spiderpool.md 7.1, step 2): the Deployment of a ReplicaSet, the CronJob of a Job,
    /// else the controller, else the pod itself.
    pub fn top_controller(&self) -> Controller {
        let own = || Controller {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: self.pod.key.name.clone(),
            uid: self.pod.uid.clone(),
        };
        // What else may run a ReplicaSet or a Job has no part in this.
        let counts = |parent: &&Controller| matches!(parent.kind.as_str(), "Deployment" | "CronJob");
        let parent = self.parent.as_ref().filter(counts).or(self.pod.controller.as_ref());
        parent.cloned().unwrap_or_else(own)
    }
}

/// Reads everything about the pod `key` from a store. `uid`, if it is not empty, is what a cached pod must have.
///
/// The order matters. If somebody else's UID is recorded under the pod's name, the pod is read from the API server
/// *after* that: so a recorded UID other than the pod's is that of an earlier pod, which is gone, and never that of a
/// later one that a cache does not know yet.
///
/// # Errors
/// One of the reads failed.
pub async fn observe<S: Store>(
    store: &S,
    settings: &Settings,
    key: &PodKey,
    uid: &str,
) -> Result<Observed, ReadError> {
    let mut pod = store.pod(key, uid).await?;
    let endpoint_key = pod.as_ref().map_or_else(|| key.clone(), |pod| settings.endpoint_key(pod));
    let reads = futures::future::try_join3(store.endpoint(&endpoint_key), store.pools(), store.reserved());
    let (endpoint, pools, reserved) = reads.await?;
    if pod.as_ref().is_some_and(|pod| has_namesake(pod, &endpoint_key, endpoint.as_ref(), &pools)) {
        pod = store.pod(key, "").await?;
    }
    let pod = observe_pod(store, settings, pod).await?;
    Ok(Observed { pod, endpoint, pools, reserved })
}

fn has_namesake(pod: &Pod, key: &PodKey, endpoint: Option<&Endpoint>, pools: &[Arc<Pool>]) -> bool {
    let mut records = pools.iter().flat_map(|pool| pool.records.of_pod(key).map(|(_, record)| record));
    endpoint.is_some_and(|endpoint| endpoint.uid != pod.uid) || records.any(|record| record.uid != pod.uid)
}

async fn observe_pod<S: Store>(
    store: &S,
    settings: &Settings,
    pod: Option<Pod>,
) -> Result<Option<ObservedPod>, ReadError> {
    let Some(pod) = pod else { return Ok(None) };
    let fixed = settings.fixed(&pod).is_some();
    let (parent, namespace, node_labels, fixed_owner) = futures::future::try_join4(
        parent(store, &pod),
        store.namespace(&pod.key.namespace),
        store.node_labels(&pod.node),
        async { if fixed { store.fixed_owner(&pod).await.map(Some) } else { Ok(None) } },
    )
    .await?;
    let networks = store.networks(&pod);
    Ok(Some(ObservedPod { pod, parent, namespace, node_labels, networks, fixed_owner }))
}

async fn parent<S: Store>(store: &S, pod: &Pod) -> Result<Option<Controller>, ReadError> {
    match &pod.controller {
        Some(controller) if has_parents(controller) => {
            store.controller_of(&pod.key.namespace, controller).await
        }
        _ => Ok(None),
    }
}

fn has_parents(controller: &Controller) -> bool {
    let kind = (controller.api_version.as_str(), controller.kind.as_str());
    matches!(kind, ("apps/v1", "ReplicaSet") | ("batch/v1", "Job"))
}
