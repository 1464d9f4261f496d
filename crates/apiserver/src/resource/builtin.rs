//! The rules of built-in kinds that have some, a row each; names, scope and verbs are facts (`schema`).

use super::{Conversion, Resource};
use crate::schema::BuiltinKind;
use crate::strategy::{self, Strategy};
use crate::table::{self, Column};

/// The rules of a kind. What most kinds have stands in [`RULES`].
#[derive(Clone, Copy)]
struct Rules {
    group: &'static str,
    plural: &'static str,
    generation: bool,
    fields: &'static [&'static str],
    columns: fn() -> Vec<Column>,
    strategy: &'static dyn Strategy,
    storage_group: Option<&'static str>,
    conversion: Conversion,
}

const RULES: Rules = Rules {
    group: "",
    plural: "",
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

/// The kinds that have rules of their own.
const OWN: &[Rules] = &[
    Rules { plural: "configmaps", columns: table::config_maps, strategy: &strategy::ConfigMap, ..RULES },
    Rules {
        plural: "events",
        fields: EVENT_FIELDS,
        columns: table::events,
        strategy: &strategy::Event,
        ..RULES
    },
    Rules {
        plural: "namespaces",
        fields: &["status.phase"],
        columns: table::namespaces,
        strategy: &strategy::Namespace,
        ..RULES
    },
    Rules {
        plural: "nodes",
        fields: &["spec.unschedulable"],
        columns: table::nodes,
        strategy: &strategy::Node,
        ..RULES
    },
    Rules {
        plural: "pods",
        generation: true,
        fields: POD_FIELDS,
        columns: table::pods,
        strategy: &strategy::Pod,
        ..RULES
    },
    Rules { plural: "podtemplates", generation: true, strategy: &strategy::PodTemplate, ..RULES },
    Rules { plural: "replicationcontrollers", generation: true, fields: &["status.replicas"], ..RULES },
    Rules {
        plural: "secrets",
        fields: &["type"],
        columns: table::secrets,
        strategy: &strategy::Secret,
        ..RULES
    },
    Rules { plural: "resourcequotas", strategy: &strategy::Returned, ..RULES },
    Rules { plural: "persistentvolumes", columns: table::volumes, strategy: &strategy::Volume, ..RULES },
    Rules { plural: "persistentvolumeclaims", columns: table::claims, strategy: &strategy::Claim, ..RULES },
    Rules { plural: "endpoints", columns: table::endpoints, ..RULES },
    Rules {
        plural: "serviceaccounts",
        columns: table::service_accounts,
        strategy: &strategy::Returned,
        ..RULES
    },
    Rules {
        plural: "services",
        fields: &["spec.clusterIP", "spec.type"],
        columns: table::services,
        strategy: &strategy::Service,
        ..RULES
    },
    Rules {
        group: "admissionregistration.k8s.io",
        plural: "mutatingwebhookconfigurations",
        generation: true,
        columns: table::webhooks,
        strategy: &strategy::MutatingWebhooks,
        ..RULES
    },
    Rules {
        group: "admissionregistration.k8s.io",
        plural: "validatingwebhookconfigurations",
        generation: true,
        columns: table::webhooks,
        strategy: &strategy::ValidatingWebhooks,
        ..RULES
    },
    Rules {
        group: "admissionregistration.k8s.io",
        plural: "validatingadmissionpolicies",
        generation: true,
        ..RULES
    },
    Rules {
        group: "admissionregistration.k8s.io",
        plural: "validatingadmissionpolicybindings",
        generation: true,
        ..RULES
    },
    Rules {
        group: "apiextensions.k8s.io",
        plural: "customresourcedefinitions",
        generation: true,
        columns: table::crds,
        strategy: &strategy::Definition,
        ..RULES
    },
    Rules {
        group: "apps",
        plural: "daemonsets",
        columns: table::daemon_sets,
        generation: true,
        strategy: &strategy::DaemonSet,
        ..RULES
    },
    Rules {
        group: "apps",
        plural: "deployments",
        columns: table::deployments,
        generation: true,
        strategy: &strategy::Deployment,
        ..RULES
    },
    Rules {
        group: "apps",
        plural: "replicasets",
        columns: table::replica_sets,
        generation: true,
        fields: &["status.replicas"],
        strategy: &strategy::ReplicaSet,
        ..RULES
    },
    Rules {
        group: "apps",
        plural: "statefulsets",
        columns: table::stateful_sets,
        generation: true,
        fields: &["status.successful"],
        strategy: &strategy::StatefulSet,
        ..RULES
    },
    Rules { group: "apps", plural: "controllerrevisions", columns: table::revisions, ..RULES },
    Rules { group: "batch", plural: "cronjobs", generation: true, ..RULES },
    Rules {
        group: "batch",
        plural: "jobs",
        columns: table::jobs,
        generation: true,
        fields: &["status.successful"],
        ..RULES
    },
    Rules {
        group: "certificates.k8s.io",
        plural: "certificatesigningrequests",
        fields: &["spec.signerName"],
        strategy: &strategy::SigningRequest,
        ..RULES
    },
    Rules {
        group: "coordination.k8s.io",
        plural: "leases",
        columns: table::leases,
        strategy: &strategy::Lease,
        ..RULES
    },
    Rules {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        columns: table::endpoint_slices,
        generation: true,
        strategy: &strategy::EndpointSlice,
        ..RULES
    },
    Rules {
        group: "events.k8s.io",
        plural: "events",
        fields: EVENT_FIELDS,
        columns: table::events,
        strategy: &strategy::Event,
        storage_group: Some(""),
        conversion: Conversion::Events,
        ..RULES
    },
    Rules { group: "flowcontrol.apiserver.k8s.io", plural: "flowschemas", generation: true, ..RULES },
    Rules {
        group: "flowcontrol.apiserver.k8s.io",
        plural: "prioritylevelconfigurations",
        generation: true,
        ..RULES
    },
    Rules { group: "networking.k8s.io", plural: "servicecidrs", columns: table::service_cidrs, ..RULES },
    Rules { group: "networking.k8s.io", plural: "ingressclasses", generation: true, ..RULES },
    Rules {
        group: "networking.k8s.io",
        plural: "ingresses",
        columns: table::ingresses,
        generation: true,
        ..RULES
    },
    Rules {
        group: "networking.k8s.io",
        plural: "networkpolicies",
        columns: table::network_policies,
        generation: true,
        strategy: &strategy::NetworkPolicy,
        ..RULES
    },
    Rules {
        group: "policy",
        plural: "poddisruptionbudgets",
        columns: table::disruption_budgets,
        generation: true,
        strategy: &strategy::DisruptionBudget,
        ..RULES
    },
    Rules {
        group: "resource.k8s.io",
        plural: "deviceclasses",
        generation: true,
        strategy: &strategy::Returned,
        ..RULES
    },
    Rules {
        group: "resource.k8s.io",
        plural: "resourceclaims",
        columns: table::resource_claims,
        strategy: &strategy::Returned,
        ..RULES
    },
    Rules {
        group: "resource.k8s.io",
        plural: "resourceclaimtemplates",
        strategy: &strategy::Returned,
        ..RULES
    },
    Rules {
        group: "resource.k8s.io",
        plural: "resourceslices",
        generation: true,
        fields: &["spec.nodeName", "spec.driver"],
        strategy: &strategy::Returned,
        ..RULES
    },
    Rules {
        group: "scheduling.k8s.io",
        plural: "priorityclasses",
        columns: table::priority_classes,
        generation: true,
        strategy: &strategy::PriorityClass,
        ..RULES
    },
    Rules { group: "storage.k8s.io", plural: "csidrivers", strategy: &strategy::Returned, ..RULES },
    Rules { group: "storage.k8s.io", plural: "csinodes", strategy: &strategy::Returned, ..RULES },
    Rules { group: "storage.k8s.io", plural: "storageclasses", strategy: &strategy::Returned, ..RULES },
    Rules { group: "storage.k8s.io", plural: "volumeattachments", strategy: &strategy::Returned, ..RULES },
    Rules {
        group: "storage.k8s.io",
        plural: "volumeattributesclasses",
        strategy: &strategy::Returned,
        ..RULES
    },
    Rules {
        group: "rbac.authorization.k8s.io",
        plural: "roles",
        columns: table::roles,
        strategy: &strategy::Role,
        ..RULES
    },
    Rules {
        group: "rbac.authorization.k8s.io",
        plural: "clusterroles",
        columns: table::roles,
        strategy: &strategy::Role,
        ..RULES
    },
    Rules {
        group: "rbac.authorization.k8s.io",
        plural: "rolebindings",
        columns: table::bindings,
        strategy: &strategy::Binding { roles: &["Role", "ClusterRole"] },
        ..RULES
    },
    Rules {
        group: "rbac.authorization.k8s.io",
        plural: "clusterrolebindings",
        columns: table::bindings,
        strategy: &strategy::Binding { roles: &["ClusterRole"] },
        ..RULES
    },
];

/// A built-in kind: what the facts say of it, and its rules.
pub(super) fn resource(kind: &BuiltinKind) -> Resource {
    let own = OWN.iter().find(|rules| rules.group == kind.group && rules.plural == kind.plural);
    let rules = own.unwrap_or(&RULES);
    Resource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        list_kind: format!("{}List", kind.kind),
        plural: kind.plural.clone(),
        singular: kind.singular.clone(),
        short_names: kind.short_names.clone(),
        categories: kind.categories.clone(),
        namespaced: kind.namespaced,
        verbs: kind.verbs.clone(),
        below: kind.subresources.clone(),
        storage_version_hash: kind.storage_version_hash.clone(),
        status: kind.subresources.iter().any(|below| below.name == "status"),
        generation: rules.generation,
        custom: false,
        storage_group: rules.storage_group.unwrap_or(&kind.group).into(),
        conversion: rules.conversion,
        field_labels: rules.fields.iter().map(|field| (*field).to_owned()).collect(),
        schema: None,
        custom_model: None,
        shape: None,
        columns: (rules.columns)(),
        strategy: rules.strategy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn every_rule_is_about_a_kind_that_is_there() {
        for rules in OWN {
            let found = schema::kinds().iter().any(|k| k.group == rules.group && k.plural == rules.plural);
            assert!(found, "{}/{}", rules.group, rules.plural);
        }
    }
}
