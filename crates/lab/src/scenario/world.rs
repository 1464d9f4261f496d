//! A story's view of its lab, from within: the cluster through its API, hosts and pods through the kernel.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use kube::Client;
use polynic_net::IfName;
use tokio::runtime::Runtime;

use super::explained::Memory;
use crate::error::{Error, Result};
use crate::state::State;
use crate::underlay::Layout;
use crate::{api, registry};

mod changes;
mod files;
mod fleet;
mod objects;
mod spaces;
mod view;

pub use self::view::View;

/// The namespace of all stories.
pub const NAMESPACE: &str = "default";
/// The annotation with the networks' status.
pub const STATUS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/network-status";
/// The annotation that selects networks.
pub const NETWORKS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";
/// How long a pod may take to start or go, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running lab.
pub struct World {
    state: State,
    layout: Layout,
    client: Client,
    runtime: Runtime,
    memory: RefCell<Memory>,
}

impl World {
    /// Opens the lab from one of its own processes.
    pub fn enter(state: &State) -> Result<World> {
        let spec = state.spec()?;
        let layout = Layout::new(spec.nodes, &spec.shape)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::io("start the runtime"))?;
        let client = runtime.block_on(api::client(&state.inner_kubeconfig()))?;
        Ok(World { state: state.clone(), layout, client, runtime, memory: RefCell::default() })
    }

    /// The path of the program `polynic` of this lab.
    pub fn program(&self) -> Result<String, String> {
        let spec = self.state.spec().map_err(|why| why.to_string())?;
        Ok(spec.polynic.to_string_lossy().into_owned())
    }

    /// Names and addresses of the wires.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The addresses of the host behind the router.
    pub fn outside(&self) -> Result<[IpAddr; 2], String> {
        self.host_addresses(registry::OUTSIDE)
    }

    /// The addresses of a host that is no node, IPv4 first.
    pub fn host_addresses(&self, name: &str) -> Result<[IpAddr; 2], String> {
        self.layout.host_addresses(name).ok_or_else(|| format!("there is no host {name}"))
    }

    /// The addresses of a node on its first NIC, IPv4 first.
    pub fn node_addresses(&self, name: &str) -> Result<[IpAddr; 2], String> {
        self.addresses_on(name, 0)
    }

    /// The addresses of a node on one of its NICs, IPv4 first.
    pub fn addresses_on(&self, name: &str, nic: usize) -> Result<[IpAddr; 2], String> {
        let node = self.layout.nodes().find(|node| node.name() == name);
        let nets = node.and_then(|node| self.layout.address(node, nic));
        nets.map(|nets| nets.map(|net| net.addr())).ok_or_else(|| format!("there is no node {name}"))
    }
}

/// The name of a link, which may not be one.
pub fn link_name(name: &str) -> Result<IfName, String> {
    name.parse().map_err(|why| format!("{name}: {why}"))
}
/// Namespace and name of `NAMESPACE/NAME` or `NAME`.
fn split(pod: &str) -> (&str, &str) {
    pod.split_once('/').unwrap_or((NAMESPACE, pod))
}
/// Whose network namespace.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A pod of [`NAMESPACE`], or `NAMESPACE/NAME`.
    Pod(&'a str),
    /// A node, the router, or the host behind it.
    Host(&'a str),
}
