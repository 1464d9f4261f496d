//! A lab comes and goes, and leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::labs::{Labs, text, wait_until};

/// What must be the same before and after: links, mounts, routes.
#[derive(Debug, PartialEq)]
struct Machine {
    links: String,
    mounts: String,
    routes: String,
}

impl Machine {
    fn look() -> Machine {
        let names: BTreeSet<String> = fs::read_dir("/sys/class/net")
            .unwrap()
            .flatten()
            .map(|e| e.file_name().into_string().unwrap())
            .collect();
        Machine {
            links: names.into_iter().collect::<Vec<_>>().join(" "),
            mounts: fs::read_to_string("/proc/self/mounts").unwrap(),
            routes: fs::read_to_string("/proc/net/route").unwrap(),
        }
    }
}

#[test]
fn the_machine_is_the_same_during_and_after_a_lab() {
    let before = Machine::look();
    let Some(labs) = Labs::new() else { return };
    let said = labs.ok(&["up", "--nodes", "2", "--underlay", "10.7.0.0/24", "--underlay", "10.8.0.0/24"]);
    assert!(said.contains("export KUBECONFIG="), "{said}");
    assert_eq!(Machine::look(), before);
    labs.ok(&["down"]);
    assert_eq!(Machine::look(), before);
    labs.nothing_left();
}

#[test]
fn nodes_reach_each_other_the_router_and_what_is_behind_it() {
    let Some(labs) = Labs::new() else { return };
    labs.ok(&["up", "--nodes", "2"]);
    // bash opens TCP connections by itself. A closed port answers too: "refused" proves that packets went both ways.
    for (from, to) in
        [("node/node1", "192.168.1.11"), ("node/node2", "198.51.100.10"), ("host/outside", "192.168.1.10")]
    {
        let shell = format!("exec 3<>/dev/tcp/{to}/9");
        let tried = labs.run(&["exec", from, "--", "timeout", "60", "bash", "-c", &shell]);
        assert!(text(&tried.stderr).contains("refused"), "{from} -> {to}: {}", text(&tried.stderr));
    }
    labs.ok(&["down"]);
    labs.nothing_left();
}

#[test]
fn exec_passes_on_exit_status_and_shows_the_node() {
    let Some(labs) = Labs::new() else { return };
    labs.ok(&["up"]);
    assert_eq!(labs.ok(&["exec", "node/node1", "--", "hostname"]).trim(), "node1");
    assert_eq!(labs.run(&["exec", "node/node1", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(labs.run(&["exec", "node/node1", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    let files = labs.ok(&["exec", "node/node1", "--", "ls", "/etc/cni/net.d", "/opt/cni/bin"]);
    assert!(files.contains("00-multus.conf") && files.contains("polynic"), "{files}");
    let program = labs.run(&["exec", "node/node1", "--", "sh", "-c", "command -v polynic"]);
    assert_eq!(text(&program.stdout).trim(), "/opt/cni/bin/polynic", "a node's programs are found by name");
    let missing = labs.run(&["exec", "nobody", "--", "true"]);
    assert!(text(&missing.stderr).contains("no running pod \"nobody\""), "{}", text(&missing.stderr));
    labs.ok(&["down"]);
    labs.nothing_left();
}

#[test]
fn killing_the_first_process_takes_everything_along_and_down_cleans_up() {
    let Some(labs) = Labs::new() else { return };
    labs.ok(&["up"]);
    assert!(!labs.processes().is_empty());
    let killed = Command::new("kill").args(["-9", &labs.init("lab")]).status().unwrap();
    assert!(killed.success());
    wait_until("processes stay", || labs.processes().is_empty());
    assert!(labs.ok(&["status"]).contains("dead"));
    labs.ok(&["up"]);
    labs.ok(&["down"]);
    assert!(labs.ok(&["down"]).contains("was not there"));
    labs.nothing_left();
}

#[test]
fn a_command_that_is_killed_while_the_lab_starts_takes_it_along() {
    let Some(labs) = Labs::new() else { return };
    let mut up = labs.command(&["up", "--nodes", "3"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("nothing starts", || labs.root().join("lab/init.json").exists());
    up.kill().unwrap();
    up.wait().unwrap();
    // It may have been ready just before: then it lives on, and is ended by `down` like any other.
    labs.ok(&["down"]);
    wait_until("processes stay", || labs.processes().is_empty());
    labs.nothing_left();
}

#[test]
fn a_lab_whose_directory_is_removed_ends_by_itself() {
    let Some(labs) = Labs::new() else { return };
    labs.ok(&["up"]);
    fs::remove_dir_all(labs.root()).unwrap();
    wait_until("processes stay", || labs.processes().is_empty());
    labs.nothing_left();
}

#[test]
fn two_labs_run_side_by_side_and_a_name_is_taken_once() {
    let Some(labs) = Labs::new() else { return };
    labs.ok(&["up", "--name", "one"]);
    labs.ok(&["up", "--name", "two"]);
    let again = labs.run(&["up", "--name", "one"]);
    assert!(!again.status.success());
    assert!(text(&again.stderr).contains("running already"), "{}", text(&again.stderr));
    labs.ok(&["down", "--name", "one"]);
    assert_eq!(labs.ok(&["exec", "--name", "two", "node/node1", "--", "echo", "alive"]).trim(), "alive");
    labs.ok(&["down", "--name", "two"]);
    labs.nothing_left();
}

#[test]
fn mistakes_are_told_before_anything_is_made() {
    let labs = Labs::unchecked();
    for (args, word) in [
        (&["up", "--nodes", "0"][..], "nodes"),
        (&["up", "--underlay", "10.244.0.0/16"], "pods"),
        (&["up", "--name", "../x"], "name"),
        (&["kubeconfig"], "no lab named"),
        (&["run", "no-such-story"], "no-such-story"),
        (&["up", "--like", "no-such-story"], "no-such-story"),
    ] {
        let output = labs.run(args);
        assert!(!output.status.success(), "{args:?}");
        assert!(text(&output.stderr).contains(word), "{args:?}: {}", text(&output.stderr));
    }
    labs.nothing_left();
}
