//! Stories and what may happen while they are told, with the real plugins.

use std::process::{Child, Command, Output, Stdio};

use crate::labs::{Labs, text, wait_until};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {containers: [{name: c, image: alpine}]}
";

fn apply(labs: &Labs, name: &str) {
    let file = labs.root().join(format!("{name}.yaml"));
    std::fs::write(&file, POD.replace("NAME", name)).unwrap();
    labs.ok(&["apply", "-f", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
}

fn answers(labs: &Labs, pod: &str) -> bool {
    labs.run(&["exec", pod, "--", "true"]).status.success()
}

/// Kills the processes of the lab whose command line matches; the pattern must not match itself, or the shell would go first.
fn kill_inside(labs: &Labs, pattern: &str) {
    let each = format!("grep -qsa '{pattern}' $p/cmdline && kill -9 ${{p#/proc/}}");
    let shell = format!("for p in /proc/[0-9]*; do {each}; done; true");
    labs.ok(&["exec", "node/node1", "--", "sh", "-c", &shell]);
}

/// How many facts each story has: one that is lost is no success.
const FACTS: [(&str, usize); 8] = [
    ("multus-quickstart", 40),
    ("reachability", 21),
    ("macvlan-overlay", 19),
    ("macvlan-standalone", 15),
    ("mac-and-conflict", 11),
    ("spiderpool-calico", 34),
    ("calico-flannel", 37),
    ("multi-networkpolicy", 25),
];

fn told(story: &str) {
    let Some(labs) = Labs::with_plugins() else { return };
    holds(story, &labs.run(&["run", story]));
    labs.nothing_left();
}

/// What `run` said about a story, of which all facts are to hold.
pub fn holds(story: &str, told: &Output) {
    let (_, facts) = FACTS.into_iter().find(|(name, _)| *name == story).unwrap();
    let words = text(&told.stdout);
    assert!(told.status.success(), "{words}{}", text(&told.stderr));
    let fails = words.lines().any(|line| line.starts_with("FAIL"));
    assert!(!fails && words.contains(&format!("{facts} facts hold, 0 do not")), "{words}");
}

#[test]
fn every_fact_of_the_quickstart_holds() {
    told("multus-quickstart");
}

#[test]
fn every_nic_is_reachable_both_ways_and_explained() {
    told("reachability");
}

#[test]
fn every_fact_of_macvlan_overlay_holds() {
    told("macvlan-overlay");
}

#[test]
fn every_fact_of_macvlan_standalone_holds() {
    told("macvlan-standalone");
}

#[test]
fn every_fact_of_mac_and_conflict_holds() {
    told("mac-and-conflict");
}

#[test]
fn every_fact_of_spiderpool_calico_holds() {
    told("spiderpool-calico");
}

#[test]
fn every_fact_of_calico_flannel_holds() {
    told("calico-flannel");
}

#[test]
fn every_fact_of_multi_networkpolicy_holds() {
    told("multi-networkpolicy");
}

#[test]
fn the_demo_shows_both_networks_without_colours_in_a_pipe() {
    let Some(labs) = Labs::with_plugins() else { return };
    let words = labs.ok(&["demo"]);
    for expected in
        ["net1  macvlan bridge", "eth0  veth", "\"interface\": \"net1\"", "answered in", "What to try next"]
    {
        assert!(words.contains(expected), "{expected:?} is not in {words}");
    }
    assert!(!words.contains('\x1b'), "{words:?}");
    labs.nothing_left();
}

fn start_story(labs: &Labs) -> Child {
    let child = labs.command(&["run", "multus-quickstart"]).stdout(Stdio::null()).spawn().unwrap();
    // A process that tells the story, beside the supervisor and the rest: the lab is in use.
    let telling = |labs: &Labs| {
        let lines = labs.processes().into_iter().map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")));
        lines.flatten().any(|line| text(&line).contains("__tell"))
    };
    wait_until("no story is told", || telling(labs));
    child
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn an_interrupt_ends_the_story_and_its_lab() {
    let Some(labs) = Labs::with_plugins() else { return };
    let mut child = start_story(&labs);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    labs.nothing_left();
}

#[test]
fn a_story_that_is_killed_takes_its_lab_along() {
    let Some(labs) = Labs::with_plugins() else { return };
    let mut child = start_story(&labs);
    signal(&child, "-KILL");
    child.wait().unwrap();
    wait_until("processes stay", || labs.processes().is_empty());
    labs.nothing_left();
}

#[test]
fn pods_survive_their_kubelet_and_are_served_by_the_next() {
    let Some(labs) = Labs::with_plugins() else { return };
    labs.ok(&["up"]);
    apply(&labs, "before");
    wait_until("the pod does not start", || answers(&labs, "before"));
    let address =
        || labs.ok(&["exec", "before", "--", "cat", "/proc/net/fib_trie", "/sys/class/net/eth0/address"]);
    let had = address();
    kill_inside(&labs, "[_]_kubelet");
    apply(&labs, "after");
    wait_until("the next kubelet starts no pod", || answers(&labs, "after"));
    assert_eq!(address(), had, "the pod was made anew");
    labs.ok(&["down"]);
    labs.nothing_left();
}

#[test]
fn a_pod_whose_process_dies_gets_a_new_sandbox() {
    let Some(labs) = Labs::with_plugins() else { return };
    labs.ok(&["up"]);
    apply(&labs, "mortal");
    wait_until("the pod does not start", || answers(&labs, "mortal"));
    let pods = labs.root().join("lab/pods");
    let record = || std::fs::read_dir(&pods).unwrap().flatten().map(|e| e.file_name()).next();
    let first = record();
    kill_inside(&labs, "[_]_hold.mortal.pod");
    wait_until("there is no new sandbox", || {
        record().is_some_and(|now| Some(now) != first) && answers(&labs, "mortal")
    });
    labs.ok(&["down"]);
    labs.nothing_left();
}
