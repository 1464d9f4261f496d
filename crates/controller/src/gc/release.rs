//! Writing what was decided.

use std::net::IpAddr;
use std::time::Duration;

use polynic_ipam::{Endpoint, EndpointWrite, PodKey, PoolWrite, Store as _, WriteError};

use super::Gc;

/// How often a pool is read and written again because an agent was faster.
const ATTEMPTS: u32 = 20;
/// The pause after the first conflict; later ones are longer.
const PAUSE: Duration = Duration::from_millis(10);

/// A record that is to go: only if it still is this pod's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    /// The address.
    pub ip: IpAddr,
    /// The pod of the record.
    pub pod: PodKey,
    /// The pod's UID.
    pub uid: String,
}

impl Gc {
    /// Takes records out of a pool in one write, and counts them.
    pub(super) async fn release(&self, pool: &str, victims: &[Victim]) -> Result<(), String> {
        let released = self.try_release(pool, victims).await;
        match &released {
            Ok(count) => {
                self.metrics.released(*count);
                if *count > 0 {
                    tracing::info!(pool, count, "addresses were collected");
                }
            }
            Err(_) => self.metrics.failed(),
        }
        released.map(drop)
    }

    async fn try_release(&self, name: &str, victims: &[Victim]) -> Result<usize, String> {
        for attempt in 0..ATTEMPTS {
            let Some(pool) = self.store.pool(name).await.map_err(|why| why.0)? else { return Ok(0) };
            let mut records = pool.records.clone();
            let own = |victim: &&Victim| {
                pool.records
                    .get(victim.ip)
                    .is_some_and(|record| record.pod == victim.pod && record.uid == victim.uid)
            };
            let going: Vec<&Victim> = victims.iter().filter(own).collect();
            if going.is_empty() {
                return Ok(0);
            }
            for victim in &going {
                records.remove(victim.ip);
            }
            let write =
                PoolWrite { pool: name.to_owned(), resource_version: pool.resource_version.clone(), records };
            match self.store.write_pool(write).await {
                Ok(_) => return Ok(going.len()),
                Err(WriteError::Gone) => return Ok(0),
                Err(WriteError::Conflict) => tokio::time::sleep(PAUSE * attempt.min(20)).await,
                Err(why) => return Err(format!("SpiderIPPool {name}: {why}")),
            }
        }
        Err(format!("SpiderIPPool {name} was written by others {ATTEMPTS} times in a row"))
    }

    /// Takes an endpoint away.
    pub(super) async fn remove(&self, endpoint: &Endpoint) -> Result<(), String> {
        let write =
            EndpointWrite::Delete { key: endpoint.key.clone(), object_uid: endpoint.object_uid.clone() };
        let removed = self.store.write_endpoint(write).await;
        removed.map_err(|why| format!("SpiderEndpoint {}: {why}", endpoint.key))
    }
}
