//! CustomResourceDefinitions: from the definition, an object like others, to the kinds that it makes.
//!
//! What a definition says about the content of its objects is a [`Shape`].

mod correlate;
mod defaults;
mod embedded;
mod format;
mod lists;
mod names;
pub(crate) mod pattern;
mod prune;
mod rules;
mod scale;
mod shape;
mod validate;

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::json::{at, integer, items, text};
use crate::resource::{Conversion, Resource};
use crate::schema::{Below, Node};
use crate::strategy;
use crate::table::{Cell, Column, JsonPath};

/// What can be done with custom objects.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// What can be done with a part of one.
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

pub(crate) use self::format::{has_format, is_known as is_known_format};
pub(crate) use self::names::{accept as accept_names, release as release_names};
pub(crate) use self::rules::variables as rule_variables;
pub(crate) use self::scale::Scale;
pub use self::shape::Shape;
pub(crate) use self::shape::{Change, check_default};

/// Keys of definitions start with this.
pub(crate) const PREFIX: &str = "apiextensions.k8s.io/customresourcedefinitions/";

/// Warns of finalizers whose names somebody else may use too.
pub(crate) fn warn_of_finalizers(object: &Value) {
    for name in items(object, "metadata.finalizers").iter().filter_map(Value::as_str) {
        if name.contains('/') || ["orphan", "foregroundDeletion", "kubernetes"].contains(&name) {
            continue;
        }
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        crate::warning::add(format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
}

/// The definition's name, `plural.group`.
pub(crate) fn name(definition: &Value) -> String {
    text(definition, "metadata.name").into()
}

/// Key of the definition that made `resource`.
pub(crate) fn key(resource: &Resource) -> String {
    format!("{PREFIX}{}.{}", resource.plural, resource.group)
}

/// One resource per served version; none while its names are not accepted.
pub(crate) fn resources(definition: &Value) -> Vec<Resource> {
    if !names::is_established(definition) {
        return Vec::new();
    }
    let served = items(definition, "spec.versions").iter().filter(|v| v["served"] == true);
    served.map(|version| resource(definition, version)).filter(|r| !r.plural.is_empty()).collect()
}

fn resource(definition: &Value, version: &Value) -> Resource {
    let several = items(definition, "spec.versions").len() > 1;
    let group = text(definition, "spec.group");
    let schema = at(version, "schema.openAPIV3Schema").cloned();
    Resource {
        group: group.into(),
        version: text(version, "name").into(),
        kind: text(definition, "status.acceptedNames.kind").into(),
        list_kind: text(definition, "status.acceptedNames.listKind").into(),
        plural: text(definition, "status.acceptedNames.plural").into(),
        singular: text(definition, "status.acceptedNames.singular").into(),
        short_names: strings(items(definition, "status.acceptedNames.shortNames")),
        categories: strings(items(definition, "status.acceptedNames.categories")),
        namespaced: text(definition, "spec.scope") == "Namespaced",
        verbs: VERBS.map(str::to_owned).to_vec(),
        below: below(definition, version),
        storage_version_hash: storage_version_hash(definition),
        status: at(version, "subresources.status").is_some(),
        generation: true,
        custom: true,
        storage_group: group.into(),
        conversion: if several { Conversion::ApiVersion } else { Conversion::None },
        field_labels: selectable_fields(version),
        custom_model: schema.as_ref().map(|schema| Arc::new(Node::parse_object(schema))),
        schema,
        shape: Some(Arc::new(Shape::read(version))),
        columns: columns(version),
        strategy: &strategy::Custom,
    }
}

/// `status` and `scale`, where the version has them.
fn below(definition: &Value, version: &Value) -> Vec<Below> {
    let verbs = || STATUS_VERBS.map(str::to_owned).to_vec();
    let kind = text(definition, "status.acceptedNames.kind").to_owned();
    let status = at(version, "subresources.status").map(|_| Below {
        name: "status".into(),
        kind,
        group_version: None,
        verbs: verbs(),
    });
    let scale = at(version, "subresources.scale").map(|_| Below {
        name: "scale".into(),
        kind: "Scale".into(),
        group_version: Some(("autoscaling".into(), "v1".into())),
        verbs: verbs(),
    });
    status.into_iter().chain(scale).collect()
}

/// As the real server makes it: the beginning of a hash of group, stored version and kind.
fn storage_version_hash(definition: &Value) -> String {
    let stored = items(definition, "spec.versions").iter().find(|v| v["storage"] == true);
    let stored = stored.map_or("", |version| text(version, "name"));
    let place =
        [text(definition, "spec.group"), stored, text(definition, "status.acceptedNames.kind")].join("/");
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(place)[..8])
}

fn strings(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn selectable_fields(version: &Value) -> Vec<String> {
    let paths = items(version, "selectableFields").iter().map(|field| text(field, "jsonPath"));
    paths.map(|path| path.trim_start_matches('.').to_owned()).collect()
}

/// The name, then the definition's own columns; the age alone if it has none.
fn columns(version: &Value) -> Vec<Column> {
    let own = items(version, "additionalPrinterColumns");
    let mut columns = vec![Column::name()];
    columns.extend(own.iter().filter_map(column));
    if own.is_empty() {
        columns.extend(column(
            &json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
        ));
    }
    columns
}

fn column(own: &Value) -> Option<Column> {
    let path = JsonPath::parse(text(own, "jsonPath")).ok()?;
    let kind = text(own, "type");
    Some(Column {
        name: Cow::Owned(text(own, "name").into()),
        kind: Cow::Owned(kind.into()),
        format: Cow::Owned(text(own, "format").into()),
        description: Cow::Owned(text(own, "description").into()),
        priority: integer(own, "priority").unwrap_or(0),
        cell: if kind == "date" { Cell::Age(path) } else { Cell::Path(path) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Include, row};
    use jiff::Timestamp;

    fn definition() -> Value {
        json!({
            "metadata": {"name": "nads.k8s.cni.cncf.io"},
            "status": {
                "acceptedNames": {"plural": "nads", "singular": "nad", "kind": "Nad", "listKind": "NadList", "shortNames": ["n"]},
                "conditions": [{"type": "Established", "status": "True"}],
            },
            "spec": {
                "group": "k8s.cni.cncf.io", "scope": "Namespaced",
                "names": {"plural": "nads", "singular": "nad", "kind": "Nad", "listKind": "NadList", "shortNames": ["n"]},
                "versions": [
                    {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                     "additionalPrinterColumns": [{"name": "Cfg", "type": "string", "jsonPath": ".spec.config"}]},
                    {"name": "v1beta1", "served": false},
                ],
            },
        })
    }

    #[test]
    fn each_served_version_is_a_resource() {
        let made = resources(&definition());
        assert_eq!(made.len(), 1);
        assert_eq!((made[0].version.as_str(), made[0].status, made[0].namespaced), ("v1", true, true));
        assert_eq!(made[0].key("default", "x"), "k8s.cni.cncf.io/nads/default/x");
        assert_eq!(key(&made[0]), format!("{PREFIX}nads.k8s.cni.cncf.io"));
    }

    #[test]
    fn printer_columns_follow_the_name_and_replace_the_age() {
        let made = resources(&definition());
        let object = json!({"metadata": {"name": "a"}, "spec": {"config": "{}"}});
        let shown = row(&made[0].columns, &object, Include::None, Timestamp::UNIX_EPOCH);
        assert_eq!(shown["cells"], json!(["a", "{}"]));
    }

    #[test]
    fn other_versions_are_served_under_their_own_name() {
        let mut definition = definition();
        definition["spec"]["versions"][1]["served"] = json!(true);
        let made = resources(&definition);
        let stored = serde_json::to_vec(&json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "Nad"})).unwrap();
        assert_eq!(made[1].present(&stored).unwrap()["apiVersion"], "k8s.cni.cncf.io/v1beta1");
    }
}
