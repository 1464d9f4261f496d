//! Lost addresses come back, and no others.

use std::time::Duration;

use kube::core::Request;
use kube::core::params::DeleteParams;
use polynic_controller::gc::{Gc, GcOptions};
use polynic_controller::metrics::GcMetrics;
use serde_json::{Value, json};

use crate::support::{Cluster, POOLS, in_namespace, pool};
use crate::wire::Wire;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn options() -> GcOptions {
    GcOptions { trace_gap: Duration::from_millis(20), ..GcOptions::default() }
}

fn collector(cluster: &Cluster, options: GcOptions) -> (Gc, GcMetrics) {
    let metrics = GcMetrics::default();
    (Gc::new(cluster.client.clone(), options, metrics.clone()), metrics)
}

/// A pod, its endpoint and its record, as the agent writes them.
pub async fn attached(cluster: &Cluster, name: &str, ip: &str, owner: Option<Value>) -> String {
    attached_on(cluster, (name, "n1"), ip, owner).await
}

async fn attached_on(
    cluster: &Cluster,
    (name, node): (&str, &str),
    ip: &str,
    owner: Option<Value>,
) -> String {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                         "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
    if let Some(owner) = &owner {
        pod["metadata"]["ownerReferences"] = json!([owner]);
    }
    attached_as(cluster, &pod, ip, owner).await
}

async fn attached_as(cluster: &Cluster, pod: &Value, ip: &str, owner: Option<Value>) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let made = cluster.create(PODS, pod).await;
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    let pod_owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]);
    let (kind, owner_name) = match &owner {
        Some(owner) => (owner["kind"].clone(), owner["name"].clone()),
        None => (json!("Pod"), json!(name)),
    };
    let endpoint = json!({
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderEndpoint",
        "metadata": {"name": name, "finalizers": ["spiderpool.spidernet.io"],
                     "ownerReferences": if owner.is_some() { Value::Null } else { pod_owner }},
        "status": {"current": {"uid": uid, "node": "n1", "ips": [{"interface": "eth0", "ipv4": format!("{ip}/24"), "ipv4Pool": "p"}]},
                   "ownerControllerType": kind, "ownerControllerName": owner_name},
    });
    cluster.create(&in_namespace("spiderendpoints", "default"), &endpoint).await;
    uid
}

pub async fn record(cluster: &Cluster, records: &[(&str, &str, &str)]) {
    let records: serde_json::Map<String, Value> = records
        .iter()
        .map(|(ip, pod, uid)| ((*ip).to_owned(), json!({"pod": format!("default/{pod}"), "podUid": uid})))
        .collect();
    let status = json!({"allocatedIPs": Value::Object(records.clone()).to_string(), "allocatedIPCount": records.len()});
    cluster.patch_status(POOLS, "p", &status).await;
}

async fn recorded(cluster: &Cluster) -> Vec<String> {
    let pool = cluster.get(POOLS, "p").await;
    let text = pool["status"]["allocatedIPs"].as_str().unwrap_or("{}").to_owned();
    let records: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(pool["status"]["allocatedIPCount"], records.len(), "the count agrees");
    records.keys().cloned().collect()
}

async fn with_pool() -> Cluster {
    with_pool_in(Cluster::start().await).await
}

