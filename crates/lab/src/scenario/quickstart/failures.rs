//! What can go wrong in the quickstart, and how it is put right.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod as PodObject;
use serde_json::{Value, json};

use super::super::world::Place::{Host, Pod};
use super::super::{Finding, eventually, same, world::World};
use super::addresses::NETWORK;
use super::links::CHOSEN;
use super::{NODE, ONE, REPAIRED, TWO};

const MISSING: &str = REPAIRED[0];
const ODD: &str = REPAIRED[1];
const LATE: &str = REPAIRED[2];
/// Takes all addresses that are left.
const FILLER: &str = "filler";
/// Addresses of the range.
const SIZE: usize = 17;
/// A network that is not there at first.
const NO_NETWORK: &str = "no-such-network";
/// A network whose plugin does not exist at first.
const ODD_NETWORK: &str = "odd-network";
/// How long an event may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for the Event that the pod's sandbox could not be made, and looks for words in it.
fn told(world: &World, pod: &str, words: &[&str]) -> Finding {
    eventually(PATIENCE, || {
        let all = world.events(pod, "FailedCreatePodSandBox")?;
        let message = all.last().ok_or_else(|| format!("no event FailedCreatePodSandBox about {pod}"))?;
        has_words(message, words)
    })
}

fn has_words(message: &str, words: &[&str]) -> Finding {
    match words.iter().find(|word| !message.contains(**word)) {
        None => Ok(message.to_owned()),
        Some(word) => Err(format!("{word:?} is not in: {message}")),
    }
}

/// The message of the first container, which waits.
fn waiting_message(pod: &PodObject) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    status.state.as_ref()?.waiting.as_ref()?.message.clone()
}

fn in_status(world: &World, pod: &str, words: &[&str]) -> Finding {
    eventually(PATIENCE, || {
        let object = world.pod(pod)?;
        let phase = object.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let message =
            waiting_message(&object).ok_or_else(|| format!("{pod} is {phase} without a message"))?;
        has_words(&message, words)
    })
}

/// Between two attempts the node has what the running pods have and nothing else. An attempt may be under way, so it is looked at until
/// the picture is clean.
fn nothing_of(world: &World, pod: &str) -> Finding {
    eventually(PATIENCE, || {
        let running: Vec<_> = world.sandboxes().into_iter().filter(|s| s.node == NODE).collect();
        if let Some(attempt) = running.iter().find(|sandbox| sandbox.name == pod) {
            return Err(format!("the record of sandbox {} is there", attempt.container_id));
        }
        let links = world.look(Host(NODE))?.link_names().into_iter().filter(|name| name.starts_with("cali"));
        let counts = [
            ("links on the node", links.count(), running.len()),
            (
                "addresses of the default network",
                world.stored_addresses(NODE, "k8s-pod-network").len(),
                2 * running.len(),
            ),
            (
                "addresses of macvlan-conf",
                world.stored_addresses(NODE, NETWORK).len(),
                networks_attached(world, &running)?,
            ),
            ("pinned namespaces", world.pinned_networks(NODE)?, running.len()),
            ("cached results", world.node_files(NODE, "var/lib/cni/results").len(), 2 * running.len()),
            ("Multus' scratch files", scratch_files(world), running.len()),
        ];
        match counts.iter().find(|(_, found, expected)| found != expected) {
            None => Ok(counts.map(|(what, found, _)| format!("{found} {what}")).join(", ")),
            Some((what, found, expected)) => {
                Err(format!("{found} {what}, expected {expected} for {} pods", running.len()))
            }
        }
    })
}

/// One per pod, beside the directory of results.
fn scratch_files(world: &World) -> usize {
    world.node_files(NODE, "var/lib/cni/multus").iter().filter(|name| *name != "results").count()
}

