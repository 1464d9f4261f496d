//! Metrics in the text format of Prometheus: the registry, with the labels that the replaced daemons' exporter puts on every series, and the page.
//! What is counted is up to the daemon.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::http::{self, Answer, Handler, Method, Request, StatusCode};

pub use prometheus_client;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a daemon.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// No metrics but `target_info`, which names the daemon.
    pub fn new(daemon: &str) -> Self {
        let mut registry = Registry::default();
        let target = Info::new(vec![("service_name".to_owned(), daemon.to_owned())]);
        registry.register("target", "Target metadata", target);
        Self { registry }
    }

    /// Where to register metrics of a prefix. Their series carry `otel_scope_name` and `otel_scope_version` (spec/spiderpool.md 15).
    pub fn scope(&mut self, prefix: &str, scope: &'static str, version: &'static str) -> &mut Registry {
        let labels = [("otel_scope_name", scope), ("otel_scope_version", version)];
        let labels = labels.map(|(name, value)| (name.into(), value.into()));
        self.registry.sub_registry_with_prefix(prefix).sub_registry_with_labels(labels.into_iter())
    }

    /// Where to register metrics under their whole names and without further labels.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// All series as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Serves the page, at whatever path: the replaced daemons have it at `/`, scrapers ask for `/metrics`.
pub struct Page(pub Arc<Metrics>);

impl Handler for Page {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return http::text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        http::with_type(StatusCode::OK, CONTENT_TYPE, self.0.text().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::histogram::Histogram;

    #[test]
    fn series_have_the_names_and_labels_of_the_replaced_exporter() {
        let mut metrics = Metrics::new("spiderpool-agent");
        let (counter, histogram) = (Counter::<u64>::default(), Histogram::new([0.1, 1.0]));
        let scope = metrics.scope("spiderpool", "spiderpool-agent", "1");
        scope.register("ipam_release_counts", "Releases", counter.clone());
        scope.register("ipam_release_duration_seconds", "Duration", histogram.clone());
        counter.inc();
        histogram.observe(0.5);
        let text = metrics.text();
        let labels = "otel_scope_name=\"spiderpool-agent\",otel_scope_version=\"1\"";
        for line in [
            format!("spiderpool_ipam_release_counts_total{{{labels}}} 1"),
            format!("spiderpool_ipam_release_duration_seconds_count{{{labels}}} 1"),
            "target_info{service_name=\"spiderpool-agent\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.contains("spiderpool_ipam_release_duration_seconds_bucket{"), "{text}");
    }
}
