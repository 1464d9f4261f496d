//! Routes with several next hops: the pod's default route leads through two links, and one of them gives way.

use polynic_cni::Verb;
use polynic_net::{IfName, NextHop, Place, Route, TABLE_MAIN};
use polynic_wire::messages::CoordinatorConfig;
use serde_json::{Value, json};

use super::machine::{Machine, NETNS, Topology};
use super::pods::nic;

const OVERLAY: Topology =
    Topology { everywhere: true, tunnel: false, overlay: true, ipv4: true, ipv6: false, rp_filter: 0 };

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn hop(link: &str, gw: &str) -> NextHop {
    NextHop { link: name(link), gw: Some(gw.parse().unwrap()), onlink: false, weight: 2 }
}

/// A pod whose overlay has two links, and half of what leaves it goes by each: in place of its default route.
fn machine(first: &str) -> Machine {
    let machine = Machine::new(OVERLAY);
    machine.agent.says(Some(CoordinatorConfig {
        mode: "auto".into(),
        tune_pod_routes: true,
        pod_default_route_nic: "net1".into(),
        ..Default::default()
    }));
    machine.attach(&super::machine::Nic {
        name: "side".into(),
        master: "eth2".into(),
        addresses: vec![("10.77.24.9/16".into(), None)],
    });
    let old = machine.pod().routes.into_iter().find(|r| r.is_default()).unwrap();
    let hops = [hop("eth0", "169.254.1.1"), hop("side", "10.77.0.1")];
    let (one, other) = if first == "eth0" { (0, 1) } else { (1, 0) };
    let NextHop { link, gw, onlink, weight } = hops[one].clone();
    let both = Route {
        link: Some(link),
        gw,
        onlink,
        weight,
        more: vec![hops[other].clone()],
        mtu: 1400,
        ..old.clone()
    };
    machine.door.pod(NETNS, |pod| {
        pod.change(&polynic_net::Change::delete_route(Place::Pod, old));
        pod.exact_route(both);
    });
    machine
}

fn defaults(machine: &Machine, table: u32) -> Vec<String> {
    let routes = machine.pod().routes;
    routes.iter().filter(|r| r.is_default() && r.table == table).map(ToString::to_string).collect()
}

fn confs() -> [Value; 2] {
    let router = json!({"cniVersion": "0.4.0", "name": "lan", "type": "router", "service_hijack_subnet": ["10.233.0.0/18"],
        "overlay_hijack_subnet": ["10.244.64.0/18"]});
    [router, json!({"cniVersion": "0.4.0", "name": "lan", "type": "coordinator"})]
}

#[test]
fn the_hop_of_the_link_that_gives_way_goes_and_the_others_stay() {
    for conf in confs() {
        for first in ["eth0", "side"] {
            let machine = machine(first);
            let before = machine.snapshot();
            let prev = machine.attach(&nic("net1", 0, true, false, true));
            machine.add("net1", &conf, &prev).unwrap();
            let table = if conf["type"] == "router" { 100 } else { 101 };
            let moved = format!("default via 169.254.1.1 dev eth0 table {table}");
            assert_eq!(defaults(&machine, table), [moved], "{conf} {first}");
            let mut main = defaults(&machine, TABLE_MAIN);
            main.sort();
            assert_eq!(main, ["default via 10.77.0.1 dev side", "default via 172.19.0.1 dev net1"], "{conf}");
            let mtus = machine.pod().routes.into_iter().filter(|r| r.is_default() && r.uses(&name("eth0")));
            assert!(mtus.into_iter().all(|r| r.mtu == 1400 && r.more.is_empty() && r.weight == 0));
            machine.call(Verb::Del, "net1", &conf).unwrap();
            machine.detach("net1");
            let left: Vec<String> = before
                .diff(&machine.snapshot())
                .into_iter()
                .filter(|l| !l.contains("sysctl") && !l.contains("rule"))
                .collect();
            assert_eq!(left, Vec::<String>::new(), "{conf} {first}");
        }
    }
}