/// How many NICs beside eth0 the running pods have from the quickstart's network.
fn networks_attached(world: &World, running: &[crate::registry::Sandbox]) -> Result<usize, String> {
    let mut count = 0;
    for sandbox in running {
        let (_, rows) = world.network_status(&sandbox.name)?;
        count += rows.iter().filter(|row| row["name"] == format!("default/{NETWORK}")).count();
    }
    Ok(count)
}

fn starts_unchanged(world: &World, pod: &str, repair: impl Fn() -> Finding) -> Finding {
    let before = world.pod(pod)?.metadata.uid;
    let repaired = repair()?;
    world.wait_running(&[pod])?;
    same(&world.pod(pod)?.metadata.uid, &before)?;
    let links = world.look(Pod(pod))?.link_names();
    same(&links, &["lo", "eth0", "net1"].map(str::to_owned).to_vec())?;
    Ok(format!("{repaired}; {pod} runs with {}", links.join(", ")))
}

/// A network beside the quickstart's, so that its range is not touched.
fn other_network(plugin: &str, third: u8) -> Value {
    json!({
        "cniVersion": "0.3.1",
        "type": plugin,
        "master": "eth0",
        "ipam": {"type": "host-local", "subnet": format!("172.20.{third}.0/24")},
    })
}

pub fn ask_for_nothing(world: &World) -> Finding {
    world.delete(&[CHOSEN])?;
    world.create_pod(MISSING, Some(NO_NETWORK), None)
}

const NOTHING_WORDS: &[&str] = &[MISSING, NO_NETWORK, "not found"];

pub fn nothing_told(world: &World) -> Finding {
    told(world, MISSING, NOTHING_WORDS)
}

pub fn nothing_in_status(world: &World) -> Finding {
    in_status(world, MISSING, NOTHING_WORDS)
}

pub fn nothing_left(world: &World) -> Finding {
    nothing_of(world, MISSING)
}

pub fn nothing_repaired(world: &World) -> Finding {
    starts_unchanged(world, MISSING, || world.define_network(NO_NETWORK, &other_network("macvlan", 1)))
}

pub fn ask_for_nonsense(world: &World) -> Finding {
    world.define_network(ODD_NETWORK, &other_network("no-such-plugin", 2))?;
    world.create_pod(ODD, Some(ODD_NETWORK), None)
}

const NONSENSE_WORDS: &[&str] = &[ODD, ODD_NETWORK, "no-such-plugin"];

pub fn nonsense_told(world: &World) -> Finding {
    told(world, ODD, NONSENSE_WORDS)
}

pub fn nonsense_in_status(world: &World) -> Finding {
    in_status(world, ODD, NONSENSE_WORDS)
}

pub fn nonsense_left(world: &World) -> Finding {
    nothing_of(world, ODD)
}

pub fn nonsense_repaired(world: &World) -> Finding {
    starts_unchanged(world, ODD, || world.define_network(ODD_NETWORK, &other_network("macvlan", 2)))
}

/// One pod takes all that is left, so that the next attachment is the eighteenth.
pub fn exhaust(world: &World) -> Finding {
    let left = SIZE - world.stored_addresses(NODE, NETWORK).len();
    let networks = vec![NETWORK; left].join(",");
    world.create_pod(FILLER, Some(&networks), None)?;
    world.wait_running(&[ONE, TWO, FILLER])?;
    world.create_pod(LATE, Some(NETWORK), None)?;
    Ok(format!("{FILLER} takes the {left} addresses that are left, {LATE} wants one more"))
}

const LATE_WORDS: &[&str] = &[LATE, NETWORK, "no IP addresses available"];

pub fn late_told(world: &World) -> Finding {
    told(world, LATE, LATE_WORDS)
}

pub fn late_in_status(world: &World) -> Finding {
    in_status(world, LATE, LATE_WORDS)
}

pub fn late_left(world: &World) -> Finding {
    nothing_of(world, LATE)
}

pub fn late_repaired(world: &World) -> Finding {
    starts_unchanged(world, LATE, || world.delete(&[FILLER]))
}
