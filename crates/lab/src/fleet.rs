//! The nodes of a running lab: kept alive, and added, killed, started again and removed on request.
//!
//! [`request`] is how other processes of the lab ask for it. A killed node goes as one whose power fails: all its processes at once, with their
//! namespaces and links; only its disk stays. The cluster has to notice by itself.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node as NodeObject;
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Client};
use polynic_kernel::netns::{Netns, Pod};

use crate::daemon::{Daemon, Kept};
use crate::error::{Error, Result};
use crate::hold::{self, Holder};
use crate::process::Identity;
use crate::registry::{self, Hosts};
use crate::relay::Door;
use crate::state::State;
use crate::underlay::{Layout, Node, build, plan};
use crate::{node, relay, services};

pub mod request;

use request::Request;

/// How long a node may take to become ready, and its processes to go, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// All nodes, with what is needed to make another.
pub struct Fleet {
    state: State,
    client: Client,
    /// The nodes that were ever wired up.
    layout: Layout,
    hosts: Hosts,
    /// Each node's kubelet, and its services.
    daemons: BTreeMap<String, Vec<Kept>>,
    /// Their ways to the API server: sockets in their networks, which would not go while one of these is open.
    doors: BTreeMap<String, Door>,
    plugins: Vec<String>,
    /// Where the API server listens among the switches.
    server: SocketAddr,
}

/// What a fleet begins with: nodes that are wired up.
pub struct Start {
    /// The lab.
    pub state: State,
    /// A client of its API server.
    pub client: Client,
    /// Its wires.
    pub layout: Layout,
    /// Its hosts.
    pub hosts: Hosts,
    /// The names under which nodes have the program.
    pub plugins: Vec<String>,
    /// Where the API server listens among the switches.
    pub server: SocketAddr,
}

/// The kubelet of the node that `holder` holds.
fn kubelet(node: Node, holder: Identity, after: Option<PathBuf>) -> Daemon {
    let args = ["__kubelet".to_owned(), node.number.to_string(), holder.pid.to_string()];
    Daemon { name: node.name(), args: args.to_vec(), environment: Vec::new(), after }
}

impl Fleet {
    /// Starts the kubelets of all nodes.
    pub fn start(start: Start) -> Result<Fleet> {
        let Start { state, client, layout, hosts, plugins, server } = start;
        let (daemons, doors) = (BTreeMap::new(), BTreeMap::new());
        let mut fleet = Fleet { state, client, layout, hosts, daemons, doors, plugins, server };
        for node in fleet.layout.nodes().collect::<Vec<_>>() {
            fleet.open_door(node)?;
            fleet.serve(node)?;
        }
        Ok(fleet)
    }

    /// Does what is asked for.
    pub async fn perform(&mut self, request: &Request) -> Result<String> {
        match request {
            Request::Add => self.add().await,
            Request::Start { node } => self.restart(node).await,
            Request::Kill { node } => self.kill(node).await,
            Request::Remove { node } => self.remove(node).await,
        }
    }

    /// Gives a node that is up its files and its kubelet.
    fn serve(&mut self, node: Node) -> Result<()> {
        let kubeconfig = fs::read_to_string(self.state.inner_kubeconfig());
        let kubeconfig = kubeconfig.map_err(Error::io("read the kubeconfig"))?;
        let awaited = node::prepare(&self.state, &self.layout, node, &kubeconfig)?;
        let holder = self.holder(&node.name())?;
        let mut daemons = services::daemons(&node.name(), holder, &self.layout)?;
        daemons.push(kubelet(node, holder, awaited));
        let kept = daemons.into_iter().map(|daemon| daemon.keep(self.state.clone())).collect();
        self.daemons.insert(node.name(), kept);
        Ok(())
    }

    fn holder(&self, name: &str) -> Result<Identity> {
        self.hosts.get(name).copied().ok_or_else(|| Error::Input(format!("node {name} is down")))
    }

    /// The node of that name, if there ever was one.
    fn node(&self, name: &str) -> Result<Node> {
        let known = || self.layout.nodes().map(Node::name).collect::<Vec<_>>().join(", ");
        let found = self.layout.nodes().find(|node| node.name() == name);
        found.ok_or_else(|| Error::Input(format!("no node {name:?}: there are {}", known())))
    }

    async fn add(&mut self) -> Result<String> {
        let numbers: Vec<u16> = self.layout.nodes().map(|node| node.number).collect();
        let number = numbers.iter().max().map_or(1, |last| last + 1);
        // What a lab of so many nodes must keep to, this one must as well.
        Layout::new(number, self.layout.shape())?;
        let layout = self.layout.with_nodes(&[numbers, vec![number]].concat());
        let node = Node { number };
        hold::make_node_directories(&self.state, &node.name(), &self.plugins)?;
        self.bring_up(node, plan::another_node(&layout, node)?).await?;
        self.layout = layout;
        let boot = Timestamp::now();
        self.serve(node)?;
        self.wait_until_ready(&node.name(), boot).await
    }

