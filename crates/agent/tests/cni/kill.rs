//! The agent is killed at random moments while pods come and go (issue 5, "Must hold").

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use polynic_agent::cni::daemon::{Around, Daemon};
use polynic_cluster::client_from;
use polynic_cni::{Answer, Verb};
use polynic_runtime::Shutdown;
use polynic_wire::multus::{Endpoint, MultusSocket};
use serde_json::Value;

use crate::api::{runtime, soon, until};
use crate::node::{Node, Pod, node};

pub const CHILD: &str = "POLYNIC_TEST_CNI_AGENT";
/// Rounds; more by this variable.
const ROUNDS: &str = "POLYNIC_KILL_ROUNDS";
const DEFAULT_ROUNDS: u64 = 20;
/// Pods that come and pods that go in a round.
const COMING: usize = 5;

/// No test, but the agent as a process of its own, when the other test of this file starts it.
#[test]
fn the_agent_as_a_process() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let [config, directory, kubeconfig] = arguments.split('|').collect::<Vec<_>>()[..] else {
        panic!("{arguments}")
    };
    let node = |name: &str| (name == "MULTUS_NODE_NAME").then(|| "n1".to_owned());
    let config = polynic_agent::cni::Config::read(config.as_bytes(), &node).unwrap();
    let directory = PathBuf::from(directory);
    let config = polynic_agent::cni::Config {
        deletions: directory.join("deletions"),
        state: directory.join("state"),
        ..config
    };
    runtime().block_on(async {
        let client = client_from(Some(kubeconfig.as_ref())).await.unwrap();
        let around = Around {
            client,
            seed: u64::from(std::process::id()),
            links: Arc::default(),
            drain: Duration::ZERO,
        };
        let shutdown = Shutdown::default();
        Daemon::start(config, around, shutdown.clone()).await.unwrap().ended(&shutdown).await;
    });
}

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn start(node: &Node) -> Self {
        let config = Value::Object(node.config(&serde_json::json!({})).overlay).to_string();
        let directory = node.world.directory.path().display();
        let arguments = format!("{config}|{directory}|{}", node.world.kubeconfig().display());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::the_agent_as_a_process", "--nocapture"])
            .env(CHILD, arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As a runtime does: an ADD that fails is followed by a DEL, and tried again.
fn attach(pod: &Pod<'_>) -> Value {
    loop {
        let answer = pod.call(Verb::Add);
        if answer.code == 0 {
            return serde_json::from_str(&answer.stdout).unwrap();
        }
        assert_eq!(pod.call(Verb::Del), Answer::default());
    }
}

/// Moments from a seed: reproducible, and different in each round.
fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_millis(state % 120)
    })
}

#[test]
fn whatever_happens_to_the_agent_no_pod_is_half_attached_and_nothing_is_left() {
    let Some(node) = node() else { return };
    let rounds = std::env::var(ROUNDS).ok().and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_ROUNDS);
    let mut agent = Process::start(&node);
    let ready = || {
        MultusSocket::in_directory(&node.path("run")).post(
            "/readyz",
            b"",
            Instant::now() + Duration::from_secs(1),
        )
    };
    until("the agent is ready", || ready().is_ok_and(|reply| reply.status == 200));
    let mut going: Vec<Pod<'_>> = Vec::new();
    for round in 0..rounds {
        let coming: Vec<Pod<'_>> = (0..COMING).map(|n| node.pod(&format!("r{round}-{n}"), "a")).collect();
        let results: Vec<Value> = thread::scope(|scope| {
            let asked: Vec<_> = coming.iter().map(|pod| scope.spawn(|| attach(pod))).collect();
            for pod in &going {
                scope.spawn(|| pod.del());
            }
            for moment in moments(round).take(2) {
                thread::sleep(moment);
                agent.kill();
                agent = Process::start(&node);
            }
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        whole(&coming, &results);
        gone(&going);
        going = coming;
    }
    going.iter().for_each(Pod::del);
    gone(&going);
    let end = soon();
    while !node.leftovers().is_empty() || node.host_links() > 0 {
        assert!(Instant::now() < end, "{} links and {:?}", node.host_links(), node.leftovers());
        thread::sleep(Duration::from_millis(5));
    }
}

/// What was answered is there, and no address twice.
fn whole(pods: &[Pod<'_>], results: &[Value]) {
    let mut holders = BTreeMap::new();
    for (pod, result) in pods.iter().zip(results) {
        let links = pod.links();
        assert_eq!(links.keys().collect::<Vec<_>>(), ["eth0", "net1"], "{}", pod.name);
        assert_eq!(result["ips"][0]["address"], links["eth0"][0].as_str(), "{}", pod.name);
        assert_eq!(pod.status(), ["fabric eth0", "default/a net1"], "{}", pod.name);
        assert_eq!(pod.call(Verb::Check), Answer::default(), "{}", pod.name);
        for address in links.into_values().flatten() {
            let other = holders.insert(address.clone(), pod.name.clone());
            assert_eq!(other, None, "{address} of {}", pod.name);
        }
    }
}

/// Nothing of a deleted pod is left, at the latest when the agent has done what waits.
fn gone(pods: &[Pod<'_>]) {
    for pod in pods {
        until("the pod has nothing", || pod.names().is_empty());
        let own = || -> Vec<String> {
            pod.node.leftovers().into_iter().filter(|file| file.contains(&pod.container)).collect()
        };
        let end = soon();
        while !own().is_empty() {
            assert!(Instant::now() < end, "{} left {:?}", pod.name, own());
            thread::sleep(Duration::from_millis(5));
        }
    }
}
