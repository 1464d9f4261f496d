//! A node with a link to the underlay, containerd, and `multus` with two networks.

use std::fs;
use std::path::Path;

use polynic_real_node::{Containerd, Cri, Interfaces, Sandbox, Space, Tools};
use serde_json::{Value, json};

pub(crate) struct Machine {
    // Dropped in this order: containerd before the machine that holds it.
    pub(crate) containerd: Containerd,
    pub(crate) cri: Cri,
    pub(crate) space: Space,
}

impl Machine {
    pub(crate) fn new(tools: Tools) -> Self {
        Self::with_plugins(tools, Path::new(polynic_e2e::plugins()), |_| ())
    }

    /// The same with other plugins, which `install` puts on the node.
    pub(crate) fn with_plugins(_: Tools, bin_dir: &Path, install: impl FnOnce(&Space)) -> Self {
        let space = Space::new("node-1");
        install(&space);
        space.ip("link add eth0 type veth peer name wire
                  address add 192.168.1.10/24 dev eth0
                  link set wire up
                  link set eth0 up");
        let containerd = Containerd::start(&space, bin_dir);
        let cri = Cri::new(&containerd.socket());
        let conf = multus(&json!([default_network(), second_network()]));
        fs::write(containerd.conf_dir().join("00-multus.conf"), conf.to_string()).unwrap();
        let ready = || cri.is_ready().ok();
        polynic_real_node::wait::until("the network is ready", ready, || containerd.last_words());
        Self { containerd, cri, space }
    }

    /// What is in a sandbox.
    pub(crate) fn interfaces(&self, sandbox: &Sandbox) -> Interfaces {
        self.space.interfaces(&sandbox.netns)
    }
}

/// containerd 1.6 knows no version newer than 1.0.0.
pub(crate) fn multus(delegates: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "node-net", "type": "multus", "delegates": delegates,
           "capabilities": {"portMappings": true}})
}

fn default_network() -> Value {
    json!({"cniVersion": "1.0.0", "name": "pod-fabric", "plugins": [
        {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]],
                                                  "routes": [{"dst": "0.0.0.0/0"}]}}]})
}

fn second_network() -> Value {
    json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0",
           "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.1.0/24", "rangeStart": "192.168.1.100"}]]}})
}
