//! Two interfaces in one network answer for their own addresses only.

use polynic_kernel::Door;
use polynic_net::{IfName, Needs, SysctlKey};
use polynic_wire::messages::CoordinatorConfig;
use serde_json::{Value, json};

use super::machine::{Machine, NETNS, Nic, Topology};

fn nic(name: &str, net: &str) -> Nic {
    Nic { name: name.into(), master: "eth0".into(), addresses: vec![(net.into(), None)] }
}

fn arp_ignore(machine: &Machine, link: &str) -> Option<String> {
    let key = SysctlKey::conf("ipv4", &IfName::new(link).unwrap(), "arp_ignore");
    let mut needs = Needs::default();
    needs.pod.sysctl(key.clone());
    let facts = machine.door.open(Some(NETNS)).unwrap().observe(&needs).unwrap();
    facts.pod.unwrap().sysctl(&key).map(str::to_owned)
}

fn confs() -> [Value; 2] {
    let veth = json!({"cniVersion": "0.4.0", "name": "lan", "type": "veth", "service_hijack_subnet": ["10.233.0.0/18"],
        "overlay_hijack_subnet": ["10.244.64.0/18"]});
    [veth, json!({"cniVersion": "0.4.0", "name": "lan", "type": "coordinator"})]
}

/// `eth0` and `net1` with these addresses; answers what each has then.
fn attached(conf: &Value, second: &str) -> [Option<String>; 2] {
    let topology =
        Topology { everywhere: true, tunnel: false, overlay: false, ipv4: true, ipv6: false, rp_filter: 1 };
    let machine = Machine::new(topology);
    let agent = CoordinatorConfig { mode: "auto".into(), tune_pod_routes: true, ..Default::default() };
    machine.agent.says(Some(agent));
    for nic in [nic("eth0", "172.19.24.1/16"), nic("net1", second)] {
        let prev = machine.attach(&nic);
        machine.add(&nic.name, conf, &prev).unwrap();
    }
    ["eth0", "net1"].map(|link| arp_ignore(&machine, link))
}

#[test]
fn two_in_one_network_answer_for_their_own_addresses() {
    for conf in confs() {
        let one = Some("1".to_owned());
        assert_eq!(attached(&conf, "172.19.24.2/16"), [one.clone(), one], "{conf}");
    }
}

#[test]
fn two_in_different_networks_are_left_alone() {
    for conf in confs() {
        let none = Some("0".to_owned());
        assert_eq!(attached(&conf, "172.20.24.2/16"), [none.clone(), none], "{conf}");
    }
}
