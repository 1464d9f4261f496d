//! The allocator's store with kube: [`polynic_ipam::Store`] over the API server.
//!
//! Pools, reserved addresses, namespaces and this node are followed by watches, because every allocation looks at all of them
//! and is checked by a conditional write anyway. Pods and endpoints are read when they are asked about: a release that believes an
//! old pod leaks, and an agent that remembers no pods is small.

mod endpoints;
mod owners;
mod pods;
mod pools;
mod write;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::core::params::GetParams;
use kube::core::{PartialObjectMeta, Request};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use polynic_api::spider::coordinator::Coordinator;
use polynic_api::spider::endpoint::Endpoint as EndpointKind;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::{annotation, selection};
use polynic_ipam::{
    Controller, Endpoint, EndpointWrite, FixedOwner, Namespace, Networks, Pod, PodKey, Pool, PoolWrite,
    ReadError, ReservedIp, Store, Texts, WriteError,
};
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::request::{self, check_names};
use crate::retry::{Limits, Problem, ask};
use crate::spider::{self, Stored};
use owners::Parents;
use pods::PodPart;
use pools::Followed;

/// Bounds of one read, its repetitions included.
const READ: Limits = Limits { attempt: Duration::from_secs(5), total: Duration::from_secs(10) };

/// For whom the store works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Name of this node.
    pub node: String,
    /// Namespace of the agent: a default network without one is there.
    pub agent_namespace: String,
}

/// The API server, as the allocator sees it.
pub struct KubeStore {
    client: Client,
    options: StoreOptions,
    pools: Arc<Cache<Followed>>,
    reserved: Arc<Cache<ReservedIp>>,
    namespaces: Arc<Cache<Namespace>>,
    nodes: Arc<Cache<Texts>>,
    parents: Parents,
}

impl KubeStore {
    /// Starts to follow what has to be followed, on the runtime that this is called in. The watches end with the store.
    pub fn start(client: Client, options: StoreOptions) -> Self {
        let every = watcher::Config::default;
        let node = every().fields(&format!("metadata.name={}", options.node));
        let pools = spider::all::<IPPool>(client.clone());
        let reserved = spider::all::<ReservedIP>(client.clone());
        let namespaces: Api<PartialObjectMeta<core::Namespace>> = Api::all(client.clone());
        let nodes: Api<PartialObjectMeta<core::Node>> = Api::all(client.clone());
        Self {
            pools: Cache::follow("pools", watcher(pools, every()), |pool| Some(Followed::new(pool))),
            reserved: Cache::follow("reserved IPs", watcher(reserved, every()), pools::reserved),
            namespaces: Cache::follow("namespaces", watcher(namespaces, every()), |namespace| {
                Some(labels_and_annotations(namespace))
            }),
            nodes: Cache::follow("this node", watcher(nodes, node), |node| {
                Some(node.metadata.labels.unwrap_or_default())
            }),
            parents: Parents::default(),
            client,
            options,
        }
    }

    /// Waits until everything that is followed has been seen once.
    pub async fn synced(&self) {
        tokio::join!(
            self.pools.synced(),
            self.reserved.synced(),
            self.namespaces.synced(),
            self.nodes.synced()
        );
    }

    /// Whether everything that is followed has been seen once.
    pub fn is_synced(&self) -> bool {
        self.pools.is_synced()
            && self.reserved.is_synced()
            && self.namespaces.is_synced()
            && self.nodes.is_synced()
    }

    /// A SpiderCoordinator, read from the API server.
    pub async fn coordinator(&self, name: &str) -> Result<Option<Stored<Coordinator>>, ReadError> {
        self.get(&Stored::<Coordinator>::url_path(&(), None), name).await
    }

    /// Whether a pod is where a virtual machine is being moved to.
    pub async fn is_migration_target(&self, key: &PodKey) -> Result<bool, ReadError> {
        match self.pod(key, "").await? {
            Some(pod) => owners::is_migration_target(self, &pod).await,
            None => Ok(false),
        }
    }

    /// Reads an object; `None` if the API server says that there is none.
    async fn get<T: DeserializeOwned + Debug>(&self, path: &str, name: &str) -> Result<Option<T>, ReadError> {
        check_names(&[name]).map_err(ReadError)?;
        let read = || async {
            let request = Request::new(path).get(name, &GetParams::default());
            self.client.request::<T>(request.map_err(kube::Error::BuildRequest)?).await
        };
        match ask(READ, read).await {
            Ok(object) => Ok(Some(object)),
            Err(Problem::NotFound(_)) => Ok(None),
            Err(Problem::Conflict(why) | Problem::Other(why)) => {
                Err(ReadError(format!("reading {path}/{name}: {why}")))
            }
        }
    }

    fn endpoints(&self, namespace: &str) -> Api<Stored<EndpointKind>> {
        spider::namespaced(self.client.clone(), namespace)
    }
}

fn labels_and_annotations<K>(object: PartialObjectMeta<K>) -> Namespace {
    let metadata = object.metadata;
    Namespace {
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
    }
}

impl Store for KubeStore {
    /// Always from the API server, so it matters not which UID a cached one would need.
    async fn pod(&self, key: &PodKey, _uid: &str) -> Result<Option<Pod>, ReadError> {
        check_names(&[&key.namespace]).map_err(ReadError)?;
        let part: Option<PodPart> = self.get(&request::pods(&key.namespace), &key.name).await?;
        Ok(part.map(PodPart::pod))
    }

