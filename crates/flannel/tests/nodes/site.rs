//! What every test here starts from: nodes on one bridge, each with an instance of flannel, and no cluster.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use polynic_flannel::diff::Memory;
use polynic_flannel::rules::RuleOptions;
use polynic_flannel::{
    DEFAULT_PREFIX, Instance, Keys, Lease, NetConf, Node, Outcome, Own, PassError, Selection, Settings,
};
use polynic_kernel::netns::{Host, Netns, Pod};
use polynic_kernel::{Kernel, RealKernel};
use polynic_net::{
    Address, Attr, Change, Diff, Entropy, IfName, Link, LinkKind, LinkNeed, Needs, NsFacts, Object, Place,
    Sysctl, SysctlKey, Veth, WireguardSecret,
};

pub const VXLAN: &str = r#"{"Network": "10.233.0.0/16", "Backend": {"Type": "vxlan"}}"#;
pub const DUAL: &str = r#"{"Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true, "Backend": {"Type": "vxlan"}}"#;
pub const HOST_GW: &str = r#"{"Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true, "Backend": {"Type": "host-gw"}}"#;

pub fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// The wire is a bridge in a namespace of its own.
pub struct Site {
    pub wire: Netns<Host>,
    pub keys: Keys,
    pub conf: NetConf,
}

impl Site {
    /// Nothing if the machine forbids namespaces.
    pub fn new(conf: &str) -> Option<Self> {
        polynic_kernel::testing::scratch_netns()?;
        let wire: Netns<Host> = Netns::create().unwrap();
        let mut kernel = RealKernel::new(wire.clone(), None).unwrap();
        let bridge = Link::new(name("wire"), LinkKind::Bridge { vlan_filtering: false });
        kernel.apply(&Change::create_link(Place::Host, bridge)).unwrap();
        kernel.apply(&Change::up(Place::Host, &name("wire"))).unwrap();
        let conf = NetConf::parse(conf.as_bytes()).unwrap();
        Some(Self { wire, keys: Keys::new(DEFAULT_PREFIX).unwrap(), conf })
    }

    /// A node with eth1 = 192.168.10.n/24 and fd10::n/64, podCIDRs 10.233.n.0/24 and fd60:0:0:n::/64.
    pub fn node(&self, number: u8) -> SiteNode {
        let netns: Netns<Host> = Netns::create().unwrap();
        let mut node = SiteNode {
            number,
            kernel: RealKernel::new(netns.clone(), None).unwrap(),
            netns,
            instance: Instance::new(self.settings_of(number), Memory::default()),
            object: Node {
                name: format!("node{number}"),
                pod_cidrs: vec![format!("10.233.{number}.0/24"), format!("fd60:0:0:{number}::/64")],
                annotations: BTreeMap::new(),
            },
        };
        node.sysctl("net/ipv6/conf/default/accept_dad", "0");
        node.sysctl("net/ipv4/ip_forward", "1");
        node.kernel.apply(&Change::up(Place::Host, &IfName::loopback())).unwrap();
        self.plug(&node);
        node
    }

    pub fn settings(&self) -> Settings {
        Settings {
            conf: self.conf.clone(),
            keys: self.keys.clone(),
            selection: Selection { interfaces: vec!["eth1".to_owned()], ..Selection::default() },
            rules: RuleOptions { forward: true, masquerade: true, random: true },
            blackhole: false,
            secret: None,
        }
    }

    /// The same with the node's own key.
    fn settings_of(&self, number: u8) -> Settings {
        Settings { secret: Some(WireguardSecret::private([number; 32])), ..self.settings() }
    }

    /// A cable from the wire to the node's eth1, with addresses.
    pub fn plug(&self, node: &SiteNode) {
        let pod = Netns::<Pod>::open(&format!("/proc/self/fd/{}", node.netns.as_fd().as_raw_fd())).unwrap();
        let mut both = RealKernel::new(self.wire.clone(), Some((pod, "node"))).unwrap();
        let (port, eth1) = (name(&format!("port{}", node.number)), name("eth1"));
        let end = Veth { place: Place::Pod, name: eth1.clone(), mac: None, mtu: None };
        let (free, master) = (Attr::Master(None), Attr::Master(Some(name("wire"))));
        for change in [
            Change::create_link(Place::Host, Link::new(port.clone(), LinkKind::Veth(end))),
            Change::attr(Place::Host, &port, free, master),
            Change::up(Place::Host, &port),
            Change::up(Place::Pod, &eth1),
        ] {
            both.apply(&change).unwrap();
        }
        for net in [format!("192.168.10.{}/24", node.number), format!("fd10::{}/64", node.number)] {
            let address = Address { nodad: true, ..Address::new(&eth1, net.parse().unwrap()) };
            both.apply(&Change::add_address(Place::Pod, address)).unwrap();
        }
    }

    /// What each node knows of the others, as the cluster would tell.
    pub fn leases(&self, nodes: &[&SiteNode]) -> Vec<Lease> {
        nodes.iter().filter_map(|node| Lease::of(&node.object, &self.keys, &self.conf).0).collect()
    }

    /// Every node announces itself, then knows of all.
    pub fn converge(&self, nodes: &mut [&mut SiteNode]) {
        for node in nodes.iter_mut() {
            node.must_pass(self, &[]);
        }
        let all: Vec<&SiteNode> = nodes.iter().map(|node| &**node).collect();
        let leases = self.leases(&all);
        for node in nodes.iter_mut() {
            node.must_pass(self, &leases);
        }
    }
}

/// A node: its namespace, its kernel, its instance, and its object in the cluster.
pub struct SiteNode {
    pub number: u8,
    pub netns: Netns<Host>,
    pub kernel: RealKernel,
    pub instance: Instance,
    pub object: Node,
}

