//! Whatever a plugin is fed, it answers with a result or an error object, and a refused ADD changes nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::time::Instant;

use polynic_cni::dispatch;
use polynic_kernel::FakeDoor;
use polynic_plugins::{Host, Registry, types};
use polynic_wire::{AddressService, ServiceError, messages};
use proptest::prelude::*;
use serde_json::{Value, json};

const NETNS: &str = "/run/netns/pod";

/// An agent that answers nothing but errors: what plugins do with addresses is not the question here.
struct NoAgent;

impl polynic_wire::AddressServices for NoAgent {
    fn at(&self, _: &std::path::Path) -> std::sync::Arc<dyn AddressService> {
        std::sync::Arc::new(NoAgent)
    }
}

fn no<T>() -> Result<T, ServiceError> {
    Err(ServiceError::status(500, "no IPPool available"))
}

impl AddressService for NoAgent {
    fn healthy(&self, _: Instant) -> Result<(), ServiceError> {
        no()
    }

    fn allocate(&self, _: &messages::AddRequest, _: Instant) -> Result<messages::AddResponse, ServiceError> {
        no()
    }

    fn release(&self, _: &messages::DelRequest, _: Instant) -> Result<(), ServiceError> {
        no()
    }

    fn release_batch(&self, _: &messages::BatchDelRequest, _: Instant) -> Result<(), ServiceError> {
        no()
    }

    fn coordinator_config(
        &self,
        _: &messages::PodIdentity,
        _: Instant,
    ) -> Result<messages::CoordinatorConfig, ServiceError> {
        no()
    }

    fn workload_endpoint(
        &self,
        _: &messages::PodIdentity,
        _: Instant,
    ) -> Result<messages::WorkloadEndpoint, ServiceError> {
        no()
    }
}

fn log_file(data: &str) -> String {
    format!("{data}/spiderpool.log")
}

