//! What a pod spec may say, in pods and in templates. The order of findings is the real server's, because it shows in messages.

use serde_json::{Value, json};

use super::super::{NameRule, fields};
use super::{container, volume};
use crate::json::{at, integer, items, text};
use crate::status::Cause;

const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const MATCH_ALL: &str =
    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";

/// Everything that is wrong with `spec`, whose path is `field`.
pub(in super::super) fn causes(spec: &Value, field: &str) -> Vec<Cause> {
    let at_field = |name: &str| format!("{field}.{name}");
    let mut causes = volume::causes(items(spec, "volumes"), &at_field("volumes"));
    causes.extend(container::all(spec, field));
    causes.extend(fields::one_of(
        &at_field("restartPolicy"),
        text(spec, "restartPolicy"),
        &["Always", "OnFailure", "Never"],
    ));
    causes.extend(fields::one_of(&at_field("dnsPolicy"), text(spec, "dnsPolicy"), &DNS_POLICIES));
    causes.extend(fields::labels(&at_field("nodeSelector"), spec.get("nodeSelector")));
    if text(spec, "dnsPolicy") == "None" && items(spec, "dnsConfig.nameservers").is_empty() {
        let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
        causes.push(Cause::required(at_field("dnsConfig"), detail));
    }
    causes.extend(names(spec, field));
    causes.extend(tolerations(items(spec, "tolerations"), &at_field("tolerations")));
    causes.extend(host_aliases(spec, field));
    causes
}

fn names(spec: &Value, field: &str) -> Vec<Cause> {
    let named = |key: &str, rule| fields::named(&format!("{field}.{key}"), text(spec, key), rule);
    let mut causes = Vec::new();
    causes.extend(named("serviceAccountName", NameRule::Subdomain));
    causes.extend(named("nodeName", NameRule::Subdomain));
    if let Some(seconds) = integer(spec, "activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid_value(format!("{field}.activeDeadlineSeconds"), &json!(seconds), detail));
    }
    causes.extend(named("hostname", NameRule::Label));
    causes.extend(named("subdomain", NameRule::LabelNoDots));
    causes
}

fn tolerations(list: &[Value], field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (t, toleration) in list.iter().enumerate() {
        let field = format!("{field}[{t}]");
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            let complaint = fields::qualified(key);
            causes.extend(complaint.map(|why| Cause::invalid(format!("{field}.key"), key, &why)));
        } else if operator != "Exists" {
            causes.push(Cause::invalid(format!("{field}.operator"), operator, MATCH_ALL));
        }
        let seconds = at(toleration, "tolerationSeconds").is_some();
        if seconds && text(toleration, "effect") != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            causes.push(Cause::invalid(format!("{field}.effect"), text(toleration, "effect"), detail));
        }
        causes.extend(operator_cause(toleration, &field));
        let effect = text(toleration, "effect");
        if !effect.is_empty() && !seconds {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            causes.extend(fields::one_of(&format!("{field}.effect"), effect, &effects));
        }
    }
    causes
}

fn operator_cause(toleration: &Value, field: &str) -> Option<Cause> {
    match text(toleration, "operator") {
        "" | "Equal" => None,
        "Exists" if text(toleration, "value").is_empty() => None,
        "Exists" => {
            let detail = "value must be empty when `operator` is 'Exists'";
            Some(Cause::invalid(format!("{field}.operator"), text(toleration, "value"), detail))
        }
        other => Some(Cause::not_supported(format!("{field}.operator"), &json!(other), &["Equal", "Exists"])),
    }
}

fn host_aliases(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (a, alias) in items(spec, "hostAliases").iter().enumerate() {
        let field = format!("{field}.hostAliases[{a}]");
        causes.extend(fields::ip(&format!("{field}.ip"), text(alias, "ip")));
        for (h, name) in items(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            causes.extend(fields::named(&format!("{field}.hostnames[{h}]"), name, NameRule::Subdomain));
        }
    }
    causes
}
