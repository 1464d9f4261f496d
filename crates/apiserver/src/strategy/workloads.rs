//! Kinds that make pods: their selectors must match their templates and stay, and their strategies fit together.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, fields, pod};
use crate::json::{at, carry, child, default, items, text};
use crate::selector::LabelSelector;
use crate::status::Cause;

/// Where the real server still writes what was once a field.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const MISMATCH: &str = "`selector` does not match template `labels`";
const STATEFUL: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
/// What may change in a stateful set.
const STATEFUL_FREE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Deployments.
pub(crate) struct Deployment;
impl Strategy for Deployment {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = counts(object);
        causes.extend(selector_and_template(object, "deployment"));
        let strategy = &object["spec"]["strategy"];
        causes.extend(update_strategy(strategy, "spec.strategy"));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        fixed_selector(new, old).into_iter().collect()
    }
}

/// ReplicaSets.
pub(crate) struct ReplicaSet;
impl Strategy for ReplicaSet {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = counts(object);
        causes.extend(selector_and_template(object, "replicaset"));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        fixed_selector(new, old).into_iter().collect()
    }
}

/// StatefulSets.
pub(crate) struct StatefulSet;
impl Strategy for StatefulSet {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = counts(object);
        causes.extend(selector_and_template(&with_identity(object), "statefulset"));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let fixed = |object: &Value| {
            let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
            spec.retain(|key, _| !STATEFUL_FREE.contains(&key.as_str()));
            spec
        };
        let changed = fixed(new) != fixed(old);
        changed.then(|| Cause::forbidden("spec", STATEFUL)).into_iter().collect()
    }
}

/// The set as its controller will make pods of it: each gets a name of its own, and a volume for each claim.
fn with_identity(set: &Value) -> Value {
    let mut set = set.clone();
    let claims =
        items(&set, "spec.volumeClaimTemplates").iter().map(|claim| text(claim, "metadata.name").to_owned());
    let names: Vec<String> = claims.collect();
    let spec = child(child(child(&mut set, "spec"), "template"), "spec");
    for key in ["hostname", "subdomain"] {
        carry(key, &Value::Null, spec);
    }
    if !names.is_empty() {
        let own =
            names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        let others =
            items(spec, "volumes").iter().filter(|v| !names.iter().any(|name| name == text(v, "name")));
        spec["volumes"] = own.chain(others.cloned()).collect();
    }
    set
}

/// DaemonSets.
pub(crate) struct DaemonSet;
impl Strategy for DaemonSet {
    /// The count is in what clients write, so that whoever makes the set owns it; its value is the server's.
    fn default(&self, object: &mut Value) {
        default(child(child(object, "metadata"), "annotations"), TEMPLATE_GENERATION, "0");
    }

    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        carry("status", &Value::Null, object);
        child(child(object, "metadata"), "annotations")[TEMPLATE_GENERATION] = json!("1");
    }

    /// Counts changes of the template.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let before = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().unwrap_or("1");
        let count =
            before.parse().unwrap_or(1) + i64::from(new["spec"]["template"] != old["spec"]["template"]);
        child(child(new, "metadata"), "annotations")[TEMPLATE_GENERATION] = json!(count.to_string());
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        selector_and_template(object, "daemonset")
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        fixed_selector(new, old).into_iter().collect()
    }
}

/// Pod templates on their own.
pub(crate) struct PodTemplate;
impl Strategy for PodTemplate {
    fn answers_with_object(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        pod::spec::causes(&object["template"]["spec"], "template.spec")
    }
}

fn counts(object: &Value) -> Vec<Cause> {
    let fields = ["spec.replicas", "spec.minReadySeconds", "spec.revisionHistoryLimit"];
    fields.iter().filter_map(|field| fields::not_negative(object, field, field)).collect()
}

/// A template is only looked at where the selector can be compared with it.
fn selector_and_template(object: &Value, kind: &str) -> Vec<Cause> {
    let mut causes = selector(object, kind);
    if !causes.iter().any(|cause| cause.message.ends_with("invalid label selector")) {
        causes.extend(template(object));
    }
    causes
}

fn selector(object: &Value, kind: &str) -> Vec<Cause> {
    let Some(selector) = at(object, "spec.selector") else {
        // The daemon set's and the replica set's own test is that of the template.
        let required = ["deployment", "statefulset"].contains(&kind);
        let cause = || Cause::required("spec.selector", "");
        return (required && kind == "deployment")
            .then(cause)
            .into_iter()
            .chain(mismatch(object, &json!({})))
            .collect();
    };
    let mut causes = fields::selector("spec.selector", selector);
    if !causes.is_empty() {
        causes.push(Cause::invalid_value("spec.selector", selector, "invalid label selector"));
        return causes;
    }
    if is_empty(selector) {
        let detail = format!("empty selector is invalid for {kind}");
        causes.push(Cause::invalid_value("spec.selector", selector, &detail));
    }
    causes.extend(mismatch(object, selector));
    causes
}

fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].as_object().is_none_or(|labels| labels.is_empty())
        && items(selector, "matchExpressions").is_empty()
}

fn mismatch(object: &Value, selector: &Value) -> Option<Cause> {
    let template = &object["spec"]["template"];
    let absent = at(object, "spec.selector").is_none();
    let fits = !absent && LabelSelector::from_object(selector).matches(template);
    let labels = &template["metadata"]["labels"];
    (!fits).then(|| Cause::invalid_value("spec.template.metadata.labels", labels, MISMATCH))
}

fn template(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"]["template"]["spec"];
    let field = "spec.template.spec";
    let labels = at(object, "spec.template.metadata.labels");
    let mut causes = fields::labels("spec.template.labels", labels);
    causes.extend(pod::spec::causes(spec, field));
    let policy = text(spec, "restartPolicy");
    if ["OnFailure", "Never"].contains(&policy) {
        causes.push(Cause::not_supported(format!("{field}.restartPolicy"), &json!(policy), &["Always"]));
    }
    causes
}

fn update_strategy(strategy: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let rolling = at(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "Recreate" if rolling.is_some() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(Cause::forbidden(format!("{field}.rollingUpdate"), detail));
        }
        "RollingUpdate" => {
            for key in ["maxUnavailable", "maxSurge"] {
                let value = rolling.and_then(|rolling| rolling.get(key));
                causes.extend(fields::share_or_count(&format!("{field}.rollingUpdate.{key}"), value));
            }
        }
        "Recreate" => {}
        other => {
            causes.extend(fields::one_of(&format!("{field}.type"), other, &["Recreate", "RollingUpdate"]))
        }
    }
    causes
}

fn fixed_selector(new: &Value, old: &Value) -> Option<Cause> {
    let (now, before) = (&new["spec"]["selector"], &old["spec"]["selector"]);
    (now != before).then(|| Cause::invalid_value("spec.selector", now, "field is immutable"))
}
