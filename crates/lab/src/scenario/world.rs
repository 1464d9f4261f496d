//! A story's view of its lab, from within: the cluster through its API, hosts and pods through the kernel.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Node as NodeObject, Pod as PodObject};
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams};
use kube::core::Request as ApiRequest;
use kube::{Api, Client};
use polynic_explain::{Scene, Site};
use polynic_kernel::netns::{Netns, Pod};
use polynic_kernel::survey::together;
use polynic_kernel::{Door, RealDoor};
use polynic_net::{
    Address, AddressFact, Change, Family, Forwarding, IfName, IpNet, LinkFact, LinkNeed, Needs, Neighbour,
    NsFacts, Route, Rule, TABLE_MAIN,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::explained::Memory;
use super::{Finding, eventually};
use crate::error::{Error, Result};
use crate::fleet::request::{self, Request};
use crate::process::{self, network_of};
use crate::registry::{self, Sandbox};
use crate::state::State;
use crate::underlay::Layout;
use crate::{api, manifest, proxy};

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
        let node = self.layout.nodes().find(|node| node.name() == name);
        let nets = node.and_then(|node| self.layout.address(node, 0));
        nets.map(|nets| nets.map(|net| net.addr())).ok_or_else(|| format!("there is no node {name}"))
    }

    /// Applies manifests.
    pub fn apply(&self, yaml: &str) -> Finding {
        let objects = manifest::parse(yaml).map_err(|why| why.to_string())?;
        self.runtime.block_on(async {
            let mut done = Vec::new();
            for object in &objects {
                let applied = manifest::apply(&self.client, object, NAMESPACE).await;
                done.push(applied.map_err(|why| why.to_string())?);
            }
            Ok(done.join(", "))
        })
    }

    /// Creates a pod with a networks annotation, on a node of one's own choice if given.
    pub fn create_pod(&self, name: &str, networks: Option<&str>, node: Option<&str>) -> Finding {
        let annotations = networks.map(|networks| json!({NETWORKS_ANNOTATION: networks}));
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "alpine"}]},
        });
        self.apply(&pod.to_string())
    }

    /// Creates or changes a NetworkAttachmentDefinition.
    pub fn define_network(&self, name: &str, config: &Value) -> Finding {
        let definition = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name},
            "spec": {"config": config.to_string()},
        });
        self.apply(&definition.to_string())
    }

    /// No new pods for a node, as `kubectl cordon` does it.
    pub fn cordon(&self, node: &str) -> Finding {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
        let patched = self.runtime.block_on(nodes.patch(node, &PatchParams::default(), &patch));
        patched.map(|_| format!("{node} cordoned")).map_err(|why| why.to_string())
    }

    /// The pods of another namespace than [`NAMESPACE`] are called `NAMESPACE/NAME`.
    fn pod_api(&self, name: &str) -> (Api<PodObject>, String) {
        let (namespace, name) = split(name);
        (Api::namespaced(self.client.clone(), namespace), name.to_owned())
    }

    fn pods(&self) -> Api<PodObject> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// A pod's object.
    pub fn pod(&self, name: &str) -> Result<PodObject, String> {
        let (pods, own) = self.pod_api(name);
        self.runtime.block_on(pods.get(&own)).map_err(|why| format!("pod {name}: {why}"))
    }

    /// Waits until pods run.
    pub fn wait_running(&self, names: &[&str]) -> Finding {
        let running = |name: &str| {
            let pod = self.pod(name)?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
            if phase == "Running" {
                Ok(())
            } else {
                Err(format!("{name} is {phase}: {}", self.last_event(name)))
            }
        };
        eventually(PATIENCE, || {
            names.iter().try_for_each(|name| running(name)).map(|()| format!("running: {}", names.join(", ")))
        })
    }

    /// Deletes pods and waits until their objects are gone.
    pub fn delete(&self, names: &[&str]) -> Finding {
        for name in names {
            let deleted = self.runtime.block_on(self.pods().delete(name, &DeleteParams::default()));
            deleted.map_err(|why| format!("delete {name}: {why}"))?;
        }
        eventually(PATIENCE, || {
            let present = |name: &&&str| {
                self.runtime.block_on(self.pods().get_opt(name)).map_or(true, |pod| pod.is_some())
            };
            match names.iter().find(present) {
                None => Ok(format!("gone: {}", names.join(", "))),
                Some(name) => Err(format!("pod {name} is still there")),
            }
        })
    }

    /// The messages of a pod's events with a reason, oldest first.
    pub fn events(&self, pod: &str, reason: &str) -> Result<Vec<String>, String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let list =
            self.runtime.block_on(events.list(&ListParams::default())).map_err(|why| why.to_string())?;
        let about = |event: &Event| {
            event.involved_object.name.as_deref() == Some(pod) && event.reason.as_deref() == Some(reason)
        };
        Ok(list.items.into_iter().filter(about).filter_map(|event| event.message).collect())
    }

    fn last_event(&self, pod: &str) -> String {
        let events = self.events(pod, "FailedCreatePodSandBox");
        events.ok().and_then(|mut all| all.pop()).unwrap_or_else(|| "no event".to_owned())
    }

    /// The network-status annotation as text and as rows.
    pub fn network_status(&self, pod: &str) -> Result<(String, Vec<Value>), String> {
        let object = self.pod(pod)?;
        let text = object.metadata.annotations.as_ref().and_then(|all| all.get(STATUS_ANNOTATION));
        let text = text.ok_or_else(|| format!("pod {pod} has no annotation {STATUS_ANNOTATION}"))?;
        let rows =
            serde_json::from_str(text).map_err(|why| format!("{STATUS_ANNOTATION} of {pod}: {why}"))?;
        Ok((text.clone(), rows))
    }

    /// Any object, by its path in the API.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let (above, name) = path.rsplit_once('/').ok_or_else(|| format!("{path} is no path"))?;
        let request =
            ApiRequest::new(above).get(name, &GetParams::default()).map_err(|why| why.to_string())?;
        self.runtime.block_on(self.client.request(request)).map_err(|why| format!("{path}: {why}"))
    }

    /// The names of the columns that `kubectl get` shows for a list.
    pub fn columns(&self, path: &str) -> Result<Vec<String>, String> {
        let request =
            http::Request::get(path).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let request = request.body(Vec::new()).map_err(|why| why.to_string())?;
        let table: Value =
            self.runtime.block_on(self.client.request(request)).map_err(|why| format!("{path}: {why}"))?;
        // Columns of a lower priority are for `-o wide`.
        let shown =
            table["columnDefinitions"].as_array().into_iter().flatten().filter(|c| c["priority"] == 0);
        Ok(shown.filter_map(|column| column["name"].as_str().map(str::to_owned)).collect())
    }

    /// Changes an object by a merge patch.
    pub fn merge(&self, path: &str, patch: &Value) -> Finding {
        let (above, name) = path.rsplit_once('/').ok_or_else(|| format!("{path} is no path"))?;
        let request = ApiRequest::new(above).patch(name, &PatchParams::default(), &Patch::Merge(patch));
        let request = request.map_err(|why| why.to_string())?;
        let done: std::result::Result<Value, _> = self.runtime.block_on(self.client.request(request));
        done.map(|_| format!("{name} changed")).map_err(|why| format!("{path}: {why}"))
    }

    /// Gives a NetworkAttachmentDefinition an owner, an object of the lab's own.
    pub fn own_by_another(&self, name: &str) -> Finding {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
        self.apply(&owner.to_string())?;
        let uid =
            self.get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/owner"))?["metadata"]["uid"].clone();
        let path =
            format!("/apis/k8s.cni.cncf.io/v1/namespaces/{NAMESPACE}/network-attachment-definitions/{name}");
        let reference =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": true});
        self.merge(&path, &json!({"metadata": {"ownerReferences": [reference]}}))
    }

    /// All that holds pool addresses, as the checker wants it.
    pub fn survey(&self) -> Result<polynic_cluster::survey::Survey, String> {
        self.runtime.block_on(polynic_cluster::survey::survey(&self.client)).map_err(|why| why.to_string())
    }

    /// Deletes an object by its path in the API; what it owns goes with it.
    pub fn remove(&self, path: &str) -> Finding {
        let (above, name) = path.rsplit_once('/').ok_or_else(|| format!("{path} is no path"))?;
        let request = ApiRequest::new(above).delete(name, &DeleteParams::background());
        let request = request.map_err(|why| why.to_string())?;
        let done: std::result::Result<Value, _> = self.runtime.block_on(self.client.request(request));
        done.map(|_| format!("{name} deleted")).map_err(|why| format!("{path}: {why}"))
    }

    /// The names of the pods of [`NAMESPACE`] with a label, in order.
    pub fn pods_with(&self, label: &str) -> Result<Vec<String>, String> {
        let list = self.runtime.block_on(self.pods().list(&ListParams::default().labels(label)));
        let alive = |pod: &PodObject| pod.metadata.deletion_timestamp.is_none();
        let pods = list.map_err(|why| why.to_string())?.items.into_iter().filter(alive);
        let mut names: Vec<String> = pods.filter_map(|pod| pod.metadata.name).collect();
        names.sort();
        Ok(names)
    }

    /// Waits until so many pods with a label are there and run; answers their names.
    pub fn wait_pods(&self, label: &str, count: usize) -> Result<Vec<String>, String> {
        eventually(PATIENCE, || match self.pods_with(label)? {
            names if names.len() == count => Ok(names.join(" ")),
            names => Err(format!("{} pods with {label}, not {count}", names.len())),
        })?;
        let names = self.pods_with(label)?;
        self.wait_running(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(names)
    }

    /// Waits until no pod with a label is there.
    pub fn wait_gone(&self, label: &str) -> Finding {
        eventually(PATIENCE, || {
            let list = self.runtime.block_on(self.pods().list(&ListParams::default().labels(label)));
            match list.map_err(|why| why.to_string())?.items.len() {
                0 => Ok(format!("no pod with {label} is left")),
                n => Err(format!("{n} pods with {label} are still there")),
            }
        })
    }

    /// A running pod's sandbox.
    pub fn sandbox(&self, pod: &str) -> Result<Sandbox, String> {
        let (namespace, name) = split(pod);
        registry::sandbox_of(&self.state, namespace, name).ok_or_else(|| format!("pod {pod} has no sandbox"))
    }

    /// All sandboxes there are records of.
    pub fn sandboxes(&self) -> Vec<Sandbox> {
        registry::sandboxes(&self.state)
    }

    /// The process that holds a place's namespaces.
    fn process(&self, place: Place<'_>) -> Result<u32, String> {
        let process = match place {
            Place::Host(name) => registry::host(&self.state, name).map_err(|why| why.to_string())?,
            Place::Pod(name) => {
                self.sandbox(name)?.pause.ok_or_else(|| format!("pod {name} has no process"))?
            }
        };
        Ok(process.pid)
    }

    fn network_path(&self, place: Place<'_>) -> Result<PathBuf, String> {
        self.process(place).map(network_of)
    }

    /// An open namespace, to send packets from.
    pub fn network(&self, place: Place<'_>) -> Result<Netns<Pod>, String> {
        let path = self.network_path(place)?;
        Netns::open(&path.to_string_lossy()).map_err(|why| why.to_string())
    }

    /// What [`World::scene`] calls a place.
    pub fn site_name(place: Place<'_>) -> String {
        match place {
            Place::Pod(name) => {
                let (namespace, name) = split(name);
                format!("pod {namespace}/{name}")
            }
            Place::Host(name) => name.to_owned(),
        }
    }

    /// Every namespace of the lab, with the switches between them. They are looked at once, until [`World::forget`] or until others are there.
    pub fn scene(&self) -> Result<Rc<Scene>, String> {
        let hosts = registry::hosts(&self.state).map_err(|why| why.to_string())?;
        let hosts = hosts.into_iter().map(|(name, process)| (name, process.pid));
        let pods = self.sandboxes().into_iter().filter(Sandbox::is_up);
        let pods = pods.filter_map(|pod| Some((format!("pod {}", pod.pod()), pod.pause?.pid)));
        let mut places: Vec<(String, u32)> = hosts.chain(pods).collect();
        places.push(("switches".to_owned(), std::process::id()));
        places.sort();
        let processes: Vec<u32> = places.iter().map(|(_, process)| *process).collect();
        if let Some(scene) = self.memory.borrow().get(&processes) {
            return Ok(scene);
        }
        let scene = Rc::new(look_at(places)?);
        self.memory.borrow_mut().keep(processes, &scene);
        Ok(scene)
    }

    /// Something was done that may have changed what namespaces show.
    pub fn forget(&self) {
        self.memory.borrow_mut().forget();
    }

    /// Sets the reverse path filter of all links of a node, and of those to come.
    pub fn set_reverse_path_filter(&self, node: &str, mode: u8) -> Finding {
        let set = move || -> std::io::Result<()> {
            for entry in std::fs::read_dir("/proc/sys/net/ipv4/conf")? {
                std::fs::write(entry?.path().join("rp_filter"), mode.to_string())?;
            }
            Ok(())
        };
        let done = self.network(Place::Host(node))?.run(set).flatten();
        done.map(|()| format!("rp_filter {mode} on {node}"))
            .map_err(|why| format!("rp_filter of {node}: {why}"))
    }

    /// What the kernel shows in a namespace: links, addresses, routes.
    pub fn look(&self, place: Place<'_>) -> Result<View, String> {
        let path = self.network_path(place)?.to_string_lossy().into_owned();
        let mut kernel = RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())?;
        let mut needs = Needs::default();
        needs.pod.links = LinkNeed::All;
        (needs.pod.routes, needs.pod.rules, needs.pod.neighbours) = (true, true, true);
        let links = kernel.observe(&needs).map_err(|why| why.to_string())?.pod.unwrap_or_default();
        needs.pod.addresses = links.links.iter().map(|link| link.name.clone()).collect();
        let tunnels = links.links.iter().filter(|link| link.vxlan.is_some());
        needs.pod.forwarding = tunnels.map(|link| link.name.clone()).collect();
        let facts = kernel.observe(&needs).map_err(|why| why.to_string())?.pod.unwrap_or_default();
        Ok(View(facts))
    }

    /// Gives a host of the lab another address on its first NIC.
    pub fn add_address(&self, host: &str, net: IpNet) -> Finding {
        self.change(host, first_nic_address(net)?)
    }

    /// Takes an address away again.
    pub fn remove_address(&self, host: &str, net: IpNet) -> Finding {
        self.change(host, first_nic_address(net)?.inverse().ok_or("an address has an inverse")?)
    }

    /// A route of a host of the lab by its first NIC.
    pub fn add_route(&self, host: &str, to: IpNet, gw: IpAddr) -> Finding {
        let route = Route::new(to, &link_name("eth0")?).via(gw);
        self.change(host, Change::add_route(polynic_net::Place::Pod, route))
    }

    /// Changes a host's network. The change says "pod": that is whose namespace is opened.
    pub fn change(&self, host: &str, change: Change) -> Finding {
        self.open(host)?.apply(&change).map_err(|why| why.to_string())?;
        Ok(format!("{change} of {host}"))
    }

    /// Deletes a link of a host.
    pub fn remove_link(&self, host: &str, link: &str) -> Finding {
        let link = link_name(link)?;
        let gone = self.open(host)?.delete_links(polynic_net::Place::Pod, std::slice::from_ref(&link));
        gone.map(|()| format!("{link} of {host} is deleted")).map_err(|why| why.to_string())
    }

    fn open(&self, host: &str) -> Result<Box<dyn polynic_kernel::Kernel>, String> {
        let path = self.network_path(Place::Host(host))?.to_string_lossy().into_owned();
        RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())
    }

    /// The endpoints to which a node leads packets of Services.
    pub fn served(&self, node: &str) -> Result<BTreeSet<SocketAddr>, String> {
        let path = self.network_path(Place::Host(node))?.to_string_lossy().into_owned();
        let mut kernel = RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())?;
        let mut needs = Needs::default();
        needs.pod.firewall = proxy::plan::tables().to_vec();
        let facts = kernel.observe(&needs).map_err(|why| why.to_string())?.pod.unwrap_or_default();
        Ok(facts.firewall.iter().filter_map(proxy::plan::endpoint).collect())
    }

    /// A route of a pod to one address, for as long as what is returned lives.
    pub fn lend_route(&self, pod: &str, to: IpAddr, gw: IpAddr, link: &str) -> Result<Lent, String> {
        let path = self.network_path(Place::Pod(pod))?.to_string_lossy().into_owned();
        let mut kernel = RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())?;
        let link: IfName = link.parse().map_err(|why| format!("{link}: {why}"))?;
        let route = Change::add_route(polynic_net::Place::Pod, Route::new(IpNet::from(to), &link).via(gw));
        kernel.apply(&route).map_err(|why| why.to_string())?;
        Ok(Lent { kernel, back: route.inverse() })
    }

    /// The addresses that a node's host-local store holds for a network, in order.
    pub fn stored_addresses(&self, node: &str, network: &str) -> Vec<String> {
        let directory = self.state.node(node).join("var/lib/cni/networks").join(network);
        let mut names = file_names(&directory);
        names.retain(|name| name.parse::<IpAddr>().is_ok());
        names.sort();
        names
    }

    /// What a node's flannel daemon tells the CNI plugin.
    pub fn subnet_file(&self, node: &str) -> Result<String, String> {
        let process = registry::host(&self.state, node).map_err(|why| why.to_string())?;
        crate::flannel::subnet_file(process.pid).ok_or_else(|| format!("{node} has no subnet.env"))
    }

    /// The addresses of a node on one of its NICs, IPv4 first.
    pub fn addresses_on(&self, name: &str, nic: usize) -> Result<[IpAddr; 2], String> {
        let node = self.layout.nodes().find(|node| node.name() == name);
        let nets = node.and_then(|node| self.layout.address(node, nic));
        nets.map(|nets| nets.map(|net| net.addr())).ok_or_else(|| format!("there is no node {name}"))
    }

    /// How many network namespaces a node has pinned.
    pub fn pinned_networks(&self, node: &str) -> Result<usize, String> {
        let process = registry::host(&self.state, node).map_err(|why| why.to_string())?;
        // The node's own view of /run, through the process that holds it.
        Ok(file_names(&PathBuf::from(format!("/proc/{}/root/run/netns", process.pid))).len())
    }

    /// The names of files below one of the CNI directories of a node, such as `var/lib/cni/results`.
    pub fn node_files(&self, node: &str, below: &str) -> Vec<String> {
        file_names(&self.state.node(node).join(below))
    }
}

