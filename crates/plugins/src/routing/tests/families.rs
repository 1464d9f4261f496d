//! What the golden files leave out: IPv6, both families, mixed ones, three interfaces and more, other names (spec/coordinator.md
//! sections 2 to 4, 7.10).

use polynic_net::{Family, NsFacts, Rule, TABLE_MAIN};
use serde_json::{Value, json};

use super::machine::{CALI, Machine, Nic, Topology};
use super::pods::nic;

const BOTH: Topology =
    Topology { everywhere: true, tunnel: false, overlay: true, ipv4: true, ipv6: true, rp_filter: 0 };

fn agent(default_nic: &str) -> polynic_wire::messages::CoordinatorConfig {
    polynic_wire::messages::CoordinatorConfig {
        mode: "auto".into(),
        overlay_pod_cidr: vec!["10.244.64.0/18".into(), "fd00:244::/56".into()],
        service_cidr: vec!["10.233.0.0/18".into(), "fd00:96::/112".into()],
        tune_pod_routes: true,
        pod_default_route_nic: default_nic.into(),
        ..Default::default()
    }
}

fn hijack(plugin: &str) -> Value {
    json!({"cniVersion": "0.4.0", "name": "lan", "type": plugin, "service_hijack_subnet": ["10.233.0.0/18", "fd00:96::/112"],
        "overlay_hijack_subnet": ["10.244.64.0/18", "fd00:244::/56"]})
}

fn coordinator() -> Value {
    json!({"cniVersion": "0.4.0", "name": "lan", "type": "coordinator"})
}

fn add(machine: &Machine, nic: &Nic, conf: &Value) {
    let prev = machine.attach(nic);
    let mut conf = conf.clone();
    conf["name"] = json!(format!("lan-{}", nic.name));
    machine.add(&nic.name, &conf, &prev).unwrap_or_else(|e| panic!("{}: {e:?}", nic.name));
}

/// Rules of a family without the kernel's own: `PRIORITY SELECTOR TABLE`.
fn rules(ns: &NsFacts, family: Family) -> Vec<String> {
    let mut list: Vec<&Rule> =
        ns.rules.iter().filter(|r| r.family == family && ![0, 32766, 32767].contains(&r.priority)).collect();
    list.sort_by_key(|r| r.priority);
    let selector = |r: &Rule| match (r.from, r.to, r.mark) {
        (Some(from), ..) => format!("from {}", from.addr()),
        (_, Some(to), _) => format!("to {to}"),
        (.., Some((mark, _))) => format!("mark {mark}"),
        _ => "all".into(),
    };
    list.into_iter().map(|r| format!("{} {} {}", r.priority, selector(r), r.table)).collect()
}

/// Routes of a family in a table, without the link-local network: `DST [via GW] LINK [src SRC] [metric N]`.
fn routes(ns: &NsFacts, family: Family, table: u32) -> Vec<String> {
    let wanted = |r: &&polynic_net::Route| {
        r.family() == family && r.table == table && !r.dst.to_string().starts_with("fe80::/64")
    };
    let text = |r: &polynic_net::Route| {
        let dst = if r.is_default() { "default".into() } else { r.dst.to_string() };
        let via = r.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
        let src = r.src.map(|src| format!(" src {src}")).unwrap_or_default();
        let metric =
            if [0, 1024].contains(&r.priority) { String::new() } else { format!(" metric {}", r.priority) };
        format!("{dst}{via} {}{src}{metric}", r.link.as_ref().unwrap())
    };
    let mut list: Vec<String> = ns.routes.iter().filter(wanted).map(text).collect();
    list.sort();
    list
}

#[test]
fn the_overlays_first_call_with_both_families() {
    let machine = Machine::new(Topology { everywhere: false, ..BOTH });
    machine.agent.says(Some(agent("")));
    add(&machine, &nic("net1", 0, true, true, true), &coordinator());
    let pod = machine.pod();
    assert_eq!(
        rules(&pod, Family::V4),
        [
            "32764 from 10.244.90.5 100".into(),
            format!("32765 from {} 101", own(&machine, "net1", Family::V4))
        ]
    );
    assert_eq!(
        rules(&pod, Family::V6),
        ["32764 from fd00:244::5 100".into(), format!("32765 from {} 101", v6(&machine, "net1"))]
    );
    assert_eq!(
        routes(&pod, Family::V6, TABLE_MAIN),
        [
            "default via fe80::eeee eth0",
            "fd00:19::/64 net1 metric 256",
            "fd00:19::2/128 eth0",
            "fd00:244::/56 via fd00:19::2 eth0",
            "fd00:244::5/128 eth0 metric 256",
            "fd00:96::/112 via fd00:19::2 eth0",
            "fe80::eeee/128 eth0",
        ]
    );
    assert_eq!(routes(&pod, Family::V6, 100), ["default via fe80::eeee eth0"]);
    // IPv6 routes carry no source, and copies are new routes with the usual metric.
    assert_eq!(
        routes(&pod, Family::V6, 101),
        [
            "default via fd00:19::1 net1",
            "fd00:19::/64 net1",
            "fd00:19::2/128 eth0",
            "fd00:244::/56 via fd00:19::2 eth0",
            "fd00:96::/112 via fd00:19::2 eth0",
        ]
    );
    let host = machine.facts().host;
    assert_eq!(rules(&host, Family::V6), ["1000 all 500"]);
    assert_eq!(routes(&host, Family::V6, 500), [format!("{}/128 {CALI}", v6(&machine, "net1"))]);
}

