//! SpiderSubnets and automatic pools.

use std::time::Duration;

use polynic_agent::addresses::{Config, Daemon};
use polynic_controller::events::Events;
use polynic_controller::reconcile::Pace;
use polynic_controller::subnets::{Options, run};
use polynic_wire::messages::AddRequest;
use serde_json::{Value, json};

use crate::support::{Cluster, POOLS, RULES, SUBNETS, object};

pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn start(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let pace = Pace { retry: Duration::from_millis(100), resync: Duration::from_secs(60) };
    let events = Events::new(cluster.client.clone(), "spiderpool-controller", None);
    let options = Options { auto_pools: Some(1), rules: RULES, pace };
    tokio::spawn(run(cluster.client.clone(), events, options))
}

pub async fn deployment(cluster: &Cluster, name: &str, replicas: u32) {
    let annotations = json!({"ipam.spidernet.io/subnet": "{\"ipv4\":[\"s\"]}"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": name}},
                 "template": {"metadata": {"labels": {"a": name}, "annotations": annotations},
                              "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    cluster.create(DEPLOYMENTS, &deployment).await;
}

async fn pool_of(cluster: &Cluster, application: &str) -> Option<Value> {
    let pools = cluster.list(POOLS).await;
    pools
        .into_iter()
        .find(|pool| pool["metadata"]["labels"]["ipam.spidernet.io/owner-application-name"] == application)
}

async fn until_ips(cluster: &Cluster, application: &str, wanted: &Value) -> Value {
    let ask = async || pool_of(cluster, application).await.filter(|pool| pool["spec"]["ips"] == *wanted);
    cluster.eventually(&format!("{application} has {wanted}"), ask).await
}

/// With the webhooks in between, which insist on the order of the steps.
#[tokio::test]
async fn applications_get_grow_and_lose_their_pools() {
    let cluster = Cluster::start().await;
    let _certificates = cluster.webhooks(RULES).await;
    let _running = start(&cluster);
    let spec = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.9"], "gateway": "10.6.0.254"});
    cluster.create(SUBNETS, &object("SpiderSubnet", "s", spec)).await;
    cluster.until(SUBNETS, "s", "counted", |subnet| subnet["status"]["totalIPCount"] == 9).await;
    deployment(&cluster, "web", 2).await;
    let pool = until_ips(&cluster, "web", &json!(["10.6.0.1-10.6.0.3"])).await;
    assert_eq!(pool["spec"]["gateway"], "10.6.0.254");
    deployment(&cluster, "db", 1).await;
    until_ips(&cluster, "db", &json!(["10.6.0.4-10.6.0.5"])).await;
    cluster.patch(DEPLOYMENTS, "web", &json!({"spec": {"replicas": 3}})).await;
    until_ips(&cluster, "web", &json!(["10.6.0.1-10.6.0.3", "10.6.0.6"])).await;
    cluster.until(SUBNETS, "s", "6 given", |subnet| subnet["status"]["allocatedIPCount"] == 6).await;

    cluster.delete(DEPLOYMENTS, "web").await;
    let name = pool["metadata"]["name"].as_str().unwrap();
    let deleted = |pool: &Value| pool["metadata"].get("deletionTimestamp").is_some();
    cluster.until(POOLS, name, "deleted with its application", deleted).await;
    // The pool controller would do this.
    cluster.patch(POOLS, name, &json!({"metadata": {"finalizers": null}})).await;
    cluster.until_gone(POOLS, name).await;
    cluster.until(SUBNETS, "s", "2 given", |subnet| subnet["status"]["allocatedIPCount"] == 2).await;
}

#[tokio::test]
async fn killed_at_any_moment_it_goes_on_and_no_address_is_given_twice() {
    let cluster = Cluster::start().await;
    let spec = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.40"]});
    cluster.create(SUBNETS, &object("SpiderSubnet", "s", spec)).await;
    for n in 0..4 {
        deployment(&cluster, &format!("web-{n}"), 2).await;
    }
    for patience in 0..15u64 {
        let running = start(&cluster);
        let _ = tokio::time::timeout(Duration::from_millis(patience * 2), std::future::pending::<()>()).await;
        running.abort();
        let _ = running.await;
    }
    let _running = start(&cluster);
    for n in 0..4 {
        cluster.eventually("a pool", async || pool_of(&cluster, &format!("web-{n}")).await).await;
    }
    cluster.until(SUBNETS, "s", "all given", |subnet| subnet["status"]["allocatedIPCount"] == 12).await;
    let pools = cluster.list(POOLS).await;
    let mut all: Vec<String> = Vec::new();
    for pool in &pools {
        for range in pool["spec"]["ips"].as_array().unwrap() {
            let range: polynic_net::IpRange = range.as_str().unwrap().parse().unwrap();
            let mut ip = Some(range.first());
            while let Some(one) = ip {
                all.push(one.to_string());
                ip = range.after(one);
            }
        }
    }
    let unique: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!((pools.len(), all.len(), unique.len()), (4, 12, 12));
}

/// A kind of somebody else's, which says by its pods what it wants, and whose plural only the server knows.
#[tokio::test]
async fn a_controller_of_an_unknown_kind_gets_a_pool_of_a_fixed_size() {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "cloneries.apps.kruise.io"},
        "spec": {"group": "apps.kruise.io", "scope": "Namespaced",
                 "names": {"kind": "CloneSet", "listKind": "CloneSetList", "plural": "cloneries", "singular": "cloneset"},
                 "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
    });
    cluster.define(&crd).await;
    let sets = "/apis/apps.kruise.io/v1alpha1/namespaces/default/cloneries";
    let set =
        json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "metadata": {"name": "web"}});
    let made =
        cluster.eventually("the kind is served", async || cluster.try_create(sets, &set).await.ok()).await;
    let _running = start(&cluster);
    let spec = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.9"]});
    cluster.create(SUBNETS, &object("SpiderSubnet", "s", spec)).await;
    let owner = json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "web", "uid": made["metadata"]["uid"], "controller": true});
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["web-a", "web-b"] {
        let annotations = json!({"ipam.spidernet.io/subnet": "{\"ipv4\":[\"s\"]}", "ipam.spidernet.io/ippool-ip-number": "3"});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations, "ownerReferences": [owner]},
                         "spec": {"containers": [{"name": "c", "image": "i"}]}});
        cluster.create(pods, &pod).await;
    }
    let pool = until_ips(&cluster, "web", &json!(["10.6.0.1-10.6.0.3"])).await;
    assert_eq!(pool["spec"]["podAffinity"]["matchLabels"]["ipam.spidernet.io/app-kind"], "CloneSet");
    let name = pool["metadata"]["name"].as_str().unwrap();
    // Scaled to nothing: it is still there, and so is its pool. An event of something else makes the controller look again.
    for name in ["web-a", "web-b"] {
        cluster.delete(pods, name).await;
        cluster.until_gone(pods, name).await;
    }
    deployment(&cluster, "other", 1).await;
    until_ips(&cluster, "other", &json!(["10.6.0.4-10.6.0.5"])).await;
    assert_eq!(cluster.get(POOLS, name).await["metadata"].get("deletionTimestamp"), None);
    cluster.delete(sets, "web").await;
    cluster.until_gone(sets, "web").await;
    cluster.patch(DEPLOYMENTS, "other", &json!({"spec": {"replicas": 2}})).await;
    let deleted = |pool: &Value| pool["metadata"].get("deletionTimestamp").is_some();
    cluster.until(POOLS, name, "deleted with its application", deleted).await;
}

