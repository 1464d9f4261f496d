//! What the agent counts, under the documented names (spec/spiderpool.md 15).

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use polynic_ipam::{Counters, FailureReason};
use polynic_runtime::metrics::Metrics;
use polynic_runtime::metrics::prometheus_client::metrics::counter::Counter;
use polynic_runtime::metrics::prometheus_client::metrics::gauge::Gauge;
use polynic_runtime::metrics::prometheus_client::metrics::histogram::Histogram;
use polynic_runtime::metrics::prometheus_client::registry::Registry;

const DAEMON: &str = "spiderpool-agent";
const BUCKETS: [f64; 9] = [0.1, 0.3, 0.5, 1.0, 3.0, 5.0, 7.0, 10.0, 15.0];

type Seconds = Gauge<f64, AtomicU64>;

/// The agent's metrics.
#[derive(Default)]
pub struct AgentMetrics {
    allocation: Operation,
    release: Operation,
    no_available_pool: Counter,
    ip_used_out: Counter,
    requests: Requests,
    seen: Mutex<Counters>,
}

/// What the allocator asks of the API server; not counted by the replaced agent.
#[derive(Default)]
struct Requests {
    pool_reads: Counter,
    pool_writes: Counter,
    endpoint_writes: Counter,
}

/// How long a request took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    /// All of it.
    pub(crate) whole: Duration,
    /// What of it went by before the work began.
    pub(crate) queued: Duration,
}

/// What both operations have.
#[derive(Default)]
struct Operation {
    counts: Counter,
    failures: Counter,
    conflicts: Counter,
    internal: Counter,
    retries_exhausted: Counter,
    duration: Durations,
    waiting: Durations,
}

struct Durations {
    histogram: Histogram,
    /// How many, and seconds in all.
    total: Mutex<(u64, f64)>,
    average: Seconds,
    max: Seconds,
    min: Seconds,
    latest: Seconds,
}

impl Default for Durations {
    fn default() -> Self {
        let gauge = Seconds::default;
        let histogram = Histogram::new(BUCKETS);
        Self {
            histogram,
            total: Mutex::default(),
            average: gauge(),
            max: gauge(),
            min: gauge(),
            latest: gauge(),
        }
    }
}

impl Durations {
    fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.histogram.observe(seconds);
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, sum) = (total.0 + 1, total.1 + seconds);
        *total = (count, sum);
        self.average.set(sum / count as f64);
        self.latest.set(seconds);
        self.max.set(self.max.get().max(seconds));
        self.min.set(if count == 1 { seconds } else { self.min.get().min(seconds) });
    }

    /// `kind` stands in the names: `duration`, or `limit_duration` for the time before the work began.
    fn register(&self, registry: &mut Registry, operation: &str, kind: &str) {
        let histogram = format!("ipam_{operation}_{kind}_seconds");
        registry.register(
            histogram,
            format!("Histogram of the {kind} of {operation}s"),
            self.histogram.clone(),
        );
        let gauges =
            [("average", &self.average), ("max", &self.max), ("min", &self.min), ("latest", &self.latest)];
        for (which, gauge) in gauges {
            let help = format!("The {which} {kind} of {operation}s");
            registry.register(format!("ipam_{operation}_{which}_{kind}_seconds"), help, gauge.clone());
        }
    }
}

impl Operation {
    fn register(&self, registry: &mut Registry, operation: &str) {
        let counters = [
            ("counts", "Requests", &self.counts),
            ("failure_counts", "Failed requests", &self.failures),
            ("update_ippool_conflict_counts", "Pool writes that met another version", &self.conflicts),
            ("err_internal_counts", "Requests that failed inside", &self.internal),
            (
                "err_retries_exhausted_counts",
                "Requests that ran out of time or were wrong",
                &self.retries_exhausted,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(
                format!("ipam_{operation}_{name}"),
                format!("{help}, {operation}"),
                counter.clone(),
            );
        }
        self.duration.register(registry, operation, "duration");
        self.waiting.register(registry, operation, "limit_duration");
    }

    fn count(&self, took: Took) {
        self.counts.inc();
        self.duration.observe(took.whole);
        self.waiting.observe(took.queued);
    }
}

impl AgentMetrics {
    /// Puts everything on the page.
    pub fn page(&self) -> Metrics {
        let mut metrics = Metrics::new(DAEMON);
        let registry = metrics.scope("spiderpool", DAEMON, env!("CARGO_PKG_VERSION"));
        self.allocation.register(registry, "allocation");
        self.release.register(registry, "release");
        let more = [
            ("no_available_pool", "Allocations without a pool that may serve", &self.no_available_pool),
            ("ip_used_out", "Allocations that found all pools full", &self.ip_used_out),
        ];
        for (name, help, counter) in more {
            registry.register(format!("ipam_allocation_err_{name}_counts"), help, counter.clone());
        }
        let registry = metrics.scope("polynic", DAEMON, env!("CARGO_PKG_VERSION"));
        let requests = [
            ("pool_reads", "Pools read from the API server", &self.requests.pool_reads),
            ("pool_writes", "Pool writes, those that met a conflict included", &self.requests.pool_writes),
            ("endpoint_writes", "Endpoint writes", &self.requests.endpoint_writes),
        ];
        for (name, help, counter) in requests {
            registry.register(format!("agent_{name}"), help, counter.clone());
        }
        metrics
    }

