//! Configurations in, requests and results out, with an API server's place taken by a list.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb};
use polynic_kernel::FakeDoor;
use polynic_wire::whereabouts::{Whereabouts as Service, WhereaboutsRequest};
use polynic_wire::{AddressService, AddressServices, Sockets};
use serde_json::{Value, json};

use super::Whereabouts;
use crate::Context;
use crate::Plugin as _;

/// Gives the n-th address of each range, and keeps what it was asked.
#[derive(Clone, Default)]
struct List {
    asked: Arc<Mutex<Vec<WhereaboutsRequest>>>,
    broken: bool,
}

impl Service for List {
    fn allocate(&self, request: &WhereaboutsRequest, _: Instant) -> Result<Vec<IpAddr>, String> {
        self.asked.lock().unwrap().push(request.clone());
        if self.broken {
            return Err("no answer".into());
        }
        let address = |range: &str| if range.contains(':') { "fd00::5" } else { "10.0.0.5" };
        Ok(request.ranges.iter().map(|range| address(&range.range).parse().unwrap()).collect())
    }

    fn release(&self, request: &WhereaboutsRequest, _: Instant) -> Result<(), String> {
        self.asked.lock().unwrap().push(request.clone());
        if self.broken { Err("no answer".into()) } else { Ok(()) }
    }

    fn check(&self, _: &WhereaboutsRequest, _: Instant) -> Result<(), String> {
        if self.broken { Err("no address".into()) } else { Ok(()) }
    }
}

impl AddressServices for List {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        Sockets.at(socket)
    }

    fn whereabouts(&self) -> Arc<dyn Service> {
        Arc::new(self.clone())
    }
}

const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=web-0";

fn call(list: &List, verb: Verb, ipam: &Value, args: &str, version: &str) -> Result<Output, Error> {
    let conf = json!({"cniVersion": version, "name": "lan", "type": "macvlan", "ipam": ipam});
    let invocation = Invocation {
        container_id: "c1".into(),
        netns: "/run/netns/pod".into(),
        ifname: "net1".into(),
        args: args.into(),
        ..Invocation::default()
    };
    let conf = PluginConf::parse(conf.to_string().as_bytes()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let context = Context {
        door: &FakeDoor::new(),
        state: directory.path(),
        delegate: &polynic_cni::Exec::default(),
        addresses: list,
        releases: &polynic_wire::ReleaseJournal::new(directory.path()),
        seed: &|| 7,
        warn: &|_| {},
    };
    Whereabouts { directories: &[] }.call(&context, verb, &invocation, &conf)
}

fn add(list: &List, ipam: &Value, args: &str) -> Result<Success, Error> {
    call(list, Verb::Add, ipam, args, "1.0.0")?.into_success("test")
}

fn ipam(more: Value) -> Value {
    let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24", "kubernetes": {"kubeconfig": "/k"}});
    more.as_object().unwrap().iter().for_each(|(key, value)| ipam[key] = value.clone());
    ipam
}

#[test]
fn every_key_reaches_request_or_result() {
    let list = List::default();
    let ipam = ipam(
        json!({"range_start": "10.0.0.5", "range_end": "10.0.0.9", "exclude": ["10.0.0.7/32"], "network_name": "blue",
        "gateway": "10.0.0.1", "enable_overlapping_ranges": false, "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "lan"},
        "ipRanges": [{"range": "fd00::/64"}], "addresses": [{"address": "10.9.0.5/16", "gateway": "10.9.0.1"}]}),
    );
    let result = add(&list, &ipam, &format!("{ARGS};IP=10.8.0.5/16;GATEWAY=10.8.0.1")).unwrap();
    let text = |ip: &polynic_cni::Ip| format!("{} via {}", ip.address, ip.gateway.unwrap());
    let expected = [
        "10.0.0.5/24 via 10.0.0.1",
        "fd00::5/64 via 10.0.0.1",
        "10.9.0.5/16 via 10.9.0.1",
        "10.8.0.5/16 via 10.8.0.1",
    ];
    assert_eq!(result.ips.iter().map(text).collect::<Vec<_>>(), expected);
    assert_eq!((result.routes.len(), result.dns.domain.as_str(), result.interfaces.len()), (1, "lan", 0));
    let asked = list.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.podref.as_str(), asked.network_name.as_str(), asked.overlapping),
        ("blue/web-0", "blue", false)
    );
    assert_eq!((asked.ranges[0].start.as_str(), asked.ranges[0].end.as_str()), ("10.0.0.5", "10.0.0.9"));
    assert_eq!(asked.ranges[0].exclude, ["10.0.0.7/32"]);
    assert_eq!((asked.ranges[1].range.as_str(), asked.slice.clone()), ("fd00::/64", None));
}

