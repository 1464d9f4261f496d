//! Podman with its CNI backend as another client of our plugins.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use polynic_real_node::{Leftovers, Space, Tools, write_root};
use serde_json::{Value, json};

/// A machine on which Podman runs with two networks of ours.
struct Machine {
    space: Space,
}

impl Machine {
    fn or_skip() -> Option<Self> {
        Tools::or_skip()?.program_or_skip("podman")?;
        let space = Space::new("desk");
        space.ip("link add eth0 type veth peer name wire
                  address add 192.168.1.10/24 dev eth0
                  link set wire up
                  link set eth0 up");
        let directory = space.directory();
        write_root(&directory.join("root"));
        fs::create_dir(directory.join("net.d")).unwrap();
        for network in [bridge(), macvlan()] {
            let file = format!("net.d/{}.conflist", network["name"].as_str().unwrap());
            fs::write(directory.join(file), network.to_string()).unwrap();
        }
        fs::write(directory.join("containers.conf"), configuration(&space)).unwrap();
        Some(Self { space })
    }

    fn podman(&self, args: &[&str]) -> String {
        let directory = self.space.directory();
        let storage: [PathBuf; 2] = [directory.join("storage"), "/run/storage".into()];
        let mut command: Command = self.space.command("podman");
        command.env("CONTAINERS_CONF", directory.join("containers.conf")).env("TMPDIR", "/run");
        command
            .arg("--root")
            .arg(&storage[0])
            .arg("--runroot")
            .arg(&storage[1])
            .args(["--storage-driver", "vfs"]);
        let output = command.args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn bridge() -> Value {
    json!({"cniVersion": "0.4.0", "name": "desk", "plugins": [
        {"type": "bridge", "bridge": "desk0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]})
}

fn macvlan() -> Value {
    json!({"cniVersion": "0.4.0", "name": "lan", "plugins": [
        {"type": "macvlan", "master": "eth0",
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.1.0/24", "rangeStart": "192.168.1.100"}]]}}]})
}

/// Debian 12 builds Podman for both backends. The limits are those that a machine without systemd lets it set.
fn configuration(space: &Space) -> String {
    let (plugins, directory) = (polynic_e2e::plugins(), space.directory().display());
    format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n\
         [network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{plugins}\"]\nnetwork_config_dir = \"{directory}/net.d\"\n"
    )
}

#[test]
fn podman_attaches_a_container_to_two_networks_and_leaves_nothing() {
    let Some(machine) = Machine::or_skip() else { return };
    let root = machine.space.directory().join("root").display().to_string();
    let run = |name: &str| {
        machine.podman(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "desk",
            "--network",
            "lan",
            "--rootfs",
            &root,
            "/pause",
        ])
    };
    // The bridge stays for the next container.
    run("first");
    machine.podman(&["rm", "-f", "-t", "0", "first"]);
    let before = Leftovers::observe(&machine.space);
    run("web");
    let settings: Value = serde_json::from_str(&machine.podman(&["inspect", "web"])).unwrap();
    let settings = &settings[0]["NetworkSettings"];
    let interfaces = machine.space.interfaces(settings["SandboxKey"].as_str().unwrap());
    assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["eth0", "eth1"]);
    let mut has: Vec<&str> = interfaces.values().map(|addresses| addresses[0].as_str()).collect();
    let mut said = ["desk", "lan"].map(|name| settings["Networks"][name]["IPAddress"].as_str().unwrap());
    has.sort_unstable();
    said.sort_unstable();
    assert_eq!(has, said);
    machine.podman(&["rm", "-f", "-t", "0", "web"]);
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}
