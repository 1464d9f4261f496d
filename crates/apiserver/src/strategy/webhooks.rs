//! Webhook configurations as objects: defaults and checks, both kinds (`pkg/apis/admissionregistration/validation`).

use serde_json::{Value, json};

use super::{NameRule, Strategy};
use crate::admission::compile_condition;
use crate::json::{at, default, integer, items, text};
use crate::selector::is_label_key;
use crate::status::Cause;

/// Conditions that a webhook may have.
const MOST_CONDITIONS: usize = 64;

/// MutatingWebhookConfiguration.
pub(crate) struct MutatingWebhooks;

/// ValidatingWebhookConfiguration.
pub(crate) struct ValidatingWebhooks;

impl Strategy for MutatingWebhooks {
    fn default(&self, object: &mut Value) {
        each(object, |hook| {
            default_hook(hook);
            default(hook, "reinvocationPolicy", "Never");
        });
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = webhooks(object);
        for (n, hook) in items(object, "webhooks").iter().enumerate() {
            let field = format!("webhooks[{n}].reinvocationPolicy");
            causes.extend(one_of(field, hook, "reinvocationPolicy", &["IfNeeded", "Never"]));
        }
        causes
    }
}

impl Strategy for ValidatingWebhooks {
    fn default(&self, object: &mut Value) {
        each(object, default_hook);
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        webhooks(object)
    }
}

fn each(object: &mut Value, edit: impl Fn(&mut Value)) {
    object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten().for_each(edit);
}

fn default_hook(hook: &mut Value) {
    default(hook, "failurePolicy", "Fail");
    default(hook, "matchPolicy", "Equivalent");
    default(hook, "namespaceSelector", json!({}));
    default(hook, "objectSelector", json!({}));
    default(hook, "timeoutSeconds", 10);
    for rule in hook.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
        default(rule, "scope", "*");
    }
    if let Some(service) = hook.pointer_mut("/clientConfig/service") {
        default(service, "port", 443);
    }
}

fn webhooks(object: &Value) -> Vec<Cause> {
    let hooks = items(object, "webhooks");
    let mut causes = Vec::new();
    for (n, hook) in hooks.iter().enumerate() {
        let field = format!("webhooks[{n}]");
        causes.extend(webhook(&field, hook));
        causes.extend(review_versions(&format!("{field}.admissionReviewVersions"), hook));
        let name = text(hook, "name");
        if !name.is_empty() && hooks[..n].iter().any(|other| text(other, "name") == name) {
            causes.push(Cause::duplicate(format!("{field}.name"), &json!(name)));
        }
    }
    causes
}

fn webhook(field: &str, hook: &Value) -> Vec<Cause> {
    let mut causes: Vec<Cause> =
        qualified_name(&format!("{field}.name"), text(hook, "name")).into_iter().collect();
    for (n, rule) in items(hook, "rules").iter().enumerate() {
        causes.extend(operations(&format!("{field}.rules[{n}]"), rule));
    }
    causes.extend(one_of(format!("{field}.failurePolicy"), hook, "failurePolicy", &["Fail", "Ignore"]));
    causes.extend(one_of(format!("{field}.matchPolicy"), hook, "matchPolicy", &["Equivalent", "Exact"]));
    causes.extend(side_effects(format!("{field}.sideEffects"), hook));
    let seconds = integer(hook, "timeoutSeconds").unwrap_or(10);
    if !(1..=30).contains(&seconds) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        causes.push(Cause::invalid_value(format!("{field}.timeoutSeconds"), &json!(seconds), detail));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        let found = at(hook, selector).unwrap_or(&Value::Null);
        causes.extend(super::selector::validate(&format!("{field}.{selector}"), found));
    }
    let client = at(hook, "clientConfig").unwrap_or(&Value::Null);
    causes.extend(check_client(&format!("{field}.clientConfig"), client));
    causes.extend(conditions(&format!("{field}.matchConditions"), hook));
    causes
}

/// At least three segments, as in `hook.example.com`.
fn qualified_name(field: &str, name: &str) -> Option<Cause> {
    if name.is_empty() {
        return Some(Cause::required(field, ""));
    }
    if let Some(complaint) = NameRule::Subdomain.complaint(name) {
        return Some(Cause::invalid(field, name, &complaint));
    }
    let detail = "should be a domain with at least three segments separated by dots";
    (name.split('.').count() < 3).then(|| Cause::invalid(field, name, detail))
}

fn one_of(field: String, hook: &Value, key: &str, allowed: &[&str]) -> Option<Cause> {
    let value = at(hook, key)?;
    let known = value.as_str().is_some_and(|value| allowed.contains(&value));
    (!known).then(|| Cause::not_supported(field, value, allowed))
}