#[test]
fn the_flat_file_fills_what_the_network_leaves_open_but_not_overlap_protection() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("whereabouts.conf");
    let flat = json!({"datastore": "kubernetes", "kubernetes": {"kubeconfig": "/flat"}, "network_name": "flat", "gateway": "10.0.0.9",
        "enable_overlapping_ranges": false, "node_slice_size": "/26"});
    std::fs::write(&file, flat.to_string()).unwrap();
    std::fs::write(directory.path().join("nodename"), "node7\n").unwrap();
    let list = List::default();
    let ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24", "configuration_path": file, "gateway": "10.0.0.1", "network_name": ""});
    let result = add(&list, &ipam, ARGS).unwrap();
    assert_eq!(result.ips[0].gateway, Some("10.0.0.1".parse().unwrap()));
    let asked = list.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.kubeconfig.to_str(), asked.network_name.as_str(), asked.overlapping),
        (Some("/flat"), "flat", true)
    );
    let slice = asked.slice.unwrap();
    assert_eq!((slice.pool.as_str(), slice.node.as_str()), ("flat", "node7"));
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_asked() {
    let list = List::default();
    let error = |ipam: &Value, args: &str| add(&list, ipam, args).unwrap_err().msg;
    assert!(
        error(&json!({"type": "whereabouts", "range": "10.0.0.0/24"}), ARGS)
            .contains("kubernetes.kubeconfig is missing")
    );
    assert!(error(&ipam(json!({})), "IgnoreUnknown=1").contains("K8S_POD_NAME"));
    assert!(error(&ipam(json!({"gateway": "x"})), ARGS).contains("couldn't parse gateway IP"));
    let two = ipam(json!({"ipRanges": [{"range": "10.1.0.0/24"}]}));
    let old = call(&list, Verb::Add, &two, ARGS, "0.2.0").unwrap_err();
    assert!(old.msg.contains("more than 1 address per family"), "{old}");
    assert!(list.asked.lock().unwrap().is_empty());
}

#[test]
fn del_succeeds_whatever_happens_and_add_and_check_do_not() {
    let list = List { broken: true, ..List::default() };
    assert_eq!(add(&list, &ipam(json!({})), ARGS).unwrap_err().msg, "error at storage engine: no answer");
    assert!(call(&list, Verb::Check, &ipam(json!({})), ARGS, "1.0.0").is_err());
    assert!(call(&list, Verb::Del, &ipam(json!({})), ARGS, "1.0.0").is_ok());
    assert!(call(&list, Verb::Del, &json!({"type": "whereabouts"}), "", "1.0.0").is_ok());
    let status =
        call(&list, Verb::Status, &ipam(json!({"kubernetes": {"kubeconfig": "/nowhere"}})), "", "1.1.0");
    assert_eq!(status.unwrap_err().code, 50);
}

#[test]
fn a_log_file_that_is_asked_for_says_what_calls_did() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("logs/whereabouts.log");
    let (list, broken) = (List::default(), List { broken: true, ..List::default() });
    let lines = |level: &str| {
        let ipam = ipam(json!({"log_file": file, "log_level": level}));
        add(&list, &ipam, ARGS).unwrap();
        call(&broken, Verb::Del, &ipam, ARGS, "1.0.0").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["msg"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected =
        ["ADD in /run/netns/pod", "ADD succeeded", "DEL in /run/netns/pod", "DEL failed: no answer"];
    assert_eq!(lines("debug"), expected);
    assert_eq!(lines("verbose"), ["ADD succeeded", "DEL failed: no answer"]);
    assert_eq!(lines("error"), ["DEL failed: no answer"]);
    assert_eq!(lines("panic"), [""; 0]);
}

#[test]
fn a_log_that_cannot_be_written_keeps_no_pod_from_its_network() {
    let ipam = ipam(json!({"log_file": "/proc/nowhere/whereabouts.log", "log_level": "debug"}));
    assert_eq!(add(&List::default(), &ipam, ARGS).unwrap().ips.len(), 1);
}
