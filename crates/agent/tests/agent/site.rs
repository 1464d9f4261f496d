//! A node whose runtime calls the `spiderpool` plugin, which asks the node's agent over its socket.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polynic_agent::addresses::Config;
use polynic_cni::{Invocation, Output, Verb, invoke};
use polynic_kernel::FakeDoor;
use polynic_plugins::{Host, Registry};
use polynic_wire::{AddressService, AddressServices, ReleaseJournal, SocketService};
use serde_json::{Value, json};

use crate::world::{Agent, World};

const NETNS: &str = "/run/netns/pod";

pub struct Site {
    pub agent: Agent,
    pub world: World,
    registry: Registry,
    pods: Cell<usize>,
}

/// `coordinator` asks at the well-known path, which is not ours to take.
struct OneSocket(PathBuf);

impl AddressServices for OneSocket {
    fn at(&self, _: &Path) -> Arc<dyn AddressService> {
        Arc::new(SocketService::new(&self.0))
    }
}

/// A pod, as its runtime knows it.
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// The result of an ADD.
#[derive(Debug, PartialEq)]
pub struct Added(Value);

impl Added {
    pub fn addresses(&self) -> Vec<&str> {
        self.texts("ips").map(|ip| ip["address"].as_str().unwrap()).collect()
    }

    /// The routes, in order.
    pub fn routes(&self) -> Vec<String> {
        let text = |route: &Value, key: &str| route[key].as_str().unwrap_or_default().to_owned();
        self.texts("routes")
            .map(|route| format!("{} via {}", text(route, "dst"), text(route, "gw")))
            .collect()
    }

    fn texts(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0[key].as_array().into_iter().flatten()
    }
}

impl Site {
    /// A node with its agent, in a cluster that has all it needs already: an agent hears of later objects in its own time.
    pub fn new(world: World) -> Self {
        let config = world.config("n1");
        Self::with(world, config)
    }

    pub fn with(world: World, config: Config) -> Self {
        let door = FakeDoor::new();
        door.add_netns(NETNS);
        let registry = Registry::new(Host {
            door: Box::new(door),
            state: world.directory.path().join("state"),
            executable: None,
            addresses: Box::new(OneSocket(world.socket("n1"))),
            releases: ReleaseJournal::new(world.directory.path().join("plugin-releases")),
            seed: Box::new(|| 7),
            warn: Box::new(|text| eprintln!("{text}")),
        });
        let agent = world.agent_with(config);
        Self { agent, world, registry, pods: Cell::default() }
    }

    pub fn pod(&self, annotations: Value) -> Pod {
        self.pod_of("default", json!({"annotations": annotations}))
    }

    /// A pod with this metadata; it gets a name if it has none.
    pub fn pod_of(&self, namespace: &str, mut metadata: Value) -> Pod {
        self.pods.set(self.pods.get() + 1);
        let name =
            metadata["name"].as_str().map_or_else(|| format!("pod-{}", self.pods.get()), ToOwned::to_owned);
        metadata["name"] = json!(name);
        let uid = self.world.pod_in(namespace, metadata, "n1");
        Pod { namespace: namespace.to_owned(), name, uid }
    }

    pub fn add(&self, pod: &Pod, nic: &str) -> Result<Added, String> {
        self.add_with(pod, nic, &json!({}))
    }

    /// An ADD with further keys of the network's `ipam`.
    pub fn add_with(&self, pod: &Pod, nic: &str, ipam: &Value) -> Result<Added, String> {
        let output = self.call(Verb::Add, pod, nic, ipam).map_err(|why| why.msg)?;
        let success = output.into_success("spiderpool").unwrap();
        Ok(Added(serde_json::from_str(&success.print(success.cni_version).unwrap()).unwrap()))
    }

    /// The address of an interface of a new pod with these annotations, or why there is none.
    pub fn given(&self, annotations: Value) -> Result<String, String> {
        let added = self.add(&self.pod(annotations), "eth0")?;
        Ok(added.addresses().join(" "))
    }

    pub fn del(&self, pod: &Pod, nic: &str) {
        self.call(Verb::Del, pod, nic, &json!({})).unwrap();
    }

    fn call(&self, verb: Verb, pod: &Pod, nic: &str, keys: &Value) -> Result<Output, polynic_cni::Error> {
        let log = self.world.directory.path().join("spiderpool.log");
        let mut ipam = json!({"type": "spiderpool", "log_file_path": log});
        ipam.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.plugin("spiderpool", verb, pod, (nic, json!({"type": "macvlan", "ipam": ipam})))
    }

    /// Calls a plugin with this configuration for an interface.
    pub fn plugin(
        &self,
        plugin: &str,
        verb: Verb,
        pod: &Pod,
        (nic, mut conf): (&str, Value),
    ) -> Result<Output, polynic_cni::Error> {
        (conf["cniVersion"], conf["name"]) = (json!("1.0.0"), json!("lan"));
        let Pod { namespace, name, uid } = pod;
        let invocation = Invocation {
            container_id: format!("c-{name}"),
            netns: NETNS.into(),
            ifname: nic.into(),
            args: format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}"
            ),
            path: "/nowhere".into(),
            stdin: conf.to_string().into_bytes(),
            ..Invocation::default()
        };
        invoke(&self.registry.plugin(plugin).unwrap(), verb, &invocation)
    }
}
