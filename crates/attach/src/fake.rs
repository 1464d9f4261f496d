//! A world for tests: plugins that record and fail on order, an API server, a network namespace, caches in a temporary directory.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polynic_api::{NetworkAttachmentDefinition, PodEvent, annotation};
use polynic_cni::{Delegate, Error, Invocation, Output, Success, Verb, Version};
use polynic_net::{IfName, IpNet, Route};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, NadError, NadRef, Patience, PodError, PodInfo, PodNetns, PodRef, StatusError};
use crate::config::Config;
use crate::context::{Context, Wait};
use crate::device_files::DeviceFiles;
use crate::devices::{DeviceError, Devices};
use crate::guard::{Guard, Sandbox};
use crate::log::Log;

/// What is in the pod: interface name to its default routes.
type Links = Arc<Mutex<BTreeMap<String, BTreeSet<IpAddr>>>>;

/// Plugins of any type. Each makes one interface with one address and a default route.
pub(crate) struct FakePlugin {
    links: Links,
    calls: Mutex<Vec<(Verb, String, Invocation)>>,
    failures: Mutex<Vec<(Verb, usize, Error)>>,
    /// What a plugin type answers instead of the usual result.
    pub(crate) answers: Mutex<BTreeMap<String, Value>>,
    /// Types of which there is no plugin.
    lost: Mutex<BTreeSet<String>>,
    /// A repeated ADD leaves the interface, and its routes, as they are.
    pub(crate) keeps_links: AtomicBool,
}

impl Delegate for FakePlugin {
    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        match self.lost.lock().unwrap().contains(plugin_type) {
            true => Err(Error::internal(format!("failed to find plugin {plugin_type:?} in path [{path}]"))),
            false => Ok(()),
        }
    }

    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        self.find(plugin_type, &invocation.path)?;
        let nth = self.calls.lock().unwrap().iter().filter(|(called, ..)| *called == verb).count();
        self.calls.lock().unwrap().push((verb, plugin_type.to_owned(), invocation.clone()));
        let failures = self.failures.lock().unwrap();
        if let Some((.., error)) = failures.iter().find(|(at, number, _)| *at == verb && *number == nth) {
            return Err(error.clone());
        }
        match verb {
            Verb::Add => self.add(plugin_type, invocation).map(Output::Success),
            Verb::Del => {
                self.links.lock().unwrap().remove(&invocation.ifname);
                Ok(Output::Empty)
            }
            _ => Ok(Output::Empty),
        }
    }
}

impl FakePlugin {
    fn add(&self, plugin_type: &str, invocation: &Invocation) -> Result<Success, Error> {
        let stdin: Value = serde_json::from_slice(&invocation.stdin).unwrap();
        let version = stdin["cniVersion"].as_str().unwrap_or_default();
        let cni_version =
            Version::or_oldest(version).map_err(|_| Error::incompatible_version(version, &Version::ALL))?;
        let mut links = self.links.lock().unwrap();
        let last = links.len() + 2;
        let gateway: IpAddr = "10.0.0.1".parse().unwrap();
        if !(self.keeps_links.load(Ordering::Relaxed) && links.contains_key(&invocation.ifname)) {
            links.insert(invocation.ifname.clone(), BTreeSet::from([gateway]));
        }
        let usual = json!({
            "interfaces": [{"name": invocation.ifname, "mac": format!("02:00:00:00:00:{last:02x}"), "sandbox": invocation.netns}],
            "ips": [{"interface": 0, "address": format!("10.0.0.{last}/24"), "gateway": "10.0.0.1"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}],
        });
        let answer = self.answers.lock().unwrap().get(plugin_type).cloned().unwrap_or(usual);
        let result = Success::parse_reply(answer.to_string().as_bytes(), "1.0.0")?;
        Ok(Success { cni_version, ..result })
    }

