//! Properties over pods: one to four interfaces, families, options. Whatever step fails, the state is as before; a repeated ADD changes
//! nothing; DEL leaves nothing.

use std::collections::BTreeSet;

use polynic_cni::Verb;
use polynic_net::NsFacts;
use polynic_wire::messages::CoordinatorConfig;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::machine::{Machine, NETNS, Nic, Topology};

/// A pod with interfaces of one plugin.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) plugin: &'static str,
    pub(super) topology: Topology,
    pub(super) nics: Vec<Nic>,
    pub(super) agent: CoordinatorConfig,
    pub(super) keys: Value,
}

impl Pod {
    pub(super) fn machine(&self) -> Machine {
        let machine = Machine::new(self.topology);
        machine.agent.says(Some(self.agent.clone()));
        machine
    }

    pub(super) fn conf(&self, nic: &Nic) -> Value {
        let mut conf =
            json!({"cniVersion": "0.4.0", "name": format!("lan-{}", nic.name), "type": self.plugin});
        for (key, value) in self.keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        conf
    }
}

/// An interface in network A, B or C.
pub(super) fn nic(name: &str, network: usize, ipv4: bool, ipv6: bool, default: bool) -> Nic {
    let host = 100 + name.bytes().map(u32::from).sum::<u32>() % 100;
    let (master, v4, gw4, v6, gw6) = [
        ("eth0", "172.19.24", "172.19.0.1", "fd00:19::", "fd00:19::1"),
        ("eth1", "10.66.24", "10.66.0.1", "fd00:66::", "fd00:66::1"),
        ("eth2", "10.77.24", "10.77.0.1", "fd00:77::", "fd00:77::1"),
    ][network];
    let gateway = |gw: &str| default.then(|| gw.to_owned());
    let mut addresses = Vec::new();
    if ipv4 {
        addresses.push((format!("{v4}.{host}/16"), gateway(gw4)));
    }
    if ipv6 {
        addresses.push((format!("{v6}{host}/64"), gateway(gw6)));
    }
    Nic { name: name.into(), master: master.into(), addresses }
}

fn families() -> impl Strategy<Value = (bool, bool)> {
    prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))]
}

fn nics(first: &'static str) -> impl Strategy<Value = Vec<Nic>> {
    let one = (0_usize..3, families(), prop::bool::weighted(0.8));
    prop::collection::vec(one, 1..4).prop_map(move |list| {
        let names = std::iter::once(first.to_owned()).chain((1..).map(|n| format!("net{n}")));
        let names = names.skip(usize::from(first.is_empty()));
        let named = list.into_iter().zip(names);
        named.map(|((network, (v4, v6), default), name)| nic(&name, network, v4, v6, default)).collect()
    })
}

fn agent() -> impl Strategy<Value = CoordinatorConfig> {
    let nic = prop_oneof![Just(""), Just("eth0"), Just("net1"), Just("net2"), Just("net9")];
    (nic, any::<bool>(), any::<bool>(), -1_i64..3, any::<bool>()).prop_map(
        |(default_nic, tune, prefix, rp_filter, options)| CoordinatorConfig {
            mode: "auto".into(),
            overlay_pod_cidr: vec!["10.244.64.0/18".into(), "fd00:244::/56".into()],
            service_cidr: vec!["10.233.0.0/18".into(), "fd00:96::/112".into()],
            hijack_cidr: if options { vec!["169.254.20.10/32".into()] } else { Vec::new() },
            tune_pod_routes: tune,
            pod_default_route_nic: default_nic.into(),
            pod_rp_filter: rp_filter,
            pod_mac_prefix: if prefix { "0a:1b".into() } else { String::new() },
            tx_queue_len: if options { 500 } else { 0 },
            veth_link_address: if options { "169.254.100.1".into() } else { String::new() },
            ..CoordinatorConfig::default()
        },
    )
}

fn keys(plugin: &'static str) -> BoxedStrategy<Value> {
    if plugin == "coordinator" {
        return Just(json!({})).boxed();
    }
    let options = (any::<bool>(), -1_i64..2, any::<bool>(), any::<bool>());
    options
        .prop_map(|(prefix, migrate, conflict, filter)| {
            let mut keys = json!({"service_hijack_subnet": ["10.233.0.0/18", "fd00:96::/112"],
                "overlay_hijack_subnet": ["10.244.64.0/18", "fd00:244::/56"], "migrate_route": migrate,
                "ip_conflict": {"enabled": conflict, "interval": "1ms"}});
            if prefix {
                keys["mac_prefix"] = json!("0a:1b");
            }
            if filter {
                keys["rp_filter"] = json!({"set_host": false, "value": 1});
            }
            keys
        })
        .boxed()
}

