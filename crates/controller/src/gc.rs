//! Garbage collection of addresses (spec/spiderpool.md 9): `scan` looks at every record, `events` at pods that end, and `release` writes.
//!
//! What is decided lives in `polynic_ipam::gc`. Lists and watches nominate; a record goes only after the pod was read from the API server
//! by name, and the write is conditional and guarded by address, pod and UID. So a controller that is killed at any moment leaves at worst
//! what the next scan finds.

mod case;
mod events;
mod release;
mod scan;

use std::time::Duration;

use kube::Client;
use polynic_cluster::addresses::{KubeStore, StoreOptions};
use polynic_ipam::Settings;
use polynic_ipam::gc::GcSettings;
use tokio::sync::Notify;

use crate::metrics::GcMetrics;

/// What garbage collection is told (9.1).
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// Which pods' addresses are collected.
    pub rules: GcSettings,
    /// Time between two scans.
    pub interval: Duration,
    /// Time between two looks at the timers.
    pub trace_gap: Duration,
    /// How many pods are looked at at once.
    pub workers: usize,
    /// How often a failed release of a pod is tried again before it is left to the scan.
    pub retries: u32,
    /// Timers that are kept at most.
    pub capacity: usize,
    /// Whether endpoints without any record go (`enableCleanOutdatedEndpoint`).
    pub clean_outdated: bool,
    /// Which pods have fixed addresses.
    pub fixed: Settings,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            rules: GcSettings::default(),
            interval: Duration::from_secs(600),
            trace_gap: Duration::from_secs(5),
            workers: 3,
            retries: 5,
            capacity: 100_000,
            clean_outdated: false,
            fixed: Settings::default(),
        }
    }
}

/// Collects garbage.
pub struct Gc {
    client: Client,
    store: KubeStore,
    options: GcOptions,
    metrics: GcMetrics,
}

impl Gc {
    /// Has to be made inside of a runtime.
    pub fn new(client: Client, options: GcOptions, metrics: GcMetrics) -> Self {
        let store_options = StoreOptions { node: String::new(), agent_namespace: String::new() };
        let store = KubeStore::start(client.clone(), store_options);
        Self { client, store, options, metrics }
    }

    /// Scans in the interval, and collects by events, until the future is dropped.
    pub async fn run(&self) {
        let missed = Notify::new();
        let scans = async {
            loop {
                if let Err(why) = self.scan().await {
                    tracing::warn!(why, "the scan for lost addresses is not complete");
                }
                // Whatever comes first is the time for the next, but for a watch that breaks off all the time.
                tokio::time::sleep(self.options.trace_gap.min(self.options.interval)).await;
                let rest = self.options.interval.saturating_sub(self.options.trace_gap);
                let _ = tokio::time::timeout(rest, missed.notified()).await;
            }
        };
        tokio::join!(scans, self.follow_pods(&missed));
    }
}
