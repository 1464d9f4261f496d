//! The parts of a definition other than its schemas: group, scope, names, versions, columns, sub-resources, conversion.

use serde_json::{Map, Value, json};

use super::super::{NameRule, webhooks};
use super::schema;
use crate::json::{at, items, text};
use crate::schema::Node;
use crate::status::Cause;

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// Fields that one version may let its objects be selected by.
const SELECTABLE: usize = 8;

/// What is wrong with `spec`.
pub(super) fn validate(spec: &Value) -> Vec<Cause> {
    let mut causes = group(text(spec, "group"));
    causes.extend(one_of("spec.scope", text(spec, "scope"), &["Cluster", "Namespaced"]));
    let versions = items(spec, "versions");
    for (n, version) in versions.iter().enumerate() {
        if at(version, "schema.openAPIV3Schema").is_none() {
            causes.push(Cause::required(format!("spec.versions[{n}].schema.openAPIV3Schema"), ""));
        }
    }
    for (n, version) in versions.iter().enumerate() {
        causes.extend(dns_label(&format!("spec.versions[{n}].name"), text(version, "name")));
        causes.extend(own_parts(versions, version, &format!("spec.versions[{n}]")));
    }
    causes.extend(version_list(versions));
    if let Some(first) = versions.first() {
        causes.extend(dns_label("spec.version", text(first, "name")));
    }
    causes.extend(names(&spec["names"]));
    if let Some(first) = versions.first() {
        causes.extend(shared_parts(versions, first));
    }
    causes.extend(conversion(&spec["conversion"]));
    causes
}

/// What versions have in common is told of the whole definition, what they have not of each version.
const PARTS: [&str; 4] = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];

fn is_shared(versions: &[Value], part: &str) -> bool {
    versions.windows(2).all(|pair| pair[0].get(part) == pair[1].get(part))
}

fn own_parts(versions: &[Value], version: &Value, path: &str) -> Vec<Cause> {
    let own = PARTS.iter().filter(|part| !is_shared(versions, part));
    own.flat_map(|part| part_of(version, part, &format!("{path}.{part}"))).collect()
}

fn shared_parts(versions: &[Value], version: &Value) -> Vec<Cause> {
    let shared = PARTS.iter().filter(|part| is_shared(versions, part));
    let name = |part: &str| if part == "schema" { "validation".to_owned() } else { part.to_owned() };
    shared.flat_map(|part| part_of(version, part, &format!("spec.{}", name(part)))).collect()
}

fn part_of(version: &Value, part: &str, path: &str) -> Vec<Cause> {
    match part {
        "schema" => schema::validate(version, path),
        "subresources" => scale(&version["subresources"]["scale"], path),
        "additionalPrinterColumns" => {
            let columns = items(version, part).iter().enumerate();
            columns.flat_map(|(n, c)| column(c, &format!("{path}[{n}]"))).collect()
        }
        _ => selectable(version, path),
    }
}

fn group(group: &str) -> Vec<Cause> {
    if group.is_empty() {
        return vec![Cause::required("spec.group", "")];
    }
    if let Some(complaint) = NameRule::Subdomain.complaint(group) {
        return vec![Cause::invalid("spec.group", group, &complaint)];
    }
    let detail = "should be a domain with at least one dot";
    if group.contains('.') { Vec::new() } else { vec![Cause::invalid("spec.group", group, detail)] }
}

fn one_of(field: &str, value: &str, allowed: &[&str]) -> Option<Cause> {
    if value.is_empty() {
        return Some(Cause::required(field, ""));
    }
    (!allowed.contains(&value)).then(|| Cause::not_supported(field, &json!(value), allowed))
}

fn dns_label(field: &str, name: &str) -> Option<Cause> {
    NameRule::Label1035.complaint(name).map(|complaint| Cause::invalid(field, name, &complaint))
}

fn version_list(versions: &[Value]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut complain = |detail: &str| {
        let message = format!("Invalid value: {}: {detail}", shown(versions));
        causes.push(Cause { field: "spec.versions".into(), reason: "FieldValueInvalid", message });
    };
    let name = |version: &Value| text(version, "name").to_owned();
    let repeated = |n: usize| versions[..n].iter().any(|v| name(v) == name(&versions[n]));
    if (0..versions.len()).any(repeated) {
        complain("must contain unique version names");
    }
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        complain("must have exactly one version marked as storage version");
    }
    causes
}