async fn with_pool_in(cluster: Cluster) -> Cluster {
    cluster
        .create(
            POOLS,
            &pool("p", json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.99"]})),
        )
        .await;
    cluster
}

/// The node is gone, so the pod is deleted without anybody's help.
pub async fn force_delete(cluster: &Cluster, name: &str) {
    let params = kube::core::params::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
    let request = kube::core::Request::new(PODS).delete(name, &params).unwrap();
    let _: Value = cluster.client.request(request).await.unwrap();
    cluster.until_gone(PODS, name).await;
}

#[tokio::test]
async fn a_scan_frees_what_has_no_pod_and_leaves_the_rest() {
    let cluster = with_pool().await;
    let alive = attached(&cluster, "alive", "10.0.0.1", None).await;
    let gone = attached(&cluster, "gone", "10.0.0.2", None).await;
    force_delete(&cluster, "gone").await;
    record(
        &cluster,
        &[
            ("10.0.0.1", "alive", &alive),
            ("10.0.0.2", "gone", &gone),
            ("10.0.0.3", "never", "x"),
            ("10.0.0.4", "alive", "earlier"),
        ],
    )
    .await;
    let (gc, metrics) = collector(&cluster, options());
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"]);
    assert_eq!(metrics.counts(), (3, 0));
    let endpoints = in_namespace("spiderendpoints", "default");
    cluster.until_gone(&endpoints, "gone").await;
    assert!(cluster.try_get(&endpoints, "alive").await.is_some());
    gc.scan().await.unwrap();
    assert_eq!((recorded(&cluster).await.len(), metrics.counts()), (1, (3, 0)));
}

#[tokio::test]
async fn fixed_addresses_stay_while_their_owner_wants_them() {
    let cluster = with_pool().await;
    const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
                     "spec": {"replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let set = cluster.create(SETS, &set).await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": set["metadata"]["uid"], "controller": true});
    let first = attached(&cluster, "db-0", "10.0.0.1", Some(owner.clone())).await;
    let second = attached(&cluster, "db-1", "10.0.0.2", Some(owner)).await;
    record(&cluster, &[("10.0.0.1", "db-0", &first), ("10.0.0.2", "db-1", &second)]).await;
    force_delete(&cluster, "db-0").await;
    force_delete(&cluster, "db-1").await;
    let (gc, _) = collector(&cluster, options());
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"], "db-1 is beyond the replicas");
    let endpoints = in_namespace("spiderendpoints", "default");
    assert!(cluster.try_get(&endpoints, "db-0").await.is_some());
    cluster.delete(SETS, "db").await;
    cluster.until_gone(SETS, "db").await;
    gc.scan().await.unwrap();
    assert!(recorded(&cluster).await.is_empty());
    cluster.until_gone(&endpoints, "db-0").await;
}

#[tokio::test]
async fn a_pod_that_goes_is_collected_at_once() {
    let cluster = with_pool().await;
    let uid = attached(&cluster, "web", "10.0.0.1", None).await;
    record(&cluster, &[("10.0.0.1", "web", &uid)]).await;
    // No scan within the test: what is seen is the work of events.
    let (gc, metrics) = collector(&cluster, options());
    let running = tokio::spawn(async move { gc.run().await });
    cluster.eventually("the pod is known", async || (metrics.counts() == (0, 0)).then_some(())).await;
    force_delete(&cluster, "web").await;
    cluster.until_gone(&in_namespace("spiderendpoints", "default"), "web").await;
    assert!(recorded(&cluster).await.is_empty());
    running.abort();
}