/// The node agent waits for the pool that the controller makes, and serves from it.
#[tokio::test]
async fn a_pod_waits_for_the_pool_of_its_application() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let env = |name: &str| match name {
        "SPIDERPOOL_NODE_NAME" => Some("n1".to_owned()),
        "SPIDERPOOL_HEALTH_PORT" => Some("0".to_owned()),
        "SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND" => Some("1".to_owned()),
        _ => None,
    };
    let config = Config::read(&format!("ipamUnixSocketPath: {}\n", socket.display()), &env).unwrap();
    let config = Config { releases: directory.path().join("releases"), ..config };
    let agent = Daemon::start(config, cluster.client.clone(), 7, cluster.shutdown.clone()).await.unwrap();
    let spec = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.9"], "gateway": "10.6.0.254"});
    cluster.create(SUBNETS, &object("SpiderSubnet", "s", spec)).await;
    deployment(&cluster, "web", 2).await;
    let owner = async |kind: &str, path: &str, name: &str| {
        let uid = cluster.get(path, name).await["metadata"]["uid"].clone();
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
    };
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let template = cluster.get(DEPLOYMENTS, "web").await["spec"]["template"].clone();
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
                     "metadata": {"name": "web-1", "ownerReferences": [owner("Deployment", DEPLOYMENTS, "web").await]},
                     "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "web"}}, "template": template}});
    cluster.create(sets, &set).await;
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["name"] = json!("web-1-a");
    pod["metadata"]["ownerReferences"] = json!([owner("ReplicaSet", sets, "web-1").await]);
    pod["spec"]["nodeName"] = json!("n1");
    let made = cluster.create("/api/v1/namespaces/default/pods", &pod).await;
    let request = AddRequest {
        container_id: "c".into(),
        if_name: "eth0".into(),
        net_namespace: "/run/netns/x".into(),
        pod_namespace: "default".into(),
        pod_name: "web-1-a".into(),
        pod_uid: made["metadata"]["uid"].as_str().unwrap().into(),
        ..AddRequest::default()
    };
    let asked = tokio::spawn(async move { agent.service().add(&request).await });
    // Nobody has made the pool yet.
    let _running = start(&cluster);
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(
        (answer.ips[0].address.as_str(), answer.ips[0].gateway.as_str()),
        ("10.6.0.1/16", "10.6.0.254")
    );
    let pool = pool_of(&cluster, "web").await.unwrap();
    assert_eq!(pool["metadata"]["name"], answer.ips[0].ip_pool.as_str());
}

polynic_control_plane::on_a_real_server!(
    applications_get_grow_and_lose_their_pools,
    killed_at_any_moment_it_goes_on_and_no_address_is_given_twice,
    a_controller_of_an_unknown_kind_gets_a_pool_of_a_fixed_size,
    a_pod_waits_for_the_pool_of_its_application,
);
