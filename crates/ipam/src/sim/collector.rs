//! The controller's garbage collection: decides on what it reads, acts later, guarded by address and UID.

use std::net::IpAddr;

use super::World;
use super::world::Occurrence;
use crate::gc::{GcSettings, PodCase, RecordCase, decide_record};
use crate::{Endpoint, EndpointWrite, FixedOwner, PodKey, PoolWrite, Record};

/// What was decided.
#[derive(Clone, Debug)]
pub(super) struct Sentence {
    pool: String,
    ip: IpAddr,
    uid: String,
    endpoint: Option<(PodKey, String)>,
}

impl World {
    pub(super) fn collect(&mut self) {
        self.after(900, Occurrence::Collect);
        let mut sentences = Vec::new();
        for pool in self.api.pools.values() {
            for (ip, record) in pool.records.iter() {
                sentences.extend(self.judge(&pool.name, ip, record));
            }
        }
        for sentence in sentences {
            let delay = 1 + self.below(200);
            self.after(delay, Occurrence::Release(sentence));
        }
        self.collect_endpoints();
    }

    fn judge(&self, pool: &str, ip: IpAddr, record: &Record) -> Option<Sentence> {
        let endpoint = self.api.endpoints.get(&record.pod);
        let owner = endpoint.map(|endpoint| self.owner(endpoint));
        let pod =
            self.api.pods.get(&record.pod).filter(|_| !self.options.blind_collector).map(|pod| PodCase {
                node_ready: true,
                finished_at: None,
                termination_grace: 0,
                fixed_owner: self.settings.fixed(pod).map(|_| self.api.fixed_owner(pod)),
                pod: pod.clone(),
            });
        let case = RecordCase { ip, record, pod: pod.as_ref(), endpoint, fixed_owner: owner.as_ref() };
        // A kubelet of this world may stop a pod as late as it likes: nothing is overdue.
        let settings = GcSettings { zombies_on_ready_nodes: false, ..GcSettings::default() };
        let decision = decide_record(&settings, 0, &case);
        let doomed = endpoint.filter(|_| decision.remove_endpoint);
        let endpoint = doomed.map(|endpoint| (endpoint.key.clone(), endpoint.object_uid.clone()));
        decision.release.then(|| Sentence { pool: pool.to_owned(), ip, uid: record.uid.clone(), endpoint })
    }

    fn owner(&self, endpoint: &Endpoint) -> FixedOwner {
        let key = PodKey::new(&endpoint.key.namespace, &endpoint.owner_name);
        self.api.fixed_owners.get(&key).cloned().unwrap_or(FixedOwner::Gone)
    }

    /// Endpoints of pods that are gone and hold nothing any more.
    fn collect_endpoints(&mut self) {
        let gone = |endpoint: &&Endpoint| {
            let own = self.api.pods.get(&endpoint.key).is_some_and(|pod| pod.uid == endpoint.uid);
            let wanted = !endpoint.owned_by_pod && self.owner(endpoint).wants(&endpoint.key.name);
            !own && !wanted
        };
        let doomed: Vec<Endpoint> = self.api.endpoints.values().filter(gone).cloned().collect();
        for endpoint in doomed {
            let recorded = |pool: &std::sync::Arc<crate::Pool>| {
                pool.records
                    .iter()
                    .any(|(_, record)| record.uid == endpoint.uid && record.pod == endpoint.key)
            };
            if !self.api.pools.values().any(recorded) {
                self.remove_endpoint(endpoint.key.clone(), endpoint.object_uid.clone());
            }
        }
    }

    fn remove_endpoint(&mut self, key: PodKey, object_uid: String) {
        self.dirty = true;
        // One that has another UID by now is another one.
        let _ = self.api.write_endpoint(&EndpointWrite::Delete { key, object_uid });
    }

    pub(super) fn release(&mut self, sentence: &Sentence) {
        let Some(pool) = self.api.pools.get(&sentence.pool).cloned() else { return };
        if let Some((key, object_uid)) = sentence.endpoint.clone() {
            self.remove_endpoint(key, object_uid);
        }
        if pool.records.get(sentence.ip).is_none_or(|record| record.uid != sentence.uid) {
            return;
        }
        let mut records = pool.records.clone();
        records.remove(sentence.ip);
        let write =
            PoolWrite { pool: pool.name.clone(), resource_version: pool.resource_version.clone(), records };
        if self.api.write_pool(&write).is_ok() {
            self.pool_changed(&pool.name);
        }
    }
}
