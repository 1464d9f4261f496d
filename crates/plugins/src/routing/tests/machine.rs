//! The node, its three networks and a pod, as golden/coordinator/README.md describes them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use polynic_cni::{Error, Invocation, Output, Success, Verb};
use polynic_kernel::fake::Snapshot;
use polynic_kernel::{Door, FakeDoor};
use polynic_net::{
    Change, Facts, IfName, Link, LinkKind, LinkNeed, LinkRef, Macvlan, MacvlanMode, Needs, NsFacts, Place,
    Route, Veth, Vxlan,
};
use polynic_wire::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, WorkloadEndpoint,
};
use polynic_wire::{AddressService, AddressServices, ServiceError};
use serde_json::{Value, json};

pub(super) use crate::testing::NETNS;
use crate::{Host, Registry, testing};

pub(super) const CONTAINER: &str = "7d3ec95f41a2b86e0f";
pub(super) const CALI: &str = "cali7c1d02a5b9e";

/// An agent that knows one answer, or is away.
#[derive(Clone, Default)]
pub(super) struct Agent(Arc<Mutex<Option<CoordinatorConfig>>>);

impl Agent {
    pub(super) fn says(&self, config: Option<CoordinatorConfig>) {
        *self.0.lock().unwrap() = config;
    }
}

impl AddressServices for Agent {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        assert_eq!(socket, Path::new("/var/run/spidernet/spiderpool.sock"));
        Arc::new(self.clone())
    }
}

fn away<T>() -> Result<T, ServiceError> {
    Err(ServiceError::status(500, "no agent"))
}

impl AddressService for Agent {
    fn healthy(&self, _: Instant) -> Result<(), ServiceError> {
        away()
    }
    fn allocate(&self, _: &AddRequest, _: Instant) -> Result<AddResponse, ServiceError> {
        away()
    }
    fn release(&self, _: &DelRequest, _: Instant) -> Result<(), ServiceError> {
        away()
    }
    fn release_batch(&self, _: &BatchDelRequest, _: Instant) -> Result<(), ServiceError> {
        away()
    }
    fn coordinator_config(&self, pod: &PodIdentity, _: Instant) -> Result<CoordinatorConfig, ServiceError> {
        assert_eq!((pod.pod_namespace.as_str(), pod.pod_name.as_str()), ("blue", "web"));
        self.0.lock().unwrap().clone().map_or_else(away, Ok)
    }
    fn workload_endpoint(&self, _: &PodIdentity, _: Instant) -> Result<WorkloadEndpoint, ServiceError> {
        away()
    }
}

/// What a pod's further interface is.
#[derive(Clone, Debug)]
pub(super) struct Nic {
    pub(super) name: String,
    pub(super) master: String,
    /// Addresses with the gateways of their networks, if the default route of the family goes there.
    pub(super) addresses: Vec<(String, Option<String>)>,
}

pub(super) struct Machine {
    pub(super) door: FakeDoor,
    pub(super) agent: Agent,
    registry: Registry,
    directory: tempfile::TempDir,
}

/// Which parts the machine has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topology {
    /// The node has addresses in networks B and C.
    pub(super) everywhere: bool,
    /// The node has calico's tunnel with an address of its own.
    pub(super) tunnel: bool,
    /// The pod's first interface is the overlay's.
    pub(super) overlay: bool,
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
    /// Reverse path filtering before.
    pub(super) rp_filter: u8,
}

impl Machine {
    pub(super) fn new(topology: Topology) -> Self {
        let door = FakeDoor::new();
        build_node(&door, topology);
        door.add_netns(NETNS);
        let value = topology.rp_filter.to_string();
        door.pod(NETNS, |pod| {
            pod.sysctl("net/ipv4/conf/all/rp_filter", &value);
            pod.sysctl("net/ipv4/conf/default/rp_filter", &value);
        });
        if topology.overlay {
            build_overlay(&door, topology);
        }
        let directory = tempfile::tempdir().unwrap();
        let agent = Agent::default();
        let registry = Registry::new(Host {
            addresses: Box::new(agent.clone()),
            ..testing::host(&door, directory.path())
        });
        Self { door, agent, registry, directory }
    }

