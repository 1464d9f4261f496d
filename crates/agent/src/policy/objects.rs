//! From Kubernetes' objects to what policies look at.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{self as core, Container};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use polynic_api::{annotation, status};
use polynic_policy::{Attachment, ContainerPort, Pod, PodKey, version};
use serde_json::Value;

/// Which pod.
pub(super) fn key(metadata: &ObjectMeta) -> PodKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    PodKey { namespace: text(&metadata.namespace), name: text(&metadata.name) }
}

/// A pod.
pub(super) fn pod(pod: &core::Pod) -> Pod {
    let metadata = &pod.metadata;
    let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).map(String::as_str);
    let spec = pod.spec.as_ref();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let shown = annotation(annotation::NETWORK_STATUS).or(annotation(annotation::NETWORKS_STATUS_LEGACY));
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let early = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    Pod {
        uid: metadata.uid.clone().unwrap_or_default(),
        version: version(metadata.resource_version.as_deref()),
        labels: metadata.labels.clone().unwrap_or_default(),
        node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
        ended: matches!(phase, "Succeeded" | "Failed"),
        leaving: metadata.deletion_timestamp.is_some(),
        selects_networks: annotation(annotation::NETWORKS).is_some_and(|text| !text.trim().is_empty()),
        attachments: shown.map(attachments).unwrap_or_default(),
        ports: containers.iter().chain(early).flat_map(ports).collect(),
    }
}

/// The rows of a network status but for the default network's. A status that cannot be read has none.
fn attachments(text: &str) -> Vec<Attachment> {
    let rows = status::parse(text).unwrap_or_default().into_iter().filter(|row| !row.default);
    let attachment = |row: polynic_api::NetworkStatus| Attachment {
        network: row.name,
        interface: row.interface,
        addresses: row.ips.iter().filter_map(|ip| address(ip)).collect(),
    };
    rows.map(attachment).collect()
}

/// Some plugins write the prefix length, too.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

fn ports(container: &Container) -> impl Iterator<Item = ContainerPort> + '_ {
    container.ports.iter().flatten().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => 6,
            Some("UDP") => 17,
            Some("SCTP") => 132,
            Some(_) => return None,
        };
        let (name, port) = (port.name.clone()?, u16::try_from(port.container_port).ok()?);
        Some(ContainerPort { name, protocol, port })
    })
}

/// The type of the first plugin in a network's configuration.
pub(super) fn first_plugin(config: &str) -> Option<String> {
    let config: Value = serde_json::from_str(config).ok()?;
    let first = config.pointer("/plugins/0").unwrap_or(&config);
    first.get("type")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_reduced_to_what_counts() {
        let status = json!([
            {"name": "calico", "interface": "eth0", "ips": ["10.0.0.1"], "default": true},
            {"name": "shop/lan", "interface": "net1", "ips": ["10.60.0.5", "fd60::5/64", "x"]},
            {"name": "shop/dpdk"},
        ]);
        let object = json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
                "annotations": {"k8s.v1.cni.cncf.io/networks": "lan", "k8s.v1.cni.cncf.io/network-status": status.to_string()}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [
                {"name": "web", "containerPort": 80}, {"containerPort": 81}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]},
            "status": {"phase": "Pending"},
        });
        let object: core::Pod = serde_json::from_value(object).unwrap();
        assert_eq!(key(&object.metadata), PodKey::new("shop", "p"));
        let lan = Attachment {
            network: "shop/lan".into(),
            interface: "net1".into(),
            addresses: vec!["10.60.0.5".parse().unwrap(), "fd60::5".parse().unwrap()],
        };
        let dpdk = Attachment { network: "shop/dpdk".into(), ..Attachment::default() };
        let port = |name: &str, protocol, port| ContainerPort { name: name.into(), protocol, port };
        let expected = Pod {
            uid: "u".into(),
            version: 7,
            labels: [("a".to_owned(), "b".to_owned())].into(),
            node: "n1".into(),
            host_network: false,
            ended: false,
            leaving: false,
            selects_networks: true,
            attachments: vec![lan, dpdk],
            ports: vec![port("web", 6, 80), port("dns", 17, 53)],
        };
        assert_eq!(pod(&object), expected);
        assert_eq!(pod(&core::Pod::default()), Pod::default());
    }

    #[test]
    fn the_first_plugin_of_a_network_is_found_in_both_forms() {
        assert_eq!(first_plugin(r#"{"type": "macvlan"}"#).as_deref(), Some("macvlan"));
        let list = r#"{"plugins": [{"type": "flannel"}, {"type": "tuning"}]}"#;
        assert_eq!(first_plugin(list).as_deref(), Some("flannel"));
        assert_eq!((first_plugin(""), first_plugin("{}")), (None, None));
    }
}
