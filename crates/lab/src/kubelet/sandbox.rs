//! Making and removing a pod's network as containerd does, plugin call by plugin call.
//!
//! In order: a network namespace pinned under /var/run/netns, the loopback plugin, the first configuration of /etc/cni/net.d (STATUS,
//! then ADD for eth0), the pause process. Everything blocks; nothing here talks to the API server.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use polynic_cni::{ConfList, Exec, Runtime, RuntimeConf, Success, conflist};
use polynic_kernel::netns::{self, Netns};
use serde_json::{Map, Value, json};

use super::worker::Key;
use crate::container::{Container, Containers};
use crate::error::{Error, Result};
use crate::hold::{self, Holder};
use crate::registry::Sandbox;
use crate::state::State;

const CONF_DIR: &str = "/etc/cni/net.d";
const BIN_DIR: &str = "/opt/cni/bin";
const CACHE_DIR: &str = "/var/lib/cni";
const NETNS_DIR: &str = "/var/run/netns";
/// The pod's own NIC.
const IFNAME: &str = "eth0";
/// containerd's built-in list for the loopback link.
const LOOPBACK: &[u8] = br#"{"cniVersion":"0.3.1","name":"cni-loopback","plugins":[{"type":"loopback"}]}"#;

/// What is needed of a pod to make its network.
#[derive(Clone, Debug)]
pub struct Request {
    key: Key,
    host_name: String,
    /// Names and ports (TCP, UDP) of the containers.
    containers: Vec<(String, Vec<u16>, Vec<u16>)>,
    capabilities: Map<String, Value>,
}

impl Request {
    /// The request of a pod.
    pub fn of(pod: &Pod, key: &Key) -> Request {
        let spec = pod.spec.as_ref();
        let host_name = spec.and_then(|spec| spec.hostname.clone()).unwrap_or_else(|| pod.name_any());
        Request {
            key: key.clone(),
            host_name: host_name.chars().take(63).collect(),
            containers: containers(pod),
            capabilities: capabilities(pod),
        }
    }
}

/// The containers by name with the ports that they declare.
fn containers(pod: &Pod) -> Vec<(String, Vec<u16>, Vec<u16>)> {
    let all = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = |container: &k8s_openapi::api::core::v1::Container, protocol: &str| {
        let declared = container.ports.iter().flatten();
        let wanted = declared.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol);
        wanted.filter_map(|port| u16::try_from(port.container_port).ok()).collect()
    };
    all.map(|one| (one.name.clone(), ports(one, "TCP"), ports(one, "UDP"))).collect()
}

/// The capability values that containerd offers; plugins get those that they declare.
fn capabilities(pod: &Pod) -> Map<String, Value> {
    let mut offered = Map::new();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let mappings: Vec<Value> = ports
        .filter_map(|port| {
            let (host, protocol) = (port.host_port?, port.protocol.as_deref().unwrap_or("TCP"));
            let ip = port.host_ip.clone().unwrap_or_default();
            Some(json!({
                "hostPort": host,
                "containerPort": port.container_port,
                "protocol": protocol.to_lowercase(),
                "hostIP": ip,
            }))
        })
        .collect();
    if !mappings.is_empty() {
        offered.insert("portMappings".into(), mappings.into());
    }
    if !pod.annotations().is_empty() {
        offered.insert("io.kubernetes.cri.pod-annotations".into(), json!(pod.annotations()));
    }
    offered
}

/// Why there is no sandbox, and what of it is still there.
#[derive(Debug)]
pub struct Failure {
    /// For the pod's Event and status.
    pub message: String,
    /// The sandbox, if removing it failed as well.
    pub remains: Option<Box<Sandbox>>,
}

/// Makes a sandbox with a container id of its own. On failure everything is taken back.
pub fn make(state: &State, node: &str, request: &Request) -> Result<Sandbox, Failure> {
    let mut sandbox = match new_sandbox(node, request) {
        Ok(sandbox) => sandbox,
        Err(why) => return Err(Failure { message: why.to_string(), remains: None }),
    };
    match fill(state, &mut sandbox, request) {
        Ok(()) => Ok(sandbox),
        Err(message) => {
            let removed = remove(state, &sandbox);
            let message = match &removed {
                Ok(()) => message,
                Err(why) => format!("{message}; then removing it failed as well: {why}"),
            };
            Err(Failure { message, remains: removed.is_err().then(|| Box::new(sandbox)) })
        }
    }
}

