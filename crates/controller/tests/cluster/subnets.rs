//! SpiderSubnets and automatic pools.

use std::time::Duration;

use polynic_controller::events::Events;
use polynic_controller::reconcile::Pace;
use polynic_controller::subnets::{Options, run};
use serde_json::{Value, json};

use crate::support::{Cluster, POOLS, RULES, SUBNETS, object};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn start(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let pace = Pace { retry: Duration::from_millis(100), resync: Duration::from_secs(60) };
    let events = Events::new(cluster.client.clone(), "spiderpool-controller", None);
    let options = Options { auto_pools: Some(1), rules: RULES, pace };
    tokio::spawn(run(cluster.client.clone(), events, options))
}

async fn deployment(cluster: &Cluster, name: &str, replicas: u32) {
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
