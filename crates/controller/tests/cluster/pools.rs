//! The life of pools.

use std::time::Duration;

use polynic_controller::pools;
use polynic_controller::reconcile::Pace;
use serde_json::json;

use crate::support::{Cluster, POOLS, RULES, SUBNETS, object, pool};

#[tokio::test]
async fn a_pool_is_counted_completed_and_goes_when_it_is_empty() {
    let cluster = Cluster::start().await;
    let pace = Pace { retry: Duration::from_millis(50), resync: Duration::from_secs(60) };
    let _running = tokio::spawn(pools::run(cluster.client.clone(), RULES, pace));
    // No webhook: the pool is written as an old release left it.
    cluster
        .create(POOLS, &pool("p", json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.9"], "vlan": 0})))
        .await;
    let counted = cluster.until(POOLS, "p", "counted", |pool| pool["status"]["totalIPCount"] == 9).await;
    assert_eq!(counted["status"]["allocatedIPCount"], 0);
    assert_eq!((&counted["spec"]["ipVersion"], &counted["spec"]["vlan"]), (&json!(4), &json!(0)));
    assert_eq!(counted["metadata"]["finalizers"], json!(["spiderpool.spidernet.io"]));

    let records =
        json!({"allocatedIPs": "{\"10.6.0.1\":{\"pod\":\"a/b\",\"podUid\":\"u\"}}", "allocatedIPCount": 1});
    cluster.patch_status(POOLS, "p", &records).await;
    cluster.patch(POOLS, "p", &json!({"spec": {"ips": ["10.6.0.1-10.6.0.20"]}})).await;
    let counted =
        cluster.until(POOLS, "p", "counted again", |pool| pool["status"]["totalIPCount"] == 20).await;
    assert_eq!(counted["status"]["allocatedIPs"], records["allocatedIPs"], "records are the agents'");

    cluster.delete(POOLS, "p").await;
    cluster.patch(POOLS, "p", &json!({"metadata": {"labels": {"seen": "yes"}}})).await;
    assert!(cluster.try_get(POOLS, "p").await.is_some(), "an address is in use");
    cluster.patch_status(POOLS, "p", &json!({"allocatedIPs": null, "allocatedIPCount": 0})).await;
    cluster.until_gone(POOLS, "p").await;
}

#[tokio::test]
async fn a_pool_that_was_there_first_is_adopted() {
    let cluster = Cluster::start().await;
    let pace = Pace { retry: Duration::from_millis(50), resync: Duration::from_secs(3600) };
    let _running = tokio::spawn(pools::run(cluster.client.clone(), RULES, pace));
    cluster.create(POOLS, &pool("p", json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.7"]}))).await;
    cluster.create(POOLS, &pool("other", json!({"subnet": "10.7.0.0/16", "ips": ["10.7.0.7"]}))).await;
    for name in ["p", "other"] {
        cluster.until(POOLS, name, "counted", |pool| pool["status"]["totalIPCount"] == 1).await;
    }
    let spec = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.99"], "gateway": "10.6.0.254"});
    let subnet = cluster.create(SUBNETS, &object("SpiderSubnet", "s", spec)).await;
    let adopted =
        cluster.until(POOLS, "p", "adopted", |pool| pool["metadata"]["ownerReferences"].is_array()).await;
    assert_eq!(adopted["metadata"]["ownerReferences"][0]["uid"], subnet["metadata"]["uid"]);
    assert_eq!(adopted["spec"]["gateway"], "10.6.0.254");
    assert_eq!(cluster.get(POOLS, "other").await["metadata"].get("ownerReferences"), None);
}

polynic_control_plane::on_a_real_server!(
    a_pool_is_counted_completed_and_goes_when_it_is_empty,
    a_pool_that_was_there_first_is_adopted,
);
