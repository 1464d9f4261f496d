//! A node in thick mode is upgraded, and rolled back, while its pods run: either shim speaks with either daemon.

use std::fs;
use std::path::{Path, PathBuf};

use polynic_real_node::{Leftovers, Process, wait};
use serde_json::{Value, json};

use crate::upstream::{Machine, Pod, Side};

/// Who serves the socket.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Daemon {
    Ours,
    Theirs,
}

/// A machine on which one of the daemons runs.
struct Node {
    machine: Machine,
    directory: PathBuf,
    daemon: Option<Process>,
}

impl Node {
    fn or_skip() -> Option<Self> {
        let machine = Machine::or_skip()?;
        let directory = machine.space.directory().join("net.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("10-pod-fabric.conf"), default_network().to_string()).unwrap();
        let config = json!({"cniVersion": "1.1.0", "cniConfigDir": directory, "multusAutoconfigDir": directory,
                            "multusConfigFile": "auto", "binDir": polynic_e2e::plugins(), "logLevel": "verbose",
                            "logToStderr": true});
        fs::write(machine.space.directory().join("daemon-config.json"), config.to_string()).unwrap();
        Some(Self { machine, directory, daemon: None })
    }

    /// As a rolling update of the DaemonSet does it: the one is killed, then the other started.
    fn start(&mut self, which: Daemon) {
        self.daemon = None;
        let generated = self.directory.join("00-multus.conf");
        let _ = fs::remove_file(&generated);
        let space = &self.machine.space;
        let mut command = match which {
            Daemon::Ours => {
                let mut command = space.command(Path::new(polynic_e2e::plugins()).join("polynic"));
                command.args(["agent", "multus-daemon"]);
                command
            }
            Daemon::Theirs => space.command(self.machine.upstream.program("multus-daemon")),
        };
        let server = self.machine.server.addr;
        command.arg("-config").arg(space.directory().join("daemon-config.json"));
        command.env("KUBERNETES_SERVICE_HOST", server.ip().to_string());
        command.env("KUBERNETES_SERVICE_PORT", server.port().to_string()).env("MULTUS_NODE_NAME", "node-1");
        let daemon = Process::start(command, &space.directory().join("daemon.log"));
        let ready = || generated.exists().then_some(());
        wait::until(&format!("{which:?} is ready"), ready, || daemon.last_words());
        self.daemon = Some(daemon);
    }

    fn shim(&self, side: &Side, verb: &str, pod: &Pod) -> Value {
        self.shim_with(side, verb, pod, json!({}))
    }

    /// With more keys in the generated configuration.
    fn shim_with(&self, side: &Side, verb: &str, pod: &Pod, more: Value) -> Value {
        let text = fs::read(self.directory.join("00-multus.conf")).unwrap();
        let mut conf: Value = serde_json::from_slice(&text).unwrap();
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.machine.call(&side.shim, verb, pod, &conf, polynic_e2e::plugins());
        answer.unwrap_or_else(|why| panic!("{why}\n{}", self.daemon.as_ref().unwrap().last_words()))
    }

    fn attach(&self, side: &Side, name: &'static str) -> Pod {
        let pod = self.machine.pod(name);
        let result = self.shim(side, "ADD", &pod);
        assert_eq!(
            (&result["cniVersion"], result["ips"].as_array().unwrap().len()),
            (&json!("1.1.0"), 1),
            "{result}"
        );
        self.machine.has_both(&pod);
        pod
    }

    /// What is there of a pod after its end.
    fn detach(&self, side: &Side, pod: &Pod) {
        self.shim(side, "DEL", pod);
        let interfaces = self.machine.space.interfaces(&format!("/run/netns/{}", pod.name));
        assert!(interfaces.is_empty(), "{interfaces:?}");
        self.machine.gone(pod);
    }
}

/// No list: of lists in files Multus 4.3.0 forgets the ranges until DEL, and no host-local deletes without.
fn default_network() -> Value {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]});
    json!({"cniVersion": "1.1.0", "name": "pod-fabric", "type": "ptp", "ipMasq": true, "ipam": ipam})
}

#[test]
fn either_shim_speaks_with_either_daemon_through_an_upgrade_and_back() {
    let Some(mut node) = Node::or_skip() else { return };
    node.start(Daemon::Theirs);
    let (ours, theirs) = (node.machine.ours.clone(), node.machine.theirs.clone());
    let warm = node.attach(&theirs, "warm");
    node.detach(&theirs, &warm);
    let before = Leftovers::observe(&node.machine.space);

    // The shim on the node is replaced first, or last.
    let first = node.attach(&theirs, "first");
    let second = node.attach(&ours, "second");
    node.start(Daemon::Ours);
    for side in [&ours, &theirs] {
        for pod in [&first, &second] {
            node.shim(side, "CHECK", pod);
        }
        node.shim(side, "STATUS", &first);
        let valid =
            ["first", "second"].map(|pod| json!({"containerID": format!("sandbox-{pod}"), "ifname": "eth0"}));
        node.shim_with(side, "GC", &first, json!({"cni.dev/valid-attachments": valid}));
    }
    let third = node.attach(&theirs, "third");
    let fourth = node.attach(&ours, "fourth");
    [&first, &second, &third, &fourth].into_iter().for_each(|pod| node.machine.has_both(pod));
    node.detach(&ours, &first);
    node.detach(&theirs, &third);

    node.start(Daemon::Theirs);
    node.detach(&theirs, &fourth);
    node.detach(&ours, &second);
    let mut left = Leftovers::observe(&node.machine.space).since(&before);
    // Our lock of a pod that they have deleted; an agent sweeps it.
    left.retain(|line| !line.contains("/.lock-sandbox-fourth"));
    assert_eq!(left, [""; 0]);
}
