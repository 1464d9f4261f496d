//! The agent is killed at random moments while pods come and go, and while networks of running pods do (issue 5, "Must hold").

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use polynic_cni::{Answer, Verb};
use serde_json::{Value, json};

use crate::api::{PODS, soon, until};
use crate::node::{Node, PATIENCE, Pod, Process, node};

/// Rounds, and pods that come and pods that go in each. The issue asks for 100 and 50: `scripts/test.sh` has time for these.
const ROUNDS: (&str, usize) = ("POLYNIC_KILL_ROUNDS", 6);
const COMING: (&str, usize) = ("POLYNIC_KILL_PODS", 12);
/// Kills in a round, at most.
const KILLS: usize = 4;

fn number_of((variable, default): (&str, usize)) -> usize {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// As a runtime does: by the configuration that lies there now. An ADD that fails is followed by a DEL, and tried again.
fn attach(pod: &Pod<'_>) -> Value {
    loop {
        let answer = pod.call_with(Verb::Add, &generated(pod.node).unwrap(), PATIENCE);
        if answer.code == 0 {
            return serde_json::from_str(&answer.stdout).unwrap();
        }
        detach(pod);
    }
}

fn detach(pod: &Pod<'_>) {
    let answer = pod.call_with(Verb::Del, &generated(pod.node).unwrap(), PATIENCE);
    assert_eq!(answer, Answer::default(), "{}", pod.name);
}

/// The configuration that runtimes read, if it is what it has to be.
fn generated(node: &Node) -> Result<Value, String> {
    let text = std::fs::read_to_string(node.path("net.d/00-multus.conf")).map_err(|why| why.to_string())?;
    let conf: Value = serde_json::from_str(&text).map_err(|why| format!("{text:?}: {why}"))?;
    let is_whole = conf["type"] == "multus-shim"
        && conf["clusterNetwork"] == json!(node.primary())
        && conf["daemonSocketDir"] == json!(node.path("run"));
    if is_whole { Ok(conf) } else { Err(text) }
}

/// Moments from a seed: reproducible, and different in each round.
fn moments(seed: usize) -> impl Iterator<Item = Duration> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_millis(state % 250)
    })
}

#[test]
fn whatever_happens_to_the_agent_no_pod_is_half_attached_and_nothing_is_left() {
    let Some(node) = node() else { return };
    let mut agent = Process::start(&node);
    until("the configuration is there", || generated(&node).is_ok());
    let (done, samples) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&node, &done, &samples));
        scope.spawn(|| rewrite(&node, &done));
        rounds(&node, &mut agent);
        done.store(true, Ordering::Relaxed);
        assert_eq!(sampler.join().unwrap(), Vec::<String>::new());
    });
    let samples = samples.into_inner();
    println!("{samples} samples of the generated configuration, all of them valid");
    assert!(samples > 0);
}

fn rounds(node: &Node, agent: &mut Process) {
    let mut going: Vec<Pod<'_>> = Vec::new();
    for round in 0..number_of(ROUNDS) {
        let coming: Vec<Pod<'_>> =
            (0..number_of(COMING)).map(|n| node.pod(&format!("r{round}-{n}"), "a")).collect();
        let left = AtomicUsize::new(coming.len() + going.len());
        let results: Vec<Value> = thread::scope(|scope| {
            let attached = |pod| {
                let result = attach(pod);
                left.fetch_sub(1, Ordering::Relaxed);
                result
            };
            let asked: Vec<_> = coming.iter().map(|pod| scope.spawn(move || attached(pod))).collect();
            for pod in &going {
                let left = &left;
                scope.spawn(move || {
                    detach(pod);
                    left.fetch_sub(1, Ordering::Relaxed);
                });
            }
            for moment in moments(round).take(KILLS) {
                if left.load(Ordering::Relaxed) > 0 {
                    thread::sleep(moment);
                    agent.replace();
                }
            }
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        whole(&coming, &results);
        gone(&going);
        going = coming;
    }
    going.iter().for_each(detach);
    gone(&going);
    let end = soon();
    while !node.leftovers().is_empty() || node.host_links() > 0 {
        assert!(Instant::now() < end, "{} links and {:?}", node.host_links(), node.leftovers());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Looks at the generated configuration about every millisecond; what was wrong with it.
fn sample(node: &Node, done: &AtomicBool, samples: &AtomicUsize) -> Vec<String> {
    let mut wrong = Vec::new();
    while !done.load(Ordering::Relaxed) {
        wrong.extend(generated(node).err());
        samples.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
    wrong
}

/// Whoever owns the default network writes its configuration anew all the time.
fn rewrite(node: &Node, done: &AtomicBool) {
    let new = node.path("net.d/.fabric.new");
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let fabric = node.fabric(&json!({"portMappings": number % 2 == 0}));
        std::fs::write(&new, fabric.to_string()).unwrap();
        std::fs::rename(&new, node.primary()).unwrap();
        thread::sleep(Duration::from_millis(20));
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
        pod.node.world.delete(PODS, &pod.name, 0);
    }
}

#[test]
fn an_edit_is_followed_to_its_end_whenever_the_agent_dies() {
    let Some(node) = node() else { return };
    let mut agent = Process::start(&node);
    let pod = node.pod("vm", "a");
    pod.add();
    for round in 0..number_of(ROUNDS) {
        // Each edit takes something away and brings something else.
        let networks = ["a,b@hot0", "b@hot0,c@hot1", "c@hot1,a", "a"][round % 4];
        let wanted = [
            &["default/a net1", "default/b hot0"][..],
            &["default/b hot0", "default/c hot1"],
            &["default/c hot1", "default/a net1"],
            &["default/a net1"],
        ][round % 4];
        node.edit("vm", networks);
        for moment in moments(round).take(2) {
            thread::sleep(moment);
            agent.replace();
        }
        let wanted = [&["fabric eth0"], wanted].concat();
        until("the edit is followed", || pod.status() == wanted);
        let interfaces = wanted.iter().map(|row| row.rsplit_once(' ').unwrap().1);
        let mut interfaces: Vec<&str> = interfaces.collect();
        interfaces.sort_unstable();
        assert_eq!(pod.names(), interfaces, "round {round}");
        assert_eq!(node.host_links(), interfaces.len(), "round {round}");
    }
    pod.del();
    gone(&[pod]);
    until("nothing is left", || node.leftovers().is_empty() && node.host_links() == 0);
}

polynic_control_plane::on_a_real_server!(
    whatever_happens_to_the_agent_no_pod_is_half_attached_and_nothing_is_left,
    an_edit_is_followed_to_its_end_whenever_the_agent_dies,
);
