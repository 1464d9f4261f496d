//! The built-in kinds, a row each.

use super::{Conversion, Resource};
use crate::strategy::{self, Strategy};
use crate::table::{self, Column};

/// Scope of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}
use Scope::{Cluster, Namespaced};

/// What the rows have in common stands in [`ROW`].
#[derive(Clone, Copy)]
pub(super) struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    scope: Scope,
    status: bool,
    generation: bool,
    fields: &'static [&'static str],
    columns: fn() -> Vec<Column>,
    strategy: &'static dyn Strategy,
    storage_group: Option<&'static str>,
    conversion: Conversion,
}

const ROW: Row = Row {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    short: &[],
    categories: &[],
    scope: Namespaced,
    status: false,
    generation: false,
    fields: &[],
    columns: table::named,
    strategy: &strategy::Plain,
    storage_group: None,
    conversion: Conversion::None,
};

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

const POD_FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

pub(super) const ROWS: &[Row] = &[
    Row { kind: "ConfigMap", plural: "configmaps", short: &["cm"], columns: table::config_maps, ..ROW },
    Row {
        kind: "Event",
        plural: "events",
        short: &["ev"],
        fields: EVENT_FIELDS,
        columns: table::events,
        strategy: &strategy::Event,
        ..ROW
    },
    Row {
        kind: "Namespace",
        plural: "namespaces",
        short: &["ns"],
        scope: Cluster,
        status: true,
        fields: &["status.phase"],
        columns: table::namespaces,
        strategy: &strategy::Namespace,
        ..ROW
    },
    Row {
        kind: "Node",
        plural: "nodes",
        short: &["no"],
        scope: Cluster,
        status: true,
        fields: &["spec.unschedulable"],
        columns: table::nodes,
        strategy: &strategy::Node,
        ..ROW
    },
    Row {
        kind: "Pod",
        plural: "pods",
        short: &["po"],
        categories: &["all"],
        status: true,
        generation: true,
        fields: POD_FIELDS,
        columns: table::pods,
        strategy: &strategy::Pod,
        ..ROW
    },
    Row {
        kind: "Secret",
        plural: "secrets",
        fields: &["type"],
        columns: table::secrets,
        strategy: &strategy::Secret,
        ..ROW
    },
    Row {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        short: &["sa"],
        columns: table::service_accounts,
        ..ROW
    },
    Row {
        kind: "Service",
        plural: "services",
        short: &["svc"],
        categories: &["all"],
        status: true,
        fields: &["spec.clusterIP", "spec.type"],
        columns: table::services,
        strategy: &strategy::Service,
        ..ROW
    },
    Row {
        group: "admissionregistration.k8s.io",
        kind: "MutatingWebhookConfiguration",
        plural: "mutatingwebhookconfigurations",
        categories: &["api-extensions"],
        scope: Cluster,
        generation: true,
        columns: table::webhooks,
        strategy: &strategy::MutatingWebhooks,
        ..ROW
    },
    Row {
        group: "admissionregistration.k8s.io",
        kind: "ValidatingWebhookConfiguration",
        plural: "validatingwebhookconfigurations",
        categories: &["api-extensions"],
        scope: Cluster,
        generation: true,
        columns: table::webhooks,
        strategy: &strategy::ValidatingWebhooks,
        ..ROW
    },
    Row {
        group: "apiextensions.k8s.io",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short: &["crd", "crds"],
        categories: &["api-extensions"],
        scope: Cluster,
        status: true,
        generation: true,
        columns: table::crds,
        strategy: &strategy::Definition,
        ..ROW
    },
    Row { group: "coordination.k8s.io", kind: "Lease", plural: "leases", columns: table::leases, ..ROW },
    Row {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        short: &["ev"],
        fields: EVENT_FIELDS,
        columns: table::events,
        strategy: &strategy::Event,
        storage_group: Some(""),
        conversion: Conversion::Events,
        ..ROW
    },
];

impl Row {
    pub(super) fn resource(&self) -> Resource {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.into(),
            singular: self.kind.to_lowercase(),
            short_names: owned(self.short),
            categories: owned(self.categories),
            namespaced: self.scope == Namespaced,
            status: self.status,
            generation: self.generation,
            custom: false,
            storage_group: self.storage_group.unwrap_or(self.group).into(),
            conversion: self.conversion,
            field_labels: owned(self.fields),
            schema: None,
            custom_model: None,
            columns: (self.columns)(),
            strategy: self.strategy,
        }
    }
}
