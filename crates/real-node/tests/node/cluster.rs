//! A cluster of two nodes lives: Deployments with two networks, a rolling update while our agents die, a node that is drained, the end.

use std::collections::BTreeSet;

use polynic_real_node::{Cluster, IMAGE, Leftovers, Node, wait};
use serde_json::{Value, json};

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub(crate) const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
pub(crate) const NODES: &str = "/api/v1/nodes";
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const REPLICAS: usize = 6;

#[test]
fn deployments_keep_both_networks_through_updates_restarts_and_drains() {
    let Some(mut cluster) = Cluster::or_skip() else { return };
    let before: Vec<Leftovers> = cluster.nodes.iter().map(|node| Leftovers::observe(&node.space)).collect();
    define_networks(&cluster);

    cluster.api.create(DEPLOYMENTS, &deployment());
    settled(&cluster, "1", |_| true);
    every_pod_has_both(&cluster);
    pods_of_both_nodes_reach_each_other(&cluster);

    cluster.api.patch(
        DEPLOYMENTS,
        "web",
        &json!({"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}}),
    );
    // Some of the new pods are there, others are not: now no agent is there for a moment.
    wait::until(
        "the update is under way",
        || (!of_version(&cluster, "2").is_empty()).then_some(()),
        String::new,
    );
    cluster.nodes.iter_mut().for_each(Node::restart_agent);
    settled(&cluster, "2", |_| true);
    every_pod_has_both(&cluster);

    drain(&cluster, "node-2");
    settled(&cluster, "2", |pod| pod["spec"]["nodeName"] == "node-1");
    every_pod_has_both(&cluster);
    nothing_is_left(&cluster.nodes[1], &before[1]);

    cluster.api.patch(DEPLOYMENTS, "web", &json!({"spec": {"replicas": 0}}));
    let gone = || cluster.api.list(PODS).is_empty().then_some(());
    wait::until("all pods are gone", gone, || cluster.last_words());
    for (node, before) in cluster.nodes.iter().zip(&before) {
        nothing_is_left(node, before);
    }
    let released = || (cluster.api.list(POOLS)[0]["status"]["allocatedIPCount"] == 0).then_some(());
    wait::until("all addresses are free", released, || cluster.api.list(POOLS)[0].to_string());
}

fn define_networks(cluster: &Cluster) {
    let pool = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool", "metadata": {"name": "lan"},
                      "spec": {"subnet": "192.168.50.0/24", "ips": ["192.168.50.100-192.168.50.139"]}});
    cluster.api.create(POOLS, &pool);
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth0",
                        "ipam": {"type": "spiderpool", "default_ipv4_ippool": ["lan"]}});
    let nad = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "lan"},
                     "spec": {"config": config.to_string()}});
    cluster.api.create(NADS, &nad);
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web", "version": "1"}, "annotations": {"k8s.v1.cni.cncf.io/networks": "lan"}},
            "spec": {
                "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false, "enableServiceLinks": false,
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "web"}}}],
                "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never"}]}}}})
}

/// Waits until exactly the wanted pods of this version run, all as `fits` says. A pod that runs without its second network fails the test
/// at once.
fn settled(cluster: &Cluster, version: &str, fits: impl Fn(&Value) -> bool) {
    let look = || {
        let pods = cluster.api.list(PODS);
        pods.iter().filter(|pod| pod["status"]["phase"] == "Running").for_each(has_two_rows);
        let wanted =
            |pod: &&Value| is_up(pod) && pod["metadata"]["labels"]["version"] == version && fits(pod);
        (pods.len() == REPLICAS && pods.iter().filter(wanted).count() == REPLICAS).then_some(())
    };
    let explain = || format!("{}\n{}", summary(&cluster.api.list(PODS)), cluster.last_words());
    wait::until("the deployment settles", look, explain);
}

fn is_up(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

fn has_two_rows(pod: &Value) {
    assert_eq!(
        rows(pod).len(),
        2,
        "pod {} runs with: {}",
        pod["metadata"]["name"],
        pod["metadata"]["annotations"]
    );
}

pub(crate) fn rows(pod: &Value) -> Vec<Value> {
    let text = pod["metadata"]["annotations"][STATUS].as_str().unwrap_or("[]");
    serde_json::from_str(text).unwrap()
}

fn of_version(cluster: &Cluster, version: &str) -> Vec<Value> {
    let of_version = |pod: &Value| pod["metadata"]["labels"]["version"] == version && is_up(pod);
    cluster.api.list(PODS).into_iter().filter(of_version).collect()
}

fn summary(pods: &[Value]) -> String {
    let line = |pod: &Value| {
        format!("{} on {}: {}\n", pod["metadata"]["name"], pod["spec"]["nodeName"], pod["status"]["phase"])
    };
    pods.iter().map(line).collect()
}

/// What the kernel has is what the annotation says, and no address is there twice. kubelet ends the sandboxes of pods that are gone on its
/// own time.
fn every_pod_has_both(cluster: &Cluster) {
    let said: BTreeSet<String> =
        cluster.api.list(PODS).iter().flat_map(|pod| addresses(pod, "net1")).collect();
    let look = || {
        Some(cluster.nodes.iter().flat_map(Node::pods).collect::<Vec<_>>())
            .filter(|pods| pods.len() == REPLICAS)
    };
    let pods = wait::until("there is a sandbox for each pod", look, || cluster.last_words());
    let has: BTreeSet<String> = pods.iter().flat_map(|(_, links)| links["net1"].clone()).collect();
    assert_eq!(has.len(), REPLICAS, "{pods:?}");
    assert_eq!(has, said);
}

fn addresses(pod: &Value, interface: &str) -> Vec<String> {
    let rows = rows(pod).into_iter().filter(|row| row["interface"] == interface);
    rows.flat_map(|row| serde_json::from_value::<Vec<String>>(row["ips"].clone()).unwrap()).collect()
}

/// Over both networks.
fn pods_of_both_nodes_reach_each_other(cluster: &Cluster) {
    let [one, two] = [0, 1].map(|nth| cluster.nodes[nth].pods());
    let (netns, _) = &one[0];
    let (_, other) = &two[0];
    for (interface, addresses) in other {
        let netns = netns.rsplit('/').next().unwrap();
        let ping = ["netns", "exec", netns, "ping", "-c", "1", "-W", "10", "-I", interface, &addresses[0]];
        cluster.nodes[0].space.run("ip", &ping);
    }
}

/// As `kubectl drain` does, without asking for budgets.
fn drain(cluster: &Cluster, node: &str) {
    cluster.api.patch(NODES, node, &json!({"spec": {"unschedulable": true}}));
    for pod in cluster.api.list(PODS).iter().filter(|pod| pod["spec"]["nodeName"] == node) {
        cluster.api.delete(PODS, pod["metadata"]["name"].as_str().unwrap());
    }
}

/// kubelet removes sandboxes on its own time, after the pod is gone from the API.
fn nothing_is_left(node: &Node, before: &Leftovers) {
    let left = || Leftovers::observe(&node.space).since(before);
    let clean = || left().is_empty().then_some(());
    wait::until("nothing is left on the node", clean, || format!("{:#?}\n{}", left(), node.last_words()));
}
