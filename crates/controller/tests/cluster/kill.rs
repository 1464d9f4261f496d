//! The controller is killed at random moments, while agents fill a pool to its last address, releases are lost, the pool is edited, and a
//! node is deleted. The independent checker judges what is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polynic_agent::addresses::{Config, Daemon, Service};
use polynic_controller::daemon;
use polynic_controller::settings::Settings;
use polynic_runtime::Shutdown;
use polynic_wire::messages::{AddRequest, DelRequest};
use serde_json::json;

use crate::gc::force_delete;
use crate::support::{Cluster, POOLS, free_port, pool};

const CHILD: &str = "POLYNIC_TEST_CONTROLLER";
const PODS: &str = "/api/v1/namespaces/default/pods";
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
/// How many pods of a node hold an address at a time: together all that the pool has.
const AT_ONCE: usize = 8;
/// How many pods a node runs in the course of the test.
const TURNS: usize = 24;

/// No test, but the controller as a process of its own, when the other test of this file starts it.
#[tokio::test]
async fn the_controller_as_a_process() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let [kubeconfig, webhook, health] = arguments.split('|').collect::<Vec<_>>()[..] else {
        panic!("{arguments}")
    };
    let url = format!("https://127.0.0.1:{webhook}");
    let env = |name: &str| match name {
        "SPIDERPOOL_WEBHOOK_PORT" => Some(webhook),
        "SPIDERPOOL_HEALTH_PORT" => Some(health),
        "SPIDERPOOL_WEBHOOK_URL" => Some(url.as_str()),
        "SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION" | "SPIDERPOOL_GC_TRACE_POD_GAP_DURATION" => Some("1"),
        _ => None,
    };
    let settings = Settings::read("", &|name| env(name).map(str::to_owned)).unwrap();
    let client = polynic_cluster::client_from(Some(Path::new(kubeconfig))).await.unwrap().unwrap();
    daemon::run(settings, client, None, Shutdown::default()).await.unwrap();
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // This is the kill -9 that the test is about.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &str) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_controller_as_a_process", "--nocapture"])
        .env(CHILD, arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

/// One controller after the other, each for a little longer or shorter, until told to leave the last one alone.
async fn killed_again_and_again(arguments: &str, is_over: &AtomicBool) -> (Process, usize) {
    let (mut process, mut killed) = (start(arguments), 0);
    // Some moments are before its first write, some in its first scan, some in the middle of its work.
    for moment in [90, 400, 1200, 250, 2500, 150, 700].iter().cycle() {
        tokio::time::sleep(Duration::from_millis(*moment)).await;
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        drop(process);
        (process, killed) = (start(arguments), killed + 1);
    }
    (process, killed)
}

async fn agent(cluster: &Cluster, directory: &Path, node: &str) -> Daemon {
    let env = |name: &str| match name {
        "SPIDERPOOL_NODE_NAME" => Some(node.to_owned()),
        "SPIDERPOOL_HEALTH_PORT" => Some("0".to_owned()),
        _ => None,
    };
    let socket = directory.join(format!("{node}.sock"));
    let text = format!("ipamUnixSocketPath: {}\ntuneSysctlConfig: false\n", socket.display());
    let config = Config::read(&text, &env).unwrap();
    let config = Config { releases: directory.join(format!("{node}-releases")), ..config };
    let seed = node.bytes().map(u64::from).sum();
    Daemon::start(config, cluster.client.clone(), seed, Shutdown::default()).await.unwrap()
}

/// Pods of a node with their addresses.
type Held = BTreeMap<String, String>;

/// The pods of a node, as they come and go. Every third release is lost: only the controller can bring that address back.
async fn run_pods(cluster: &Cluster, service: &Service, node: &str) -> Held {
    let mut held = Held::new();
    for turn in 0..TURNS {
        let name = format!("{node}-{turn}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                         "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        let made = cluster.create(PODS, &pod).await;
        let uid = made["metadata"]["uid"].as_str().unwrap();
        let request = AddRequest {
            container_id: name.clone(),
            if_name: "eth0".into(),
            net_namespace: "/run/netns/x".into(),
            pod_namespace: "default".into(),
            pod_name: name.clone(),
            pod_uid: uid.into(),
            ..AddRequest::default()
        };
        // As kubelet does: what is refused, because the pool is full, is tried again.
        let asked = async || service.add(&request).await.ok();
        let answer = cluster.eventually(&format!("{name} has an address"), asked).await;
        held.insert(name, answer.ips[0].address.clone());
        // Somebody leaves before the next one comes, not always the oldest.
        if held.len() == AT_ONCE && turn + 1 < TURNS {
            let leaving = held.keys().nth(turn % AT_ONCE).unwrap().clone();
            held.remove(&leaving);
            leave(cluster, service, &leaving, turn % 3 == 0).await;
        }
    }
    held
}

async fn leave(cluster: &Cluster, service: &Service, name: &str, is_lost: bool) {
    let uid = cluster.get(PODS, name).await["metadata"]["uid"].as_str().unwrap().to_owned();
    force_delete(cluster, name).await;
    if is_lost {
        return;
    }
    let request = DelRequest {
        container_id: name.into(),
        if_name: "eth0".into(),
        pod_namespace: "default".into(),
        pod_name: name.into(),
        pod_uid: uid,
        ..DelRequest::default()
    };
    service.release(&request).await.unwrap();
}

/// Edits that come all the time; those that would take an address from a pod are refused, and while no controller answers, all are.
async fn edit(cluster: &Cluster, is_over: &AtomicBool) -> (usize, usize) {
    let (mut done, mut refused) = (0, 0);
    let all = json!({"spec": {"ips": ["10.9.0.1-10.9.0.24", "10.9.0.100-10.9.0.107"], "excludeIPs": null}});
    let none = json!({"spec": {"ips": ["10.9.0.100-10.9.0.107"]}});
    let without_one = json!({"spec": {"excludeIPs": ["10.9.0.3"]}});
    for change in [&without_one, &none, &all].into_iter().cycle() {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        match cluster.try_patch(POOLS, "p", change).await {
            Ok(_) => done += 1,
            Err(_) => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let restored = async || cluster.try_patch(POOLS, "p", &all).await.ok();
    cluster.eventually("the pool is whole again", restored).await;
    (done, refused)
}

async fn violations(cluster: &Cluster) -> Vec<String> {
    let seen = polynic_cluster::survey::survey(&cluster.client).await.unwrap();
    assert_eq!(seen.unreadable, [""; 0]);
    polynic_checker::check_cluster(&seen.cluster).iter().map(ToString::to_string).collect()
}

/// A node that is taken away with all that runs on it: nobody says goodbye.
async fn lose_node(cluster: &Cluster, node: &str, held: &Held) {
    cluster.delete("/api/v1/nodes", node).await;
    for name in held.keys() {
        force_delete(cluster, name).await;
    }
}

#[tokio::test]
async fn under_load_no_address_is_given_twice_and_none_is_lost() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    let ips = json!(["10.9.0.1-10.9.0.24", "10.9.0.100-10.9.0.107"]);
    let spec = json!({"ipVersion": 4, "subnet": "10.9.0.0/16", "ips": ips, "default": true});
    cluster.create(POOLS, &pool("p", spec)).await;
    let mut agents = Vec::new();
    for node in NODES {
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        cluster.create("/api/v1/nodes", &object).await;
        agents.push((node, agent(&cluster, directory.path(), node).await));
    }
    let arguments = format!("{}|{}|{}", cluster.kubeconfig().display(), free_port(), free_port());
    let is_over = AtomicBool::new(false);
    let load = async {
        let nodes = agents.iter().map(|(node, agent)| run_pods(&cluster, agent.service(), node));
        let held = futures::future::join_all(nodes).await;
        is_over.store(true, Ordering::SeqCst);
        held
    };
    let (mut held, (_controller, killed), (edited, refused)) =
        tokio::join!(load, killed_again_and_again(&arguments, &is_over), edit(&cluster, &is_over));
    assert!(killed >= 3 && edited >= 3 && refused >= 3, "{killed} kills, {edited} edits, {refused} refused");

    let lost = held.pop().unwrap();
    lose_node(&cluster, NODES[3], &lost).await;
    let wanted: Held = held.into_iter().flatten().collect();
    let found = async || {
        let seen = polynic_cluster::survey::survey(&cluster.client).await.unwrap();
        let records = seen.cluster.pools.iter().flat_map(|pool| &pool.records);
        let records: Held =
            records.map(|record| (record.pod.replace("default/", ""), format!("{}/16", record.ip))).collect();
        (records == wanted && seen.cluster.endpoints.len() == wanted.len()).then_some(())
    };
    cluster.eventually("every pod has what it was told, and nobody else anything", found).await;
    assert_eq!(violations(&cluster).await, [""; 0]);
}

polynic_control_plane::on_a_real_server!(under_load_no_address_is_given_twice_and_none_is_lost,);
