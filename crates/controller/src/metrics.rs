//! The controller's metrics, with the documented names (spec/spiderpool.md 15).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{PoolStatus, SubnetStatus};
use polynic_cluster::spider::{self, Stored};
use polynic_runtime::metrics::Metrics;
use polynic_runtime::metrics::prometheus_client::metrics::counter::Counter;
use polynic_runtime::metrics::prometheus_client::metrics::family::Family;
use polynic_runtime::metrics::prometheus_client::metrics::gauge::Gauge;

/// The exporter's scope.
const SCOPE: &str = "spiderpool-controller";

/// Counters of garbage collection.
#[derive(Clone, Debug, Default)]
pub struct GcMetrics {
    released: Counter,
    failed: Counter,
}

impl GcMetrics {
    /// So many addresses were collected.
    pub fn released(&self, count: usize) {
        self.released.inc_by(count as u64);
    }

    /// A collection failed.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// Both counts.
    pub fn counts(&self) -> (u64, u64) {
        (self.released.get(), self.failed.get())
    }
}

/// One series for each object, labelled with its kind and name.
type ByName = Family<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>>;

/// All metrics of the controller.
#[derive(Clone, Debug, Default)]
pub struct ControllerMetrics {
    /// Of garbage collection.
    pub gc: GcMetrics,
    pools: Gauge,
    subnets: Gauge,
    pool_total: ByName,
    pool_available: ByName,
    subnet_pools: ByName,
    subnet_total: ByName,
    subnet_available: ByName,
}

impl ControllerMetrics {
    /// The page; series of single pools and subnets only if asked for.
    pub fn page(&self, with_debug: bool) -> Arc<Metrics> {
        let mut metrics = Metrics::new(SCOPE);
        let scope = metrics.scope("spiderpool", SCOPE, env!("CARGO_PKG_VERSION"));
        scope.register("ip_gc_counts", "Addresses that were collected", self.gc.released.clone());
        scope.register("ip_gc_failure_counts", "Collections that failed", self.gc.failed.clone());
        scope.register("total_ippool_counts", "SpiderIPPools", self.pools.clone());
        scope.register("total_subnet_counts", "SpiderSubnets", self.subnets.clone());
        if with_debug {
            let total = "Addresses of a pool";
            scope.register("debug_ippool_total_ip_counts", total, self.pool_total.clone());
            let available = "Addresses of a pool that are not in use";
            scope.register("debug_ippool_available_ip_counts", available, self.pool_available.clone());
            scope.register("debug_subnet_ippool_counts", "Pools of a subnet", self.subnet_pools.clone());
            scope.register(
                "debug_subnet_total_ip_counts",
                "Addresses of a subnet",
                self.subnet_total.clone(),
            );
            let available = "Addresses of a subnet that no pool has";
            scope.register("debug_subnet_available_ip_counts", available, self.subnet_available.clone());
        }
        Arc::new(metrics)
    }

    /// Counts pools and subnets again and again, until the future is dropped.
    pub async fn renew(&self, client: &Client, subnets: bool, period: Duration) {
        loop {
            if let Err(error) = self.count(client, subnets).await {
                tracing::warn!(%error, "pools and subnets were not counted");
            }
            tokio::time::sleep(period).await;
        }
    }

    async fn count(&self, client: &Client, subnets: bool) -> Result<(), kube::Error> {
        let pools = spider::all::<IPPool>(client.clone()).list(&ListParams::default()).await?;
        self.set_pools(&pools.items);
        if subnets {
            let subnets = spider::all::<Subnet>(client.clone()).list(&ListParams::default()).await?;
            self.set_subnets(&subnets.items);
        }
        Ok(())
    }

    fn set_pools(&self, pools: &[Stored<IPPool>]) {
        self.pools.set(i64::try_from(pools.len()).unwrap_or(i64::MAX));
        self.pool_total.clear();
        self.pool_available.clear();
        for pool in pools {
            let label = vec![("SpiderIPPool", pool.metadata.name.clone().unwrap_or_default())];
            let (total, used) = counts(
                pool.status
                    .as_ref()
                    .map(|status: &PoolStatus| (status.total_ip_count, status.allocated_ip_count)),
            );
            self.pool_total.get_or_create(&label).set(total);
            self.pool_available.get_or_create(&label).set(total - used);
        }
    }

    fn set_subnets(&self, subnets: &[Stored<Subnet>]) {
        self.subnets.set(i64::try_from(subnets.len()).unwrap_or(i64::MAX));
        for family in [&self.subnet_pools, &self.subnet_total, &self.subnet_available] {
            family.clear();
        }
        for subnet in subnets {
            let label = vec![("SpiderSubnet", subnet.metadata.name.clone().unwrap_or_default())];
            let status = subnet.status.clone().unwrap_or_default();
            let (total, used) = counts(
                Some(&status).map(|status: &SubnetStatus| (status.total_ip_count, status.allocated_ip_count)),
            );
            let pools = status.controlled_pools().map_or(0, |pools| pools.len());
            self.subnet_pools.get_or_create(&label).set(pools as f64);
            self.subnet_total.get_or_create(&label).set(total);
            self.subnet_available.get_or_create(&label).set(total - used);
        }
    }
}

fn counts(status: Option<(Option<i64>, Option<i64>)>) -> (f64, f64) {
    let (total, used) = status.unwrap_or_default();
    (total.unwrap_or(0) as f64, used.unwrap_or(0) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_labels_are_the_documented_ones() {
        let metrics = ControllerMetrics::default();
        metrics.gc.released(2);
        let pool = json!({"metadata": {"name": "blue"}, "spec": {"subnet": "x"}, "status": {"totalIPCount": 9, "allocatedIPCount": 3}});
        metrics.set_pools(&[serde_json::from_value(pool).unwrap()]);
        let scope =
            format!("otel_scope_name=\"{SCOPE}\",otel_scope_version=\"{}\"", env!("CARGO_PKG_VERSION"));
        let text = metrics.page(true).text();
        for line in [
            format!("spiderpool_ip_gc_counts_total{{{scope}}} 2"),
            format!("spiderpool_ip_gc_failure_counts_total{{{scope}}} 0"),
            format!("spiderpool_total_ippool_counts{{{scope}}} 1"),
            format!("spiderpool_debug_ippool_available_ip_counts{{{scope},SpiderIPPool=\"blue\"}} 6.0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!metrics.page(false).text().contains("debug"));
    }
}
