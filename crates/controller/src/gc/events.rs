//! Collection by events (spec/spiderpool.md 9.2): pods that go, are overdue to go, or have ended, each with a timer.
//!
//! Timers live in memory only. After a restart the watch brings the pods that are still there, and the scan finds the rest; so it does after a
//! watch that broke off, which says nothing about pods that went meanwhile.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use polynic_ipam::gc::{due_at, is_due};
use polynic_ipam::{Endpoint, PodKey, Pool, Store as _};
use tokio::sync::Notify;

use super::Gc;
use super::case::{case, plain};
use super::release::Victim;
use super::scan::Suspect;

/// When a pod is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Timer {
    uid: String,
    /// Seconds since the epoch.
    due: i64,
    failures: u32,
}

/// How long a static pod's mirror may be away: kubelet makes another at once if the pod goes on.
const MIRROR_PAUSE: i64 = 60;

/// Timers by the name of the pod's endpoint.
#[derive(Default)]
struct Timers(Mutex<BTreeMap<PodKey, Timer>>);

impl Timers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodKey, Timer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beyond the capacity new ones are left to the scan.
    fn set(&self, key: PodKey, timer: Timer, capacity: usize) {
        let mut timers = self.lock();
        if timers.contains_key(&key) || timers.len() < capacity {
            timers.insert(key, timer);
        }
    }

    fn take_due(&self, now: i64) -> Vec<(PodKey, Timer)> {
        let mut timers = self.lock();
        let due: Vec<PodKey> =
            timers.iter().filter(|(_, timer)| timer.due <= now).map(|(key, _)| key.clone()).collect();
        due.into_iter().filter_map(|key| timers.remove_entry(&key)).collect()
    }
}

impl Gc {
    /// Follows pods and looks at those whose time has come, until the future is dropped. `missed`: there may have been pods that went unseen.
    pub(super) async fn follow_pods(&self, missed: &Notify) {
        let timers = Timers::default();
        let pods: Api<core::Pod> = Api::all(self.client.clone());
        let followed = async {
            let mut events = pin!(watch(pods, watcher::Config::default()).default_backoff());
            let mut lists = 0_u64;
            loop {
                match events.try_next().await {
                    Ok(Some(Event::InitDone)) => {
                        lists += 1;
                        if lists > 1 {
                            missed.notify_one();
                        }
                    }
                    Ok(Some(event)) => self.note(&timers, event),
                    Ok(None) => return,
                    Err(error) => tracing::warn!(%error, "pods cannot be followed"),
                }
            }
        };
        let traced = async {
            loop {
                tokio::time::sleep(self.options.trace_gap).await;
                let due = timers.take_due(Timestamp::now().as_second());
                let traces = stream::iter(due).map(|(key, timer)| self.trace_again(&timers, key, timer));
                traces.buffer_unordered(self.options.workers.max(1)).collect::<Vec<()>>().await;
            }
        };
        tokio::join!(followed, traced);
    }

    fn note(&self, timers: &Timers, event: Event<core::Pod>) {
        let rules = &self.options.rules;
        let (pod, due) = match &event {
            // Whether the node is ready and the owner wants the pod is asked when the time has come.
            Event::Apply(pod) | Event::InitApply(pod) => {
                (pod, due_at(rules, &case(pod, rules.zombies_on_ready_nodes, None)))
            }
            Event::Delete(pod) => {
                let gone = plain(pod);
                let pause = i64::from(rules.delay) + if gone.is_static() { MIRROR_PAUSE } else { 0 };
                (pod, (!gone.host_network).then(|| Timestamp::now().as_second() + pause))
            }
            Event::Init | Event::InitDone => return,
        };
        if let Some(due) = due {
            let plain = plain(pod);
            let key = self.options.fixed.endpoint_key(&plain);
            timers.set(key, Timer { uid: plain.uid, due, failures: 0 }, self.options.capacity);
        }
    }

    async fn trace_again(&self, timers: &Timers, key: PodKey, timer: Timer) {
        let Err(why) = self.trace(&key, &timer.uid).await else { return };
        let failures = timer.failures + 1;
        if failures > self.options.retries {
            return tracing::warn!(pod = %key, why, "the pod's addresses are left to the scan");
        }
        tracing::debug!(pod = %key, why, failures, "the pod is looked at again");
        timers.set(key, Timer { failures, ..timer }, self.options.capacity);
    }

