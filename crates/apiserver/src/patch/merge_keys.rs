//! Which lists of built-in kinds merge, and by which key: the `patchStrategy` and `patchMergeKey` tags of `k8s.io/api`.
//! Lists that are not named here are replaced whole, for instance tolerations.

/// How a strategic patch treats a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListRule {
    /// Replaced whole.
    Atomic,
    /// Elements are objects, the same where this field is equal.
    ByKey(&'static str),
    /// Elements are plain values, each there once.
    Set,
}

use ListRule::{ByKey, Set};

/// Lists in the metadata of every kind.
const METADATA: &[(&str, ListRule)] = &[("finalizers", Set), ("ownerReferences", ByKey("uid"))];

/// Lists of a container, whichever list the container is in.
const CONTAINER: &[(&str, ListRule)] = &[
    ("env", ByKey("name")),
    ("ports", ByKey("containerPort")),
    ("volumeDevices", ByKey("devicePath")),
    ("volumeMounts", ByKey("mountPath")),
];

const POD_SPEC: &[(&str, ListRule)] = &[
    ("containers", ByKey("name")),
    ("ephemeralContainers", ByKey("name")),
    ("hostAliases", ByKey("ip")),
    ("imagePullSecrets", ByKey("name")),
    ("initContainers", ByKey("name")),
    ("resourceClaims", ByKey("name")),
    ("schedulingGates", ByKey("name")),
    ("topologySpreadConstraints", ByKey("topologyKey")),
    ("volumes", ByKey("name")),
];

/// The rest, by kind and path.
const BY_KIND: &[(&str, &str, ListRule)] = &[
    ("Namespace", "status.conditions", ByKey("type")),
    ("Node", "spec.podCIDRs", Set),
    ("Node", "status.addresses", ByKey("type")),
    ("Node", "status.conditions", ByKey("type")),
    ("Pod", "status.conditions", ByKey("type")),
    ("Pod", "status.podIPs", ByKey("ip")),
    ("Pod", "status.resourceClaimStatuses", ByKey("name")),
    ("Service", "spec.ports", ByKey("port")),
    ("Service", "status.conditions", ByKey("type")),
    ("ServiceAccount", "imagePullSecrets", ByKey("name")),
    ("ServiceAccount", "secrets", ByKey("name")),
    ("DaemonSet", "status.conditions", ByKey("type")),
    ("Deployment", "status.conditions", ByKey("type")),
    ("ReplicaSet", "status.conditions", ByKey("type")),
    ("StatefulSet", "status.conditions", ByKey("type")),
];

/// The rule for the list at `path` (field names joined by dots, list indices left out) of a `kind`.
pub(super) fn rule(kind: &str, path: &str) -> ListRule {
    if let Some((_, field)) = path.rsplit_once("metadata.").filter(|(before, _)| is_metadata_owner(before)) {
        return find(METADATA, field);
    }
    if let Some(field) = pod_spec_field(kind, path) {
        return pod_spec_rule(field);
    }
    let row = BY_KIND.iter().find(|(k, p, _)| *k == kind && *p == path);
    row.map_or(ListRule::Atomic, |(_, _, rule)| *rule)
}

/// Metadata of the object itself or of a template in it.
fn is_metadata_owner(before: &str) -> bool {
    before.is_empty() || before.ends_with("emplate.")
}

/// The part of `path` below the pod spec, for pods and for kinds with a pod template.
fn pod_spec_field<'p>(kind: &str, path: &'p str) -> Option<&'p str> {
    match kind {
        "Pod" => path.strip_prefix("spec."),
        "PodTemplate" => path.strip_prefix("template.spec."),
        "CronJob" => path.strip_prefix("spec.jobTemplate.spec.template.spec."),
        _ => path.strip_prefix("spec.template.spec."),
    }
}

fn pod_spec_rule(field: &str) -> ListRule {
    let inner = ["containers.", "initContainers.", "ephemeralContainers."];
    match inner.iter().find_map(|list| field.strip_prefix(list)) {
        Some(field) => find(CONTAINER, field),
        None => find(POD_SPEC, field),
    }
}

fn find(rows: &[(&str, ListRule)], field: &str) -> ListRule {
    rows.iter().find(|(name, _)| *name == field).map_or(ListRule::Atomic, |(_, rule)| *rule)
}
