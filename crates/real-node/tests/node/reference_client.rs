//! CNI 1.1 by the reference library: STATUS, CHECK and GC, which the distribution's container runtime does not know; and the library's cache, which it and
//! we read and write in turn.

use std::fs;
use std::path::{Path, PathBuf};

use polynic_real_node::{Leftovers, Libcni, Space, Tools};
use serde_json::{Value, json};

struct Machine {
    libcni: Libcni,
    space: Space,
    list: PathBuf,
}

impl Machine {
    /// A node with `multus` as the only plugin of a list, and two networks behind it.
    fn or_skip() -> Option<Self> {
        Tools::or_skip()?;
        let libcni = Libcni::or_skip()?;
        let space = Space::new("node-1");
        space.ip("link add eth0 type veth peer name wire
                  address add 192.168.1.10/24 dev eth0
                  link set wire up
                  link set eth0 up");
        let list = space.directory().join("00-multus.conflist");
        let multus = json!({"type": "multus", "delegates": [default_network(), second_network()]});
        fs::write(&list, json!({"cniVersion": "1.1.0", "name": "node-net", "plugins": [multus]}).to_string())
            .unwrap();
        Some(Self { libcni, space, list })
    }

    fn call(&self, verb: &str, more: &[&str]) -> Result<Value, Value> {
        self.libcni.call(&self.space, verb, &self.list, more)
    }

    /// A pod's namespace, attached.
    fn add(&self, container: &str) -> Result<Value, Value> {
        self.space.ip(&format!("netns add {container}"));
        self.call("add", &[container, &netns(container)])
    }

    fn delete(&self, container: &str) {
        self.call("del", &[container, &netns(container)]).unwrap();
        self.space.ip(&format!("netns del {container}"));
    }
}

fn netns(container: &str) -> String {
    format!("/run/netns/{container}")
}

fn default_network() -> Value {
    json!({"cniVersion": "1.1.0", "name": "pod-fabric", "plugins": [
        {"type": "macvlan", "master": "eth0",
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/29"}]]}}]})
}

fn second_network() -> Value {
    json!({"cniVersion": "1.1.0", "name": "lan", "type": "bridge", "bridge": "lan0",
           "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.7.0/24"}]]}})
}

#[test]
fn a_pod_is_checked_in_both_networks() {
    let Some(machine) = Machine::or_skip() else { return };
    let added = machine.add("web").unwrap();
    assert_eq!(added["cniVersion"], "1.1.0");
    assert_eq!(machine.space.interfaces(&netns("web")).len(), 2);
    machine.call("check", &["web", &netns("web")]).unwrap();
    machine.space.ip("-n web address flush dev net1");
    let error = machine.call("check", &["web", &netns("web")]).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("net1"), "{error}");
    machine.delete("web");
}

#[test]
fn status_says_why_no_pod_can_be_attached() {
    let Some(machine) = Machine::or_skip() else { return };
    machine.call("status", &[]).unwrap();
    machine.space.ip("link set eth0 down");
    let error = machine.call("status", &[]).unwrap_err();
    assert_eq!(error["code"], 50, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("eth0"), "{error}");
    machine.space.ip("link set eth0 up");
    machine.call("status", &[]).unwrap();
}

#[test]
fn what_the_runtime_has_forgotten_is_collected_from_both_networks() {
    let Some(machine) = Machine::or_skip() else { return };
    // The bridge of the second network stays for the next pod.
    machine.add("first").unwrap();
    machine.delete("first");
    let before = Leftovers::observe(&machine.space);
    for container in ["kept", "lost"] {
        machine.add(container).unwrap();
    }
    let both = Leftovers::observe(&machine.space);
    machine.space.ip("netns del lost");
    // A cache of its own: the library knows nothing of the lost one, so only the plugins can.
    let empty = Path::new("/run/empty-cache");
    machine
        .libcni
        .call_with(&machine.space, "gc", &machine.list, empty, &["kept/eth0", "kept/net1"])
        .unwrap();
    assert_eq!(machine.space.interfaces(&netns("kept")).len(), 2);
    machine.call("check", &["kept", &netns("kept")]).unwrap();
    let of_lost =
        |lines: Vec<String>| lines.into_iter().filter(|line| line.contains("lost")).collect::<Vec<_>>();
    assert!(!of_lost(both.since(&before)).is_empty(), "there was something to collect");
    assert_eq!(of_lost(Leftovers::observe(&machine.space).since(&before)), [""; 0]);
    machine.delete("kept");
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}

/// Where Multus keeps the results of its delegates.
const CACHE: &str = "/var/lib/cni/multus";

#[test]
fn the_library_goes_on_with_what_our_cache_says_and_we_with_its() {
    let Some(machine) = Machine::or_skip() else { return };
    machine.add("first").unwrap();
    machine.delete("first");
    let before = Leftovers::observe(&machine.space);
    machine.add("web").unwrap();
    let lan = machine.space.directory().join("lan.conflist");
    let list = json!({"cniVersion": "1.1.0", "name": "lan", "plugins": [second_network()]});
    fs::write(&lan, list.to_string()).unwrap();
    let of_net1 = |verb: &str| {
        let more = ["web", &netns("web"), "net1"];
        machine.libcni.call_with(&machine.space, verb, &lan, Path::new(CACHE), &more)
    };
    let addresses = || machine.space.interfaces(&netns("web")).remove("net1").unwrap_or_default();

    let cached = of_net1("cached").unwrap();
    assert_eq!(cached["interfaces"], json!({"eth0": "pod-fabric", "net1": "lan"}));
    assert_eq!(cached["config"], second_network());
    assert_eq!(cached["result"]["ips"][0]["address"], json!(format!("{}/24", addresses()[0])));
    of_net1("check").unwrap();
    of_net1("del").unwrap();
    assert!(addresses().is_empty());
    assert!(of_net1("cached").is_err(), "the library has removed our file");

    // Now the file is the library's.
    let added = of_net1("add").unwrap();
    assert_eq!(added["ips"][0]["address"], json!(format!("{}/24", addresses()[0])));
    machine.call("check", &["web", &netns("web")]).unwrap();
    machine.space.ip("-n web address flush dev net1");
    let error = machine.call("check", &["web", &netns("web")]).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("net1"), "{error}");
    machine.delete("web");
    assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
}