    /// `VERB type interface`, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(verb, kind, call)| format!("{verb} {kind} {}", call.ifname)).collect()
    }

    pub(crate) fn invocation(&self, nth: usize) -> Invocation {
        self.calls.lock().unwrap()[nth].2.clone()
    }

    pub(crate) fn stdin(&self, nth: usize) -> Value {
        serde_json::from_slice(&self.invocation(nth).stdin).unwrap()
    }

    pub(crate) fn last_stdin(&self) -> Value {
        let count = self.calls.lock().unwrap().len();
        self.stdin(count - 1)
    }

    /// Forgets the calls so far; counting starts anew.
    pub(crate) fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    /// The n-th call of a verb, from 0, fails.
    pub(crate) fn fail_nth(&self, verb: Verb, nth: usize, error: Error) {
        self.failures.lock().unwrap().push((verb, nth, error));
    }

    /// From now on there is no such plugin.
    pub(crate) fn lose(&self, plugin_type: &str) {
        self.lost.lock().unwrap().insert(plugin_type.to_owned());
    }

    pub(crate) fn heal(&self) {
        self.failures.lock().unwrap().clear();
    }
}

/// An API server with one pod at most.
#[derive(Default)]
pub(crate) struct FakeCluster {
    pub(crate) pod: RefCell<Option<PodInfo>>,
    pub(crate) nads: RefCell<BTreeMap<(String, String), NetworkAttachmentDefinition>>,
    pub(crate) status: RefCell<BTreeMap<String, String>>,
    pub(crate) events: RefCell<Vec<PodEvent>>,
    pub(crate) fail_pod: RefCell<Option<PodError>>,
    pub(crate) fail_status: RefCell<Option<StatusError>>,
    /// Resources and ids; `None` fails.
    pub(crate) devices: RefCell<Option<Vec<(&'static str, &'static str)>>>,
    pub(crate) calls: Cell<usize>,
}

impl Cluster for FakeCluster {
    fn pod(&self, _: &PodRef, _: Patience) -> Result<Option<PodInfo>, PodError> {
        self.calls.set(self.calls.get() + 1);
        self.fail_pod.borrow().clone().map_or_else(|| Ok(self.pod.borrow().clone()), Err)
    }

    fn nads(&self, wanted: &[NadRef]) -> Vec<Result<NetworkAttachmentDefinition, NadError>> {
        self.calls.set(self.calls.get() + 1);
        let nads = self.nads.borrow();
        let get = |nad: &NadRef| {
            let text = format!("network-attachment-definitions.k8s.cni.cncf.io {:?} not found", nad.name);
            nads.get(&(nad.namespace.clone(), nad.name.clone())).cloned().ok_or(NadError::NotFound(text))
        };
        wanted.iter().map(get).collect()
    }

    fn set_pod_annotations(&self, _: &PodRef, annotations: &[(&str, &str)]) -> Result<(), StatusError> {
        self.calls.set(self.calls.get() + 1);
        if let Some(error) = self.fail_status.borrow().clone() {
            return Err(error);
        }
        let owned = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.status.borrow_mut().extend(owned);
        Ok(())
    }

    fn devices(&self, _: &PodInfo) -> Result<Devices, DeviceError> {
        self.calls.set(self.calls.get() + 1);
        let known = self.devices.borrow().clone().ok_or(DeviceError::Resources("kubelet is busy".into()))?;
        let mut devices = Devices::default();
        known.into_iter().for_each(|(resource, id)| devices.add(resource, id));
        Ok(devices)
    }

    fn event(&self, _: &PodRef, event: &PodEvent) {
        self.events.borrow_mut().push(event.clone());
    }

    fn flush(&self) {}
}

/// A guard that records what it is asked, with the number of plugin calls before.
#[derive(Default)]
pub(crate) struct FakeGuard {
    pub(crate) calls: RefCell<Vec<String>>,
    /// The n-th request, from 0, fails.
    pub(crate) fail_nth: Cell<Option<usize>>,
    links: Links,
}

impl FakeGuard {
    fn note(&self, verb: &str, sandbox: &Sandbox<'_>) {
        let networks = sandbox.networks.iter().map(|n| format!(" {}@{}", n.name, n.interface));
        let networks: String = networks.collect();
        let links = self.links.lock().unwrap().len();
        self.calls
            .borrow_mut()
            .push(format!("{verb} {} in {} with {links} links:{networks}", sandbox.pod.name, sandbox.netns));
    }
}

