//! Conflicts, gateways, announcements.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};

use polynic_cni::{Invocation, Output, Verb, invoke};
use polynic_e2e::{Node, Pod};
use polynic_kernel::RealDoor;
use polynic_kernel::capture::Capture;
use polynic_net::IfName;
use polynic_plugins::{Host, Registry};
use polynic_wire::{ReleaseJournal, Sockets};
use serde_json::{Value, json};

use crate::world::{Agent, PODS, World, until};

/// A node whose macvlan network has addresses from pool `four` and pool `six`, all of them probed.
struct Site {
    _agent: Agent,
    world: World,
    registry: Registry,
    pods: Cell<usize>,
    node: Node,
}

/// A pod with its sandbox.
struct Attached {
    sandbox: Pod,
    name: String,
    uid: String,
}

impl Site {
    /// Nothing where this machine has no namespaces for us. `gateways`: those of the two pools; the wire's other end has the addresses that
    /// end in 1.
    fn new(gateways: [&str; 2]) -> Option<Self> {
        // The calling thread is in the node's namespace from here on, and with it all that it starts.
        let node = Node::new()?;
        let world = World::new();
        let [four, six] = gateways;
        world.pool("four", json!({"subnet": "192.168.1.0/24", "ips": ["192.168.1.100-192.168.1.109"], "gateway": four, "default": true}));
        world.pool("six", json!({"subnet": "fd00:1::/64", "ips": ["fd00:1::100-fd00:1::109"], "gateway": six, "default": true}));
        let lines = "enableIPConflictDetection: true\nenableGatewayDetection: true\n";
        let agent = world.agent_with(world.config_with("n1", lines, &[]));
        let registry = Registry::new(Host {
            door: Box::new(RealDoor::default()),
            state: world.directory.path().join("state"),
            executable: None,
            addresses: Box::new(Sockets),
            releases: ReleaseJournal::new(world.directory.path().join("plugin-releases")),
            seed: Box::new(|| 7),
            warn: Box::new(|text| eprintln!("{text}")),
        });
        Some(Self { _agent: agent, world, registry, pods: Cell::default(), node })
    }

    fn pod(&self) -> Attached {
        self.pods.set(self.pods.get() + 1);
        let name = format!("pod-{}", self.pods.get());
        let uid = self.world.pod(&name, "n1", json!({}));
        Attached { sandbox: Pod::new(), name, uid }
    }

    fn call(&self, verb: Verb, pod: &Attached) -> Result<Output, polynic_cni::Error> {
        let log = self.world.directory.path().join("spiderpool.log");
        let ipam = json!({"type": "spiderpool", "ipam_unix_socket_path": self.world.socket("n1"), "log_file_path": log});
        let conf =
            json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0", "ipam": ipam});
        let Attached { sandbox, name, uid } = pod;
        let invocation = Invocation {
            container_id: sandbox.id.clone(),
            netns: sandbox.path.clone(),
            ifname: "net1".into(),
            args: format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={uid}"),
            path: "/nowhere".into(),
            stdin: conf.to_string().into_bytes(),
            ..Invocation::default()
        };
        invoke(&self.registry.plugin("macvlan").unwrap(), verb, &invocation)
    }

    /// The addresses that a pod gets, or why it gets none.
    fn add(&self, pod: &Attached) -> Result<Vec<String>, String> {
        let success = self.call(Verb::Add, pod).map_err(|e| e.msg)?.into_success("macvlan").unwrap();
        let result: Value = serde_json::from_str(&success.print(success.cni_version).unwrap()).unwrap();
        let ips = result["ips"].as_array().unwrap().iter();
        Ok(ips.map(|ip| ip["address"].as_str().unwrap().to_owned()).collect())
    }

    fn held(&self) -> usize {
        self.world.records("four").len() + self.world.records("six").len()
    }

    fn wire(&self) -> &Pod {
        self.node.wire()
    }
}

