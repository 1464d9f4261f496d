//! The full scan (spec/spiderpool.md 9.3): every record of every pool, and then endpoints whose pod is gone.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::api::ListParams;
use polynic_api::spider::endpoint;
use polynic_api::spider::pool::IPPool;
use polynic_cluster::spider;
use polynic_ipam::gc::{RecordCase, decide_record, is_outdated};
use polynic_ipam::{Endpoint, PodKey, Pool, Record, Records, Store as _};

use super::Gc;
use super::case::plain;
use super::release::Victim;

/// Records to look at, by the pod that they name.
type Suspects = BTreeMap<PodKey, Vec<Suspect>>;

/// A record that may be nobody's.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub(super) pool: String,
    pub(super) ip: std::net::IpAddr,
    pub(super) record: Record,
}

impl Gc {
    /// One scan.
    ///
    /// # Errors
    /// What could not be looked at or written; everything else was.
    pub async fn scan(&self) -> Result<(), String> {
        let alive = self.alive().await?;
        let suspects = self.suspects(&alive).await?;
        let outcomes: Vec<Result<(), String>> = stream::iter(suspects)
            .map(|(pod, suspects)| async move { self.examine(&pod, suspects).await })
            .buffer_unordered(self.options.workers.max(1))
            .collect()
            .await;
        let endpoints = self.scan_endpoints(&alive).await;
        let mut problems: Vec<String> =
            outcomes.into_iter().chain([endpoints]).filter_map(Result::err).collect();
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// UIDs of pods that are alive beyond doubt: their records need no closer look.
    async fn alive(&self) -> Result<BTreeSet<String>, String> {
        let pods: Api<core::Pod> = Api::all(self.client.clone());
        let list = pods.list(&ListParams::default()).await.map_err(|why| format!("listing pods: {why}"))?;
        // A running pod without addresses is a suspect only if a setting says so.
        let looks_right = |has_ips: bool| has_ips || !self.options.rules.running_without_ips;
        let alive = list.items.iter().map(plain).filter(|pod| pod.is_alive() && looks_right(pod.has_ips));
        Ok(alive.map(|pod| pod.uid).collect())
    }

    async fn suspects(&self, alive: &BTreeSet<String>) -> Result<Suspects, String> {
        let pools = spider::all::<IPPool>(self.client.clone()).list(&ListParams::default()).await;
        let mut suspects = Suspects::new();
        for pool in pools.map_err(|why| format!("listing SpiderIPPools: {why}"))? {
            let name = pool.metadata.name.unwrap_or_default();
            let text = pool.status.and_then(|status| status.allocated_ips);
            let records = match Records::of_text(text.as_deref()) {
                Ok(records) => records,
                Err(why) => {
                    tracing::warn!(pool = name, %why, "this pool is not scanned");
                    continue;
                }
            };
            for (ip, record) in records.iter().filter(|(_, record)| !alive.contains(&record.uid)) {
                let suspect = Suspect { pool: name.clone(), ip, record: record.clone() };
                suspects.entry(record.pod.clone()).or_default().push(suspect);
            }
        }
        Ok(suspects)
    }

    /// Reads everything about a pod from the API server, and decides about its records one by one.
    pub(super) async fn examine(&self, key: &PodKey, suspects: Vec<Suspect>) -> Result<(), String> {
        let endpoint = self.store.endpoint(key).await.map_err(|why| why.0)?;
        let uid = suspects.first().map(|suspect| suspect.record.uid.clone()).unwrap_or_default();
        let pod = match self.live_pod(key, &uid).await? {
            Some(pod) => Some(self.live_case(&pod).await?),
            None => None,
        };
        let owner = match &endpoint {
            Some(endpoint) if pod.is_none() && !endpoint.owned_by_pod => self.owner_of_gone(endpoint).await?,
            _ => None,
        };
        let now = Timestamp::now().as_second();
        let (mut victims, mut remove) = (BTreeMap::<String, Vec<Victim>>::new(), false);
        for Suspect { pool, ip, record } in suspects {
            let case = RecordCase {
                ip,
                record: &record,
                pod: pod.as_ref(),
                endpoint: endpoint.as_ref(),
                fixed_owner: owner.as_ref(),
            };
            let decision = decide_record(&self.options.rules, now, &case);
            tracing::debug!(pool, %ip, pod = %key, release = decision.release, why = decision.why, "a record was examined");
            if decision.release {
                let victim = Victim { ip, pod: record.pod, uid: record.uid };
                victims.entry(pool).or_default().push(victim);
            }
            remove |= decision.remove_endpoint;
        }
        for (pool, victims) in &victims {
            self.release(pool, victims).await?;
        }
        match endpoint.filter(|_| remove) {
            Some(endpoint) => self.remove(&endpoint).await,
            None => Ok(()),
        }
    }

    /// Endpoints that lost their pod and their records, or (if asked for) their records alone.
    async fn scan_endpoints(&self, alive: &BTreeSet<String>) -> Result<(), String> {
        let all = spider::all::<endpoint::Endpoint>(self.client.clone()).list(&ListParams::default()).await;
        for stored in all.map_err(|why| format!("listing SpiderEndpoints: {why}"))? {
            let uid = stored.status.as_ref().map(|status| status.current.uid.clone()).unwrap_or_default();
            if alive.contains(&uid) && !self.options.clean_outdated {
                continue;
            }
            let plain = stored.plain().metadata;
            let key = PodKey::new(plain.namespace, plain.name);
            let Some(endpoint) = self.store.endpoint(&key).await.map_err(|why| why.0)? else { continue };
            if self.is_left_over(&endpoint, alive).await? {
                tracing::info!(endpoint = %key, "an endpoint without records was removed");
                self.remove(&endpoint).await?;
            }
        }
        Ok(())
    }

    async fn is_left_over(&self, endpoint: &Endpoint, alive: &BTreeSet<String>) -> Result<bool, String> {
        let mut pools = Vec::<Pool>::new();
        for name in endpoint.holdings().map(|holding| holding.pool).collect::<BTreeSet<_>>() {
            pools.extend(self.store.pool(name).await.map_err(|why| why.0)?);
        }
        let has_record =
            pools.iter().any(|pool| pool.records.iter().any(|(_, record)| record.pod == endpoint.key));
        if has_record {
            return Ok(false);
        }
        if alive.contains(&endpoint.uid) {
            let pools: Vec<&Pool> = pools.iter().collect();
            return Ok(self.options.clean_outdated && is_outdated(endpoint, &pools));
        }
        let is_gone = self.live_pod(&endpoint.key, &endpoint.uid).await?.is_none();
        let wanted = match self.owner_of_gone(endpoint).await? {
            Some(owner) if !endpoint.owned_by_pod => owner.wants(&endpoint.key.name),
            _ => false,
        };
        Ok(is_gone && !wanted)
    }
}