impl Guard for FakeGuard {
    fn protect(&self, sandbox: &Sandbox<'_>) -> Result<(), Error> {
        let nth = self.calls.borrow().len();
        self.note("protect", sandbox);
        if self.fail_nth.get() == Some(nth) { Err(Error::try_again("nobody there")) } else { Ok(()) }
    }

    fn release(&self, sandbox: &Sandbox<'_>) {
        self.note("release", sandbox);
    }
}

/// A namespace whose operations are recorded and fail on order.
pub(crate) struct FakeNetns {
    links: Links,
    pub(crate) calls: RefCell<Vec<String>>,
    /// The n-th change of default routes, from 0, fails.
    pub(crate) fail_nth: Cell<Option<usize>>,
}

impl FakeNetns {
    fn change(&self, call: String) -> Result<(), Error> {
        let nth = self.calls.borrow().len();
        self.calls.borrow_mut().push(call);
        if self.fail_nth.get() == Some(nth) {
            return Err(Error::internal("network is unreachable"));
        }
        Ok(())
    }
}

impl PodNetns for FakeNetns {
    fn has_interface(&self, netns: &str, interface: &str) -> Result<bool, Error> {
        if netns.is_empty() {
            return Err(Error::internal("failed to open netns \"\": no such file or directory"));
        }
        Ok(self.links.lock().unwrap().contains_key(interface))
    }

    fn default_routes(&self, _: &str, interface: &str) -> Result<Vec<Route>, Error> {
        let name = IfName::new(interface).unwrap();
        let hops = self.links.lock().unwrap().get(interface).cloned().unwrap_or_default();
        let everywhere = |hop: &IpAddr| IpNet::new(*hop, 0).unwrap().trunc();
        Ok(hops.iter().map(|hop| Route::new(everywhere(hop), &name).via(*hop)).collect())
    }

    fn restore_route(&self, netns: &str, route: &Route) -> Result<(), Error> {
        self.add_default_route(netns, route.link.as_ref().unwrap().as_str(), route.gw.unwrap())
    }

    fn delete_default_routes(&self, _: &str, interface: &str) -> Result<(), Error> {
        self.change(format!("delete defaults of {interface}"))?;
        self.links.lock().unwrap().get_mut(interface).unwrap().clear();
        Ok(())
    }

    fn add_default_route(&self, _: &str, interface: &str, next_hop: IpAddr) -> Result<(), Error> {
        self.change(format!("default via {next_hop} dev {interface}"))?;
        self.links.lock().unwrap().get_mut(interface).unwrap().insert(next_hop);
        Ok(())
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) plugin: FakePlugin,
    pub(crate) cluster: FakeCluster,
    pub(crate) netns: FakeNetns,
    pub(crate) guard: Option<FakeGuard>,
    pub(crate) directory: TempDir,
    pub(crate) conf: Value,
    pub(crate) has_cluster: Cell<bool>,
    log: Log,
    links: Links,
}

impl World {
    /// `conf` is completed with name, type, version and directories.
    pub(crate) fn new(mut conf: Value) -> World {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| Value::String(directory.path().join(name).display().to_string());
        for (key, value) in
            [("name", json!("node-net")), ("type", json!("multus")), ("cniVersion", json!("1.1.0"))]
        {
            conf.as_object_mut().unwrap().entry(key).or_insert(value);
        }
        conf["cniDir"] = path("cache");
        conf["confDir"] = path("conf");
        let links = Links::default();
        World {
            plugin: FakePlugin {
                links: links.clone(),
                calls: Mutex::default(),
                failures: Mutex::default(),
                answers: Mutex::default(),
                lost: Mutex::default(),
                keeps_links: AtomicBool::default(),
            },
            cluster: FakeCluster::default(),
            netns: FakeNetns { links: links.clone(), calls: RefCell::default(), fail_nth: Cell::default() },
            guard: None,
            directory,
            conf,
            has_cluster: Cell::new(true),
            log: Log::silent(),
            links,
        }
    }

    /// Policies are switched on.
    pub(crate) fn guarded(mut self) -> World {
        self.guard = Some(FakeGuard { links: self.links.clone(), ..FakeGuard::default() });
        self
    }

    /// What the guard was asked.
    pub(crate) fn guard_calls(&self) -> Vec<String> {
        self.guard.as_ref().unwrap().calls.borrow().clone()
    }