    /// Makes a macvlan as the main plugin before ours would, and answers its result.
    pub(super) fn attach(&self, nic: &Nic) -> Value {
        let name: IfName = nic.name.parse().unwrap();
        let parent = LinkRef { place: Place::Host, name: nic.master.parse().unwrap() };
        let kind = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
        self.door.pod(NETNS, |pod| {
            pod.change(&Change::create_link(Place::Pod, Link::new(name.clone(), kind)));
            pod.up(&nic.name);
            for (net, gateway) in &nic.addresses {
                pod.address(&nic.name, net);
                if let Some(gateway) = gateway {
                    let default = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
                    pod.exact_route(
                        Route::new(default.parse().unwrap(), &name).via(gateway.parse().unwrap()),
                    );
                }
            }
        });
        let mac = self.pod().link(&name).unwrap().mac.unwrap().to_string();
        let version = |net: &str| if net.contains(':') { "6" } else { "4" };
        let ips: Vec<Value> = nic
            .addresses
            .iter()
            .map(|(net, gw)| match gw {
                Some(gw) => json!({"version": version(net), "interface": 0, "address": net, "gateway": gw}),
                None => json!({"version": version(net), "interface": 0, "address": net}),
            })
            .collect();
        let routes = nic.addresses.iter().filter_map(|(_, gw)| gw.as_ref());
        let routes: Vec<Value> = routes
            .map(|gw| json!({"dst": if gw.contains(':') { "::/0" } else { "0.0.0.0/0" }, "gw": gw}))
            .collect();
        json!({"cniVersion": "0.4.0", "interfaces": [{"name": nic.name, "mac": mac, "sandbox": NETNS}],
            "ips": ips, "routes": routes, "dns": {}})
    }

    /// Removes the interface as the main plugin before ours would.
    pub(super) fn detach(&self, nic: &str) {
        let mut kernel = self.door.open(Some(NETNS)).unwrap();
        kernel.delete_links(Place::Pod, &[nic.parse().unwrap()]).unwrap();
    }

    pub(super) fn call(&self, verb: Verb, nic: &str, conf: &Value) -> Result<Output, Error> {
        self.call_in(verb, nic, conf, NETNS)
    }

    pub(super) fn call_in(&self, verb: Verb, nic: &str, conf: &Value, netns: &str) -> Result<Output, Error> {
        let conf = &self.logging(conf);
        self.invoke(verb, conf, &invocation(nic, conf, netns))
    }

    /// The configuration with a log of its own, unless it has one: by default it would be the machine's.
    fn logging(&self, conf: &Value) -> Value {
        let (key, options) = match conf["type"].as_str() {
            Some("coordinator") => ("logOptions", json!({"logLevel": "debug", "logFile": self.log()})),
            _ => ("log_options", json!({"log_file": self.log()})),
        };
        let mut conf = conf.clone();
        if conf.get(key).is_none() {
            conf[key] = options;
        }
        conf
    }

    /// The log of calls that name none.
    pub(super) fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    /// ADD with these `CNI_ARGS`.
    pub(super) fn call_with_args(&self, nic: &str, conf: &Value, args: &str) -> Result<Output, Error> {
        let conf = &self.logging(conf);
        let invocation = Invocation { args: args.into(), ..invocation(nic, conf, NETNS) };
        self.invoke(Verb::Add, conf, &invocation)
    }

    fn invoke(&self, verb: Verb, conf: &Value, invocation: &Invocation) -> Result<Output, Error> {
        let plugin = self.registry.plugin(conf["type"].as_str().unwrap()).unwrap();
        polynic_cni::invoke(&plugin, verb, invocation)
    }

    pub(super) fn add(&self, nic: &str, conf: &Value, prev: &Value) -> Result<Success, Error> {
        self.call(Verb::Add, nic, &with_prev(conf, prev))?.into_success("test")
    }

    pub(super) fn forget_records(&self) {
        let _ = std::fs::remove_dir_all(self.directory.path().join("state"));
    }