fn side_effects(field: String, hook: &Value) -> Option<Cause> {
    if at(hook, "sideEffects").is_none() {
        return Some(Cause::required(field, "must specify one of None, NoneOnDryRun"));
    }
    one_of(field, hook, "sideEffects", &["None", "NoneOnDryRun"])
}

fn has_wildcard(list: &[Value]) -> bool {
    list.len() > 1 && list.iter().any(|item| item == "*")
}

fn operations(field: &str, rule: &Value) -> Vec<Cause> {
    const KNOWN: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let operations = items(rule, "operations");
    let mut causes = Vec::new();
    if operations.is_empty() {
        causes.push(Cause::required(format!("{field}.operations"), ""));
    }
    if has_wildcard(operations) {
        let detail = "if '*' is present, must not specify other operations";
        causes.push(Cause::invalid_value(format!("{field}.operations"), &json!(operations), detail));
    }
    for (n, operation) in operations.iter().enumerate() {
        if !operation.as_str().is_some_and(|o| KNOWN.contains(&o)) {
            causes.push(Cause::not_supported(format!("{field}.operations[{n}]"), operation, &KNOWN));
        }
    }
    causes.extend(rule_lists(field, rule));
    causes
}

fn rule_lists(field: &str, rule: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = items(rule, key);
        let field = format!("{field}.{key}");
        if list.is_empty() {
            causes.push(Cause::required(&field, ""));
        }
        if has_wildcard(list) {
            let detail = format!("if '*' is present, must not specify other {what}");
            causes.push(Cause::invalid_value(&field, &json!(list), &detail));
        }
    }
    for (n, _) in items(rule, "apiVersions").iter().enumerate().filter(|(_, version)| *version == "") {
        causes.push(Cause::required(format!("{field}.apiVersions[{n}]"), ""));
    }
    causes.extend(resources(&format!("{field}.resources"), items(rule, "resources")));
    causes.extend(one_of(format!("{field}.scope"), rule, "scope", &["*", "Cluster", "Namespaced"]));
    causes
}

fn resources(field: &str, resources: &[Value]) -> Vec<Cause> {
    let names: Vec<&str> = resources.iter().map(|r| r.as_str().unwrap_or_default()).collect();
    let mut causes = Vec::new();
    if names.is_empty() {
        causes.push(Cause::required(field, ""));
    }
    for (n, name) in names.iter().enumerate() {
        if name.is_empty() {
            causes.push(Cause::required(format!("{field}[{n}]"), ""));
        }
        let Some((resource, sub)) = name.split_once('/') else { continue };
        for wider in [format!("{resource}/*"), format!("*/{sub}")] {
            if names[..n].contains(&wider.as_str()) {
                let detail = format!("if '{wider}' is present, must not specify {name}");
                causes.push(Cause::invalid(format!("{field}[{n}]"), name, &detail));
            }
        }
    }
    if names.len() > 1 && names.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        causes.push(Cause::invalid_value(field, &json!(names), detail));
    }
    if names.contains(&"*") && names.iter().any(|name| *name != "*" && !name.contains('/')) {
        let detail = "if '*' is present, must not specify other resources without subresources";
        causes.push(Cause::invalid_value(field, &json!(names), detail));
    }
    causes
}

/// What is wrong with whom to ask.
pub(super) fn check_client(field: &str, client: &Value) -> Vec<Cause> {
    match (at(client, "url"), at(client, "service")) {
        (Some(url), None) => check_url(&format!("{field}.url"), url.as_str().unwrap_or_default()),
        (None, Some(service)) => check_service(&format!("{field}.service"), service),
        _ => vec![Cause::required(field, "exactly one of url or service is required")],
    }
}

fn check_url(field: &str, url: &str) -> Vec<Cause> {
    const FORM: &str = "; desired format: https://host[/path]";
    let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (before, query) = before.split_once('?').unwrap_or((before, ""));
    let (scheme, rest) = before.split_once("://").unwrap_or(("", before));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut causes = Vec::new();
    let mut complain = |value: &str, detail: &str| causes.push(Cause::invalid(field, value, detail));
    if scheme != "https" {
        complain(scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        complain(host, &format!("host must be specified{FORM}"));
    }
    for (part, what) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            complain(part, what);
        }
    }
    causes
}

fn check_service(field: &str, service: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for key in ["name", "namespace"] {
        if text(service, key).is_empty() {
            causes.push(Cause::required(format!("{field}.{key}"), ""));
        }
    }
    let port = integer(service, "port").unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        causes.push(Cause::invalid_value(format!("{field}.port"), &json!(port), detail));
    }
    causes.extend(service_path(&format!("{field}.path"), text(service, "path")));
    causes
}

