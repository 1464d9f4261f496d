//! SpiderCoordinator status.

use std::time::Duration;

use polynic_controller::coordinator::{CoordinatorSettings, run};
use polynic_controller::events::Events;
use polynic_controller::reconcile::Pace;
use serde_json::{Value, json};

use crate::support::{Cluster, RULES, object};

const COORDINATORS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators";
const MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";

fn start(cluster: &Cluster, directory: &std::path::Path) -> tokio::task::JoinHandle<()> {
    let settings = CoordinatorSettings {
        name: "default".into(),
        cni_directory: directory.to_owned(),
        cilium: ("kube-system".into(), "cilium-config".into()),
        period: Duration::from_millis(100),
    };
    let pace = Pace { retry: Duration::from_millis(50), resync: Duration::from_secs(60) };
    let events = Events::new(cluster.client.clone(), "spiderpool-controller", None);
    tokio::spawn(run(cluster.client.clone(), events, settings, pace))
}

fn coordinator(name: &str, kind: &str) -> Value {
    object("SpiderCoordinator", name, json!({"podCIDRType": kind}))
}

async fn without_service_cidrs(cluster: &Cluster) {
    const SERVICE_CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";
    for there in cluster.list(SERVICE_CIDRS).await {
        cluster.delete(SERVICE_CIDRS, there["metadata"]["name"].as_str().unwrap()).await;
    }
}

#[tokio::test]
async fn a_source_that_appears_heals_it_and_deletion_finishes() {
    let cluster = Cluster::start().await;
    without_service_cidrs(&cluster).await;
    let _certificates = cluster.webhooks(RULES).await;
    let directory = tempfile::tempdir().unwrap();
    let _running = start(&cluster, directory.path());
    cluster.create(COORDINATORS, &coordinator("default", "cluster")).await;
    let not_ready = |object: &Value| object["status"]["phase"] == "NotReady";
    let found = cluster.until(COORDINATORS, "default", "not ready", not_ready).await;
    assert!(found["status"]["reason"].as_str().unwrap().starts_with("no pod CIDR was found"), "{found}");
    let told = async || {
        let events = cluster.list("/apis/events.k8s.io/v1/events").await;
        events.into_iter().find(|event| event["reason"] == "ClusterNotReady")
    };
    cluster.eventually("an Event about it", told).await;

    let text = "networking:\n  podSubnet: 10.233.64.0/18\n  serviceSubnet: 10.233.0.0/18\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeadm-config"},
                     "data": {"ClusterConfiguration": text}});
    cluster.create(MAPS, &map).await;
    let wanted =
        json!({"phase": "Synced", "overlayPodCIDR": ["10.233.64.0/18"], "serviceCIDR": ["10.233.0.0/18"]});
    cluster.until(COORDINATORS, "default", "synced", |object| object["status"] == wanted).await;

    cluster.delete(COORDINATORS, "default").await;
    cluster.until_gone(COORDINATORS, "default").await;
}