fn seeds(data: &str) -> Vec<Value> {
    let host_local = json!({"type": "host-local", "dataDir": data, "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9",
        "rangeEnd": "10.1.0.99", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "table": 5}],
        "ranges": [[{"subnet": "fd00::/64"}]], "resolvConf": "/dev/null"});
    let fixed = json!({"type": "static", "addresses": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}],
        "routes": [{"dst": "10.0.0.0/8", "priority": 5, "mtu": 1400, "scope": 0}], "dns": {"nameservers": ["10.0.0.1"]}});
    let pools = json!({"type": "spiderpool", "log_level": "debug", "log_file_path": log_file(data), "log_file_max_size": "1",
        "default_ipv4_ippool": ["a", "b*"], "default_ipv6_ippool": [], "clean_gateway": true, "ipam_unix_socket_path": "/nowhere"});
    let mut confs = vec![
        json!({"type": "macvlan", "master": "eth0", "mode": "bridge", "mtu": 1400, "mac": "02:00:00:00:00:01", "linkInContainer": false, "bcqueuelen": 9, "ipam": host_local}),
        json!({"type": "bridge", "bridge": "br1", "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": "nftables", "vlan": 5, "vlanTrunk": [{"minID": 5, "maxID": 9}], "hairpinMode": true, "ipam": fixed}),
        json!({"type": "ptp", "ipMasq": true, "mtu": 1400, "dns": {"search": ["a"]}, "ipam": fixed}),
        json!({"type": "calico-like", "strictReversePath": true, "ipam": host_local}),
        json!({"type": "loopback"}),
        json!({"type": "passthru"}),
        // Without the daemon's file: its delegates would keep addresses outside of the test's directory.
        json!({"type": "flannel", "subnetFile": "/nowhere/subnet.env", "dataDir": data, "delegate": {"type": "bridge", "isDefaultGateway": true}}),
        json!({"type": "host-local", "ipam": host_local}),
        json!({"type": "static", "ipam": fixed}),
        json!({"type": "spiderpool", "ipam": pools}),
        json!({"type": "whereabouts", "ipam": {"type": "whereabouts", "range": "10.3.0.5-10.3.0.9/24", "exclude": ["10.3.0.6"], "ipRanges": [{"range": "fd03::/64"}],
            "gateway": "10.3.0.1", "kubernetes": {"kubeconfig": "/nowhere"}, "node_slice_size": "/26", "addresses": [{"address": "10.9.0.5/24"}]}}),
        json!({"type": "dhcp", "ipam": {"type": "dhcp", "daemonSocketPath": "/nowhere", "provide": [{"option": "host-name", "fromArg": "K8S_POD_NAME"}], "request": [{"option": "121", "skipDefault": true}], "priority": 9}}),
        json!({"type": "ipvlan", "master": "eth0", "mode": "l2", "mtu": 1400, "linkInContainer": false, "ipam": fixed}),
        json!({"type": "vlan", "master": "eth0", "vlanId": 7, "mtu": 1400, "ipam": fixed}),
        json!({"type": "dummy", "ipam": fixed}),
        json!({"type": "tap", "owner": 0, "group": 0, "multiQueue": true, "mtu": 1400, "bridge": "", "ipam": fixed}),
        json!({"type": "host-device", "device": "eth0", "hwaddr": "02:00:00:00:00:01", "kernelpath": "/sys/devices/x", "pciBusID": "0000:01:00.0"}),
        json!({"type": "sriov", "deviceID": "fast", "vlan": 100, "vlanQoS": 3, "vlanProto": "802.1ad", "spoofchk": "on", "trust": "off", "link_state": "auto",
            "min_tx_rate": 1, "max_tx_rate": 9, "mac": "02:00:00:00:00:01"}),
        json!({"type": "ifacer", "interfaces": ["eth0", "eth1"], "vlanID": 7, "bond": {"name": "bond0", "mode": 1, "options": "primary=eth0;miimon=100"}}),
        json!({"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_notify": "1"}, "mac": "02:00:00:00:00:01", "mtu": 1400, "promisc": true, "allmulti": false, "txQLen": 9, "dataDir": data}),
        json!({"type": "sbr", "table": 100, "gateways": ["10.1.0.1", "fd00::1"], "addSourceHints": true}),
        json!({"type": "vrf", "vrfname": "blue", "table": 9}),
        json!({"type": "router", "service_hijack_subnet": ["10.233.0.0/18"], "overlay_hijack_subnet": ["10.244.0.0/16"], "migrate_route": -1,
            "rp_filter": {"set_host": true, "value": 0}, "overlay_interface": "eth0", "mac_prefix": "0a:1b"}),
        json!({"type": "veth", "service_hijack_subnet": ["10.233.0.0/18"], "overlay_hijack_subnet": ["fd00:10:244::/56"], "migrate_route": 1}),
        json!({"type": "coordinator", "mode": "overlay", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.233.0.0/18"], "podDefaultRouteNIC": "net1",
            "podMACPrefix": "0a:1b", "hijackCIDR": ["169.254.0.0/16"], "tunePodRoutes": true, "txQueueLen": 5}),
        json!({"type": "portmap", "backend": "nftables", "snat": true, "masqAll": true, "markMasqBit": 9, "conditionsV4": ["ip", "saddr", "10.0.0.0/8"], "conditionsV6": ["!", "-d", "fd00::/8"]}),
        json!({"type": "bandwidth", "ingressRate": 1000, "ingressBurst": 8000, "egressRate": 1000, "egressBurst": 8000, "shapedSubnets": ["10.0.0.0/8"]}),
        json!({"type": "firewall", "backend": "iptables", "iptablesAdminChainName": "MINE", "firewalldZone": "trusted", "ingressPolicy": "same-bridge"}),
    ];
    for conf in &mut confs {
        conf["cniVersion"] = json!("1.1.0");
        conf["name"] = json!("lab");
        conf["args"] = json!({"cni": {"ips": ["10.1.0.20"], "mac": "02:00:00:00:00:02"}});
        conf["runtimeConfig"] = json!({"ips": ["10.9.0.5/24"], "mac": "02:00:00:00:00:03", "ipRanges": [[{"subnet": "10.2.0.0/24"}]],
            "portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp", "hostIP": "10.1.0.2"}], "bandwidth": {"ingressRate": 1000, "ingressBurst": 8000}});
        conf["prevResult"] = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "net1", "sandbox": NETNS}], "ips": [{"address": "10.1.0.9/24", "interface": 0}]});
        conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "net1"}]);
    }
    confs
}

