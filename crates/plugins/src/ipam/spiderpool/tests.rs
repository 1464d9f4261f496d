use std::path::Path;
use std::sync::{Arc, Mutex};

use polynic_cni::{Delegate, invoke};
use polynic_kernel::FakeDoor;
use polynic_wire::messages::{
    AddResponse, BatchDelRequest, CoordinatorConfig, IpConfig, PodIdentity, WorkloadEndpoint,
};
use polynic_wire::{AddressServices, ReleaseJournal};
use serde_json::Value;

use super::*;
use crate::testing::{self, NETNS};
use crate::{Host, Registry};

/// What the agent does with a call.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Away,
    /// Answers everything but health with this status.
    Refuses(u16),
}

struct Agent {
    mood: Mutex<Mood>,
    detects: Mutex<bool>,
    calls: Mutex<Vec<String>>,
}

impl Agent {
    fn call(&self, what: String) -> Result<(), ServiceError> {
        self.calls.lock().unwrap().push(what.clone());
        match *self.mood.lock().unwrap() {
            Mood::Away => Err(ServiceError::Away {
                socket: "/agent.sock".into(),
                step: "connecting",
                source: std::io::ErrorKind::NotFound.into(),
            }),
            Mood::Refuses(code) if what != "healthy" => {
                Err(ServiceError::status(code, "no IPPool available"))
            }
            _ => Ok(()),
        }
    }
}

impl AddressService for Agent {
    fn healthy(&self, _: Instant) -> Result<(), ServiceError> {
        self.call("healthy".into())
    }

    fn allocate(&self, request: &AddRequest, _: Instant) -> Result<AddResponse, ServiceError> {
        self.call(format!("allocate {}/{} {}", request.pod_namespace, request.pod_name, request.if_name))?;
        let detects = *self.detects.lock().unwrap();
        let ip = |nic: &str, address: &str| IpConfig {
            version: 4,
            address: address.into(),
            nic: nic.into(),
            gateway: "10.9.0.1".into(),
            enable_ip_conflict_detection: detects,
            enable_gateway_detection: detects,
            ..IpConfig::default()
        };
        let ips = vec![ip("net1", "10.9.0.7/16"), ip("net2", "10.9.0.8/16")];
        Ok(AddResponse { ips, ..AddResponse::default() })
    }

    fn release(&self, request: &DelRequest, _: Instant) -> Result<(), ServiceError> {
        self.call(format!("release {}/{} {}", request.pod_namespace, request.pod_name, request.if_name))
    }

    fn release_batch(&self, request: &BatchDelRequest, _: Instant) -> Result<(), ServiceError> {
        self.call(format!("batch {}/{} {}", request.pod_namespace, request.pod_name, request.if_name))
    }

    fn coordinator_config(&self, _: &PodIdentity, _: Instant) -> Result<CoordinatorConfig, ServiceError> {
        Err(ServiceError::status(500, "not asked for"))
    }

    fn workload_endpoint(&self, _: &PodIdentity, _: Instant) -> Result<WorkloadEndpoint, ServiceError> {
        Err(ServiceError::status(404, "not asked for"))
    }
}

struct Finder(Arc<Agent>);

impl AddressServices for Finder {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        assert_eq!(socket, Path::new("/agent.sock"));
        self.0.clone()
    }
}

struct World {
    door: FakeDoor,
    directory: tempfile::TempDir,
    agent: Arc<Agent>,
    registry: Registry,
}

impl World {
    fn new(mood: Mood) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let agent =
            Arc::new(Agent { mood: Mutex::new(mood), detects: Mutex::default(), calls: Mutex::default() });
        let door = FakeDoor::new();
        door.add_netns(NETNS);
        door.host(|host| {
            host.physical("eth0");
        });
        let registry = Registry::new(Host {
            addresses: Box::new(Finder(agent.clone())),
            ..testing::host(&door, directory.path())
        });
        Self { door, directory, agent, registry }
    }

    fn conf(&self) -> Value {
        let log = self.directory.path().join("spiderpool.log");
        let ipam =
            json!({"type": "spiderpool", "ipam_unix_socket_path": "/agent.sock", "log_file_path": log});
        json!({"cniVersion": "0.3.1", "name": "lab", "type": "macvlan", "ipam": ipam})
    }

    fn call_with(&self, verb: Verb, args: &str, netns: &str, conf: &Value) -> Result<Output, Error> {
        let invocation = Invocation { netns: netns.into(), args: args.into(), ..testing::invocation(conf) };
        invoke(&self.registry.plugin("spiderpool").unwrap(), verb, &invocation)
    }

    fn call(&self, verb: Verb) -> Result<Output, Error> {
        self.call_with(verb, ARGS, NETNS, &self.conf())
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.agent.calls.lock().unwrap())
    }

    fn waiting(&self) -> Vec<String> {
        let pending = ReleaseJournal::new(self.directory.path().join("releases")).pending().unwrap();
        pending.into_iter().map(|p| format!("{} {}", p.request.pod_name, p.request.if_name)).collect()
    }
}

