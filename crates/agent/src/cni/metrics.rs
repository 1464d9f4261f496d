//! What the endpoint counts: the replaced daemon's counter (spec/multus.md 13.8), and how long what took and why it failed.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use polynic_cni::Verb;
use polynic_runtime::metrics::Metrics;
use polynic_runtime::metrics::prometheus_client::metrics::counter::Counter;
use polynic_runtime::metrics::prometheus_client::metrics::family::Family;
use polynic_runtime::metrics::prometheus_client::metrics::gauge::Gauge;
use polynic_runtime::metrics::prometheus_client::metrics::histogram::Histogram;

const DAEMON: &str = "multus-daemon";
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 3.0, 10.0, 60.0];
/// Networks with series of their own. Users make networks, and every series costs memory.
const MAX_NETWORKS: usize = 200;
/// The cause of failure of a call whose caller went away.
const ABANDONED: &str = "abandoned";
/// What further networks are counted as.
const OTHERS: &str = "(others)";

type Labels = Vec<(&'static str, String)>;
type Durations = Family<Labels, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The endpoint's metrics.
pub struct CniMetrics {
    requests: Family<Labels, Counter>,
    calls: Durations,
    plugins: Durations,
    failures: Family<Labels, Counter>,
    in_flight: Gauge<i64, AtomicI64>,
    networks: Mutex<BTreeSet<String>>,
}

impl Default for CniMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            calls: Family::new_with_constructor(histogram),
            plugins: Family::new_with_constructor(histogram),
            failures: Family::default(),
            in_flight: Gauge::default(),
            networks: Mutex::default(),
        }
    }
}

impl CniMetrics {
    /// The page with all series.
    pub fn page(&self) -> Metrics {
        let mut metrics = Metrics::new(DAEMON);
        let registry = metrics.registry();
        registry.register(
            "multus_server_request",
            "Requests by handler, code and method",
            self.requests.clone(),
        );
        registry.register(
            "polynic_cni_call_duration_seconds",
            "Time of CNI calls, waiting included, by command and outcome",
            self.calls.clone(),
        );
        registry.register(
            "polynic_cni_plugin_duration_seconds",
            "Time of plugins by command, network and plugin",
            self.plugins.clone(),
        );
        registry.register(
            "polynic_cni_failures",
            "Failed CNI calls by command and cause",
            self.failures.clone(),
        );
        registry.register(
            "polynic_cni_in_flight",
            "CNI calls that are waiting or running",
            self.in_flight.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub(crate) fn answered(&self, handler: &'static str, code: u16, method: &str) {
        let labels = vec![
            ("handler", handler.to_owned()),
            ("code", code.to_string()),
            ("method", method.to_lowercase()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    /// A call came in. It is in flight until it has ended, or is dropped because nobody waits for it any more.
    pub(crate) fn begin(&self, verb: Verb) -> Counted<'_> {
        self.in_flight.inc();
        Counted { metrics: self, verb, started: Instant::now(), failure: Some(ABANDONED) }
    }

    fn ended(&self, verb: Verb, took: Duration, failure: Option<&'static str>) {
        self.in_flight.dec();
        let outcome = if failure.is_some() { "failure" } else { "success" };
        let labels = vec![("command", verb.to_string()), ("outcome", outcome.to_owned())];
        self.calls.get_or_create(&labels).observe(took.as_secs_f64());
        if let Some(cause) = failure {
            let labels = vec![("command", verb.to_string()), ("cause", cause.to_owned())];
            self.failures.get_or_create(&labels).inc();
        }
    }

    /// A plugin has worked for a network.
    pub(crate) fn plugin(&self, verb: Verb, network: &str, plugin: &str, took: Duration) {
        let network = self.counted_as(network);
        let labels = vec![("command", verb.to_string()), ("network", network), ("plugin", plugin.to_owned())];
        self.plugins.get_or_create(&labels).observe(took.as_secs_f64());
    }

    fn counted_as(&self, network: &str) -> String {
        let mut known = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(network) {
            return network.to_owned();
        }
        if known.len() >= MAX_NETWORKS {
            return OTHERS.to_owned();
        }
        known.insert(network.to_owned());
        network.to_owned()
    }
}

/// A call in flight.
pub(crate) struct Counted<'a> {
    metrics: &'a CniMetrics,
    verb: Verb,
    started: Instant,
    failure: Option<&'static str>,
}

impl Counted<'_> {
    /// The call has ended; the cause of its failure, if it failed.
    pub(crate) fn end(mut self, failure: Option<&'static str>) {
        self.failure = failure;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.ended(self.verb, self.started.elapsed(), self.failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replaced_daemons_counter_and_our_own_series_are_there() {
        let metrics = CniMetrics::default();
        metrics.answered("/cni", 200, "POST");
        let _running = metrics.begin(Verb::Del);
        metrics.begin(Verb::Add).end(Some("plugin"));
        metrics.begin(Verb::Add).end(None);
        drop(metrics.begin(Verb::Check));
        metrics.plugin(Verb::Add, "lan", "macvlan", Duration::from_millis(2));
        let text = metrics.page().text();
        for line in [
            "multus_server_request_total{handler=\"/cni\",code=\"200\",method=\"post\"} 1",
            "polynic_cni_failures_total{command=\"ADD\",cause=\"plugin\"} 1",
            "polynic_cni_failures_total{command=\"CHECK\",cause=\"abandoned\"} 1",
            "polynic_cni_in_flight 1",
            "polynic_cni_call_duration_seconds_count{command=\"ADD\",outcome=\"success\"} 1",
            "polynic_cni_call_duration_seconds_count{command=\"ADD\",outcome=\"failure\"} 1",
            "polynic_cni_plugin_duration_seconds_count{command=\"ADD\",network=\"lan\",plugin=\"macvlan\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_thousand_networks_do_not_make_a_thousand_series() {
        let metrics = CniMetrics::default();
        for number in 0..1000 {
            metrics.plugin(Verb::Add, &format!("n{number}"), "macvlan", Duration::ZERO);
        }
        let text = metrics.page().text();
        let counts = text.lines().filter(|l| l.starts_with("polynic_cni_plugin_duration_seconds_count"));
        assert_eq!(counts.count(), MAX_NETWORKS + 1);
    }
}