/// What a value may become.
fn strange(n: u8) -> Value {
    match n % 13 {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(u64::MAX),
        3 => json!(1.5e300),
        4 => json!(""),
        5 => json!("x".repeat(5000)),
        6 => json!([[[]]]),
        7 => json!({"type": {"type": []}}),
        8 => json!(true),
        9 => json!("../../etc\u{0}passwd"),
        10 => json!("::ffff:10.0.0.1/200"),
        11 => json!("0.0.0.0/0"),
        _ => json!(["\u{1F600}", 4095, "fe80::1%eth0"]),
    }
}

/// Replaces, removes or doubles the value that `path` leads to.
fn bend(value: &mut Value, path: &[u8], how: u8) {
    let Some((first, rest)) = path.split_first() else {
        *value = strange(how);
        return;
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(usize::from(*first) % map.len()).unwrap().clone();
            match how % 16 {
                14 => drop(map.remove(&key)),
                15 => drop(map.insert(key.to_uppercase(), strange(*first))),
                _ => bend(map.get_mut(&key).unwrap(), rest, how),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let at = usize::from(*first) % list.len();
            bend(&mut list[at], rest, how);
        }
        other => *other = strange(how),
    }
}

/// Cuts, flips and repeats bytes.
fn damage(mut text: Vec<u8>, at: usize, how: u8) -> Vec<u8> {
    let at = at % text.len().max(1);
    match how % 8 {
        0 => text.truncate(at),
        1 => text[at] ^= 1 << (how >> 5),
        2 => drop(text.drain(at..(at + usize::from(how)).min(text.len()))),
        3 => text.insert(at, how),
        4 => text = [&text[..], &text[at..]].concat(),
        5 => text = vec![b'['; 20_000],
        _ => {}
    }
    text
}

#[derive(Clone, Debug)]
struct Case {
    seed: usize,
    bends: Vec<(Vec<u8>, u8)>,
    damage: Option<(usize, u8)>,
    verb: &'static str,
    args: String,
    ifname: String,
}

fn cases() -> impl Strategy<Value = Case> {
    let bends = prop::collection::vec((prop::collection::vec(any::<u8>(), 1..5), any::<u8>()), 0..3);
    let damage = prop::option::weighted(0.3, (any::<usize>(), any::<u8>()));
    let verb = prop::sample::select(vec![
        "ADD", "ADD", "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "BOGUS", "",
    ]);
    let args = prop_oneof![Just("IgnoreUnknown=1;K8S_POD_NAME=web".to_owned()), "[A-Z=;,0-9.]{0,30}"];
    let ifname = prop_oneof![Just("net1".to_owned()), ".{0,20}"];
    (any::<usize>(), bends, damage, verb, args, ifname).prop_map(
        |(seed, bends, damage, verb, args, ifname)| Case { seed, bends, damage, verb, args, ifname },
    )
}

