//! The same stories where Multus is thick: the runtime calls `multus-shim`, and an agent on each node attaches.
//!
//! Those that show something of their own run always, the others with `POLYNIC_THICK_STORIES=all`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::labs::{Labs, text, wait_until};
use crate::processes::{self, signal};
use crate::stories::holds;

/// A word on an agent's command line.
const AGENT: &str = "multus-daemon";

fn told(story: &str) {
    let Some(labs) = Labs::with_plugins() else { return };
    holds(story, &labs.run(&["run", story, "--thick"]));
    labs.nothing_left();
}

fn told_if_asked_for(story: &str) {
    match std::env::var("POLYNIC_THICK_STORIES").as_deref() {
        Ok("all") => told(story),
        _ => eprintln!("skipped: {story} with thick Multus: POLYNIC_THICK_STORIES is not \"all\""),
    }
}

#[test]
fn every_fact_of_the_quickstart_holds_thick() {
    told("multus-quickstart");
}

#[test]
fn every_fact_of_macvlan_overlay_holds_thick() {
    told("macvlan-overlay");
}

#[test]
fn every_fact_of_spiderpool_calico_holds_thick() {
    told("spiderpool-calico");
}

#[test]
fn every_fact_of_calico_flannel_holds_thick() {
    told("calico-flannel");
}

#[test]
fn every_nic_is_reachable_both_ways_thick() {
    told_if_asked_for("reachability");
}

#[test]
fn every_fact_of_macvlan_standalone_holds_thick() {
    told_if_asked_for("macvlan-standalone");
}

#[test]
fn every_fact_of_mac_and_conflict_holds_thick() {
    told_if_asked_for("mac-and-conflict");
}

#[test]
fn every_fact_of_multi_networkpolicy_holds_thick() {
    told_if_asked_for("multi-networkpolicy");
}

/// How often agents are killed while a story is told.
const KILLS: usize = 5;

/// Sandboxes by container id, and whether their pods run: the record is written before anything is made.
fn sandboxes(pods: &Path) -> Vec<(String, bool)> {
    let files = fs::read_dir(pods).into_iter().flatten().flatten().map(|entry| entry.path());
    let records = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    // One may vanish while it is looked at.
    let read = |path| serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok();
    let runs = |record: Value| Some((record["containerId"].as_str()?.to_owned(), !record["pause"].is_null()));
    records.filter_map(read).filter_map(runs).collect()
}

#[test]
fn a_story_holds_whose_agents_are_killed_while_they_attach() {
    let Some(labs) = Labs::with_plugins() else { return };
    let run = labs.command(&["run", "multus-quickstart", "--thick"]).stdout(Stdio::piped()).spawn().unwrap();
    let lab = format!("run-{}", run.id());
    let pods = labs.root().join(&lab).join("pods");
    let teller = thread::spawn(move || run.wait_with_output().unwrap());
    let (mut seen, mut killed) = (BTreeSet::new(), 0);
    while killed < KILLS && !teller.is_finished() {
        let started = sandboxes(&pods).into_iter().filter(|(_, runs)| !runs);
        let is_new = started.filter(|(id, _)| seen.insert(id.clone())).count() > 0;
        let agents = if is_new { processes::serving(&labs, &lab, AGENT) } else { Vec::new() };
        killed += usize::from(!agents.is_empty());
        agents.iter().for_each(|agent| signal("KILL", *agent));
        thread::sleep(Duration::from_millis(2));
    }
    holds("multus-quickstart", &teller.join().unwrap());
    assert!(killed >= 3, "agents were killed {killed} times");
    labs.nothing_left();
}

const MANIFESTS: &str = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan}
spec:
  config: '{"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0", "mode": "bridge",
    "ipam": {"type": "host-local", "subnet": "172.20.1.0/24"}}'
