//! Sandboxes over the CRI: made, looked at, killed, removed; and nothing stays.

use std::path::Path;

use polynic_real_node::{Leftovers, SandboxName, Shipped, Tools};

use crate::machine::Machine;

#[test]
fn a_pod_gets_two_networks_and_leaves_nothing() {
    let Some(tools) = Tools::or_skip() else { return };
    let machine = Machine::new(tools);
    let before = Leftovers::observe(&machine.space);
    let id = machine.cri.run_sandbox(&SandboxName::first("web")).unwrap();
    let sandbox = machine.cri.sandbox(&id).unwrap();
    let interfaces = machine.interfaces(&sandbox);
    assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["eth0", "net1"]);
    assert_eq!(sandbox.ips, interfaces["eth0"], "the runtime knows the default network's address");
    assert!(interfaces["net1"][0].starts_with("192.168.1.1"), "{interfaces:?}");
    machine.cri.stop_sandbox(&id).unwrap();
    machine.cri.remove_sandbox(&id).unwrap();
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}

#[test]
fn a_pod_survives_a_restart_of_containerd() {
    let Some(tools) = Tools::or_skip() else { return };
    let mut machine = Machine::new(tools);
    let before = Leftovers::observe(&machine.space);
    let id = machine.cri.run_sandbox(&SandboxName::first("web")).unwrap();
    let attached = machine.interfaces(&machine.cri.sandbox(&id).unwrap());
    machine.containerd.restart(&machine.space);
    let sandbox = machine.cri.sandbox(&id).unwrap();
    assert!(sandbox.is_ready);
    assert_eq!(machine.interfaces(&sandbox), attached);
    machine.cri.stop_sandbox(&id).unwrap();
    machine.cri.remove_sandbox(&id).unwrap();
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}

#[test]
fn a_killed_sandbox_is_replaced_by_one_with_both_networks() {
    let Some(tools) = Tools::or_skip() else { return };
    let machine = Machine::new(tools);
    let before = Leftovers::observe(&machine.space);
    let name = SandboxName::first("web");
    let id = machine.cri.run_sandbox(&name).unwrap();
    let pid = machine.cri.sandbox(&id).unwrap().pid;
    machine.space.run("kill", &["-9", &pid.to_string()]);
    let gone = || machine.cri.sandbox(&id).is_some_and(|sandbox| !sandbox.is_ready).then_some(());
    polynic_real_node::wait::until("the runtime notices", gone, || machine.containerd.last_words());
    // As a kubelet does: the old one is stopped, a new one is made, and only then the old one is removed.
    machine.cri.stop_sandbox(&id).unwrap();
    let next = machine.cri.run_sandbox(&SandboxName { attempt: 1, ..name }).unwrap();
    assert_eq!(machine.interfaces(&machine.cri.sandbox(&next).unwrap()).len(), 2);
    machine.cri.remove_sandbox(&id).unwrap();
    machine.cri.stop_sandbox(&next).unwrap();
    machine.cri.remove_sandbox(&next).unwrap();
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}

#[test]
fn the_nodes_archive_is_all_that_a_new_node_needs() {
    let Some(tools) = Tools::or_skip() else { return };
    let bin_dir = Path::new("/opt/cni/bin");
    let machine = Machine::with_plugins(tools, bin_dir, |space| {
        let archive = Shipped::of_this_tree().node.to_str().unwrap();
        space.run("mkdir", &["-p", "/opt/cni/bin"]);
        space.run("tar", &["-C", "/opt/cni/bin", "-xzf", archive]);
    });
    let before = Leftovers::observe(&machine.space);
    let id = machine.cri.run_sandbox(&SandboxName::first("web")).unwrap();
    let interfaces = machine.interfaces(&machine.cri.sandbox(&id).unwrap());
    assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["eth0", "net1"]);
    machine.cri.stop_sandbox(&id).unwrap();
    machine.cri.remove_sandbox(&id).unwrap();
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}
