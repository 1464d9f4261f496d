//! Pods with devices of a driver of dynamic resource allocation, allocated by the real scheduler, and pods that are files of a node.

use std::fs;

use polynic_real_node::{Cluster, IMAGE, Leftovers, Node, serve_claims, wait};
use serde_json::{Value, json};

use crate::cluster::{NADS, PODS, rows};
use crate::devices::{RESOURCE, describe_devices, network};

const DRIVER: &str = "nics.example.com";
const CLASSES: &str = "/apis/resource.k8s.io/v1/deviceclasses";
const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";
const TEMPLATES: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates";
const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
/// Without /var/run: from outside, that link leads to the host.

#[test]
fn claimed_devices_and_static_pods_are_attached() {
    let Some(cluster) = Cluster::or_skip() else { return };
    cluster.api.create(NADS, &network());
    let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "nic"}, "spec": {
        "selectors": [{"cel": {"expression": format!("device.driver == '{DRIVER}'")}}]}});
    cluster.api.create(CLASSES, &class);
    cluster.api.create(TEMPLATES, &template());
    let before: Vec<Leftovers> = cluster.nodes.iter().map(|node| give_devices(&cluster, node)).collect();

    for node in &cluster.nodes {
        cluster.api.create(PODS, &pod(node.name()));
        fs::write(node.static_pods().join("file.yaml"), static_pod().to_string()).unwrap();
    }
    let explain = || format!("{:#?}\n{}", cluster.api.list(PODS), cluster.last_words());
    let running = || {
        let pods = cluster.api.list(PODS);
        (pods.len() == 4 && pods.iter().all(|pod| pod["status"]["phase"] == "Running")).then_some(pods)
    };
    let pods = wait::until("the pods run", running, explain);
    for node in &cluster.nodes {
        let named = |name: String| pods.iter().find(|pod| pod["metadata"]["name"] == name.as_str()).unwrap();
        let claimed = rows(named(format!("claims-on-{}", node.name())));
        let device = |row: &Value| row["device-info"]["pci"]["pci-address"].as_str().map(str::to_owned);
        let devices: Vec<_> = claimed.iter().map(device).collect();
        assert_eq!(devices, [None, Some("nic-0".to_owned()), Some("nic-1".to_owned())], "{claimed:?}");
        let file = named(format!("file-{}", node.name()));
        assert_eq!(file["metadata"]["annotations"]["kubernetes.io/config.source"], "file");
        assert_eq!(rows(file).len(), 2, "{file}");
    }

    for node in &cluster.nodes {
        fs::remove_file(node.static_pods().join("file.yaml")).unwrap();
        cluster.api.delete(PODS, &format!("claims-on-{}", node.name()));
    }
    wait::until("the pods are gone", || cluster.api.list(PODS).is_empty().then_some(()), explain);
    wait::until("their claims are gone", || cluster.api.list(CLAIMS).is_empty().then_some(()), explain);
    for (node, before) in cluster.nodes.iter().zip(&before) {
        let left = || Leftovers::observe(&node.space).since(before);
        let clean = || left().is_empty().then_some(());
        wait::until("nothing is left", clean, || format!("{:#?}\n{}", left(), node.last_words()));
    }
}

/// A driver, what it says about its devices, and what is written about them.
fn give_devices(cluster: &Cluster, node: &Node) -> Leftovers {
    serve_claims(&node.space, DRIVER);
    cluster.api.create(SLICES, &slice(node.name()));
    describe_devices(node);
    Leftovers::observe(&node.space)
}

fn slice(node: &str) -> Value {
    let device = |nth: u8| {
        json!({"name": format!("card-{nth}"), "attributes": {
            "k8s.cni.cncf.io/deviceID": {"string": format!("nic-{nth}")},
            "k8s.cni.cncf.io/resourceName": {"string": RESOURCE}}})
    };
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-nics")},
           "spec": {"driver": DRIVER, "nodeName": node, "devices": [device(1), device(0)],
                    "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}})
}

fn template() -> Value {
    let request = json!({"name": "nics", "exactly": {"deviceClassName": "nic", "allocationMode": "ExactCount", "count": 2}});
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": "two"},
           "spec": {"spec": {"devices": {"requests": [request]}}}})
}

fn pod(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": format!("claims-on-{node}"), "annotations": {"k8s.v1.cni.cncf.io/networks": "nic, nic"}},
           "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": false, "enableServiceLinks": false,
                    "resourceClaims": [{"name": "nics", "resourceClaimTemplateName": "two"}],
                    "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never",
                                    "resources": {"claims": [{"name": "nics"}]}}]}})
}

/// Its devices are nobody's: it gets the interface alone.
fn static_pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": "file", "namespace": "default", "annotations": {"k8s.v1.cni.cncf.io/networks": "nic"}},
           "spec": {"terminationGracePeriodSeconds": 1, "enableServiceLinks": false,
                    "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never"}]}})
}