const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=web;K8S_POD_UID=u";

#[test]
fn add_answers_what_the_agent_gave_this_interface() {
    let world = World::new(Mood::Well);
    let result = world.call(Verb::Add).unwrap().into_success("spiderpool").unwrap();
    assert_eq!(result.ips.iter().map(|ip| ip.address.to_string()).collect::<Vec<_>>(), ["10.9.0.7/16"]);
    assert_eq!(result.cni_version, Version::V0_3_1);
    assert_eq!(world.calls(), ["healthy", "allocate blue/web net1"]);
    let log = std::fs::read_to_string(world.directory.path().join("spiderpool.log")).unwrap();
    assert!(log.contains("asking for addresses") && log.contains("10.9.0.7/16"), "{log}");
}

#[test]
fn nothing_is_asked_for_a_version_or_a_namespace_that_will_not_do() {
    let world = World::new(Mood::Well);
    let mut conf = world.conf();
    conf["cniVersion"] = json!("0.2.0");
    assert_eq!(world.call_with(Verb::Add, ARGS, NETNS, &conf).unwrap_err().code, 1);
    let error = world.call_with(Verb::Add, ARGS, "/run/netns/gone", &world.conf()).unwrap_err();
    assert!(error.msg.starts_with(PREFIX) && error.msg.contains("/run/netns/gone"), "{error}");
    assert!(world.call_with(Verb::Add, "X=1", NETNS, &world.conf()).is_err());
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn errors_say_what_the_agent_says_and_for_whom() {
    let world = World::new(Mood::Refuses(500));
    let error = world.call(Verb::Add).unwrap_err();
    assert_eq!(
        (error.code, error.msg.as_str()),
        (999, "spiderpool IP allocation error: no IPPool available")
    );
    assert!(error.details.contains("pod blue/web") && error.details.contains("net1"), "{error}");
}

#[test]
fn an_agent_that_stays_away_is_an_error_and_one_that_comes_back_is_not() {
    let world = World::new(Mood::Away);
    let agent = world.agent.clone();
    let back = std::thread::spawn(move || {
        while agent.calls.lock().unwrap().len() < 2 {
            std::thread::yield_now();
        }
        *agent.mood.lock().unwrap() = Mood::Well;
    });
    assert!(world.call(Verb::Add).is_ok());
    back.join().unwrap();
    let asked = world.calls();
    assert!(asked.len() >= 3 && asked.last().is_some_and(|call| call.starts_with("allocate")), "{asked:?}");
    *world.agent.mood.lock().unwrap() = Mood::Away;
    let mut conf = world.conf();
    conf["cniVersion"] = json!("1.1.0");
    assert_eq!(world.call_with(Verb::Status, "", "", &conf).unwrap_err().code, 50);
    let deadline = Instant::now() + Duration::from_millis(1);
    assert!(wait_for(world.agent.as_ref(), deadline).is_err());
}

#[test]
fn a_release_that_nobody_takes_waits_on_disk() {
    for mood in [Mood::Away, Mood::Refuses(500)] {
        let world = World::new(mood);
        assert_eq!(world.call(Verb::Del), Ok(Output::Empty));
        assert_eq!(world.call(Verb::Del), Ok(Output::Empty));
        assert_eq!(world.waiting(), ["web net1"]);
    }
}

#[test]
fn a_release_that_is_taken_or_refused_for_good_does_not_wait() {
    let world = World::new(Mood::Well);
    assert_eq!(world.call(Verb::Del), Ok(Output::Empty));
    assert_eq!(world.calls(), ["healthy", "release blue/web net1"]);
    *world.agent.mood.lock().unwrap() = Mood::Refuses(422);
    assert_eq!(world.call(Verb::Del), Ok(Output::Empty));
    assert_eq!(world.waiting(), [""; 0]);
}

#[test]
fn del_needs_neither_namespace_nor_sound_arguments() {
    let world = World::new(Mood::Well);
    let args = "K8S_POD_NAMESPACE=blue;K8S_POD_NAME=web;X=1";
    let mut conf = world.conf();
    conf["ipam"]["clean_gateway"] = json!(true);
    assert_eq!(world.call_with(Verb::Del, args, "", &conf), Ok(Output::Empty));
    assert_eq!(world.calls(), ["healthy", "release blue/web net1"]);
    // Without a pod there can be no address.
    assert_eq!(world.call_with(Verb::Del, "", "", &conf), Ok(Output::Empty));
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn a_release_that_can_neither_be_told_nor_written_is_an_error() {
    let world = World::new(Mood::Away);
    std::fs::write(world.directory.path().join("releases"), "in the way").unwrap();
    let error = world.call(Verb::Del).unwrap_err();
    assert!(error.msg.contains("cannot be reached") && error.msg.contains("releases"), "{error}");
}

#[test]
fn check_and_gc_do_nothing() {
    let world = World::new(Mood::Away);
    let mut conf = world.conf();
    conf["cniVersion"] = json!("1.1.0");
    for verb in [Verb::Check, Verb::Gc] {
        assert_eq!(world.call_with(verb, ARGS, NETNS, &conf), Ok(Output::Empty));
    }
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn a_main_plugin_finds_it_by_its_type() {
    let world = World::new(Mood::Well);
    assert!(world.registry.find("spiderpool", "/nowhere").is_ok());
}

const GATEWAY: &str = "10.9.0.1";

fn station(world: &World, ip: &str) {
    world.door.set_station(ip.parse().unwrap(), "02:00:00:00:00:99".parse().unwrap());
}

/// ADD by our own macvlan, which makes the interface after the addresses are known.
fn attach(world: &World) -> Result<Output, Error> {
    let mut conf = world.conf();
    conf["master"] = json!("eth0");
    let invocation = Invocation { args: ARGS.into(), ..testing::invocation(&conf) };
    invoke(&world.registry.plugin("macvlan").unwrap(), Verb::Add, &invocation)
}

#[test]
fn a_new_interface_is_probed_when_it_is_there_and_goes_on_a_conflict() {
    let world = World::new(Mood::Well);
    *world.agent.detects.lock().unwrap() = true;
    station(&world, GATEWAY);
    let before = world.door.snapshot();
    station(&world, "10.9.0.7");
    let error = attach(&world).unwrap_err();
    let expected = "ip conflict: pod's interface net1 with an conflicting ip 10.9.0.7, 10.9.0.7 is located at 02:00:00:00:00:99";
    assert_eq!(error.msg, format!("{PREFIX}: {expected}"));
    assert!(world.calls().contains(&"batch blue/web net1".to_owned()), "the address goes back");
    assert_eq!(world.door.snapshot(), before);
    assert!(!world.directory.path().join("state/spiderpool/c1").exists());
}

#[test]
fn a_silent_gateway_is_an_error_and_a_well_interface_is_announced() {
    let world = World::new(Mood::Well);
    *world.agent.detects.lock().unwrap() = true;
    let error = attach(&world).unwrap_err();
    assert_eq!(error.msg, format!("{PREFIX}: gateway {GATEWAY} is unreachable"));
    station(&world, GATEWAY);
    attach(&world).unwrap();
    let announced: Vec<String> = world.door.announced().iter().map(|news| news.ip.to_string()).collect();
    assert_eq!(announced, ["10.9.0.7"]);
}

#[test]
fn an_interface_that_is_there_before_is_probed_at_once() {
    let world = World::new(Mood::Well);
    *world.agent.detects.lock().unwrap() = true;
    station(&world, GATEWAY);
    world.door.pod(NETNS, |pod| {
        pod.physical("net1");
    });
    world.call(Verb::Add).unwrap();
    station(&world, "10.9.0.7");
    let error = world.call(Verb::Add).unwrap_err();
    assert!(error.msg.contains("ip conflict") && error.msg.contains("02:00:00:00:00:99"), "{error}");
    assert!(world.calls().contains(&"batch blue/web net1".to_owned()));
}