fn new_sandbox(node: &str, request: &Request) -> Result<Sandbox> {
    let Key { namespace, name, uid } = request.key.clone();
    let pin = format!("cni-{}", crate::random::uuid()?);
    Ok(Sandbox {
        namespace,
        name,
        uid,
        node: node.to_owned(),
        container_id: crate::random::hex(32)?,
        netns: PathBuf::from(NETNS_DIR).join(pin),
        pause: None,
        ips: Vec::new(),
        containers: request.containers.iter().map(|(name, ..)| name.clone()).collect(),
        capabilities: request.capabilities.clone(),
    })
}

fn fill(state: &State, sandbox: &mut Sandbox, request: &Request) -> Result<(), String> {
    let text = |why: Error| why.to_string();
    sandbox.save(state).map_err(text)?;
    let network = netns::create_pinned::<netns::Pod>(&sandbox.netns)
        .map_err(|why| format!("failed to create network namespace for sandbox: {why}"))?;
    let result = attach(sandbox)
        .map_err(|why| format!("failed to setup network for sandbox {:?}: {why}", sandbox.container_id))?;
    sandbox.ips = pod_ips(&result);
    if sandbox.ips.is_empty() {
        return Err("the default network gave the pod no address".to_owned());
    }
    let containers = stand_ins(state, sandbox, request);
    sandbox.pause = Some(start_pause(&network, &request.host_name, containers).map_err(text)?);
    sandbox.save(state).map_err(text)
}

fn stand_ins(state: &State, sandbox: &Sandbox, request: &Request) -> Containers {
    let list = request.containers.iter().map(|(name, tcp, udp)| Container {
        name: name.clone(),
        tcp: tcp.clone(),
        udp: udp.clone(),
        log: sandbox.log(state, name),
    });
    Containers { pod: sandbox.name.clone(), list: list.collect() }
}

fn start_pause(
    network: &Netns<netns::Pod>,
    host_name: &str,
    containers: Containers,
) -> Result<crate::process::Identity> {
    let name = host_name.to_owned();
    let command = hold::command(&name, &Holder::Pod(&containers));
    let started =
        network.run(move || hold::spawn(command, &name)).map_err(Error::io("enter the pod's network"))?;
    let mut child = started?;
    let identity = hold::identity(&child)?;
    // The process is meant to outlive everybody but the pod; somebody still has to collect it.
    std::thread::spawn(move || child.wait());
    Ok(identity)
}

/// Loopback first, as containerd does, then the default network.
fn attach(sandbox: &Sandbox) -> Result<Success, String> {
    let exec = Exec::default();
    let runtime = runtime(&exec);
    let loopback = ConfList::parse(LOOPBACK).map_err(|why| why.to_string())?;
    runtime.add_list(&loopback, &conf(sandbox, "lo")).map_err(|why| why.to_string())?;
    let network = default_network().map_err(|why| why.to_string())?;
    runtime.status_list(&network).map_err(|why| format!("cni plugin not initialized: {why}"))?;
    runtime.add_list(&network, &conf(sandbox, IFNAME)).map_err(|why| why.to_string())
}

/// The first loadable configuration, in lexical order.
pub fn default_network() -> Result<ConfList, conflist::LoadError> {
    conflist::first_loadable(Path::new(CONF_DIR)).map(|(_, list)| list)
}

/// Whether the default network says that it can serve pods.
pub fn network_is_ready() -> Result<(), String> {
    let exec = Exec::default();
    let network = default_network().map_err(|why| why.to_string())?;
    runtime(&exec).status_list(&network).map_err(|why| why.to_string())
}

fn runtime(exec: &Exec) -> Runtime<'_> {
    Runtime { env: std::env::vars_os().collect(), ..Runtime::new(CACHE_DIR, BIN_DIR, exec) }
}

fn conf(sandbox: &Sandbox, ifname: &str) -> RuntimeConf {
    let args = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", &sandbox.namespace),
        ("K8S_POD_NAME", &sandbox.name),
        ("K8S_POD_INFRA_CONTAINER_ID", &sandbox.container_id),
        ("K8S_POD_UID", &sandbox.uid),
    ];
    RuntimeConf {
        container_id: sandbox.container_id.clone(),
        netns: sandbox.netns.to_string_lossy().into_owned(),
        ifname: ifname.to_owned(),
        args: args.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        capability_args: sandbox.capabilities.clone(),
    }
}

