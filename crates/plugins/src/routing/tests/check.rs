//! CHECK notices whatever is gone, and a repeated ADD brings it back.

use polynic_cni::Verb;
use polynic_kernel::Door;
use polynic_net::{Change, IfName, Link, LinkKind, Object, Place, Stake, Step, Veth};
use serde_json::{Value, json};

use super::machine::{Machine, NETNS, Topology, with_prev};
use super::pods::{Pod, nic};

const TOPOLOGY: Topology =
    Topology { everywhere: true, tunnel: false, overlay: true, ipv4: true, ipv6: true, rp_filter: 1 };

fn pods() -> Vec<Pod> {
    let hijack = json!({"service_hijack_subnet": ["10.233.0.0/18", "fd00:96::/112"], "overlay_hijack_subnet": ["10.244.64.0/18"], "mac_prefix": "0a:1b"});
    let agent = polynic_wire::messages::CoordinatorConfig {
        mode: "auto".into(),
        service_cidr: vec!["10.233.0.0/18".into(), "fd00:96::/112".into()],
        tune_pod_routes: true,
        pod_mac_prefix: "0a:1b".into(),
        tx_queue_len: 500,
        veth_link_address: "169.254.100.1".into(),
        ..Default::default()
    };
    let pod = |plugin, overlay, keys: Value| {
        let first = if overlay { "net1" } else { "eth0" };
        let topology = Topology { overlay, ..TOPOLOGY };
        Pod { plugin, topology, nics: vec![nic(first, 0, true, true, true)], agent: agent.clone(), keys }
    };
    vec![
        pod("router", true, hijack.clone()),
        pod("veth", false, hijack),
        pod("coordinator", true, json!({})),
        pod("coordinator", false, json!({})),
    ]
}

/// Whether taking a step back by itself is something that can happen, and that plans promise to be so.
fn can_vanish(step: &Step) -> bool {
    let diff_creates = match &step.change.object {
        Object::Route(d) => d.before.is_none(),
        Object::Rule(d) => d.before.is_none(),
        Object::Neighbour(d) => d.before.is_none(),
        Object::Address(d) => d.before.is_none(),
        Object::Sysctl(_) | Object::Attr(_) => true,
        Object::Link(_) => step.stake == Stake::Owned,
        _ => false,
    };
    diff_creates && step.stake != Stake::Once && step.change.clone().inverse().is_some()
}

#[test]
fn check_fails_for_whatever_is_gone_and_a_repeated_add_brings_it_back() {
    for pod in pods() {
        let nic = &pod.nics[0];
        let machine = pod.machine();
        let prev = machine.attach(nic);
        let conf = pod.conf(nic);
        let result = machine.add(&nic.name, &conf, &prev).unwrap();
        let printed: Value = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
        let check = with_prev(&conf, &printed);
        machine.call(Verb::Check, &nic.name, &check).unwrap();
        let whole = machine.snapshot();
        let steps: Vec<Step> = machine.recorded().into_iter().filter(can_vanish).collect();
        assert!(steps.len() > 8, "{}: {steps:?}", pod.plugin);
        for step in steps {
            spoil(&machine, &step.change);
            let label = format!("{} without {}", pod.plugin, step.change);
            let outcome = machine.call(Verb::Check, &nic.name, &check);
            assert!(outcome.is_err(), "{label}");
            machine.add(&nic.name, &conf, &prev).unwrap_or_else(|e| panic!("{label}: {e:?}"));
            assert_eq!(whole.diff(&machine.snapshot()), Vec::<String>::new(), "{label}");
        }
    }
}

fn spoil(machine: &Machine, change: &Change) {
    let mut kernel = machine.door.open(Some(NETNS)).unwrap();
    kernel.apply(&change.clone().inverse().unwrap()).unwrap_or_else(|e| panic!("{change}: {e}"));
}

/// Settings of all links of the node are asked for once: the links of other pods come and go, and are not this pod's to keep.
#[test]
fn links_of_other_pods_may_go() {
    for pod in pods().into_iter().filter(|pod| pod.plugin != "coordinator") {
        let nic = &pod.nics[0];
        let machine = pod.machine();
        let other: IfName = "cali00000000000".parse().unwrap();
        let peer = Veth { place: Place::Host, name: "far".parse().unwrap(), mac: None, mtu: None };
        machine.door.host(|host| {
            host.change(&Change::create_link(Place::Host, Link::new(other.clone(), LinkKind::Veth(peer))));
            host.up("cali00000000000");
        });
        let prev = machine.attach(nic);
        let conf = pod.conf(nic);
        let result = machine.add(&nic.name, &conf, &prev).unwrap();
        let mut kernel = machine.door.open(Some(NETNS)).unwrap();
        kernel.delete_links(Place::Host, &[other]).unwrap();
        let whole = machine.snapshot();
        let printed: Value = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
        machine.call(Verb::Check, &nic.name, &with_prev(&conf, &printed)).unwrap();
        let rule = machine.recorded().into_iter().find(|step| matches!(step.change.object, Object::Rule(_)));
        let route =
            || machine.recorded().into_iter().find(|step| matches!(step.change.object, Object::Route(_)));
        spoil(&machine, &rule.or_else(route).unwrap().change);
        machine.add(&nic.name, &conf, &prev).unwrap();
        assert_eq!(whole.diff(&machine.snapshot()), Vec::<String>::new(), "{}", pod.plugin);
    }
}