/// No watch can tell of its end any more, and the next scan is ten minutes away.
#[tokio::test]
async fn a_pod_that_went_while_nobody_watched_is_collected_when_the_watch_is_back() {
    let cluster = with_pool_in(Cluster::forgetful(20).await).await;
    let seen = attached(&cluster, "seen", "10.0.0.1", None).await;
    let unseen = attached(&cluster, "unseen", "10.0.0.2", None).await;
    let other = attached(&cluster, "other", "10.0.0.3", None).await;
    let records =
        [("10.0.0.1", "seen", &*seen), ("10.0.0.2", "unseen", &*unseen), ("10.0.0.3", "other", &*other)];
    record(&cluster, &[&records[..], &[("10.0.0.9", "never", "x")]].concat()).await;
    let wire = Wire::to(&cluster).await;
    let gc = Gc::new(wire.client(&cluster).await, options(), GcMetrics::default());
    let running = tokio::spawn(async move { gc.run().await });
    let left = async |wanted: &[&str]| {
        let what = format!("{wanted:?} are left");
        cluster.eventually(&what, async || (recorded(&cluster).await == wanted).then_some(())).await;
    };
    left(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    force_delete(&cluster, "seen").await;
    left(&["10.0.0.2", "10.0.0.3"]).await;
    wire.cut();
    force_delete(&cluster, "unseen").await;
    for n in 0..60 {
        cluster.patch(PODS, "other", &json!({"metadata": {"labels": {"n": n.to_string()}}})).await;
    }
    wire.join();
    left(&["10.0.0.3"]).await;
    running.abort();
}

/// As an agent leaves it that dies between its two writes.
#[tokio::test]
async fn a_record_without_an_endpoint_goes_with_its_pod() {
    let cluster = with_pool().await;
    let uid = attached(&cluster, "web", "10.0.0.1", None).await;
    let other = attached(&cluster, "other", "10.0.0.3", None).await;
    record(&cluster, &[("10.0.0.1", "web", &uid), ("10.0.0.2", "web", &uid), ("10.0.0.3", "other", &other)])
        .await;
    let (gc, metrics) = collector(&cluster, options());
    gc.scan().await.unwrap();
    let running = tokio::spawn(async move { gc.run().await });
    cluster.eventually("the pod is known", async || (metrics.counts() == (0, 0)).then_some(())).await;
    force_delete(&cluster, "web").await;
    cluster
        .eventually("the records are gone", async || (recorded(&cluster).await == ["10.0.0.3"]).then_some(()))
        .await;
    running.abort();
}

/// Whatever write the controller was about to make when it died, the next one finishes.
#[tokio::test]
async fn a_collector_that_is_killed_at_any_moment_leaves_nothing_behind() {
    let cluster = with_pool().await;
    let mut records = Vec::new();
    for n in 1..=8u8 {
        let (name, ip) = (format!("pod-{n}"), format!("10.0.0.{n}"));
        let uid = attached(&cluster, &name, &ip, None).await;
        if n % 2 == 0 {
            force_delete(&cluster, &name).await;
        }
        records.push((ip, name, uid));
    }
    let all: Vec<(&str, &str, &str)> =
        records.iter().map(|(ip, name, uid)| (ip.as_str(), name.as_str(), uid.as_str())).collect();
    record(&cluster, &all).await;
    for patience in 0..12u64 {
        let (gc, _) = collector(&cluster, options());
        let scan = tokio::spawn(async move { gc.scan().await });
        let _ = tokio::time::timeout(Duration::from_millis(patience), async {
            while !scan.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await;
        scan.abort();
        let left = recorded(&cluster).await;
        for n in [1, 3, 5, 7] {
            assert!(left.contains(&format!("10.0.0.{n}")), "a living pod lost its address: {left:?}");
        }
    }
    let (gc, _) = collector(&cluster, options());
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1", "10.0.0.3", "10.0.0.5", "10.0.0.7"]);
    let endpoints = cluster.list(&in_namespace("spiderendpoints", "default")).await;
    assert_eq!(endpoints.len(), 4);
}

async fn node(cluster: &Cluster, name: &str, ready: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    cluster.create("/api/v1/nodes", &node).await;
    cluster
        .patch_status("/api/v1/nodes", name, &json!({"conditions": [{"type": "Ready", "status": ready}]}))
        .await;
}

/// Pods whose kubelet does not end them: whether their addresses are taken back depends on their node, and on the switch for such nodes.
#[tokio::test]
async fn pods_that_do_not_end_lose_their_addresses_as_the_switches_say() {
    let cluster = with_pool().await;
    node(&cluster, "ready", "True").await;
    node(&cluster, "lost", "Unknown").await;
    let on_ready = attached_on(&cluster, ("a", "ready"), "10.0.0.1", None).await;
    let on_lost = attached_on(&cluster, ("b", "lost"), "10.0.0.2", None).await;
    record(&cluster, &[("10.0.0.1", "a", &on_ready), ("10.0.0.2", "b", &on_lost)]).await;
    for name in ["b", "a"] {
        let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.77"}]});
        cluster.patch_status(PODS, name, &status).await;
        let params = DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() };
        let request = Request::new(PODS).delete(name, &params).unwrap();
        let _: Value = cluster.client.request(request).await.unwrap();
    }
    let mut careful = options();
    careful.rules.zombies_on_other_nodes = false;
    let (gc, _) = collector(&cluster, careful);
    // The pod on the lost node was deleted first: where the other's time is over, so is its.
    let released = async || {
        gc.scan().await.unwrap();
        (recorded(&cluster).await == ["10.0.0.2"]).then_some(())
    };
    cluster.eventually("only the address on the ready node is taken back", released).await;
    let (gc, _) = collector(&cluster, options());
    gc.scan().await.unwrap();
    assert!(recorded(&cluster).await.is_empty());
}

#[tokio::test]
async fn an_endpoint_that_no_pool_knows_goes_only_if_that_is_switched_on() {
    let cluster = with_pool().await;
    let uid = attached(&cluster, "web", "10.0.0.1", None).await;
    attached(&cluster, "stale", "10.0.0.2", None).await;
    record(&cluster, &[("10.0.0.1", "web", &uid)]).await;
    let endpoints = in_namespace("spiderendpoints", "default");
    let (gc, _) = collector(&cluster, options());
    gc.scan().await.unwrap();
    assert!(cluster.try_get(&endpoints, "stale").await.is_some());
    let (gc, _) = collector(&cluster, GcOptions { clean_outdated: true, ..options() });
    gc.scan().await.unwrap();
    cluster.until_gone(&endpoints, "stale").await;
    assert!(cluster.try_get(&endpoints, "web").await.is_some());
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"]);
}

const KUBEVIRT: &str = "/apis/kubevirt.io/v1/namespaces/default";

/// A virtual machine `vm` with its instance, the pod that runs it, and the address that all of these have: answers the pod's UID.
async fn machine(cluster: &Cluster) -> String {
    for (kind, plural) in
        [("VirtualMachine", "virtualmachines"), ("VirtualMachineInstance", "virtualmachineinstances")]
    {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.kubevirt.io")},
            "spec": {"group": "kubevirt.io", "scope": "Namespaced",
                     "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
                     "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        });
        cluster.define(&crd).await;
        let object = json!({"apiVersion": "kubevirt.io/v1", "kind": kind, "metadata": {"name": "vm"}});
        let create = async || cluster.try_create(&format!("{KUBEVIRT}/{plural}"), &object).await.ok();
        cluster.eventually("the kind is served", create).await;
    }
    let instance = cluster.get(&format!("{KUBEVIRT}/virtualmachineinstances"), "vm").await;
    let owner = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "uid": instance["metadata"]["uid"], "controller": true});
    let metadata =
        json!({"name": "launcher", "labels": {"kubevirt.io": "virt-launcher"}, "ownerReferences": [owner]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let uid = cluster.create(PODS, &pod).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let endpoint = json!({
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderEndpoint",
        "metadata": {"name": "vm", "finalizers": ["spiderpool.spidernet.io"]},
        "status": {"current": {"uid": uid, "node": "n1", "ips": [{"interface": "eth0", "ipv4": "10.0.0.1/24", "ipv4Pool": "p"}]},
                   "ownerControllerType": "VirtualMachineInstance", "ownerControllerName": "vm"},
    });
    cluster.create(&in_namespace("spiderendpoints", "default"), &endpoint).await;
    record(cluster, &[("10.0.0.1", "vm", &uid)]).await;
    uid
}

#[tokio::test]
async fn a_machines_address_stays_until_the_machine_goes() {
    let cluster = with_pool().await;
    machine(&cluster).await;
    let (gc, _) = collector(&cluster, options());
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"], "it runs");
    force_delete(&cluster, "launcher").await;
    cluster.delete(&format!("{KUBEVIRT}/virtualmachineinstances"), "vm").await;
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"], "it is stopped");
    cluster.delete(&format!("{KUBEVIRT}/virtualmachines"), "vm").await;
    gc.scan().await.unwrap();
    assert!(recorded(&cluster).await.is_empty());
    cluster.until_gone(&in_namespace("spiderendpoints", "default"), "vm").await;
}

/// The pod that it was to move to got its address recorded, and then failed.
#[tokio::test]
async fn a_machine_that_could_not_move_keeps_its_address() {
    let cluster = with_pool().await;
    machine(&cluster).await;
    let target = {
        let source = cluster.get(PODS, "launcher").await;
        let metadata = json!({"name": "target", "labels": source["metadata"]["labels"], "ownerReferences": source["metadata"]["ownerReferences"]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n2", "containers": [{"name": "c", "image": "i"}]}});
        cluster.create(PODS, &pod).await["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let running = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]});
    cluster.patch_status(PODS, "launcher", &running).await;
    record(&cluster, &[("10.0.0.1", "vm", &target)]).await;
    let endpoints = in_namespace("spiderendpoints", "default");
    cluster.patch(&endpoints, "vm", &json!({"status": {"current": {"uid": target, "node": "n2"}}})).await;
    let (gc, _) = collector(&cluster, options());
    force_delete(&cluster, "target").await;
    gc.trace_of("default", "vm", &target).await.unwrap();
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"], "the machine runs on in its first pod");
    assert!(cluster.try_get(&endpoints, "vm").await.is_some());
}

/// Evicted, or given up with its node: there is no container whose end could be read.
#[tokio::test]
async fn a_pod_that_ended_without_containers_is_collected() {
    let cluster = with_pool().await;
    node(&cluster, "n1", "True").await;
    let uid = attached(&cluster, "web", "10.0.0.1", None).await;
    record(&cluster, &[("10.0.0.1", "web", &uid)]).await;
    let status = json!({"phase": "Failed", "reason": "Evicted", "startTime": "2026-01-01T00:00:00Z"});
    cluster.patch_status(PODS, "web", &status).await;
    let (gc, _) = collector(&cluster, options());
    let running = tokio::spawn(async move { gc.run().await });
    cluster.until_gone(&in_namespace("spiderendpoints", "default"), "web").await;
    assert!(recorded(&cluster).await.is_empty());
    running.abort();
}

#[tokio::test]
async fn a_static_pods_address_outlives_its_mirror() {
    let cluster = with_pool().await;
    let mirror = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-n1", "annotations": {"kubernetes.io/config.source": "file"}},
                        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let first = attached_as(&cluster, &mirror, "10.0.0.1", None).await;
    record(&cluster, &[("10.0.0.1", "web-n1", &first)]).await;
    force_delete(&cluster, "web-n1").await;
    cluster.create(PODS, &mirror).await;
    let (gc, _) = collector(&cluster, options());
    gc.trace_of("default", "web-n1", &first).await.unwrap();
    gc.scan().await.unwrap();
    assert_eq!(recorded(&cluster).await, ["10.0.0.1"], "its containers run on");
    force_delete(&cluster, "web-n1").await;
    gc.scan().await.unwrap();
    assert!(recorded(&cluster).await.is_empty());
}

#[tokio::test]
async fn a_machine_that_goes_with_its_pod_is_collected_at_once() {
    let cluster = with_pool().await;
    machine(&cluster).await;
    let (gc, metrics) = collector(&cluster, options());
    let running = tokio::spawn(async move { gc.run().await });
    cluster.eventually("the pod is known", async || (metrics.counts() == (0, 0)).then_some(())).await;
    for plural in ["virtualmachines", "virtualmachineinstances"] {
        cluster.delete(&format!("{KUBEVIRT}/{plural}"), "vm").await;
    }
    force_delete(&cluster, "launcher").await;
    cluster.until_gone(&in_namespace("spiderendpoints", "default"), "vm").await;
    assert!(recorded(&cluster).await.is_empty());
    running.abort();
}

polynic_control_plane::on_a_real_server!(
    a_scan_frees_what_has_no_pod_and_leaves_the_rest,
    fixed_addresses_stay_while_their_owner_wants_them,
    a_pod_that_goes_is_collected_at_once,
    a_record_without_an_endpoint_goes_with_its_pod,
    a_collector_that_is_killed_at_any_moment_leaves_nothing_behind,
    pods_that_do_not_end_lose_their_addresses_as_the_switches_say,
    an_endpoint_that_no_pool_knows_goes_only_if_that_is_switched_on,
    a_machines_address_stays_until_the_machine_goes,
    a_machine_that_goes_with_its_pod_is_collected_at_once,
    a_static_pods_address_outlives_its_mirror,
    a_pod_that_ended_without_containers_is_collected,
    a_machine_that_could_not_move_keeps_its_address,
);