---
apiVersion: v1
kind: Pod
metadata: {name: one, annotations: {k8s.v1.cni.cncf.io/networks: lan}}
spec: {containers: [{name: c, image: alpine}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, annotations: {k8s.v1.cni.cncf.io/networks: "lan,lan"}}
spec: {containers: [{name: c, image: alpine}]}
"#;

/// The names of what is in a directory of the only node, without host-local's own files.
fn names(labs: &Labs, below: &str) -> BTreeSet<String> {
    let directory = labs.root().join("lab/nodes/node1").join(below);
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip")).collect()
}

/// Both pods run, each in a new sandbox if there were others, and nothing is left of those.
fn all_is_well(cluster: &Cluster, before: &[(String, bool)]) -> bool {
    let now = sandboxes(&cluster.labs.root().join("lab/pods"));
    let is_new = |id: &str| before.iter().all(|(old, _)| old != id);
    let ids: BTreeSet<String> = now.iter().map(|(id, _)| id.clone()).collect();
    let scratch: BTreeSet<String> = ids.iter().cloned().chain(["results".to_owned()]).collect();
    now.len() == 2
        && now.iter().all(|(id, runs)| *runs && is_new(id))
        && names(&cluster.labs, "var/lib/cni/multus") == scratch
        && names(&cluster.labs, "var/lib/cni/networks/lan").len() == 3
        && ["net1", "net2"].iter().all(|nic| has_address(cluster, "two", nic))
        && has_address(cluster, "one", "net1")
}

fn has_address(cluster: &Cluster, pod: &str, nic: &str) -> bool {
    let shown = cluster.labs.run(&["exec", pod, "--", "ip", "-4", "-o", "addr", "show", "dev", nic]);
    text(&shown.stdout).contains("172.20.1.")
}

#[test]
fn a_node_that_lost_its_power_attaches_its_pods_anew_and_forgets_the_old() {
    let Some(cluster) = Cluster::with(&["--thick"]) else { return };
    let labs = &cluster.labs;
    cluster.apply(MANIFESTS);
    wait_until("pods are not attached", || all_is_well(&cluster, &[]));
    let before = sandboxes(&labs.root().join("lab/pods"));
    labs.ok(&["node", "kill", "node1"]);
    assert!(processes::serving(labs, "lab", AGENT).is_empty(), "an agent goes with its node");
    labs.ok(&["node", "start", "node1"]);
    wait_until("pods are not attached anew", || all_is_well(&cluster, &before));
    let agents = processes::serving(labs, "lab", AGENT);
    assert_eq!(agents.len(), 1);
    signal("KILL", agents[0]);
    // Whether the next agent is there already or not: the shim can delete by itself.
    cluster.ok(&["delete", "pod", "one", "two"]);
    wait_until("something stays", || {
        names(labs, "var/lib/cni/networks/lan").is_empty()
            && names(labs, "var/lib/cni/results").is_empty()
            && names(labs, "var/lib/cni/multus") == BTreeSet::from(["results".to_owned()])
            && names(labs, "var/lib/polynic/deletions").is_empty()
    });
    labs.ok(&["down"]);
    labs.nothing_left();
}

/// Whether a pod has a NIC and its status says so, or neither.
fn has_nic(cluster: &Cluster, pod: &str, nic: &str) -> Option<bool> {
    let path = r"{.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}";
    let status = cluster.ok(&["get", "pod", pod, "-o", &format!("jsonpath={path}")]);
    let rows: Vec<Value> = serde_json::from_str(&status).ok()?;
    let told = rows.iter().any(|row| row["interface"] == nic);
    (told == has_address(cluster, pod, nic)).then_some(told)
}

#[test]
fn networks_of_a_running_pod_follow_its_annotation_also_when_its_agent_was_away() {
    let Some(cluster) = Cluster::with(&["--thick"]) else { return };
    cluster.apply(MANIFESTS);
    wait_until("pods are not attached", || all_is_well(&cluster, &[]));
    let select = |networks: &str| {
        let annotation = format!("k8s.v1.cni.cncf.io/networks={networks}");
        cluster.ok(&["annotate", "pod", "one", "--overwrite", &annotation]);
    };
    select("lan,lan@extra");
    wait_until("a network is not attached", || has_nic(&cluster, "one", "extra") == Some(true));
    let agents = processes::serving(&cluster.labs, "lab", AGENT);
    agents.iter().for_each(|agent| signal("KILL", *agent));
    select("lan");
    wait_until("a network is not detached", || has_nic(&cluster, "one", "extra") == Some(false));
    assert_eq!(has_nic(&cluster, "one", "net1"), Some(true));
    wait_until("an address is not given back", || {
        names(&cluster.labs, "var/lib/cni/networks/lan").len() == 3
    });
    cluster.labs.ok(&["down"]);
    cluster.labs.nothing_left();
}
