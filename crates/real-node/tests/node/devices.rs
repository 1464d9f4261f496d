//! Pods with two devices of a real kubelet: each network takes one, and what is known about it is in the pod's status.

use std::fs;

use polynic_real_node::{Cluster, IMAGE, Leftovers, Node, offer_devices, wait};
use serde_json::{Value, json};

use crate::cluster::{NADS, NODES, PODS, rows};

pub(crate) const RESOURCE: &str = "example.com/nic";
/// Without /var/run: from outside, that link leads to the host.
const DEVINFO: &str = "/run/k8s.cni.cncf.io/devinfo/dp";

#[test]
fn each_network_takes_one_of_the_devices_that_kubelet_allocated() {
    let Some(cluster) = Cluster::or_skip() else { return };
    cluster.api.create(NADS, &network());
    let before: Vec<Leftovers> = cluster.nodes.iter().map(give_devices).collect();
    for node in &cluster.nodes {
        let offered = || (allocatable(&cluster, node.name()) == "2").then_some(());
        wait::until("the node has the devices", offered, || node.last_words());
        cluster.api.create(PODS, &pod(node.name()));
    }
    let explain = || format!("{:?}\n{}", cluster.api.list(PODS), cluster.last_words());
    let running = || {
        Some(cluster.api.list(PODS)).filter(|pods| pods.iter().all(|pod| pod["status"]["phase"] == "Running"))
    };
    for pod in wait::until("the pods run", running, explain) {
        let device = |row: &Value| row["device-info"]["pci"]["pci-address"].as_str().map(str::to_owned);
        let devices: Vec<_> = rows(&pod).iter().map(device).collect();
        assert_eq!(devices, [None, Some("nic-0".to_owned()), Some("nic-1".to_owned())]);
        cluster.api.delete(PODS, pod["metadata"]["name"].as_str().unwrap());
    }
    wait::until("the pods are gone", || cluster.api.list(PODS).is_empty().then_some(()), explain);
    for (node, before) in cluster.nodes.iter().zip(&before) {
        let left = || Leftovers::observe(&node.space).since(before);
        let clean = || left().is_empty().then_some(());
        wait::until("nothing is left", clean, || format!("{:#?}\n{}", left(), node.last_words()));
    }
}

/// A device plugin, and what it writes about its devices.
fn give_devices(node: &Node) -> Leftovers {
    offer_devices(&node.space, RESOURCE, &["nic-1", "nic-0"]);
    describe_devices(node);
    Leftovers::observe(&node.space)
}

/// What a device plugin or a driver writes about its devices.
pub(crate) fn describe_devices(node: &Node) {
    let directory = node.space.outside(DEVINFO);
    fs::create_dir_all(&directory).unwrap();
    for id in ["nic-0", "nic-1"] {
        let info = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": id}});
        let file = format!("{}-{id}-device.json", RESOURCE.replace('/', "-"));
        fs::write(directory.join(file), info.to_string()).unwrap();
    }
}

/// A network whose interfaces each take a device of the resource.
pub(crate) fn network() -> Value {
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth0",
                        "capabilities": {"deviceID": true, "CNIDeviceInfoFile": true}});
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
           "metadata": {"name": "nic", "annotations": {"k8s.v1.cni.cncf.io/resourceName": RESOURCE}},
           "spec": {"config": config.to_string()}})
}

fn pod(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": format!("on-{node}"), "annotations": {"k8s.v1.cni.cncf.io/networks": "nic, nic"}},
           "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": false, "enableServiceLinks": false,
                    "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never",
                                    "resources": {"limits": {RESOURCE: "2"}}}]}})
}

fn allocatable(cluster: &Cluster, node: &str) -> String {
    let nodes = cluster.api.list(NODES);
    let node = nodes.iter().find(|found| found["metadata"]["name"] == node).unwrap();
    node["status"]["allocatable"][RESOURCE].as_str().unwrap_or_default().to_owned()
}
