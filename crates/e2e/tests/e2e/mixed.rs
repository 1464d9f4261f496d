//! Our plugins among others: whoever comes first in CNI_PATH is called.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use polynic_e2e::{Call, Node, Pod, plugins, reference_plugins};
use serde_json::{Value, json};

use crate::life::{conf, host_local};

fn macvlan(node: &Node) -> Value {
    conf("macvlan", json!({"master": "eth0", "ipam": host_local(node, &["192.168.1.0/24"])}))
}

/// A directory with an executable of this name, which notes that it was called and then does what the script says.
fn directory_with(node: &Node, name: &str, script: &str) -> String {
    let directory = format!("{}/foreign", node.directory());
    let file = format!("{directory}/{name}");
    fs::create_dir_all(&directory).unwrap();
    fs::write(&file, format!("#!/bin/sh\necho \"$CNI_COMMAND\" >> {directory}/calls\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn calls_noted(directory: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{directory}/calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_foreign_host_local_that_comes_first_serves_our_macvlan() {
    let (Some(reference), Some(node)) = (reference_plugins(), Node::new()) else { return };
    let directory = directory_with(&node, "host-local", &format!("exec {reference}/host-local"));
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node)).with("CNI_PATH", &format!("{directory}:{}", plugins()));
    let result = call.add();
    assert_eq!(result["ips"][0]["address"], "192.168.1.2/24");
    assert_eq!(node.addresses_held("net"), ["192.168.1.2"]);
    assert_eq!(call.check(&result).silent(), "");
    call.del();
    assert_eq!(node.addresses_held("net"), [""; 0]);
    assert_eq!(calls_noted(&directory), ["ADD", "CHECK", "DEL"]);
}

#[test]
fn our_host_local_serves_a_foreign_macvlan() {
    let (Some(reference), Some(node)) = (reference_plugins(), Node::new()) else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node));
    let foreign = Call { directory: reference.to_owned(), ..call };
    let result = foreign.add();
    assert_eq!(result["ips"][0]["address"], "192.168.1.2/24");
    assert!(pod.state().has("addr net1 192.168.1.2/24 brd 192.168.1.255 scope global"));
    assert_eq!(foreign.check(&result).silent(), "");
    foreign.del();
    assert_eq!(node.addresses_held("net"), [""; 0]);
}

#[test]
fn both_host_locals_share_one_store() {
    let (Some(reference), Some(node)) = (reference_plugins(), Node::new()) else { return };
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "ipam": host_local(&node, &["10.1.0.0/28"])});
    let pods: Vec<Pod> = (0..12).map(|_| Pod::new()).collect();
    let call = |pod: &Pod| Call { plugin: "host-local".to_owned(), ..Call::new(pod, conf.clone()) };
    let by = |index: usize, call: Call| match index % 2 {
        0 => call,
        _ => call.from_directory(reference),
    };
    let mut addresses = Vec::new();
    for (index, pod) in pods.iter().enumerate() {
        addresses.push(by(index, call(pod)).add()["ips"][0]["address"].as_str().unwrap().to_owned());
    }
    let expected: Vec<String> = (2..14).map(|n| format!("10.1.0.{n}/28")).collect();
    assert_eq!(addresses, expected);
    // Each gives back what the other one took.
    pods.iter().enumerate().for_each(|(index, pod)| by(index + 1, call(pod)).del());
    assert_eq!(node.addresses_held("net"), [""; 0]);
}

#[test]
fn what_the_reference_attached_is_deleted_by_us_and_the_other_way_round() {
    let (Some(reference), Some(node)) = (reference_plugins(), Node::new()) else { return };
    let bridge = conf(
        "bridge",
        json!({"bridge": "br5", "isGateway": true, "ipam": host_local(&node, &["10.5.0.0/24"])}),
    );
    let ptp = conf("ptp", json!({"ipam": host_local(&node, &["10.6.0.0/24"])}));
    for conf in [macvlan(&node), bridge, ptp] {
        let pods = [Pod::new(), Pod::new()];
        let empty = pods[0].state();
        let ours = pods.each_ref().map(|pod| Call::new(pod, conf.clone()));
        let theirs = ours.each_ref().map(|call| call.clone().from_directory(reference));
        for (pod, add, del) in [(&pods[0], &ours[0], &theirs[0]), (&pods[1], &theirs[1], &ours[1])] {
            let result = add.add();
            assert_eq!(del.check(&result).silent(), "", "{}", del.conf);
            del.del();
            pod.state().assert_same(&empty, "after the other's DEL");
            assert_eq!(node.addresses_held("net"), [""; 0]);
        }
        // Our record of what the reference has removed does not get in the way of what comes later.
        theirs[0].add();
        ours[0].del();
        ours[0].add();
        ours[0].del();
        pods[0].state().assert_same(&empty, "at the end");
        assert_eq!(node.addresses_held("net"), [""; 0]);
    }
}

#[test]
fn a_users_own_executable_wins_over_the_built_in_of_its_name() {
    let Some(node) = Node::new() else { return };
    let answer =
        r#"[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"192.168.1.99/24"}]}'"#;
    for name in ["macvlan", "static"] {
        let directory = directory_with(&node, name, answer);
        let pod = Pod::new();
        let call = Call::new(&pod, macvlan(&node)).key("ipam", json!({"type": name}));
        let call = call.with("CNI_PATH", &format!("{directory}:{}", plugins()));
        assert_eq!(call.add()["ips"][0]["address"], "192.168.1.99/24");
        call.del();
        assert_eq!(calls_noted(&directory), ["ADD", "DEL"]);
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn on_another_file_system_they_are_still_one_program() {
    let Some(node) = Node::new() else { return };
    let directory = format!("{}/bin", node.directory());
    let status = Command::new(format!("{}/polynic", plugins())).args(["install", &directory]).status();
    assert!(status.unwrap().success());
    let all = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    let files: Vec<_> = all.filter(|entry| entry.is_file()).map(|file| file.ino()).collect();
    assert!(files.len() > 7 && files.iter().all(|inode| *inode == files[0]), "{files:?}");
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node)).from_directory(&directory);
    call.add();
    call.del();
}

#[test]
fn a_link_to_us_is_us() {
    let Some(node) = Node::new() else { return };
    let directory = format!("{}/links", node.directory());
    fs::create_dir_all(&directory).unwrap();
    symlink(format!("{}/polynic", plugins()), format!("{directory}/host-local")).unwrap();
    symlink(format!("{}/macvlan", plugins()), format!("{directory}/macvlan")).unwrap();
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node)).from_directory(&directory);
    call.add();
    call.del();
}