    /// Counts an allocation; `why` if it failed.
    pub(crate) fn allocated(&self, took: Took, why: Option<&FailureReason>) {
        self.allocation.count(took);
        let Some(why) = why else { return };
        self.allocation.failures.inc();
        match why {
            FailureReason::NoPool(_) => &self.no_available_pool,
            FailureReason::UsedOut(_) => &self.ip_used_out,
            // The replaced agent counts wrong input there too.
            FailureReason::OutOfTime(_) | FailureReason::WrongInput(_) => &self.allocation.retries_exhausted,
            _ => &self.allocation.internal,
        }
        .inc();
    }

    /// Counts a release; `why` if it failed.
    pub(crate) fn released(&self, took: Took, why: Option<&FailureReason>) {
        self.release.count(took);
        let Some(why) = why else { return };
        self.release.failures.inc();
        match why {
            FailureReason::OutOfTime(_) | FailureReason::WrongInput(_) => &self.release.retries_exhausted,
            _ => &self.release.internal,
        }
        .inc();
    }

    /// Takes over what the allocator counted. A write for allocations and releases together that meets a conflict counts with both.
    pub(crate) fn take_over(&self, now: Counters) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.allocation.conflicts.inc_by(now.allocation_conflicts.saturating_sub(seen.allocation_conflicts));
        self.release.conflicts.inc_by(now.release_conflicts.saturating_sub(seen.release_conflicts));
        self.requests.pool_reads.inc_by(now.pool_reads.saturating_sub(seen.pool_reads));
        self.requests.pool_writes.inc_by(now.pool_writes.saturating_sub(seen.pool_writes));
        self.requests.endpoint_writes.inc_by(now.endpoint_writes.saturating_sub(seen.endpoint_writes));
        *seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> Option<String> {
        let start = format!("{name}{{");
        let line = text.lines().find(|line| line.starts_with(&start))?;
        line.rsplit(' ').next().map(ToOwned::to_owned)
    }

    #[test]
    fn every_documented_name_is_there() {
        let text = AgentMetrics::default().page().text();
        let counters = [
            "allocation_counts",
            "allocation_failure_counts",
            "allocation_update_ippool_conflict_counts",
            "allocation_err_internal_counts",
            "allocation_err_no_available_pool_counts",
            "allocation_err_retries_exhausted_counts",
            "allocation_err_ip_used_out_counts",
            "release_counts",
            "release_failure_counts",
            "release_update_ippool_conflict_counts",
            "release_err_internal_counts",
            "release_err_retries_exhausted_counts",
        ];
        for name in counters {
            assert_eq!(
                value(&text, &format!("spiderpool_ipam_{name}_total")).as_deref(),
                Some("0"),
                "{name}"
            );
        }
        for operation in ["allocation", "release"] {
            for kind in ["duration", "limit_duration"] {
                for which in ["average_", "max_", "min_", "latest_"] {
                    let name = format!("spiderpool_ipam_{operation}_{which}{kind}_seconds");
                    assert!(value(&text, &name).is_some(), "{name}");
                }
                let name = format!("spiderpool_ipam_{operation}_{kind}_seconds_count");
                assert_eq!(value(&text, &name).as_deref(), Some("0"), "{name}");
            }
        }
    }

    #[test]
    fn the_charts_alerts_ask_for_what_is_there() {
        let rules = include_str!("../../../../deploy/chart/polynic/templates/alerts.yaml");
        let text = AgentMetrics::default().page().text();
        let names = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut asked = names.filter(|name| name.starts_with("ipam_")).peekable();
        assert!(asked.peek().is_some());
        asked.for_each(|name| assert!(value(&text, &format!("spiderpool_{name}_total")).is_some(), "{name}"));
    }

    #[test]
    fn durations_and_failures_are_counted() {
        let metrics = AgentMetrics::default();
        let took = |whole, queued| Took {
            whole: Duration::from_millis(whole),
            queued: Duration::from_millis(queued),
        };
        metrics.allocated(took(500, 250), None);
        metrics.allocated(took(1500, 750), Some(&FailureReason::UsedOut(String::new())));
        metrics.released(took(20, 0), Some(&FailureReason::Internal(String::new())));
        let counters = |allocation_conflicts, release_conflicts| Counters {
            allocation_conflicts,
            release_conflicts,
            ..Counters::default()
        };
        metrics.take_over(counters(3, 1));
        metrics.take_over(counters(4, 2));
        let text = metrics.page().text();
        for (name, expected) in [
            ("allocation_counts_total", "2"),
            ("allocation_failure_counts_total", "1"),
            ("allocation_err_ip_used_out_counts_total", "1"),
            ("allocation_update_ippool_conflict_counts_total", "4"),
            ("release_update_ippool_conflict_counts_total", "2"),
            ("allocation_average_limit_duration_seconds", "0.5"),
            ("allocation_max_limit_duration_seconds", "0.75"),
            ("allocation_average_duration_seconds", "1.0"),
            ("allocation_max_duration_seconds", "1.5"),
            ("allocation_min_duration_seconds", "0.5"),
            ("allocation_latest_duration_seconds", "1.5"),
            ("release_err_internal_counts_total", "1"),
        ] {
            assert_eq!(value(&text, &format!("spiderpool_ipam_{name}")).as_deref(), Some(expected), "{name}");
        }
    }
}
