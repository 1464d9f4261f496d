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
    cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
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