#[tokio::test]
async fn auto_finds_calico_and_follows_its_pools() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("10-calico.conflist"), r#"{"name":"k8s-pod-network"}"#).unwrap();
    let _running = start(&cluster, directory.path());
    cluster.create(COORDINATORS, &coordinator("other", "cluster")).await;
    let spec = json!({"podCIDRType": "auto", "serviceCIDR": ["10.96.0.0/12"]});
    cluster.create(COORDINATORS, &object("SpiderCoordinator", "default", spec)).await;
    let reason = |object: &Value| object["status"]["reason"] == "this cluster does not know Calico's IPPools";
    cluster.until(COORDINATORS, "default", "without Calico", reason).await;
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ippools.crd.projectcalico.org"},
        "spec": {"group": "crd.projectcalico.org", "scope": "Cluster",
                 "names": {"kind": "IPPool", "listKind": "IPPoolList", "plural": "ippools", "singular": "ippool"},
                 "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                     {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    cluster.define(&crd).await;
    let pool = |name: &str, cidr: &str, disabled: bool| {
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name},
               "spec": {"cidr": cidr, "disabled": disabled}})
    };
    const POOLS: &str = "/apis/crd.projectcalico.org/v1/ippools";
    cluster.create(POOLS, &pool("a", "10.244.0.0/16", false)).await;
    cluster.create(POOLS, &pool("b", "10.245.0.0/16", true)).await;
    let wanted =
        json!({"phase": "Synced", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.96.0.0/12"]});
    cluster.until(COORDINATORS, "default", "synced", |object| object["status"] == wanted).await;
    assert_eq!(cluster.get(COORDINATORS, "other").await.get("status"), None, "only one object counts");
}

#[tokio::test]
async fn the_nodes_and_the_service_cidrs_are_enough() {
    let cluster = Cluster::start().await;
    without_service_cidrs(&cluster).await;
    let directory = tempfile::tempdir().unwrap();
    let _running = start(&cluster, directory.path());
    cluster.create(COORDINATORS, &coordinator("default", "cluster")).await;
    let not_ready = |object: &Value| object["status"]["phase"] == "NotReady";
    cluster.until(COORDINATORS, "default", "not ready", not_ready).await;
    for (name, cidrs) in [("n1", ["10.5.0.0/24", "fd00:5::/64"]), ("n2", ["10.5.1.0/24", "fd00:5:0:1::/64"])]
    {
        let spec = json!({"podCIDR": cidrs[0], "podCIDRs": cidrs});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec});
        cluster.create("/api/v1/nodes", &node).await;
    }
    let services = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
                          "spec": {"cidrs": ["10.97.0.0/16", "fd00:97::/112"]}});
    cluster.create("/apis/networking.k8s.io/v1/servicecidrs", &services).await;
    let pods = json!(["10.5.0.0/24", "fd00:5::/64", "10.5.1.0/24", "fd00:5:0:1::/64"]);
    let wanted =
        json!({"phase": "Synced", "overlayPodCIDR": pods, "serviceCIDR": ["10.97.0.0/16", "fd00:97::/112"]});
    cluster.until(COORDINATORS, "default", "synced", |object| object["status"] == wanted).await;
}

#[tokio::test]
async fn cilium_says_in_each_of_its_modes_what_it_has() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("05-cilium.conflist"), r#"{"name":"cilium"}"#).unwrap();
    let _running = start(&cluster, directory.path());
    let spec = json!({"podCIDRType": "auto", "serviceCIDR": ["10.96.0.0/12"]});
    cluster.create(COORDINATORS, &object("SpiderCoordinator", "default", spec)).await;
    let reason = |text: &'static str| {
        move |object: &Value| object["status"]["reason"].as_str().is_some_and(|why| why.contains(text))
    };
    let missing = reason("there is no ConfigMap kube-system/cilium-config");
    cluster.until(COORDINATORS, "default", "without Cilium", missing).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cilium-config"},
                     "data": {"ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.7.0.0/16 10.8.0.0/16", "cluster-pool-ipv6-cidr": "fd00:7::/104"}});
    cluster.create(MAPS, &map).await;
    let pods = |wanted: Value| {
        move |object: &Value| {
            object["status"]["phase"] == "Synced" && object["status"]["overlayPodCIDR"] == wanted
        }
    };
    let both = pods(json!(["10.7.0.0/16", "10.8.0.0/16", "fd00:7::/104"]));
    cluster.until(COORDINATORS, "default", "cluster-pool", both).await;
    cluster.patch(MAPS, "cilium-config", &json!({"data": {"ipam": "eni"}})).await;
    let unknown = reason("Cilium's ipam mode \"eni\" is not known");
    cluster.until(COORDINATORS, "default", "an unknown mode", unknown).await;
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ciliumpodippools.cilium.io"},
        "spec": {"group": "cilium.io", "scope": "Cluster",
                 "names": {"kind": "CiliumPodIPPool", "listKind": "CiliumPodIPPoolList", "plural": "ciliumpodippools", "singular": "ciliumpodippool"},
                 "versions": [{"name": "v2alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                     {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    cluster.define(&crd).await;
    let pool = json!({"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumPodIPPool", "metadata": {"name": "default"},
                      "spec": {"ipv4": {"cidrs": ["10.9.0.0/16"]}, "ipv6": {"cidrs": ["fd00:9::/64"]}}});
    let create = async || cluster.try_create("/apis/cilium.io/v2alpha1/ciliumpodippools", &pool).await.ok();
    cluster.eventually("the kind is served", create).await;
    cluster.patch(MAPS, "cilium-config", &json!({"data": {"ipam": "multi-pool"}})).await;
    let pools = pods(json!(["10.9.0.0/16", "fd00:9::/64"]));
    cluster.until(COORDINATORS, "default", "multi-pool", pools).await;
}

polynic_control_plane::on_a_real_server!(
    a_source_that_appears_heals_it_and_deletion_finishes,
    auto_finds_calico_and_follows_its_pools,
    the_nodes_and_the_service_cidrs_are_enough,
    cilium_says_in_each_of_its_modes_what_it_has,
);
