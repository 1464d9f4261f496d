//! Pods, their parts, and the volumes that they use.

use serde_json::{Value, json};

use super::Rule;
use crate::json::{at, child, default, each, text};

#[cfg(test)]
pub(super) const NAMES: &[&str] = &[
    "core.v1.Pod",
    "core.v1.PodSpec",
    "core.v1.Container",
    "core.v1.EphemeralContainer",
    "core.v1.ContainerPort",
    "core.v1.Probe",
    "core.v1.GRPCAction",
    "core.v1.HTTPGetAction",
    "core.v1.ObjectFieldSelector",
    "core.v1.Volume",
    "core.v1.SecretVolumeSource",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.DownwardAPIVolumeSource",
    "core.v1.ProjectedVolumeSource",
    "core.v1.ServiceAccountTokenProjection",
    "core.v1.HostPathVolumeSource",
    "core.v1.ISCSIVolumeSource",
    "core.v1.RBDVolumeSource",
    "core.v1.AzureDiskVolumeSource",
    "core.v1.ScaleIOVolumeSource",
];

pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "core.v1.Pod" => pod,
        "core.v1.PodSpec" => spec,
        "core.v1.Container" | "core.v1.EphemeralContainer" => container,
        "core.v1.ContainerPort" => |port| default(port, "protocol", "TCP"),
        "core.v1.Probe" => probe,
        "core.v1.GRPCAction" => |grpc| default(grpc, "service", ""),
        "core.v1.HTTPGetAction" => |get| {
            default(get, "path", "/");
            default(get, "scheme", "HTTP");
        },
        "core.v1.ObjectFieldSelector" => |selector| default(selector, "apiVersion", "v1"),
        "core.v1.Volume" => volume,
        "core.v1.SecretVolumeSource"
        | "core.v1.ConfigMapVolumeSource"
        | "core.v1.DownwardAPIVolumeSource"
        | "core.v1.ProjectedVolumeSource" => |source| default(source, "defaultMode", 0o644),
        "core.v1.ServiceAccountTokenProjection" => |token| default(token, "expirationSeconds", 3600),
        "core.v1.HostPathVolumeSource" => |path| default(path, "type", ""),
        "core.v1.ISCSIVolumeSource" => |iscsi| default(iscsi, "iscsiInterface", "default"),
        "core.v1.RBDVolumeSource" => |rbd| {
            default(rbd, "pool", "rbd");
            default(rbd, "user", "admin");
            default(rbd, "keyring", "/etc/ceph/keyring");
        },
        "core.v1.AzureDiskVolumeSource" => |disk| {
            default(disk, "cachingMode", "ReadWrite");
            default(disk, "fsType", "ext4");
            default(disk, "kind", "Shared");
            default(disk, "readOnly", false);
        },
        "core.v1.ScaleIOVolumeSource" => |source| {
            default(source, "storageMode", "ThinProvisioned");
            default(source, "fsType", "xfs");
        },
        _ => return None,
    })
}

/// What pods get and templates do not.
fn pod(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    default(spec, "enableServiceLinks", true);
    let on_host = spec["hostNetwork"] == true;
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            request_what_is_limited(container);
            if on_host {
                each(container, "ports").for_each(port_on_host);
            }
        }
    }
}

fn request_what_is_limited(container: &mut Value) {
    let Some(limits) = at(container, "resources.limits").and_then(Value::as_object).cloned() else { return };
    let requests = child(child(container, "resources"), "requests");
    for (resource, amount) in limits {
        default(requests, &resource, amount);
    }
}

fn port_on_host(port: &mut Value) {
    let own = port["containerPort"].clone();
    default(port, "hostPort", own);
}

fn spec(spec: &mut Value) {
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "securityContext", json!({}));
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "schedulerName", "default-scheduler");
    // The old name of the field is written beside the new one.
    let account = text(spec, "serviceAccountName").to_owned();
    let old = text(spec, "serviceAccount").to_owned();
    if !account.is_empty() {
        spec["serviceAccount"] = json!(account);
    } else if !old.is_empty() {
        spec["serviceAccountName"] = json!(old);
    }
}

fn container(container: &mut Value) {
    let policy = if is_latest(text(container, "image")) { "Always" } else { "IfNotPresent" };
    default(container, "imagePullPolicy", policy);
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
}

/// No tag, or the tag `latest`; a digest pins the image.
fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Value) {
    default(probe, "timeoutSeconds", 1);
    default(probe, "periodSeconds", 10);
    default(probe, "successThreshold", 1);
    default(probe, "failureThreshold", 3);
}

fn volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|fields| fields.keys().all(|key| key == "name")) {
        volume["emptyDir"] = json!({});
    }
    if let Some(image) = volume.get_mut("image").filter(|image| image.is_object()) {
        let policy = if is_latest(text(image, "reference")) { "Always" } else { "IfNotPresent" };
        default(image, "pullPolicy", policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_a_tag_is_not_pulled_again() {
        for (image, latest) in
            [("a", true), ("r:5000/a", true), ("a:latest", true), ("a:1", false), ("a@sha256:x", false)]
        {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn limits_are_requested_and_requests_stay() {
        let mut object = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}});
        pod(&mut object);
        let requests = &object["spec"]["containers"][0]["resources"]["requests"];
        assert_eq!(*requests, json!({"cpu": "500m", "memory": "1Gi"}));
    }
}