/// What stories of whole clusters need.
#[allow(dead_code, reason = "the stories of the other guides are still to come")]
impl World {
    /// One more node joins, and is ready.
    pub fn add_node(&self) -> Finding {
        self.ask(&Request::Add)
    }

    /// A node loses its power: the cluster has to notice by itself.
    pub fn kill_node(&self, node: &str) -> Finding {
        self.ask(&Request::Kill { node: node.to_owned() })
    }

    /// A node that was killed boots again, and is ready.
    pub fn start_node(&self, node: &str) -> Finding {
        self.ask(&Request::Start { node: node.to_owned() })
    }

    /// A node goes, and its object with it.
    pub fn remove_node(&self, node: &str) -> Finding {
        self.ask(&Request::Remove { node: node.to_owned() })
    }

    fn ask(&self, request: &Request) -> Finding {
        request::ask(&self.state, request).map_err(|why| why.to_string())
    }

    /// Runs one of this machine's programs in a pod or on a host, with its file system, and hands back what it prints.
    pub fn run(&self, place: Place<'_>, program: &[&str]) -> Finding {
        let process = self.process(place)?.to_string();
        let args = ["__become", &process, "--"].into_iter().chain(program.iter().copied());
        let output = process::again(args).stdin(std::process::Stdio::null()).output();
        let output = output.map_err(|why| format!("run {program:?}: {why}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{program:?}: {}: {}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// The name of a link, which may not be one.
pub fn link_name(name: &str) -> Result<IfName, String> {
    name.parse().map_err(|why| format!("{name}: {why}"))
}

fn first_nic_address(net: IpNet) -> Result<Change, String> {
    Ok(Change::add_address(polynic_net::Place::Pod, Address::new(&link_name("eth0")?, net)))
}

/// Namespace and name of `NAMESPACE/NAME` or `NAME`.
fn split(pod: &str) -> (&str, &str) {
    pod.split_once('/').unwrap_or((NAMESPACE, pod))
}

fn file_names(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn look_at(places: Vec<(String, u32)>) -> Result<Scene, String> {
    let open = |process: &u32| Netns::<Pod>::open(&network_of(*process).to_string_lossy());
    let spaces: Result<Vec<_>, _> = places.iter().map(|(_, process)| open(process)).collect();
    let seen = together(&spaces.map_err(|why| why.to_string())?).map_err(|why| why.to_string())?;
    let named = places.into_iter().zip(seen);
    let sites = named.map(|((name, _), it)| Site { name, stack: it.stack, numbers: it.numbers });
    Ok(Scene { sites: sites.collect() })
}

/// A change that is taken back when this goes.
pub struct Lent {
    kernel: Box<dyn polynic_kernel::Kernel>,
    back: Option<Change>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // The namespace may be gone, and the change with it.
            let _ = self.kernel.apply(&back);
        }
    }
}

/// Whose network namespace.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A pod of [`NAMESPACE`], or `NAMESPACE/NAME`.
    Pod(&'a str),
    /// A node, the router, or the host behind it.
    Host(&'a str),
}

/// What was seen in a namespace.
pub struct View(NsFacts);

impl View {
    /// The names of all links, in the order of their making.
    pub fn link_names(&self) -> Vec<String> {
        let mut links: Vec<&LinkFact> = self.0.links.iter().collect();
        links.sort_by_key(|link| link.index);
        links.iter().map(|link| link.name.to_string()).collect()
    }

    /// A link.
    pub fn link(&self, name: &str) -> Result<&LinkFact, String> {
        let found = self.0.links.iter().find(|link| link.name.as_str() == name);
        found.ok_or_else(|| format!("there is no link {name}, only {}", self.link_names().join(", ")))
    }

    /// A link's hardware address as `ip link` shows it.
    pub fn mac(&self, name: &str) -> Result<String, String> {
        self.link(name)?
            .mac
            .map(|mac| mac.to_string())
            .ok_or_else(|| format!("{name} has no hardware address"))
    }

    /// A link's addresses of one family that are of use beyond the link.
    pub fn addresses(&self, name: &str, family: Family) -> Vec<&AddressFact> {
        let on_link = self.0.addresses.iter().filter(|address| address.link.as_str() == name);
        on_link.filter(|a| a.is_global() && Family::of(a.net.addr()) == family).collect()
    }

    /// The only such address of a link.
    pub fn address(&self, name: &str, family: Family) -> Result<IpAddr, String> {
        match self.addresses(name, family).as_slice() {
            [only] => Ok(only.net.addr()),
            several => Err(format!("{name} has {} {family} addresses", several.len())),
        }
    }

    /// All addresses of a link.
    pub fn all_addresses(&self, name: &str) -> Vec<String> {
        let on_link = self.0.addresses.iter().filter(|address| address.link.as_str() == name);
        on_link.map(|address| address.net.to_string()).collect()
    }

    /// Routes of the main table, in the kernel's order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.0.routes.iter().filter(|route| route.table == TABLE_MAIN)
    }

    /// Routes of any table as text, in the kernel's order.
    pub fn routes_in(&self, table: u32, family: Family) -> Vec<String> {
        let routes = self.0.routes.iter().filter(|r| r.table == table && r.family() == family);
        routes.map(ToString::to_string).collect()
    }

    /// The policy rules of a family that lead to a table.
    pub fn rules_to(&self, table: u32, family: Family) -> Vec<&Rule> {
        self.0.rules.iter().filter(|rule| rule.table == table && rule.family == family).collect()
    }

    /// Default routes of the main table as text, in the kernel's order.
    pub fn defaults(&self, family: Family) -> Vec<String> {
        self.routes().filter(|r| r.is_default() && r.family() == family).map(ToString::to_string).collect()
    }

    /// Permanent neighbours.
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.0.neighbours
    }

    /// Permanent forwarding entries of tunnels.
    pub fn forwarding(&self) -> &[Forwarding] {
        &self.0.forwarding
    }

    /// The name of a link by its index.
    pub fn name_of(&self, index: u32) -> Option<&IfName> {
        self.0.link_by_index(index).map(|link| &link.name)
    }
}
