//! Objects with versions: what an API server does with the writes of allocators.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Controller, Deletion, Endpoint, EndpointWrite, FixedOwner, Namespace, Observed, ObservedPod, Pod, PodKey,
    Pool, PoolSpec, PoolWrite, Record, ReservedIp, Settings, Texts, WriteError,
};

/// Ways to break the API server on purpose, so that tests can show that breakage is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// It works.
    #[default]
    None,
    /// Pool writes are not conditional.
    IgnoresVersions,
    /// Pool writes are answered as done and forgotten.
    ForgetsWrites,
}

/// The objects.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// Pools.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// Endpoints.
    pub endpoints: BTreeMap<PodKey, Endpoint>,
    /// Pods.
    pub pods: BTreeMap<PodKey, Pod>,
    /// Reserved addresses.
    pub reserved: Arc<[ReservedIp]>,
    /// Owners of fixed addresses, by namespace and name.
    pub fixed_owners: BTreeMap<PodKey, FixedOwner>,
    /// Namespaces with something to say.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Labels of nodes.
    pub nodes: BTreeMap<String, Texts>,
    /// Controllers of ReplicaSets and Jobs, by namespace and name.
    pub parents: BTreeMap<PodKey, Controller>,
    /// How it is broken.
    pub sabotage: Sabotage,
    version: u64,
}

impl Api {
    fn next(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Creates a pool, or replaces it.
    pub fn put_pool(&mut self, name: &str, spec: PoolSpec) {
        let resource_version = self.next();
        let pool = Pool { resource_version, ..Pool::new(name, spec) };
        self.pools.insert(name.to_owned(), Arc::new(pool));
    }

    /// Creates a pod, or replaces it.
    pub fn put_pod(&mut self, pod: Pod) {
        self.pods.insert(pod.key.clone(), pod);
    }

    /// Marks a pod as going.
    pub fn delete_pod(&mut self, key: &PodKey, deletion: Deletion) {
        if let Some(pod) = self.pods.get_mut(key) {
            pod.deletion = Some(deletion);
        }
    }

    /// The pod is gone; the API server's own garbage collection marks its endpoint.
    pub fn remove_pod(&mut self, key: &PodKey) {
        let Some(pod) = self.pods.remove(key) else { return };
        let version = self.next();
        let owned = |endpoint: &&mut Endpoint| endpoint.owned_by_pod && endpoint.uid == pod.uid;
        if let Some(endpoint) = self.endpoints.get_mut(key).filter(owned) {
            endpoint.terminating = true;
            endpoint.resource_version = version;
        }
    }

    /// Rewrites a pool as a program does that knows no interfaces.
    pub fn strip_interfaces(&mut self, name: &str) {
        let Some(pool) = self.pools.get(name).cloned() else { return };
        let mut records = pool.records.clone();
        let all: Vec<_> = pool.records.iter().map(|(ip, record)| (ip, record.clone())).collect();
        for (ip, record) in all {
            let mut record: Record = record;
            record.nic = None;
            records.insert(ip, record);
        }
        let resource_version = self.next();
        self.pools
            .insert(name.to_owned(), Arc::new(Pool { resource_version, records, ..Pool::clone(&pool) }));
    }

    /// A conditional write of a pool's status.
    ///
    /// # Errors
    /// As the API server would.
    pub fn write_pool(&mut self, write: &PoolWrite) -> Result<String, WriteError> {
        let current = self.pools.get(&write.pool).ok_or(WriteError::Gone)?.clone();
        if self.sabotage != Sabotage::IgnoresVersions && current.resource_version != write.resource_version {
            return Err(WriteError::Conflict);
        }
        let version = self.next();
        let records = match self.sabotage {
            Sabotage::ForgetsWrites => current.records.clone(),
            _ => write.records.clone(),
        };
        let pool = Pool { resource_version: version.clone(), records, ..Pool::clone(&current) };
        self.pools.insert(write.pool.clone(), Arc::new(pool));
        Ok(version)
    }

    /// A write of an endpoint.
    ///
    /// # Errors
    /// As the API server would.
    pub fn write_endpoint(&mut self, write: &EndpointWrite) -> Result<(), WriteError> {
        let version = self.next();
        let current = self.endpoints.get(write.key());
        match (write, current) {
            (EndpointWrite::Create(_), Some(_)) => return Err(WriteError::Conflict),
            (EndpointWrite::Create(endpoint), None) => {
                let object_uid = format!("e{version}");
                self.put_endpoint(Endpoint { object_uid, resource_version: version, ..endpoint.clone() });
            }
            (EndpointWrite::Update(_), None) => return Err(WriteError::Gone),
            (EndpointWrite::Update(endpoint), Some(current)) => {
                if current.resource_version != endpoint.resource_version {
                    return Err(WriteError::Conflict);
                }
                let terminating = current.terminating;
                self.put_endpoint(Endpoint { resource_version: version, terminating, ..endpoint.clone() });
            }
            (EndpointWrite::Delete { .. }, None) => {}
            (EndpointWrite::Delete { key, object_uid }, Some(current)) => {
                if current.object_uid != *object_uid {
                    return Err(WriteError::Conflict);
                }
                self.endpoints.remove(key);
            }
        }
        Ok(())
    }

    fn put_endpoint(&mut self, endpoint: Endpoint) {
        self.endpoints.insert(endpoint.key.clone(), endpoint);
    }

    /// Whether the owner of a pod with fixed addresses still wants it.
    pub fn fixed_owner(&self, pod: &Pod) -> FixedOwner {
        let owner = pod.controller.as_ref().map(|owner| PodKey::new(&pod.key.namespace, &owner.name));
        owner.and_then(|key| self.fixed_owners.get(&key)).cloned().unwrap_or(FixedOwner::Gone)
    }

    /// The controller of a pod's controller.
    pub fn parent(&self, namespace: &str, object: &Controller) -> Option<Controller> {
        self.parents.get(&PodKey::new(namespace, &object.name)).cloned()
    }

    /// Everything about a pod at this instant, with pools as some cache has them.
    pub fn observe(&self, settings: &Settings, key: &PodKey, pools: Vec<Arc<Pool>>) -> Observed {
        let pod = self.pods.get(key);
        let endpoint_key = pod.map_or_else(|| key.clone(), |pod| settings.endpoint_key(pod));
        Observed {
            pod: pod.map(|pod| self.observe_pod(settings, pod)),
            endpoint: self.endpoints.get(&endpoint_key).cloned(),
            pools,
            reserved: self.reserved.clone(),
        }
    }

    fn observe_pod(&self, settings: &Settings, pod: &Pod) -> ObservedPod {
        ObservedPod {
            pod: pod.clone(),
            parent: pod
                .controller
                .as_ref()
                .and_then(|controller| self.parent(&pod.key.namespace, controller)),
            namespace: self.namespaces.get(&pod.key.namespace).cloned().unwrap_or_default(),
            node_labels: self.nodes.get(&pod.node).cloned().unwrap_or_default(),
            networks: crate::Networks::default(),
            fixed_owner: settings.fixed(pod).map(|_| self.fixed_owner(pod)),
        }
    }
}