impl SiteNode {
    /// A pass; afterwards the node's object says what the daemon would have written.
    pub fn pass(&mut self, site: &Site, leases: &[Lease]) -> Result<Outcome, PassError> {
        let own = Own::of(&self.object, &site.keys, &site.conf).unwrap();
        let mut entropy = Entropy::new(u64::from(self.number));
        let outcome = self.instance.pass(&mut self.kernel, &own, leases, &mut entropy)?;
        let told = outcome.announcement.annotations(&own, &site.keys, &site.conf);
        self.object.annotations.extend(told);
        Ok(outcome)
    }

    pub fn must_pass(&mut self, site: &Site, leases: &[Lease]) -> Outcome {
        let outcome = self.pass(site, leases).unwrap();
        assert_eq!(outcome.problems, Vec::<String>::new());
        outcome
    }

    /// The daemon's next process: it knows what is on disk and in the cluster, and nothing else.
    pub fn restart(&mut self, site: &Site) {
        let memory = Memory::parse(&self.instance.memory.render());
        self.instance = Instance::new(site.settings_of(self.number), memory);
    }

    pub fn apply(&mut self, change: Change) {
        self.kernel.apply(&change).unwrap();
    }

    pub fn look(&mut self) -> NsFacts {
        let mut needs = Needs::default();
        needs.host.links = LinkNeed::All;
        (needs.host.routes, needs.host.neighbours, needs.host.all_addresses) = (true, true, true);
        for tunnel in ["flannel.1", "flannel-v6.1", "flannel.7"] {
            needs.host.forwarding_of(&name(tunnel));
        }
        self.kernel.observe(&needs).unwrap().host
    }

    pub fn link(&mut self, link: &str) -> polynic_net::LinkFact {
        self.look().link(&name(link)).cloned().unwrap()
    }

    /// The routes by one link as text.
    pub fn routes_by(&mut self, link: &str) -> Vec<String> {
        let facts = self.look();
        let by = facts.routes.iter().filter(|r| r.link.as_ref() == Some(&name(link)) && r.gw.is_some());
        let mut found: Vec<String> = by.map(ToString::to_string).collect();
        found.sort();
        found
    }

    pub fn sysctl(&mut self, key: &str, value: &str) {
        set_sysctl(&mut self.kernel, key, value);
    }

    /// An address of the node's subnet, on a bridge as pods have it: the far end of a packet.
    pub fn add_pod_address(&mut self) {
        let bridge = name("cni0");
        self.apply(Change::create_link(
            Place::Host,
            Link::new(bridge.clone(), LinkKind::Bridge { vlan_filtering: false }),
        ));
        self.apply(Change::up(Place::Host, &bridge));
        for net in [format!("10.233.{}.2/24", self.number), format!("fd60:0:0:{}::2/64", self.number)] {
            let address = Address { nodad: true, ..Address::new(&bridge, net.parse().unwrap()) };
            self.apply(Change::add_address(Place::Host, address));
        }
    }

    pub fn remove_link(&mut self, link: &str) {
        let gone = Link::new(name(link), LinkKind::Dummy);
        self.apply(Change { place: Place::Host, object: Object::Link(Diff::delete(gone)) });
    }

    pub fn remove_link_if_there(&mut self, link: &str) {
        if self.look().link(&name(link)).is_some() {
            self.remove_link(link);
        }
    }

    /// Everything on a tunnel that has to do with peers, as sorted text.
    pub fn seen_on(&mut self, link: &str) -> Vec<String> {
        let facts = self.look();
        let mut lines = self.routes_by(link);
        lines.extend(facts.neighbours.iter().filter(|n| n.link == name(link)).map(|n| format!("{n:?}")));
        lines.extend(facts.forwarding.iter().filter(|e| e.link == name(link)).map(|e| format!("{e:?}")));
        lines.sort();
        lines
    }

    pub fn pod_ip(&self, ipv6: bool) -> IpAddr {
        let text =
            if ipv6 { format!("fd60:0:0:{}::2", self.number) } else { format!("10.233.{}.2", self.number) };
        text.parse().unwrap()
    }
}

/// Sets a sysctl of a namespace, whatever it was.
pub fn set_sysctl(kernel: &mut RealKernel, key: &str, value: &str) {
    let key = SysctlKey::new(key).unwrap();
    let mut needs = Needs::default();
    needs.host.sysctl(key.clone());
    let before = kernel.observe(&needs).unwrap().host.sysctl(&key).unwrap().to_owned();
    let before = Sysctl { key, value: before };
    kernel.apply(&Change::sysctl(Place::Host, before, value)).unwrap();
}

/// Sends a datagram from one node's pod address to another's, and hears who sent it; `None` if nothing comes.
pub fn exchange(from: &SiteNode, to: &SiteNode, ipv6: bool) -> Option<IpAddr> {
    let there = socket(to, SocketAddr::new(to.pod_ip(ipv6), 0));
    let here = socket(from, SocketAddr::new(from.pod_ip(ipv6), 0));
    there.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The first may get lost while neighbours on the wire are looked for.
    for _ in 0..150 {
        let _ = here.send_to(b"hello", there.local_addr().unwrap());
        let mut buffer = [0; 16];
        if let Ok((5, sender)) = there.recv_from(&mut buffer) {
            return Some(sender.ip());
        }
    }
    None
}

/// A socket that was opened inside a node's namespace.
pub fn socket(node: &SiteNode, address: SocketAddr) -> UdpSocket {
    node.netns.run(move || UdpSocket::bind(address)).unwrap().unwrap()
}
