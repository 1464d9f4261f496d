//! The executable with real plugin processes: what they get, in which order they run, and what a failure leaves behind.
#![allow(clippy::unwrap_used)] // helpers of tests fail as tests do

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use polynic_attach::{Config, PodNetns, Thin};
use polynic_cni::{Answer, Error, Exec};
use polynic_net::Route;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Notes how it is called; `broken` fails.
const PLUGIN: &str = r#"#!/bin/sh
conf=$(cat)
echo "$CNI_COMMAND $(basename "$0") $CNI_IFNAME $CNI_PATH $EXTRA" >> "$NOTES"
[ "$(basename "$0")$CNI_COMMAND" = brokenADD ] && { echo '{"code":7,"msg":"no such device"}'; exit 1; }
[ "$CNI_COMMAND" = ADD ] || exit 0
echo "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\",\"sandbox\":\"$CNI_NETNS\"}]}"
"#;

struct EmptyNetns;

impl PodNetns for EmptyNetns {
    fn has_interface(&self, _: &str, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    fn default_routes(&self, _: &str, _: &str) -> Result<Vec<Route>, Error> {
        Ok(Vec::new())
    }

    fn restore_route(&self, _: &str, _: &Route) -> Result<(), Error> {
        Ok(())
    }

    fn delete_default_routes(&self, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn add_default_route(&self, _: &str, _: &str, _: IpAddr) -> Result<(), Error> {
        Ok(())
    }
}

/// A machine with plugins `a`, `b` and `broken`.
fn machine() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b", "broken"] {
        let file = directory.path().join(name);
        fs::write(&file, PLUGIN).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

fn multus(directory: &Path, verb: &str, types: &[&str]) -> Answer {
    let connect = |_: &Config| Ok(None);
    let exec = Exec::default();
    let thin =
        Thin { delegate: &exec, netns: &EmptyNetns, connect: &connect, guard: &|_| None, version: "test" };
    let delegates: Vec<Value> =
        types.iter().map(|kind| json!({"cniVersion": "1.0.0", "name": kind, "type": kind})).collect();
    let conf = json!({"cniVersion": "1.0.0", "name": "node-net", "type": "multus", "delegates": delegates,
                      "binDir": directory, "cniDir": directory.join("cache")});
    let notes = directory.join("notes").display().to_string();
    let path = std::env::var("PATH").unwrap();
    let vars = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c7"),
        ("CNI_NETNS", "/run/netns/c7"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/nonexistent"),
        ("NOTES", &notes),
        ("EXTRA", "inherited"),
        ("PATH", &path),
    ];
    thin.answer(vars.map(|(name, value)| (name.into(), value.into())), &mut conf.to_string().as_bytes())
}

/// Verb, type and interface of every call; path and environment are the same in all.
fn notes(directory: &Path) -> Vec<String> {
    let common = format!(" {}:/nonexistent inherited", directory.display());
    let notes = fs::read_to_string(directory.join("notes")).unwrap();
    notes
        .lines()
        .map(|line| line.strip_suffix(&common).unwrap_or_else(|| panic!("{line}")).to_owned())
        .collect()
}

#[test]
fn plugins_run_in_order_and_are_deleted_in_reverse() {
    let machine = machine();
    let answer = multus(machine.path(), "ADD", &["a", "b"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let result: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(result["interfaces"][0]["name"], "eth0");
    assert_eq!(multus(machine.path(), "DEL", &["a", "b"]), Answer::default());
    assert_eq!(notes(machine.path()), ["ADD a eth0", "ADD b net1", "DEL b net1", "DEL a eth0"]);
}

#[test]
fn a_failing_plugin_undoes_all_and_says_why() {
    let machine = machine();
    let answer = multus(machine.path(), "ADD", &["a", "broken"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stdout.contains("no such device") && answer.stdout.contains("net1"), "{}", answer.stdout);
    assert_eq!(notes(machine.path()), ["ADD a eth0", "ADD broken net1", "DEL broken net1", "DEL a eth0"]);
    assert!(!machine.path().join("cache/c7").exists());
}

#[test]
fn an_unknown_plugin_is_named_with_where_it_was_looked_for() {
    let machine = machine();
    let answer = multus(machine.path(), "ADD", &["a", "absent"]);
    let text =
        format!("failed to find plugin \\\"absent\\\" in path [{} /nonexistent]", machine.path().display());
    assert!(answer.code == 1 && answer.stdout.contains(&text), "{}", answer.stdout);
    assert_eq!(notes(machine.path()), ["ADD a eth0", "DEL a eth0"]);
}