    /// Looks at a pod, or virtual machine, as if the time of its pod with this UID had come.
    ///
    /// # Errors
    /// What could not be read or written.
    pub async fn trace_of(&self, namespace: &str, name: &str, uid: &str) -> Result<(), String> {
        self.store.synced().await;
        self.trace(&PodKey::new(namespace, name), uid).await
    }

    /// Looks at one pod whose time has come: what its endpoint says it holds, and what only records say, because an agent that dies between
    /// its two writes leaves a record without an endpoint.
    async fn trace(&self, key: &PodKey, uid: &str) -> Result<(), String> {
        self.trace_endpoint(key, uid).await?;
        match self.suspects_of(uid).await? {
            left if left.is_empty() => Ok(()),
            left => self.examine(key, left).await,
        }
    }

    /// Records of a pod as far as the watched pools show them; those just released may still be among them.
    async fn suspects_of(&self, uid: &str) -> Result<Vec<Suspect>, String> {
        let pools = self.store.pools().await.map_err(|why| why.0)?;
        let own = |pool: &Pool| -> Vec<Suspect> {
            let records = pool.records.iter().filter(|(_, record)| record.uid == uid);
            records
                .map(|(ip, record)| Suspect { pool: pool.name.clone(), ip, record: record.clone() })
                .collect()
        };
        Ok(pools.iter().flat_map(|pool| own(pool)).collect())
    }

    /// Everything is read from the API server now.
    async fn trace_endpoint(&self, key: &PodKey, uid: &str) -> Result<(), String> {
        let Some(endpoint) = self.store.endpoint(key).await.map_err(|why| why.0)? else { return Ok(()) };
        if endpoint.uid != uid {
            return Ok(());
        }
        let pod = self.live_pod(key, uid).await?;
        let is_over = match &pod {
            Some(pod) if pod.metadata.uid.as_deref() == Some(uid) => {
                let case = self.live_case(pod).await?;
                is_due(&self.options.rules, Timestamp::now().as_second(), &case)
            }
            // Its containers know nothing of mirrors.
            Some(pod) if plain(pod).is_static() && plain(pod).is_alive() => false,
            _ if endpoint.owned_by_pod => true,
            _ => !self.owner_of_gone(&endpoint).await?.is_some_and(|owner| owner.wants(&key.name)),
        };
        if is_over { self.collect(&endpoint).await } else { Ok(()) }
    }

    /// All addresses of an endpoint, and then the endpoint.
    async fn collect(&self, endpoint: &Endpoint) -> Result<(), String> {
        let mut victims = BTreeMap::<&str, Vec<Victim>>::new();
        for holding in endpoint.holdings() {
            let victim = Victim { ip: holding.ip, pod: endpoint.key.clone(), uid: endpoint.uid.clone() };
            victims.entry(holding.pool).or_default().push(victim);
        }
        for (pool, victims) in &victims {
            self.release(pool, victims).await?;
        }
        self.remove(endpoint).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(due: i64) -> Timer {
        Timer { uid: "u".to_owned(), due, failures: 0 }
    }

    #[test]
    fn only_what_is_due_is_taken() {
        let timers = Timers::default();
        timers.set(PodKey::new("a", "early"), timer(1), 10);
        timers.set(PodKey::new("a", "late"), timer(9), 10);
        assert_eq!(timers.take_due(5), [(PodKey::new("a", "early"), timer(1))]);
        assert!(timers.take_due(5).is_empty());
        assert_eq!(timers.take_due(9).len(), 1);
    }

    #[test]
    fn beyond_the_capacity_known_pods_are_still_updated() {
        let timers = Timers::default();
        timers.set(PodKey::new("a", "one"), timer(1), 1);
        timers.set(PodKey::new("a", "two"), timer(1), 1);
        timers.set(PodKey::new("a", "one"), timer(7), 1);
        assert_eq!(timers.take_due(7), [(PodKey::new("a", "one"), timer(7))]);
    }
}