    async fn restart(&mut self, name: &str) -> Result<String> {
        let node = self.node(name)?;
        if self.hosts.contains_key(name) {
            return Err(Error::Input(format!("node {name} is up")));
        }
        // The others know the way to it still.
        self.bring_up(node, vec![plan::node(&self.layout, node)?]).await?;
        let boot = Timestamp::now();
        self.serve(node)?;
        self.wait_until_ready(name, boot).await
    }

    /// Namespaces, wires, and a way to the API server.
    async fn bring_up(&mut self, node: Node, mut stages: Vec<plan::Stage>) -> Result<()> {
        let name = node.name();
        let child = hold::start(&name, &Holder::Node(&self.state))?;
        self.hosts.insert(name.clone(), hold::identity(&child)?);
        let hosts = self.hosts.clone();
        stages.retain(|stage| build::site_name(&stage.site).is_none_or(|site| hosts.contains_key(&site)));
        let built = tokio::task::spawn_blocking(move || build::build(&stages, &hosts)).await;
        built.map_err(|why| Error::Waited(why.to_string()))??;
        registry::save_hosts(&self.state, &self.hosts)?;
        self.open_door(node)
    }

    fn open_door(&mut self, node: Node) -> Result<()> {
        let name = node.name();
        let listener = listen_on(&name, self.holder(&name)?)?;
        self.doors.insert(name, relay::start(listener, self.server)?);
        Ok(())
    }

    async fn kill(&mut self, name: &str) -> Result<String> {
        let node = self.node(name)?;
        let holder = self.holder(name)?;
        self.daemons.remove(name);
        self.doors.remove(name);
        let ports = plan::ports(&self.layout, node)?;
        let killed = tokio::task::spawn_blocking(move || {
            holder.kill_all_beside(PATIENCE)?;
            build::unplug(&ports)
        });
        killed.await.map_err(|why| Error::Waited(why.to_string()))??;
        self.hosts.remove(name);
        registry::save_hosts(&self.state, &self.hosts)?;
        // Its container runtime remembers the sandboxes, and will clean up after them; their processes are gone.
        for sandbox in registry::sandboxes(&self.state).into_iter().filter(|sandbox| sandbox.node == name) {
            registry::Sandbox { pause: None, ..sandbox }.save(&self.state)?;
        }
        Ok(format!("node {name} is down"))
    }

    async fn remove(&mut self, name: &str) -> Result<String> {
        self.node(name)?;
        if self.hosts.contains_key(name) {
            self.kill(name).await?;
        }
        // Its disk is thrown away; until then a container runtime would remember its sandboxes.
        for sandbox in registry::sandboxes(&self.state).iter().filter(|sandbox| sandbox.node == name) {
            sandbox.forget(&self.state);
        }
        let gone = |deleted: Result<(), kube::Error>| match deleted {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map_err(Error::api(format!("delete node {name}"))),
        };
        let params = DeleteParams::default();
        gone(Api::<NodeObject>::all(self.client.clone()).delete(name, &params).await.map(drop))?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        gone(leases.delete(name, &params).await.map(drop))?;
        Ok(format!("node {name} is gone"))
    }

    /// The object alone would not do: that of a node that was killed a moment ago still says that it is ready. The new kubelet renews the lease once
    /// it has said so itself.
    async fn wait_until_ready(&self, name: &str, boot: Timestamp) -> Result<String> {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let began = Instant::now();
        loop {
            let node = nodes.get_opt(name).await.map_err(Error::api(format!("look at node {name}")))?;
            let mut problem = "it does not register".to_owned();
            let ready = node.is_some_and(|node| node::is_ready(&node, &mut problem));
            if ready && self.has_renewed_since(name, boot).await? {
                return Ok(format!("node {name} is ready"));
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Waited(format!("node {name} is not ready after {PATIENCE:?}: {problem}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn has_renewed_since(&self, name: &str, boot: Timestamp) -> Result<bool> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let lease = leases.get_opt(name).await.map_err(Error::api(format!("look at the lease of {name}")))?;
        let renewed = lease.and_then(|lease| lease.spec?.renew_time).map(|time| time.0);
        // The lease says microseconds.
        Ok(renewed.is_some_and(|at| at.as_microsecond() >= boot.as_microsecond()))
    }
}

/// The port at which every process of the lab reaches the API server, in the network of a node.
pub fn listen_on(name: &str, holder: Identity) -> Result<TcpListener> {
    let failed = |why: String| Error::Kernel { what: format!("listen for API requests on {name}"), why };
    let network = Netns::<Pod>::of_process(holder.pid).map_err(|why| failed(why.to_string()))?;
    network.run(listen).map_err(|why| failed(why.to_string()))?
}

/// The same in the network of the calling thread.
pub fn listen() -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 6443)).map_err(Error::io("listen on 127.0.0.1:6443"))
}