/// One world for all cases: what one leaves behind, the next has to live with.
struct Bench {
    door: FakeDoor,
    registry: Registry,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let door = FakeDoor::new();
        door.host(|host| {
            host.physical("eth0").address("eth0", "10.1.0.2/24").route("0.0.0.0/0", Some("10.1.0.1"), "eth0");
        });
        door.add_netns(NETNS);
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(Host {
            door: Box::new(door.clone()),
            state: directory.path().join("state"),
            executable: None,
            addresses: Box::new(NoAgent),
            releases: polynic_wire::ReleaseJournal::new(directory.path().join("releases")),
            seed: Box::new(|| 7),
            warn: Box::new(|_| {}),
        });
        Self { door, registry, directory }
    }

    fn stdin(&self, case: &Case) -> (String, Vec<u8>) {
        let seeds = seeds(self.directory.path().join("data").to_str().unwrap());
        let mut conf = seeds[case.seed % seeds.len()].clone();
        let plugin = conf["type"].as_str().unwrap().to_owned();
        for (path, how) in &case.bends {
            bend(&mut conf, path, *how);
        }
        // Whatever else is bent, addresses are kept in the test's own directory.
        if let Some(ipam) = conf.get_mut("ipam").and_then(Value::as_object_mut) {
            ipam.insert("dataDir".to_owned(), json!(self.directory.path().join("data")));
            ipam.insert(
                "log_file_path".to_owned(),
                json!(log_file(self.directory.path().join("data").to_str().unwrap())),
            );
        }
        let text = conf.to_string().into_bytes();
        (plugin, case.damage.map_or(text.clone(), |(at, how)| damage(text, at, how)))
    }
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// Damage may hit the path of the store: then the request would write outside of the test's directory. The files of `sriov` are where no key
/// leads away from: it is fed what ends before it writes there.
fn stays_inside(bench: &Bench, (plugin, verb): (&str, &str), stdin: &[u8]) -> bool {
    let Ok(conf) = serde_json::from_slice::<Value>(stdin) else { return true };
    if plugin == "sriov" {
        return verb != "GC" && !conf["deviceID"].as_str().unwrap_or_default().contains(':');
    }
    let data = bench.directory.path().join("data");
    let data = data.to_string_lossy();
    let (ipam, log) = (&conf["ipam"], log_file(&data));
    let is = |key: &str, value: &str| ipam[key].as_str() == Some(value);
    ipam.is_null() || is("dataDir", &data) && is("log_file_path", &log)
}

fn feed(bench: &Bench, case: &Case) -> Result<(), TestCaseError> {
    let (plugin, stdin) = bench.stdin(case);
    prop_assume!(stays_inside(bench, (&plugin, case.verb), &stdin));
    let env = [
        ("CNI_COMMAND", case.verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", NETNS),
        ("CNI_IFNAME", &case.ifname),
        ("CNI_ARGS", &case.args),
        ("CNI_PATH", "/nowhere"),
    ];
    let env = env.map(|(k, v)| (OsString::from(k), OsString::from(v)));
    let before = bench.door.snapshot();
    let main = bench.registry.plugin(&plugin).unwrap();
    let answer = dispatch(&main, env, &mut stdin.as_slice());
    if answer.code == 0 {
        prop_assert!(answer.stdout.is_empty() || serde_json::from_str::<Value>(&answer.stdout).is_ok());
        return Ok(());
    }
    let error: Value =
        serde_json::from_str(&answer.stdout).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert!(
        error["code"].is_u64() && !error["msg"].as_str().unwrap_or_default().is_empty(),
        "{}",
        error
    );
    prop_assert!(!answer.stdout.contains("panicked"), "{}", error);
    if case.verb == "ADD" {
        let changed = before.diff(&bench.door.snapshot());
        prop_assert!(changed.is_empty(), "{} changed {:#?} and said {}", plugin, changed, error);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn mutated_requests_get_an_answer(case in cases()) {
        BENCH.with(|bench| feed(bench, &case))?;
    }
}

#[test]
fn every_builtin_plugin_is_among_the_seeds() {
    let seeds: Vec<String> = seeds("/x").iter().map(|s| s["type"].as_str().unwrap().to_owned()).collect();
    for plugin in types() {
        assert!(seeds.iter().any(|s| s == plugin), "{plugin}");
    }
}