/// The addresses of eth0 in the result's order. A result without interfaces is the default network's only NIC.
fn pod_ips(result: &Success) -> Vec<IpAddr> {
    let is_eth0 =
        |at: usize| result.interfaces.get(at).is_some_and(|i| !i.sandbox.is_empty() && i.name == IFNAME);
    let of_pod = result.ips.iter().filter(|ip| ip.interface.is_none_or(is_eth0));
    of_pod.map(|ip| ip.address.addr()).collect()
}

/// Removes a sandbox, whatever there is of it: DEL with the configuration of its ADD, its process, its namespace, its record.
/// It may be repeated until it succeeds, and after.
pub fn remove(state: &State, sandbox: &Sandbox) -> Result<(), String> {
    detach(sandbox)?;
    if let Some(pause) = &sandbox.pause {
        pause.kill(Duration::from_secs(5)).map_err(|why| why.to_string())?;
    }
    unpin(&sandbox.netns).map_err(|why| format!("unpin {}: {why}", sandbox.netns.display()))?;
    sandbox.forget(state);
    Ok(())
}

fn detach(sandbox: &Sandbox) -> Result<(), String> {
    let exec = Exec::default();
    let runtime = runtime(&exec);
    let network = added_with(&runtime, sandbox)?;
    runtime.del_list(&network, &conf(sandbox, IFNAME)).map_err(|why| why.to_string())?;
    let loopback = ConfList::parse(LOOPBACK).map_err(|why| why.to_string())?;
    runtime.del_list(&loopback, &conf(sandbox, "lo")).map_err(|why| why.to_string())
}

/// The list that ADD used, from the cache, if it succeeded; otherwise the present one.
fn added_with(runtime: &Runtime<'_>, sandbox: &Sandbox) -> Result<ConfList, String> {
    let present = default_network().map_err(|why| why.to_string())?;
    let cached = runtime.cached_config(&present, &conf(sandbox, IFNAME));
    match cached {
        Ok(Some((bytes, _))) => ConfList::parse_any(&bytes).map_err(|why| why.to_string()),
        // No cached result, or one that cannot be read: DEL does without.
        Ok(None) | Err(_) => Ok(present),
    }
}

fn unpin(path: &Path) -> std::io::Result<()> {
    match netns::unpin(path) {
        Ok(()) => Ok(()),
        Err(_) if !path.exists() => Ok(()),
        // The file is there, but nothing is mounted on it: pinning got no further.
        Err(why) if why.kind() == std::io::ErrorKind::InvalidInput => fs::remove_file(path),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::Version;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap()
    }

    fn request(spec: Value) -> Request {
        let pod = pod(spec);
        Request::of(&pod, &Key::of(&pod, "u"))
    }

    #[test]
    fn plugins_get_containerds_arguments_in_its_order() {
        let mut sandbox = new_sandbox("node1", &request(json!({"containers": []}))).unwrap();
        sandbox.container_id = "c1".into();
        let conf = conf(&sandbox, "eth0");
        let text: Vec<String> = conf.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            text.join(";"),
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u"
        );
        assert!(conf.netns.starts_with("/var/run/netns/cni-"), "{}", conf.netns);
    }

    #[test]
    fn every_attempt_is_a_new_container() {
        let request = request(json!({"containers": []}));
        let [a, b] = [0, 1].map(|_| new_sandbox("node1", &request).unwrap());
        assert_ne!(a.container_id, b.container_id);
        assert_ne!(a.netns, b.netns);
        assert_eq!(a.container_id.len(), 64);
    }

    #[test]
    fn ports_on_the_host_become_port_mappings() {
        let ports =
            json!([{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}, {"containerPort": 81}]);
        let offered = request(json!({"containers": [{"name": "c", "ports": ports}]})).capabilities;
        let expected = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": ""}]);
        assert_eq!(offered.get("portMappings"), Some(&expected));
    }

    #[test]
    fn the_pods_addresses_are_those_of_eth0() {
        let text = br#"{"cniVersion":"1.0.0","interfaces":[{"name":"cali1"},{"name":"eth0","sandbox":"/n"}],
            "ips":[{"interface":1,"address":"10.244.1.2/32"},{"interface":0,"address":"10.9.9.9/32"},
                   {"interface":1,"address":"fd00::2/128"}]}"#;
        let result = Success::parse(text, Version::NEWEST).unwrap();
        assert_eq!(
            pod_ips(&result).iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.244.1.2", "fd00::2"]
        );
    }
}