    /// Names of all records.
    pub(super) fn records(&self) -> Vec<String> {
        let directory = crate::record::directory(&self.directory.path().join("state"), CONTAINER);
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        files.map(|f| f.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The steps of all records.
    pub(super) fn recorded(&self) -> Vec<polynic_net::Step> {
        let directory = crate::record::directory(&self.directory.path().join("state"), CONTAINER);
        crate::record::applied(&directory).into_iter().flat_map(|r| r.plan.steps).collect()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.door.snapshot()
    }

    pub(super) fn pod(&self) -> NsFacts {
        self.facts().pod.unwrap()
    }

    pub(super) fn facts(&self) -> Facts {
        let mut needs = Needs::default();
        for place in [Place::Host, Place::Pod] {
            let at = needs.at_mut(place);
            at.links = LinkNeed::All;
            (at.all_addresses, at.routes, at.rules, at.neighbours) = (true, true, true, true);
        }
        let mut kernel = self.door.open(Some(NETNS)).unwrap();
        let mut facts = kernel.observe(&needs).unwrap();
        let mut needs = Needs::default();
        for place in [Place::Host, Place::Pod] {
            let ns = facts.at(place).unwrap();
            for setting in [super::super::settings::RP_FILTER, super::super::settings::DISABLE_IPV6] {
                needs.at_mut(place).sysctls.extend(setting.keys(ns));
            }
        }
        facts.absorb(kernel.observe(&needs).unwrap());
        facts
    }
}

fn invocation(nic: &str, conf: &Value, netns: &str) -> Invocation {
    Invocation {
        container_id: CONTAINER.into(),
        netns: netns.into(),
        ifname: nic.into(),
        args: "K8S_POD_NAMESPACE=blue;K8S_POD_NAME=web".into(),
        ..testing::invocation(conf)
    }
}

/// A configuration with what came before.
pub(super) fn with_prev(conf: &Value, prev: &Value) -> Value {
    let mut conf = conf.clone();
    conf["prevResult"] = prev.clone();
    conf
}

/// The number of a network: A, B, C.
fn nets(at: usize) -> (&'static str, &'static str, &'static str, &'static str, &'static str) {
    [
        ("eth0", "172.19.0.2/16", "172.19.0.1", "fd00:19::2/64", "fd00:19::1"),
        ("eth1", "10.66.0.2/16", "10.66.0.1", "fd00:66::2/64", "fd00:66::1"),
        ("eth2", "10.77.0.2/16", "10.77.0.1", "fd00:77::2/64", "fd00:77::1"),
    ][at]
}

fn build_node(door: &FakeDoor, topology: Topology) {
    let value = topology.rp_filter.to_string();
    door.host(|host| {
        host.sysctl("net/ipv4/conf/all/rp_filter", &value);
        host.sysctl("net/ipv4/conf/default/rp_filter", &value);
        for at in 0..3 {
            let (link, v4, _, v6, _) = nets(at);
            host.physical(link);
            if at == 0 || topology.everywhere {
                if topology.ipv4 {
                    host.address(link, v4);
                }
                if topology.ipv6 {
                    host.address(link, v6);
                }
            }
        }
        let (link, _, gw4, _, gw6) = nets(0);
        if topology.ipv4 {
            host.route("default", Some(gw4), link);
        }
        if topology.ipv6 {
            host.route("::/0", Some(gw6), link);
        }
        if topology.tunnel {
            let parent = Some(LinkRef { place: Place::Host, name: "eth0".parse().unwrap() });
            let vxlan = Vxlan {
                vni: 4096,
                parent,
                local: None,
                remote: None,
                port: 4789,
                learning: false,
                gbp: false,
            };
            let link = Link::new("vxlan.calico".parse().unwrap(), LinkKind::Vxlan(vxlan));
            host.change(&Change::create_link(Place::Host, link));
            host.up("vxlan.calico").address("vxlan.calico", "10.244.90.0/32");
        }
    });
}

fn build_overlay(door: &FakeDoor, topology: Topology) {
    let peer = Veth {
        place: Place::Host,
        name: CALI.parse().unwrap(),
        mac: Some("ee:ee:ee:ee:ee:ee".parse().unwrap()),
        mtu: Some(1450),
    };
    let link = Link { mtu: Some(1450), ..Link::new("eth0".parse().unwrap(), LinkKind::Veth(peer)) };
    door.pod(NETNS, |pod| {
        pod.change(&Change::create_link(Place::Pod, link));
        pod.change(&Change::up(Place::Host, &CALI.parse().unwrap()));
        pod.up("eth0");
        if topology.ipv4 {
            pod.address("eth0", "10.244.90.5/32");
            pod.route("169.254.1.1/32", None, "eth0").route("default", Some("169.254.1.1"), "eth0");
        }
        if topology.ipv6 {
            pod.address("eth0", "fd00:244::5/128");
            pod.route("fe80::eeee/128", None, "eth0").route("::/0", Some("fe80::eeee"), "eth0");
        }
    });
    door.host(|host| {
        if topology.ipv4 {
            host.route("10.244.90.5/32", None, CALI);
        }
        if topology.ipv6 {
            host.route("fd00:244::5/128", None, CALI);
        }
    });
}
