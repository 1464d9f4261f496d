//! The cluster at one moment, as far as controllers look at it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
#[allow(deprecated, reason = "clients still read Endpoints")]
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// Objects of all namespaces, and the time.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Timestamp,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// The leases by which nodes show that they live.
    pub leases: Vec<Lease>,
    /// For how long each node that has a lease gave no sign.
    pub silence: BTreeMap<String, Duration>,
    /// Nodes that came while the rest was read.
    pub late_nodes: Vec<Node>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Deployments.
    pub deployments: Vec<Deployment>,
    /// ReplicaSets.
    pub replica_sets: Vec<ReplicaSet>,
    /// StatefulSets.
    pub stateful_sets: Vec<StatefulSet>,
    /// DaemonSets.
    pub daemon_sets: Vec<DaemonSet>,
    /// ControllerRevisions.
    pub revisions: Vec<ControllerRevision>,
    /// Services.
    pub services: Vec<Service>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Service accounts.
    pub accounts: Vec<ServiceAccount>,
    /// EndpointSlices.
    pub slices: Vec<EndpointSlice>,
    /// Endpoints.
    #[allow(deprecated, reason = "clients still read Endpoints")]
    pub endpoints: Vec<Endpoints>,
}

impl Snapshot {
    /// Nothing at all.
    pub fn empty(now: Timestamp) -> Snapshot {
        Snapshot {
            now,
            nodes: Vec::new(),
            leases: Vec::new(),
            silence: BTreeMap::new(),
            late_nodes: Vec::new(),
            pods: Vec::new(),
            deployments: Vec::new(),
            replica_sets: Vec::new(),
            stateful_sets: Vec::new(),
            daemon_sets: Vec::new(),
            revisions: Vec::new(),
            services: Vec::new(),
            namespaces: Vec::new(),
            accounts: Vec::new(),
            slices: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Reads the cluster. Owners are read before what they own: so whoever is missing was deleted, not yet to come.
    pub async fn take(client: &Client) -> Result<Snapshot, kube::Error> {
        let mut snapshot = Snapshot::empty(Timestamp::now());
        let (nodes, leases, deployments, stateful_sets, daemon_sets, services) = tokio::try_join!(
            list(client),
            list(client),
            list(client),
            list(client),
            list(client),
            list(client)
        )?;
        let (replica_sets, revisions, slices, endpoints) =
            tokio::try_join!(list(client), list(client), list(client), list(client))?;
        let (namespaces, accounts) = tokio::try_join!(list(client), list(client))?;
        snapshot.pods = list(client).await?;
        // A pod may have named a node that was not there yet when nodes were read.
        snapshot.late_nodes = list(client).await?;
        Ok(Snapshot {
            nodes,
            leases,
            deployments,
            stateful_sets,
            daemon_sets,
            services,
            replica_sets,
            revisions,
            slices,
            endpoints,
            namespaces,
            accounts,
            ..snapshot
        })
    }
}

/// All objects of a kind. A server that does not know the kind has none.
async fn list<K>(client: &Client) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}
