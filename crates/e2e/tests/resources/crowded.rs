//! What an attachment asks of the kernel does not grow with the node's other pods. Counted in messages that netlink answers, which
//! are the same on any machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use polynic_cni::{Delegate, Invocation, Output, Verb, Version};
use polynic_e2e::{Node, Pod};
use polynic_kernel::testing::{Received, received};
use polynic_plugins::Registry;
use polynic_wire::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, WorkloadEndpoint,
};
use polynic_wire::{AddressService, AddressServices, ServiceError};
use serde_json::{Value, json};

use crate::{alone, registry_with};

/// Other pods on the node.
const FEW: usize = 10;
const MANY: usize = 160;
/// A list that changes while it is read is read again, so the least of several is what an attachment needs.
const ROUNDS: usize = 3;
/// What the kernel itself adds in the meantime: IPv6 addresses of links that have come up, neighbours that it has met. A list of what the other
/// pods have would have one message more for each of them at least.
const OF_THE_KERNEL: usize = (MANY - FEW) / 4;

#[test]
fn coordinator_asks_no_more_on_a_crowded_node() {
    no_more(&json!({"type": "coordinator"}), &["eth0", "net1"]);
}

#[test]
fn coordinator_asks_no_more_behind_an_overlay() {
    no_more(&json!({"type": "coordinator"}), &["net1", "net2"]);
}

#[test]
fn veth_asks_no_more_on_a_crowded_node() {
    no_more(&hijacking("veth"), &["eth0", "net1"]);
}

#[test]
fn router_asks_no_more_on_a_crowded_node() {
    no_more(&hijacking("router"), &["net1", "net2"]);
}

fn hijacking(plugin: &str) -> Value {
    json!({"type": plugin, "overlay_hijack_subnet": ["10.244.0.0/16"], "service_hijack_subnet": ["10.233.0.0/18"],
        "rp_filter": {"set_host": false, "value": 0}})
}

/// Measures the plugin for these interfaces of one pod; without `eth0` among them the pod gets it from an overlay.
fn no_more(plugin: &Value, nics: &[&'static str]) {
    let _turn = alone();
    let Some(node) = Node::new() else { return };
    let registry = registry_with(Box::new(Fixed));
    let pods = Chain { registry: &registry, plugin, nics };
    pods.crowd(&node, 0..FEW);
    let few = pods.least();
    pods.crowd(&node, FEW..MANY);
    let many = pods.least();
    let grows = few.iter().zip(&many).any(|(few, many)| *many > few + OF_THE_KERNEL);
    assert!(!grows, "each call with {MANY} other pods: {many:?}, with {FEW}: {few:?}");
}

/// Interfaces of a pod, each a macvlan and the plugin.
struct Chain<'a> {
    registry: &'a Registry,
    plugin: &'a Value,
    nics: &'a [&'static str],
}

