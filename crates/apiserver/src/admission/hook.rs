//! One webhook of a configuration, read once and matched often.

use std::time::Duration;

use serde_json::Value;

use super::conditions::Condition;
use crate::json::{at, integer, items, text};
use crate::selector::LabelSelector;

/// Seconds that a webhook is given if its configuration does not say.
const TIMEOUT: i64 = 10;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Url(String),
    Service { namespace: String, name: String, path: String, port: u16 },
}

/// Which requests a webhook wants to see.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) operations: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) versions: Vec<String>,
    pub(super) resources: Vec<String>,
    /// `*`, `Namespaced` or `Cluster`.
    pub(super) scope: String,
}

/// A webhook.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    /// PEM; empty for none.
    pub(super) ca_bundle: Vec<u8>,
    pub(super) rules: Vec<Rule>,
    pub(super) namespaces: LabelSelector,
    pub(super) objects: LabelSelector,
    pub(super) conditions: Vec<Condition>,
    /// True if requests in other versions of the kind are meant too.
    pub(super) equivalent: bool,
    /// True if a failed call counts as consent.
    pub(super) ignore_failure: bool,
    pub(super) timeout: Duration,
    /// True if a mutating webhook is asked again when a later one changed the object.
    pub(super) reinvoke: bool,
    /// True if it may be asked about a dry run.
    pub(super) dry_run: bool,
    /// The first version of AdmissionReview in its list that this server speaks.
    pub(super) review_version: Option<&'static str>,
}

impl Hook {
    /// Reads one element of `webhooks`, which has its defaults.
    pub(super) fn read(hook: &Value) -> Self {
        use base64::Engine as _;
        let bundle = text(hook, "clientConfig.caBundle");
        let seconds = integer(hook, "timeoutSeconds").unwrap_or(TIMEOUT).clamp(1, 30);
        Self {
            name: text(hook, "name").into(),
            endpoint: endpoint(hook),
            ca_bundle: base64::engine::general_purpose::STANDARD.decode(bundle).unwrap_or_default(),
            rules: items(hook, "rules").iter().map(rule).collect(),
            namespaces: selector(hook, "namespaceSelector"),
            objects: selector(hook, "objectSelector"),
            conditions: items(hook, "matchConditions").iter().filter_map(Condition::read).collect(),
            equivalent: text(hook, "matchPolicy") != "Exact",
            ignore_failure: text(hook, "failurePolicy") == "Ignore",
            timeout: Duration::from_secs(seconds.unsigned_abs()),
            reinvoke: text(hook, "reinvocationPolicy") == "IfNeeded",
            dry_run: ["None", "NoneOnDryRun"].contains(&text(hook, "sideEffects")),
            review_version: items(hook, "admissionReviewVersions").iter().find_map(review_version),
        }
    }
}

fn review_version(version: &Value) -> Option<&'static str> {
    ["v1", "v1beta1"].into_iter().find(|known| version == *known)
}

fn selector(hook: &Value, field: &str) -> LabelSelector {
    at(hook, field).map(LabelSelector::from_object).unwrap_or_default()
}

fn endpoint(hook: &Value) -> Endpoint {
    let Some(service) = at(hook, "clientConfig.service") else {
        return Endpoint::Url(text(hook, "clientConfig.url").into());
    };
    Endpoint::Service {
        namespace: text(service, "namespace").into(),
        name: text(service, "name").into(),
        path: text(service, "path").into(),
        port: integer(service, "port").and_then(|port| port.try_into().ok()).unwrap_or(443),
    }
}

fn rule(rule: &Value) -> Rule {
    let list = |field: &str| items(rule, field).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Rule {
        operations: list("operations"),
        groups: list("apiGroups"),
        versions: list("apiVersions"),
        resources: list("resources"),
        scope: at(rule, "scope").and_then(Value::as_str).unwrap_or("*").into(),
    }
}