/// Versions as the real server shows them: in the form that it works with, where shared parts are elsewhere.
fn shown(versions: &[Value]) -> String {
    let names = [
        ("DeprecationWarning", "deprecationWarning"),
        ("Schema", "schema"),
        ("Subresources", "subresources"),
        ("AdditionalPrinterColumns", "additionalPrinterColumns"),
        ("SelectableFields", "selectableFields"),
    ];
    let one = |version: &Value| {
        let mut row = Map::new();
        row.insert("Name".into(), version["name"].clone());
        for (name, key) in [("Served", "served"), ("Storage", "storage"), ("Deprecated", "deprecated")] {
            row.insert(name.into(), json!(version[key] == true));
        }
        for (name, key) in names {
            let shared = is_shared(versions, key);
            row.insert(name.into(), if shared { Value::Null } else { version[key].clone() });
        }
        Ordered(row)
    };
    let texts: Vec<String> = versions.iter().map(|version| one(version).text()).collect();
    format!("[{}]", texts.join(","))
}

/// Fields in the order of the real server's type.
struct Ordered(Map<String, Value>);

impl Ordered {
    fn text(&self) -> String {
        const ORDER: [&str; 9] = [
            "Name",
            "Served",
            "Storage",
            "Deprecated",
            "DeprecationWarning",
            "Schema",
            "Subresources",
            "AdditionalPrinterColumns",
            "SelectableFields",
        ];
        let fields = ORDER.iter().map(|key| format!("\"{key}\":{}", self.0[*key]));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }
}

fn names(names: &Value) -> Vec<Cause> {
    let required = ["plural", "singular", "kind", "listKind"];
    let missing = required.iter().filter(|key| text(names, key).is_empty());
    let mut causes: Vec<Cause> =
        missing.map(|key| Cause::required(format!("spec.names.{key}"), "")).collect();
    for key in required.iter().filter(|key| !text(names, key).is_empty()) {
        let name = text(names, key);
        let field = format!("spec.names.{key}");
        if ["plural", "singular"].contains(key) {
            causes.extend(dns_label(&field, name));
        } else if let Some(complaint) = NameRule::Label1035.complaint(&name.to_lowercase()) {
            let detail = format!("may have mixed case, but should otherwise match: {complaint}");
            causes.push(Cause::invalid(field, name, &detail));
        }
    }
    causes.extend(name_list(names, "shortNames"));
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        causes.push(Cause::invalid("spec.names.listKind", list_kind, detail));
    }
    causes.extend(name_list(names, "categories"));
    causes
}

fn name_list(names: &Value, key: &str) -> Vec<Cause> {
    let listed = items(names, key).iter().enumerate();
    let field = |n: usize| format!("spec.names.{key}[{n}]");
    listed.filter_map(|(n, name)| dns_label(&field(n), name.as_str().unwrap_or_default())).collect()
}

fn column(column: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if text(column, "name").is_empty() {
        causes.push(Cause::required(format!("{path}.name"), ""));
    }
    let kind = text(column, "type");
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    if kind.is_empty() {
        causes.push(Cause::required(format!("{path}.type"), &types));
    } else if !COLUMN_TYPES.contains(&kind) {
        causes.push(Cause::invalid(format!("{path}.type"), kind, &types));
    }
    let format = text(column, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        causes.push(Cause::invalid(format!("{path}.format"), format, &detail));
    }
    match text(column, "jsonPath") {
        "" => causes.push(Cause::required(format!("{path}.JSONPath"), "")),
        json_path => causes.extend(simple_path(&format!("{path}.JSONPath"), json_path)),
    }
    causes
}

fn simple_path(field: &str, path: &str) -> Option<Cause> {
    let detail = "must be a simple json path starting with .";
    (!path.starts_with('.')).then(|| Cause::invalid(field, path, detail))
}

fn scale(scale: &Value, path: &str) -> Vec<Cause> {
    if !scale.is_object() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for (key, below) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let field = format!("{path}.scale.{key}");
        match text(scale, key) {
            "" => causes.push(Cause::required(field, "")),
            value => causes.extend(path_below(
                &field,
                value,
                &[below],
                &format!("should be a json path under {below}"),
            )),
        }
    }
    let selector = text(scale, "labelSelectorPath");
    if !selector.is_empty() {
        let detail = "should be a json path under either .spec or .status";
        causes.extend(path_below(
            &format!("{path}.scale.labelSelectorPath"),
            selector,
            &[".spec", ".status"],
            detail,
        ));
    }
    causes
}

fn path_below(field: &str, path: &str, parents: &[&str], detail: &str) -> Option<Cause> {
    let below = |parent: &&str| path.strip_prefix(*parent).is_some_and(|rest| rest.starts_with('.'));
    let elsewhere = || (!parents.iter().any(below)).then(|| Cause::invalid(field, path, detail));
    simple_path(field, path).or_else(elsewhere)
}