#[test]
fn an_address_that_somebody_has_is_found_and_the_next_add_gets_another() {
    for (taken, how) in [("192.168.1.100/24", ""), ("fd00:1::100/64", "nodad")] {
        let Some(site) = Site::new(["192.168.1.1", "fd00:1::1"]) else { return };
        site.wire().ip(&format!("address add {taken} dev wire {how}"));
        let pod = site.pod();
        let (before, node) = (pod.sandbox.state(), site.node.state());
        let why = site.add(&pod).unwrap_err();
        let ip = taken.split('/').next().unwrap();
        let mac = site.wire().state().mac("wire").to_owned();
        let expected = format!(
            "ip conflict: pod's interface net1 with an conflicting ip {ip}, {ip} is located at {mac}"
        );
        assert!(why.contains(&expected), "{why}");
        pod.sandbox.state().assert_same(&before, "the pod");
        site.node.state().assert_same(&node, "the node");
        until("the addresses have gone back", || site.held() == 0);

        // Both families get others: those of one attempt go back together.
        let addresses = site.add(&pod).unwrap();
        assert_eq!(addresses, ["192.168.1.101/24", "fd00:1::101/64"]);
        assert_eq!(site.held(), 2);
        site.world.delete(PODS, &pod.name, 30);
        site.call(Verb::Del, &pod).unwrap();
        assert_eq!(site.held(), 0);
    }
}

#[test]
fn a_gateway_that_is_silent_fails_the_add() {
    for (gateways, silent) in
        [(["192.168.1.77", "fd00:1::1"], "192.168.1.77"), (["192.168.1.1", "fd00:1::77"], "fd00:1::77")]
    {
        let Some(site) = Site::new(gateways) else { return };
        let pod = site.pod();
        let before = pod.sandbox.state();
        let why = site.add(&pod).unwrap_err();
        assert!(why.contains(&format!("gateway {silent} is unreachable")), "{why}");
        pod.sandbox.state().assert_same(&before, "the pod");
        until("the addresses have gone back", || site.held() == 0);
    }
}

#[test]
fn a_new_address_is_announced() {
    let Some(site) = Site::new(["192.168.1.1", "fd00:1::1"]) else { return };
    let capture = Capture::open(&site.wire().netns, &IfName::new("wire").unwrap()).unwrap();
    let pod = site.pod();
    assert_eq!(site.add(&pod).unwrap(), ["192.168.1.100/24", "fd00:1::100/64"]);
    let mac = hardware_address(pod.sandbox.state().mac("net1"));
    let (mut arp, mut discovery) = (false, false);
    until("both announcements", || {
        for frame in capture.frames().unwrap() {
            arp |= is_gratuitous(&frame, mac, "192.168.1.100".parse().unwrap());
            discovery |= is_own_solicitation(&frame, mac, "fd00:1::100".parse().unwrap());
        }
        arp && discovery
    });
}

fn hardware_address(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// An ARP request to everybody, from an address about itself (RFC 5227, 3).
fn is_gratuitous(frame: &[u8], mac: [u8; 6], ip: Ipv4Addr) -> bool {
    frame.len() >= 42
        && frame[..6] == [0xff; 6]
        && frame[6..14] == [&mac[..], &[0x08, 0x06]].concat()
        && frame[20..22] == [0, 1]
        && frame[22..28] == mac
        && frame[28..32] == ip.octets()
        && frame[38..42] == ip.octets()
}

/// A neighbour solicitation for an own address from a link-local one, with the sender's hardware address: duplicate address detection
/// sends from `::` and does not tell it (RFC 4861, 4.3).
fn is_own_solicitation(frame: &[u8], mac: [u8; 6], ip: Ipv6Addr) -> bool {
    frame.len() >= 86
        && frame[6..14] == [&mac[..], &[0x86, 0xdd]].concat()
        && frame[20] == 58
        && frame[22..24] == [0xfe, 0x80]
        && frame[54] == 135
        && frame[62..78] == ip.octets()
        && frame[78..86] == [&[1, 1], &mac[..]].concat()
}