/// The first address of a pod's link.
fn own(machine: &Machine, link: &str, family: Family) -> String {
    let pod = machine.pod();
    let link = link.parse().unwrap();
    let mut own = pod.addresses_of(&link).filter(|a| Family::of(a.net.addr()) == family && a.is_global());
    own.next().unwrap().net.addr().to_string()
}

fn v6(machine: &Machine, link: &str) -> String {
    own(machine, link, Family::V6)
}

#[test]
fn a_pod_with_ipv6_alone_has_no_trace_of_ipv4() {
    for (conf, overlay) in
        [(coordinator(), true), (coordinator(), false), (hijack("router"), true), (hijack("veth"), false)]
    {
        let machine = Machine::new(Topology { ipv4: false, overlay, ..BOTH });
        let mut config = agent("");
        config.veth_link_address = "169.254.100.1".into();
        machine.agent.says(Some(config));
        add(&machine, &nic(if overlay { "net1" } else { "eth0" }, 0, false, true, true), &conf);
        let facts = machine.facts();
        let pod = facts.pod.as_ref().unwrap();
        for ns in [pod, &facts.host] {
            assert_eq!(rules(ns, Family::V4), Vec::<String>::new(), "{conf}");
            assert!(ns.routes.iter().all(|r| r.family() == Family::V6), "{conf}");
            assert!(ns.neighbours.iter().all(|n| n.ip.is_ipv6()), "{conf}");
            assert!(
                ns.addresses.iter().all(|a| a.net.addr().is_ipv6() || a.net.addr().is_loopback()),
                "{conf}"
            );
        }
        assert!(!pod.neighbours.is_empty() && !facts.host.neighbours.is_empty(), "{conf}");
    }
}

#[test]
fn router_moves_ipv6_with_all_attributes_and_removes_a_lone_default_route() {
    let machine = Machine::new(BOTH);
    add(&machine, &nic("net1", 0, true, true, true), &hijack("router"));
    add(&machine, &nic("net2", 1, true, true, true), &hijack("router"));
    let pod = machine.pod();
    let n1 = v6(&machine, "net1");
    assert_eq!(
        rules(&pod, Family::V6),
        [
            format!("32761 from {n1} 101"),
            format!("32762 to {n1}/64 101"),
            "32763 from fd00:244::5 100".into(),
            "32764 to fd00:96::/112 100".into(),
            "32765 to fd00:244::/56 100".into(),
        ]
    );
    assert!(
        !routes(&pod, Family::V6, TABLE_MAIN)
            .iter()
            .any(|r| r.starts_with("default") && !r.ends_with("net2"))
    );
    assert!(routes(&pod, Family::V6, 101).contains(&"fd00:19::/64 net1 metric 256".into()));
    assert!(routes(&pod, Family::V6, 100).contains(&"fe80::eeee/128 eth0".into()));
}

#[test]
fn four_interfaces_have_four_tables() {
    let nics: Vec<Nic> = [("net1", 0), ("net2", 1), ("net3", 2), ("net4", 0)]
        .into_iter()
        .map(|(name, network)| nic(name, network, true, false, true))
        .collect();
    let machine = Machine::new(Topology { ipv6: false, ..BOTH });
    machine.agent.says(Some(agent("")));
    nics.iter().for_each(|nic| add(&machine, nic, &coordinator()));
    let pod = machine.pod();
    for (at, nic) in nics.iter().enumerate() {
        let table = 101 + at as u32;
        let (net, gateway) = &nic.addresses[0];
        let address = net.split('/').next().unwrap();
        assert!(rules(&pod, Family::V4).iter().any(|r| r.ends_with(&format!(" from {address} {table}"))));
        let default = format!("default via {} {}", gateway.as_ref().unwrap(), nic.name);
        let list = routes(&pod, Family::V4, table);
        assert!(
            list.contains(&default)
                && list.contains(&"10.233.0.0/18 via 172.19.0.2 eth0 src 10.244.90.5".into()),
            "{list:?}"
        );
    }
    assert_eq!(routes(&pod, Family::V4, TABLE_MAIN).iter().filter(|r| r.starts_with("default")).count(), 1);
}

