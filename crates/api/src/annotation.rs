//! The keys of pod and NAD annotations (spec/multus.md 3 and 4).

/// On a pod: the additional networks it wants, see [`crate::selection`].
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// On a pod: replaces the cluster's default network for this pod.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// On a pod: what it got, see [`crate::status`]. Written by us.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The key of [`NETWORK_STATUS`] that releases before 4.0 wrote as well; only written when asked for.
pub const NETWORKS_STATUS_LEGACY: &str = "k8s.v1.cni.cncf.io/networks-status";

/// On a pod, written by the kubelet: where the pod comes from.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// On a NAD: the device resource that its attachments consume.
pub const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// A pod whose [`CONFIG_SOURCE`] is anything but `api` is static: the API server knows it by a mirror with another UID.
pub fn is_static_pod(config_source: Option<&str>) -> bool {
    config_source.is_some_and(|source| source != "api")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_static_unless_they_come_from_the_api() {
        assert!(!is_static_pod(None));
        assert!(!is_static_pod(Some("api")));
        assert!(is_static_pod(Some("file")));
    }
}