fn service_path(field: &str, path: &str) -> Vec<Cause> {
    if path.is_empty() || path == "/" {
        return Vec::new();
    }
    if path == "//" {
        return vec![Cause::invalid(field, path, "segment[0] may not be empty")];
    }
    let mut causes = Vec::new();
    if !path.starts_with('/') {
        causes.push(Cause::invalid(field, path, "must start with a '/'"));
    }
    let mut chars = path.chars();
    chars.next();
    let inner = chars.as_str();
    for (n, segment) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if segment.is_empty() {
            causes.push(Cause::invalid(field, path, &format!("segment[{n}] may not be empty")));
        } else if let Some(complaint) = NameRule::Subdomain.complaint(segment) {
            causes.push(Cause::invalid(field, path, &format!("segment[{n}]: {complaint}")));
        }
    }
    causes
}

fn review_versions(field: &str, hook: &Value) -> Vec<Cause> {
    let versions = items(hook, "admissionReviewVersions");
    if versions.is_empty() {
        return vec![Cause::required(field, "must specify one of v1, v1beta1")];
    }
    let mut causes = Vec::new();
    for (n, version) in versions.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        if versions[..n].contains(version) {
            causes.push(Cause::invalid(format!("{field}[{n}]"), name, "duplicate version"));
        } else if let Some(complaint) = NameRule::Label1035.complaint(name) {
            causes.push(Cause::invalid(format!("{field}[{n}]"), name, &complaint));
        }
    }
    if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        causes.push(Cause::invalid_value(field, &json!(versions), detail));
    }
    causes
}

fn conditions(field: &str, hook: &Value) -> Vec<Cause> {
    let conditions = items(hook, "matchConditions");
    let mut causes = Vec::new();
    for (n, condition) in conditions.iter().enumerate() {
        let (name, expression) = (text(condition, "name"), text(condition, "expression"));
        let field = |key: &str| format!("{field}[{n}].{key}");
        if expression.trim().is_empty() {
            causes.push(Cause::required(field("expression"), ""));
        } else if let Err(why) = compile_condition(expression) {
            causes.push(Cause::invalid(field("expression"), expression, &why));
        }
        if name.is_empty() {
            causes.push(Cause::required(field("name"), ""));
        } else if !is_label_key(name) {
            let detail = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
            causes.push(Cause::invalid(field("name"), name, detail));
        } else if conditions[..n].iter().any(|other| text(other, "name") == name) {
            causes.push(Cause::duplicate(field("name"), &json!(name)));
        }
    }
    if conditions.len() > MOST_CONDITIONS {
        let message = format!("Too many: {}: must have at most {MOST_CONDITIONS} items", conditions.len());
        causes.push(Cause { field: field.into(), reason: "FieldValueTooMany", message });
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(change: impl Fn(&mut Value)) -> Vec<String> {
        let mut object = json!({"webhooks": [{
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/x"},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        }]});
        change(&mut object["webhooks"][0]);
        MutatingWebhooks.default(&mut object);
        let causes = MutatingWebhooks.validate(&object);
        causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let mut object = json!({"webhooks": [{"clientConfig": {"service": {}}, "rules": [{}]}]});
        MutatingWebhooks.default(&mut object);
        let hook = &object["webhooks"][0];
        assert_eq!((&hook["failurePolicy"], &hook["timeoutSeconds"]), (&json!("Fail"), &json!(10)));
        assert_eq!((&hook["rules"][0]["scope"], &hook["reinvocationPolicy"]), (&json!("*"), &json!("Never")));
        assert_eq!(hook["clientConfig"]["service"]["port"], 443);
        assert_eq!(configuration(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_named_as_the_real_server_names_them() {
        for (change, complaint) in [
            (
                json!({"name": "a"}),
                "webhooks[0].name: Invalid value: \"a\": should be a domain with at least three segments separated by dots",
            ),
            (
                json!({"sideEffects": "Some"}),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                json!({"timeoutSeconds": 31}),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                json!({"clientConfig": {}}),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                json!({"clientConfig": {"url": "http://a"}}),
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                json!({"admissionReviewVersions": ["v2"]}),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ),
        ] {
            let found = configuration(|hook| {
                for (key, value) in change.as_object().unwrap() {
                    hook[key] = value.clone();
                }
            });
            assert_eq!(found, [complaint]);
        }
    }

    #[test]
    fn wildcards_stand_alone() {
        let found = configuration(|hook| hook["rules"][0]["resources"] = json!(["*", "pods"]));
        assert_eq!(
            found,
            [
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources"
            ]
        );
        let found = configuration(|hook| hook["rules"][0]["resources"] = json!(["pods/*", "pods/status"]));
        assert_eq!(
            found,
            [
                "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status"
            ]
        );
    }
}