/// The default route of a family that no other interface has one of stays.
#[test]
fn mixed_families() {
    let all = |machine: &Machine, net2: (bool, bool)| {
        machine.agent.says(Some(agent("")));
        add(machine, &nic("net1", 0, true, false, true), &coordinator());
        add(machine, &nic("net2", 1, net2.0, net2.1, true), &coordinator());
        (rules(&machine.pod(), Family::V6), routes(&machine.pod(), Family::V6, TABLE_MAIN))
    };
    let default = "default via fd00:66::1 net2".to_owned();
    let from_net2 = |machine: &Machine| vec![format!("32765 from {} 102", v6(machine, "net2"))];

    let both = Machine::new(BOTH);
    let (rules, main) = all(&both, (false, true));
    assert_eq!(rules, from_net2(&both));
    assert!(!main.contains(&default) && routes(&both.pod(), Family::V6, 102).contains(&default));

    // No interface has a default route of its family: nothing to choose between.
    let (rules, main) = all(&Machine::new(Topology { ipv6: false, ..BOTH }), (false, true));
    assert_eq!(rules, Vec::<String>::new());
    assert!(main.contains(&default));

    // Of its other family one has: it gets a table for both, and the only default route stays in main, too.
    let machine = Machine::new(Topology { ipv6: false, ..BOTH });
    let (rules, main) = all(&machine, (true, true));
    assert_eq!(rules, from_net2(&machine));
    assert!(main.contains(&default) && routes(&machine.pod(), Family::V6, 102).contains(&default));
}

#[test]
fn names_of_interfaces_do_not_matter_to_coordinator() {
    let machine = Machine::new(Topology { ipv6: false, ..BOTH });
    machine.agent.says(Some(agent("storage")));
    add(&machine, &nic("rdma", 0, true, false, true), &coordinator());
    add(&machine, &nic("storage", 1, true, false, true), &coordinator());
    let pod = machine.pod();
    assert!(routes(&pod, Family::V4, TABLE_MAIN).contains(&"default via 10.66.0.1 storage".into()));
    assert!(routes(&pod, Family::V4, 101).contains(&"default via 172.19.0.1 rdma".into()));
    assert!(routes(&pod, Family::V4, 102).contains(&"default via 169.254.1.1 eth0".into()));
    let first = Machine::new(Topology { overlay: false, ipv6: false, ..BOTH });
    first.agent.says(Some(agent("")));
    let mut conf = coordinator();
    conf["podDefaultCniNic"] = json!("ens1");
    add(&first, &nic("ens1", 0, true, false, true), &conf);
    add(&first, &nic("ens2", 1, true, false, true), &conf);
    let pod = first.pod();
    let source = "172.19.24.";
    assert!(
        routes(&pod, Family::V4, 100)[0].starts_with(&format!("default via 172.19.0.2 veth0 src {source}"))
    );
    assert!(routes(&pod, Family::V4, 101).contains(&"default via 10.66.0.1 ens2".into()));
}

#[test]
fn a_default_route_interface_takes_over_when_it_comes_and_one_that_never_comes_changes_nothing() {
    let machine = Machine::new(Topology { ipv6: false, ..BOTH });
    machine.agent.says(Some(agent("net2")));
    add(&machine, &nic("net1", 0, true, false, true), &coordinator());
    let defaults = |machine: &Machine| {
        let list = routes(&machine.pod(), Family::V4, TABLE_MAIN);
        list.into_iter().filter(|r| r.starts_with("default")).collect::<Vec<_>>()
    };
    assert_eq!(defaults(&machine), ["default via 169.254.1.1 eth0"]);
    add(&machine, &nic("net2", 1, true, false, true), &coordinator());
    assert_eq!(defaults(&machine), ["default via 10.66.0.1 net2"]);
    // Without a default route of its own it never takes the pod's away.
    let machine = Machine::new(Topology { ipv6: false, ..BOTH });
    machine.agent.says(Some(agent("net1")));
    add(&machine, &nic("net1", 0, true, false, false), &coordinator());
    assert_eq!(defaults(&machine), ["default via 169.254.1.1 eth0"]);
}
