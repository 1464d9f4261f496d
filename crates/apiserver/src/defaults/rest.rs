//! Namespaces, nodes, secrets, volumes, roles, devices: kinds with a default or two.

use serde_json::{Value, json};

use super::Rule;
use crate::json::{at, child, default, text};

const RBAC: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
pub(super) const NAMES: &[&str] = &[
    "core.v1.Namespace",
    "core.v1.NamespaceStatus",
    "core.v1.NodeStatus",
    "core.v1.NodeSpec",
    "core.v1.Secret",
    "core.v1.PersistentVolume",
    "core.v1.PersistentVolumeClaim",
    "core.v1.PersistentVolumeClaimSpec",
    "core.v1.LimitRangeItem",
    "rbac.v1.RoleBinding",
    "rbac.v1.ClusterRoleBinding",
    "rbac.v1.Subject",
    "scheduling.v1.PriorityClass",
    "storage.v1.StorageClass",
    "storage.v1.CSIDriver",
    "resource.v1.ExactDeviceRequest",
    "resource.v1.DeviceSubRequest",
    "flowcontrol.v1.FlowSchemaSpec",
    "flowcontrol.v1.ExemptPriorityLevelConfiguration",
    "flowcontrol.v1.LimitedPriorityLevelConfiguration",
    "flowcontrol.v1.QueuingConfiguration",
];

pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "core.v1.Namespace" => namespace,
        "core.v1.NamespaceStatus" => |status| default(status, "phase", "Active"),
        "core.v1.NodeStatus" => |status| {
            if let Some(capacity) = at(status, "capacity").cloned() {
                default(status, "allocatable", capacity);
            }
        },
        "core.v1.NodeSpec" => |spec| {
            if let Some(cidr) = at(spec, "podCIDR").cloned() {
                default(spec, "podCIDRs", json!([cidr]));
            }
        },
        "core.v1.Secret" => secret,
        "core.v1.PersistentVolume" => volume,
        "core.v1.PersistentVolumeClaim" => |claim| default(child(claim, "status"), "phase", "Pending"),
        "core.v1.PersistentVolumeClaimSpec" => |spec| default(spec, "volumeMode", "Filesystem"),
        "core.v1.LimitRangeItem" => limits,
        "rbac.v1.RoleBinding" | "rbac.v1.ClusterRoleBinding" => |binding| {
            default(child(binding, "roleRef"), "apiGroup", RBAC);
            if binding["roleRef"]["apiGroup"] == "" {
                binding["roleRef"]["apiGroup"] = json!(RBAC);
            }
        },
        "rbac.v1.Subject" => |subject| {
            if ["User", "Group"].contains(&text(subject, "kind")) {
                default(subject, "apiGroup", RBAC);
            }
        },
        "scheduling.v1.PriorityClass" => |class| default(class, "preemptionPolicy", "PreemptLowerPriority"),
        "storage.v1.StorageClass" => |class| {
            default(class, "reclaimPolicy", "Delete");
            default(class, "volumeBindingMode", "Immediate");
        },
        "storage.v1.CSIDriver" => csi_driver,
        "resource.v1.ExactDeviceRequest" | "resource.v1.DeviceSubRequest" => device_request,
        "flowcontrol.v1.FlowSchemaSpec" => |spec| default(spec, "matchingPrecedence", 1000),
        "flowcontrol.v1.ExemptPriorityLevelConfiguration" => |level| {
            default(level, "nominalConcurrencyShares", 0);
            default(level, "lendablePercent", 0);
        },
        "flowcontrol.v1.LimitedPriorityLevelConfiguration" => |level| {
            default(level, "nominalConcurrencyShares", 30);
            default(level, "lendablePercent", 0);
        },
        "flowcontrol.v1.QueuingConfiguration" => |queues| {
            default(queues, "handSize", 8);
            default(queues, "queues", 64);
            default(queues, "queueLengthLimit", 50);
        },
        _ => return None,
    })
}

fn namespace(namespace: &mut Value) {
    let name = text(namespace, "metadata.name").to_owned();
    if !name.is_empty() {
        child(child(namespace, "metadata"), "labels")["kubernetes.io/metadata.name"] = json!(name);
    }
}

/// `stringData` goes into `data`, and is never stored.
fn secret(secret: &mut Value) {
    use base64::Engine as _;
    default(secret, "type", "Opaque");
    let Some(plain) = secret.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    let data = child(secret, "data");
    for (key, value) in plain.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        data[key] = json!(base64::engine::general_purpose::STANDARD.encode(value));
    }
}

fn volume(volume: &mut Value) {
    default(child(volume, "status"), "phase", "Pending");
    let spec = child(volume, "spec");
    default(spec, "persistentVolumeReclaimPolicy", "Retain");
    default(spec, "volumeMode", "Filesystem");
}

/// Of containers: a missing limit is the maximum, a missing request is the limit, or else the minimum.
fn limits(item: &mut Value) {
    if text(item, "type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        for (resource, amount) in item.get(from).and_then(Value::as_object).cloned().into_iter().flatten() {
            default(child(item, to), &resource, amount);
        }
    }
}

fn csi_driver(driver: &mut Value) {
    let spec = child(driver, "spec");
    default(spec, "attachRequired", true);
    default(spec, "podInfoOnMount", false);
    default(spec, "storageCapacity", false);
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default(spec, "volumeLifecycleModes", json!(["Persistent"]));
    default(spec, "requiresRepublish", false);
    default(spec, "seLinuxMount", false);
}

fn device_request(request: &mut Value) {
    default(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        default(request, "count", 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_string_data_is_encoded() {
        let mut object = json!({"stringData": {"a": "b"}, "data": {"c": "ZA=="}});
        secret(&mut object);
        assert_eq!(object, json!({"type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}}));
    }

    #[test]
    fn limits_of_containers_follow_from_each_other() {
        let mut item = json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Gi"}});
        limits(&mut item);
        assert_eq!(item["default"], json!({"cpu": "2"}));
        assert_eq!(item["defaultRequest"], json!({"cpu": "2", "memory": "1Gi"}));
    }
}