    fn networks(&self, pod: &Pod) -> Networks {
        networks(pod, &self.options.agent_namespace)
    }

    async fn namespace(&self, name: &str) -> Result<Namespace, ReadError> {
        if let Some(known) = self.namespaces.get(name) {
            return Ok(known.as_ref().clone());
        }
        // A new namespace and its first pod may be here before the watch is.
        let read: Option<PartialObjectMeta<core::Namespace>> = self.get("/api/v1/namespaces", name).await?;
        Ok(read.map(labels_and_annotations).unwrap_or_default())
    }

    async fn node_labels(&self, name: &str) -> Result<Texts, ReadError> {
        if let Some(known) = self.nodes.get(name) {
            return Ok(known.as_ref().clone());
        }
        if name.is_empty() {
            return Ok(Texts::new());
        }
        let read: Option<PartialObjectMeta<core::Node>> = self.get("/api/v1/nodes", name).await?;
        Ok(read.and_then(|node| node.metadata.labels).unwrap_or_default())
    }

    async fn controller_of(
        &self,
        namespace: &str,
        object: &Controller,
    ) -> Result<Option<Controller>, ReadError> {
        owners::controller_of(self, namespace, object).await
    }

    async fn fixed_owner(&self, pod: &Pod) -> Result<FixedOwner, ReadError> {
        owners::fixed_owner(self, pod).await
    }

    async fn endpoint(&self, key: &PodKey) -> Result<Option<Endpoint>, ReadError> {
        check_names(&[&key.namespace]).map_err(ReadError)?;
        let path = endpoints::path(&key.namespace);
        let stored: Option<Stored<EndpointKind>> = self.get(&path, &key.name).await?;
        let unreadable = |why| ReadError(format!("SpiderEndpoint {key}: {why}"));
        stored.map(|stored| endpoints::endpoint(&stored).map_err(unreadable)).transpose()
    }

    async fn pools(&self) -> Result<Vec<Arc<Pool>>, ReadError> {
        // A pool that cannot be read was complained about when it came in; it serves nobody.
        Ok(self.pools.all().iter().filter_map(|followed| followed.pool()).collect())
    }

    async fn reserved(&self) -> Result<Arc<[ReservedIp]>, ReadError> {
        Ok(self.reserved.all().iter().map(|reserved| reserved.as_ref().clone()).collect())
    }

    async fn pool(&self, name: &str) -> Result<Option<Pool>, ReadError> {
        let stored: Option<Stored<IPPool>> = self.get(pools::PATH, name).await?;
        let unreadable = |why| ReadError(format!("SpiderIPPool {name}: {why}"));
        stored.map(|stored| pools::pool(&stored).map_err(unreadable)).transpose()
    }

    async fn write_pool(&self, write: PoolWrite) -> Result<String, WriteError> {
        write::pool(&self.client, &write).await
    }

    async fn write_endpoint(&self, write: EndpointWrite) -> Result<(), WriteError> {
        let key = write.key();
        check_names(&[&key.namespace, &key.name]).map_err(WriteError::Refused)?;
        write::endpoint(&self.endpoints(&key.namespace), &write).await
    }
}

fn networks(pod: &Pod, agent_namespace: &str) -> Networks {
    let annotation = |key: &str| pod.annotations.get(key).map(String::as_str).unwrap_or_default();
    let mut networks = Networks::default();
    match selection::parse_networks(annotation(annotation::NETWORKS), &pod.key.namespace) {
        Ok(elements) => {
            let wanted = |name: String| Some(name).filter(|name| !name.is_empty());
            let network =
                |e: selection::SelectionElement| (PodKey::new(e.namespace, e.name), wanted(e.interface));
            networks.selected = elements.into_iter().map(network).collect();
        }
        Err(why) => networks.problem = Some(format!("annotation {}: {why}", annotation::NETWORKS)),
    }
    match annotation(annotation::DEFAULT_NETWORK) {
        "" => {}
        value => match selection::parse_default_network(value, agent_namespace) {
            Ok(element) => networks.default = Some(PodKey::new(element.namespace, element.name)),
            Err(why) => networks.problem = Some(format!("annotation {}: {why}", annotation::DEFAULT_NETWORK)),
        },
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_those_of_the_annotations() {
        let mut pod = Pod::new(PodKey::new("blue", "web"), "u", "n");
        assert_eq!(networks(&pod, "kube-system"), Networks::default());
        pod.annotations.insert(annotation::NETWORKS.into(), "lan, infra/san@san0".into());
        pod.annotations.insert(annotation::DEFAULT_NETWORK.into(), "main".into());
        let expected = Networks {
            default: Some(PodKey::new("kube-system", "main")),
            selected: vec![
                (PodKey::new("blue", "lan"), None),
                (PodKey::new("infra", "san"), Some("san0".into())),
            ],
            problem: None,
        };
        assert_eq!(networks(&pod, "kube-system"), expected);
        pod.annotations.insert(annotation::NETWORKS.into(), "[{".into());
        assert!(networks(&pod, "kube-system").problem.is_some());
    }
}