fn selectable(version: &Value, path: &str) -> Vec<Cause> {
    let node = Node::parse(&version["schema"]["openAPIV3Schema"]);
    let fields = items(version, "selectableFields");
    let mut causes = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        let json_path = text(field, "jsonPath");
        let place = format!("{path}[{n}].jsonPath");
        if json_path.is_empty() {
            causes.push(Cause::required(place, ""));
            continue;
        }
        let found = json_path
            .strip_prefix('.')
            .and_then(|path| path.split('.').try_fold(&node, |n, key| n.property(key)));
        let Some(found) = found else {
            let detail = "is an invalid path: does not refer to a valid field";
            causes.push(Cause::invalid(place, json_path, detail));
            continue;
        };
        if json_path.starts_with(".metadata.") {
            causes.push(Cause::invalid(&place, json_path, "must not point to fields in metadata"));
        }
        if !is_selectable(found) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            causes.push(Cause::invalid(&place, json_path, detail));
        }
        if fields[..n].iter().any(|other| text(other, "jsonPath") == json_path) {
            causes.push(Cause::duplicate(place, &json!(json_path)));
        }
    }
    if fields.len() > SELECTABLE {
        let message = format!("Too many: {}: must have at most {SELECTABLE} items", fields.len());
        causes.push(Cause { field: path.into(), reason: "FieldValueTooMany", message });
    }
    causes
}

fn is_selectable(node: &Node) -> bool {
    use crate::schema::Kind::{Boolean, Integer, String};
    matches!(node.kind(), Boolean | Integer | String)
}

fn conversion(conversion: &Value) -> Vec<Cause> {
    const CLIENT: &str = "spec.conversion.webhookClientConfig";
    const VERSIONS: &str = "spec.conversion.conversionReviewVersions";
    if !conversion.is_object() {
        return Vec::new();
    }
    let strategy = text(conversion, "strategy");
    let mut causes: Vec<Cause> =
        one_of("spec.conversion.strategy", strategy, &["None", "Webhook"]).into_iter().collect();
    let client = at(conversion, "webhook.clientConfig");
    let versions = items(conversion, "webhook.conversionReviewVersions");
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        causes.extend(client.map(|_| Cause::forbidden(CLIENT, detail)));
        causes.extend((!versions.is_empty()).then(|| Cause::forbidden(VERSIONS, detail)));
        return causes;
    }
    match client {
        None => causes.push(Cause::required(CLIENT, "required when strategy is set to Webhook")),
        Some(client) => causes.extend(webhooks::check_client(CLIENT, client)),
    }
    if versions.is_empty() {
        causes.push(Cause::required(VERSIONS, ""));
    } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        causes.push(Cause::invalid_value(VERSIONS, &json!(versions), detail));
    }
    if causes.is_empty() {
        let detail = "conversion by webhook is not supported by this server yet";
        causes.push(Cause::forbidden("spec.conversion.strategy", detail));
    }
    causes
}

pub(super) fn preserve_unknown_fields(object: &Value) -> Option<Cause> {
    let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
    let wrong = object["spec"]["preserveUnknownFields"] == true;
    wrong.then(|| Cause::invalid_value("spec.preserveUnknownFields", &json!(true), detail))
}

/// Groups of Kubernetes' own need the word of its reviewers, or that they do without it.
pub(super) fn approval(object: &Value) -> Option<Cause> {
    const KEY: &str = "api-approved.kubernetes.io";
    let group = text(object, "spec.group");
    let protected = |suffix: &str| group == suffix || group.ends_with(&format!(".{suffix}"));
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return None;
    }
    let field = format!("metadata.annotations[{KEY}]");
    let value = object["metadata"]["annotations"][KEY].as_str().unwrap_or_default();
    if value.is_empty() {
        let detail = format!(
            "protected groups must have approval annotation {KEY:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        return Some(Cause::required(field, &detail));
    }
    let url = value
        .split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty());
    if value.starts_with("unapproved") || url {
        return None;
    }
    let detail = format!(
        "protected groups must have approval annotation {KEY:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
    );
    Some(Cause::invalid(field, value, &detail))
}

pub(super) fn stored_versions(object: &Value) -> Vec<Cause> {
    let stored = items(object, "status.storedVersions");
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        return vec![Cause::invalid_value("status.storedVersions", &Value::Null, detail)];
    }
    let versions = items(object, "spec.versions");
    let mut causes = Vec::new();
    for version in versions.iter().filter(|v| v["storage"] == true && !stored.contains(&v["name"])) {
        let detail = format!("must have the storage version {}", text(version, "name"));
        causes.push(Cause::invalid_value("status.storedVersions", &json!(stored), &detail));
    }
    for (n, name) in
        stored.iter().enumerate().filter(|(_, name)| !versions.iter().any(|v| v["name"] == **name))
    {
        let name = name.as_str().unwrap_or_default();
        let detail = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        causes.push(Cause::invalid(format!("status.storedVersions[{n}]"), name, &detail));
    }
    causes
}