impl Chain<'_> {
    /// What other pods leave on the node: a link, routes in main and in the table of pods, a neighbour.
    fn crowd(&self, node: &Node, numbers: std::ops::Range<usize>) {
        let lines: Vec<String> = numbers
            .map(|n| {
                let (link, ip) = (format!("veth{n:011}"), format!("10.9.{}.{}", n / 200, n % 200 + 1));
                format!(
                    "link add {link} type veth peer name far{n}
                     link set {link} up
                     link set far{n} up
                     route add {ip}/32 dev {link}
                     route add {ip}/32 dev {link} table 500
                     neighbour add {ip} lladdr 02:00:00:00:00:01 dev {link} nud permanent"
                )
            })
            .collect();
        node.ip(&lines.join("\n"));
    }

    /// The least messages of several pods, for each call.
    fn least(&self) -> Vec<usize> {
        let rounds: Vec<Vec<usize>> = (0..ROUNDS).map(|_| self.pod()).collect();
        let calls = 0..rounds[0].len();
        calls.map(|call| rounds.iter().map(|round| round[call]).min().unwrap()).collect()
    }

    /// A pod's life: the messages of each call of the plugin.
    fn pod(&self) -> Vec<usize> {
        let pod = Pod::new();
        let has_overlay = !self.nics.contains(&"eth0");
        if has_overlay {
            self.overlay(&pod, Verb::Add);
        }
        let mut counts = Vec::new();
        let mut results = Vec::new();
        for (number, nic) in self.nics.iter().enumerate() {
            let lan = lan(number);
            let prev = self.call(&pod, nic, Verb::Add, &lan).unwrap();
            let conf = self.with(&prev);
            counts.push(messages(|| results.push(self.call(&pod, nic, Verb::Add, &conf).unwrap())));
        }
        for (nic, result) in self.nics.iter().zip(&results).rev() {
            let conf = self.with(result);
            counts.push(messages(|| drop(self.call(&pod, nic, Verb::Check, &conf))));
            counts.push(messages(|| drop(self.call(&pod, nic, Verb::Del, &conf))));
        }
        for (number, nic) in self.nics.iter().enumerate() {
            self.call(&pod, nic, Verb::Del, &lan(number));
        }
        if has_overlay {
            self.overlay(&pod, Verb::Del);
        }
        counts
    }

    fn overlay(&self, pod: &Pod, verb: Verb) {
        let conf = json!({"cniVersion": "1.0.0", "name": "overlay", "type": "calico-like",
            "ipam": {"type": "static", "addresses": [{"address": "10.244.0.5/32"}]}});
        self.call(pod, "eth0", verb, &conf);
    }

    fn with(&self, prev: &Value) -> Value {
        let mut conf = self.plugin.clone();
        (conf["cniVersion"], conf["name"], conf["prevResult"]) = (json!("1.0.0"), json!("lan"), prev.clone());
        conf
    }

    fn call(&self, pod: &Pod, nic: &str, verb: Verb, conf: &Value) -> Option<Value> {
        let invocation = Invocation {
            container_id: pod.id.clone(),
            netns: pod.path.clone(),
            ifname: nic.to_owned(),
            args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=one".to_owned(),
            path: "/nonexistent".to_owned(),
            stdin: conf.to_string().into_bytes(),
            ..Invocation::default()
        };
        let plugin = conf["type"].as_str().unwrap();
        let output = self.registry.call(plugin, verb, &invocation);
        match output.unwrap_or_else(|e| panic!("{verb:?} of {conf}: {e:?}")) {
            Output::Success(success) => Some(success.to_value(Version::V1_0_0).unwrap()),
            _ => None,
        }
    }
}

/// A further interface on the node's network.
fn lan(number: usize) -> Value {
    json!({"cniVersion": "1.0.0", "name": format!("lan{number}"), "type": "macvlan", "master": "eth0", "ipam": {"type": "static",
        "addresses": [{"address": format!("192.168.1.{}/24", 60 + number), "gateway": "192.168.1.1"}],
        "routes": [{"dst": "0.0.0.0/0"}]}})
}

fn messages(work: impl FnOnce()) -> usize {
    let Received { messages: before, .. } = received();
    work();
    received().messages - before
}

/// An agent that answers what coordinator asks.
#[derive(Clone, Copy)]
struct Fixed;

impl AddressServices for Fixed {
    fn at(&self, _: &Path) -> Arc<dyn AddressService> {
        Arc::new(*self)
    }
}

fn unused<T>() -> Result<T, ServiceError> {
    Err(ServiceError::status(500, "nobody asks for this here"))
}

impl AddressService for Fixed {
    fn healthy(&self, _: Instant) -> Result<(), ServiceError> {
        unused()
    }
    fn allocate(&self, _: &AddRequest, _: Instant) -> Result<AddResponse, ServiceError> {
        unused()
    }
    fn release(&self, _: &DelRequest, _: Instant) -> Result<(), ServiceError> {
        unused()
    }
    fn release_batch(&self, _: &BatchDelRequest, _: Instant) -> Result<(), ServiceError> {
        unused()
    }
    fn coordinator_config(&self, _: &PodIdentity, _: Instant) -> Result<CoordinatorConfig, ServiceError> {
        Ok(CoordinatorConfig {
            mode: "auto".into(),
            overlay_pod_cidr: vec!["10.244.0.0/16".into()],
            service_cidr: vec!["10.233.0.0/18".into()],
            tune_pod_routes: true,
            ..CoordinatorConfig::default()
        })
    }
    fn workload_endpoint(&self, _: &PodIdentity, _: Instant) -> Result<WorkloadEndpoint, ServiceError> {
        unused()
    }
}