fn pods() -> impl Strategy<Value = Pod> {
    let kinds = prop_oneof![
        Just(("router", true, "")),
        Just(("veth", false, "eth0")),
        Just(("coordinator", true, "")),
        Just(("coordinator", false, "eth0")),
    ];
    kinds.prop_flat_map(|(plugin, overlay, first)| {
        (any::<bool>(), families(), 0_u8..3, nics(first), agent(), keys(plugin)).prop_map(
            move |(everywhere, (ipv4, ipv6), rp_filter, nics, agent, keys)| {
                let topology = Topology { everywhere, tunnel: false, overlay, ipv4, ipv6, rp_filter };
                Pod { plugin, topology, nics, agent, keys }
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_step_fails_the_state_is_as_before(pod in pods()) {
        let machine = pod.machine();
        for nic in &pod.nics {
            let prev = machine.attach(nic);
            let before = machine.snapshot();
            for step in 1.. {
                machine.door.fail_at(step);
                let outcome = machine.add(&nic.name, &pod.conf(nic), &prev);
                machine.door.heal();
                if outcome.is_ok() {
                    break;
                }
                prop_assert_eq!(before.diff(&machine.snapshot()), Vec::<String>::new(), "{}, step {}", nic.name, step);
                if machine.records().iter().any(|r| r.contains(&nic.name)) {
                    return Err(TestCaseError::fail(format!("record of {} after step {step}: {outcome:?}", nic.name)));
                }
                // An error of the pod's own: without failures it is the same.
                if step > 200 {
                    return Err(TestCaseError::fail(format!("{outcome:?}")));
                }
            }
        }
    }

    #[test]
    fn add_twice_check_and_del(pod in pods()) {
        let machine = pod.machine();
        let empty = machine.facts();
        let mut attached = Vec::new();
        for nic in &pod.nics {
            let prev = machine.attach(nic);
            let before = machine.snapshot();
            let conf = pod.conf(nic);
            let result = match machine.add(&nic.name, &conf, &prev) {
                Ok(result) => result,
                Err(e) => return Err(TestCaseError::fail(format!("{}: {e:?}", nic.name))),
            };
            let after = machine.snapshot();
            prop_assert_eq!(&machine.add(&nic.name, &conf, &prev).unwrap(), &result);
            prop_assert_eq!(after.diff(&machine.snapshot()), Vec::<String>::new(), "{} again", nic.name);
            attached.push((nic, conf, prev, result, before));
            for (nic, conf, _, result, _) in &attached {
                let printed: Value = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
                let conf = super::machine::with_prev(conf, &printed);
                if let Err(e) = machine.call(Verb::Check, &nic.name, &conf) {
                    return Err(TestCaseError::fail(format!("CHECK of {}: {e:?}", nic.name)));
                }
            }
        }
        // The agent is away when the pod goes.
        machine.agent.says(None);
        for (nic, conf, _, _, before) in attached.iter().rev() {
            machine.call(Verb::Del, &nic.name, conf).unwrap();
            let left = before.diff(&machine.snapshot());
            let left: Vec<&String> = left.iter().filter(|line| !is_shared(line)).collect();
            prop_assert_eq!(left, Vec::<&String>::new(), "after DEL of {}", nic.name);
            machine.call(Verb::Del, &nic.name, conf).unwrap();
            machine.detach(&nic.name);
        }
        prop_assert_eq!(machine.records(), Vec::<String>::new());
        prop_assert_eq!(objects(&empty.host), objects(&machine.facts().host));
    }

    #[test]
    fn del_cleans_the_node_without_pod(pod in pods(), with_records: bool) {
        let machine = pod.machine();
        let empty = objects(&machine.facts().host);
        let mut confs = Vec::new();
        for nic in &pod.nics {
            let prev = machine.attach(nic);
            machine.add(&nic.name, &pod.conf(nic), &prev).unwrap();
            confs.push((nic.name.clone(), pod.conf(nic)));
        }
        machine.agent.says(None);
        machine.door.unlink_netns(NETNS);
        if !with_records {
            machine.forget_records();
        }
        for (name, conf) in confs.iter().rev() {
            machine.call_in(Verb::Del, name, conf, "/gone").unwrap();
            machine.call_in(Verb::Del, name, conf, "").unwrap();
        }
        // The overlay's cable goes with the overlay's own DEL, and with it what was on it.
        let left = objects_of_host(&machine);
        let left: Vec<&String> = left.iter().filter(|o| !empty.contains(*o)).collect();
        let on_cable = |o: &&String| !with_records && o.contains(super::machine::CALI);
        let left: Vec<_> = left.into_iter().filter(|o| !on_cable(o)).collect();
        prop_assert_eq!(left, Vec::<&String>::new());
        prop_assert_eq!(machine.records(), Vec::<String>::new());
    }
}

fn objects_of_host(machine: &Machine) -> BTreeSet<String> {
    use polynic_kernel::Door;
    let mut needs = polynic_net::Needs::default();
    needs.host.links = polynic_net::LinkNeed::All;
    (needs.host.routes, needs.host.rules, needs.host.neighbours) = (true, true, true);
    objects(&machine.door.open(None).unwrap().observe(&needs).unwrap().host)
}

/// What DEL leaves on purpose: the node's rule, and settings, which a pod's attachments and the node's pods share.
fn is_shared(line: &str) -> bool {
    line.contains("sysctl ") || (line.contains("host: rule") && line.contains("priority: 1000"))
}

/// Links, routes, neighbours and rules, without the shared rule.
fn objects(ns: &NsFacts) -> BTreeSet<String> {
    let links = ns.links.iter().map(|l| format!("link {}", l.name));
    let routes =
        ns.routes.iter().filter(|r| !r.dst.to_string().starts_with("fe80::/")).map(|r| format!("{r:?}"));
    let rules = ns.rules.iter().filter(|r| r.priority != 1000).map(|r| format!("{r:?}"));
    let neighbours = ns.neighbours.iter().map(|n| format!("{n:?}"));
    links.chain(routes).chain(rules).chain(neighbours).collect()
}