    /// A pod in namespace `blue` with a networks annotation.
    pub(crate) fn pod(&self, networks: &str) {
        self.annotated(&[(annotation::NETWORKS, networks)]);
    }

    pub(crate) fn annotated(&self, annotations: &[(&str, &str)]) {
        let annotations =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        *self.cluster.pod.borrow_mut() = Some(PodInfo {
            namespace: "blue".into(),
            name: "pod-1".into(),
            uid: "uid-1".into(),
            annotations,
            node: "node-1".into(),
        });
    }

    /// A NAD in namespace `blue`, or in another one by `namespace/name`.
    pub(crate) fn nad(&self, name: &str, config: Value) {
        let (namespace, name) = name.split_once('/').unwrap_or(("blue", name));
        let nad = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"config": config.to_string()}});
        self.raw_nad(&nad);
    }

    pub(crate) fn raw_nad(&self, nad: &Value) {
        let nad = NetworkAttachmentDefinition::parse(nad.to_string().as_bytes()).unwrap();
        let key = (nad.metadata.namespace.clone(), nad.metadata.name.clone());
        self.cluster.nads.borrow_mut().insert(key, nad);
    }

    /// A file below the directory of networks.
    pub(crate) fn file(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.directory.path().join("conf").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content.to_string()).unwrap();
        path
    }

    pub(crate) fn config(&self) -> Config {
        let device_files = DeviceFiles::new(self.devinfo());
        Config { device_files, ..Config::parse(self.conf.to_string().as_bytes()).unwrap() }
    }

    /// Where files about devices are.
    pub(crate) fn devinfo(&self) -> PathBuf {
        self.directory.path().join("devinfo")
    }

    pub(crate) fn context(&self) -> Context<'_> {
        let wait = Wait { interval: Duration::from_millis(1), limit: Duration::from_millis(5) };
        let cluster: &dyn Cluster = &self.cluster;
        Context {
            delegate: &self.plugin,
            cluster: Some(cluster).filter(|_| self.has_cluster.get()),
            netns: &self.netns,
            guard: self.guard.as_ref().map(|guard| guard as &dyn Guard),
            log: &self.log,
            readiness: wait,
            lock: wait.limit,
            forward: crate::Forward::All,
        }
    }

    pub(crate) fn invocation(&self) -> Invocation {
        Invocation {
            container_id: "c7".into(),
            netns: "/run/netns/c7".into(),
            ifname: "eth0".into(),
            args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=pod-1;\
                   K8S_POD_INFRA_CONTAINER_ID=c7;K8S_POD_UID=uid-1"
                .into(),
            path: "/opt/x/bin".into(),
            stdin: self.conf.to_string().into_bytes(),
            ..Invocation::default()
        }
    }

    pub(crate) fn add(&self) -> Result<Success, Error> {
        crate::add(&self.context(), &self.invocation(), &self.config())
    }

    pub(crate) fn del(&self) -> Result<(), Error> {
        crate::del(&self.context(), &self.invocation(), &self.config())
    }

    /// Interface names in the pod, with the next hops of their default routes.
    pub(crate) fn links(&self) -> BTreeMap<String, BTreeSet<IpAddr>> {
        self.links.lock().unwrap().clone()
    }

    pub(crate) fn link(&self, name: &str) {
        self.links.lock().unwrap().insert(name.into(), BTreeSet::new());
    }

    /// Every file below the cache directory, with its content.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for directory in ["cache", "cache/results"] {
            let entries =
                std::fs::read_dir(self.directory.path().join(directory)).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.path().is_file()) {
                let content = std::fs::read_to_string(entry.path()).unwrap();
                files.insert(format!("{directory}/{}", entry.file_name().to_string_lossy()), content);
            }
        }
        files
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.path().join("cache/c7")
    }

    pub(crate) fn api_calls(&self) -> usize {
        self.cluster.calls.get()
    }

    /// Reason and message of every Event.
    pub(crate) fn events(&self) -> Vec<(&'static str, String)> {
        self.cluster.events.borrow().iter().map(|event| (event.reason, event.message.clone())).collect()
    }
}
