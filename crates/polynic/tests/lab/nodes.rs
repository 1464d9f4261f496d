//! Nodes that come, lose their power, come back and go, and what becomes of the pods on them.

use crate::cluster::Cluster;
use crate::labs::wait_until;

const MANIFESTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: main, image: agent}]}
"#;

/// The pods of an app on a node: name and whether its deletion has begun.
fn pods(cluster: &Cluster, app: &str, node: &str) -> Vec<(String, bool)> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let on_node = format!("spec.nodeName={node}");
    let list =
        cluster.ok(&["get", "pods", "-l", &format!("app={app}"), "--field-selector", &on_node, "-o", path]);
    list.lines()
        .filter_map(|line| line.split_once(' ').or(Some((line, ""))))
        .map(|(name, time)| (name.to_owned(), !time.is_empty()))
        .collect()
}

#[test]
fn nodes_join_die_come_back_and_leave() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(MANIFESTS);
    cluster.roll_out("deployment/web");
    assert!(cluster.labs.ok(&["node", "add"]).contains("node3 is ready"));
    wait_until("daemons do not come to nodes that come later", || {
        pods(&cluster, "agent", "node3").len() == 1
    });
    cluster.roll_out("daemonset/agent");
    reach_all_nodes(&cluster);

    cluster.labs.ok(&["node", "kill", "node2"]);
    assert!(!cluster.labs.run(&["exec", "node/node2", "--", "true"]).status.success());
    cluster.ok(&["wait", "node/node2", "--for=condition=Ready=Unknown", "--timeout=120s"]);
    wait_until("pods of the dead node are not replaced", || {
        cluster.field("deployment/web", ".status.availableReplicas") == "4"
            && pods(&cluster, "web", "node2").iter().all(|(_, ending)| *ending)
    });
    assert!(!pods(&cluster, "web", "node2").is_empty(), "nobody can know that their processes are gone");
    assert!(
        pods(&cluster, "agent", "node2").iter().all(|(_, ending)| !ending),
        "daemons belong to their node"
    );
    wait_until("a Service leads to a dead node", || {
        let path = "jsonpath={.subsets[*].addresses[*].nodeName}";
        !cluster.ok(&["get", "endpoints", "web", "-o", path]).contains("node2")
    });

    cluster.labs.ok(&["node", "start", "node2"]);
    wait_until("what was to go does not go", || pods(&cluster, "web", "node2").is_empty());
    cluster.roll_out("daemonset/agent");
    reach_all_nodes(&cluster);

    cluster.labs.ok(&["node", "remove", "node3"]);
    wait_until("pods of the removed node stay", || {
        ["web", "agent"].iter().all(|app| pods(&cluster, app, "node3").is_empty())
    });
    cluster.roll_out("deployment/web");
    assert!(!cluster.ok(&["get", "nodes", "-o", "name"]).contains("node3"));
    cluster.labs.ok(&["down"]);
    cluster.labs.nothing_left();
}

/// From a pod on the first node to the daemons of all others.
fn reach_all_nodes(cluster: &Cluster) {
    let from = &pods(cluster, "agent", "node1")[0].0;
    // Addresses change while pods are made anew, and the objects follow.
    wait_until("a daemon is not reached", || {
        let path = "jsonpath={.items[*].status.podIP}";
        let ips = cluster.ok(&["get", "pods", "-l", "app=agent", "-o", path]);
        ips.split_whitespace().count() >= 3 && ips.split_whitespace().all(|ip| is_reached(cluster, from, ip))
    });
}

fn is_reached(cluster: &Cluster, from: &str, ip: &str) -> bool {
    // A closed port answers too: "refused" proves that packets went both ways.
    let shell = format!("exec 3<>/dev/tcp/{ip}/9");
    let tried = cluster.labs.run(&["exec", from, "--", "timeout", "20", "bash", "-c", &shell]);
    crate::labs::text(&tried.stderr).contains("refused")
}
