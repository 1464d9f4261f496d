//! Two pods on a bridge of the node: the bridge's own firewall, and IP's where the node hands frames on to it.

use polynic_kernel::RealKernel;
use polynic_net::{Attr, Mac};

use super::*;

const BRIDGE: &str = "br0";

/// 10.0.5.2 and fd00:5::2 in one pod, 10.0.5.3 and fd00:5::3 in the other.
struct Pair {
    scratch: Scratch,
    pods: [Netns<Pod>; 2],
    mac: Mac,
}

impl Pair {
    fn new() -> Option<Self> {
        let scratch = scratch_netns()?;
        let pods = [scratch.pod.clone(), Netns::create().unwrap()];
        let mac = Mac([2, 0, 0, 0, 5, 2]);
        let pair = Self { scratch, pods, mac };
        let mut node = pair.kernel(0);
        let bridge = LinkKind::Bridge { vlan_filtering: false };
        node.apply(&Change::create_link(Place::Host, Link::new(name(BRIDGE), bridge))).unwrap();
        node.apply(&Change::up(Place::Host, &name(BRIDGE))).unwrap();
        (0..2).for_each(|pod| pair.plug(pod));
        pair.wait_for_links();
        Some(pair)
    }

    /// A cable is up a moment after both of its ends.
    fn wait_for_links(&self) {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        let is_up = |link: &polynic_net::stack::LinkState| link.fact.oper == polynic_net::OperState::Up;
        let all_up = || {
            let sites = self.scene().sites;
            let links = sites.iter().flat_map(|site| &site.stack.links);
            let own =
                links.filter(|link| ["br0", "port0", "port1", "eth0"].contains(&link.fact.name.as_str()));
            own.filter(|link| is_up(link)).count() == 5
        };
        while !all_up() {
            assert!(std::time::Instant::now() < end, "links do not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The node's kernel with one pod's.
    fn kernel(&self, pod: usize) -> RealKernel {
        RealKernel::new(self.scratch.host.clone(), Some((self.pods[pod].clone(), "pod"))).unwrap()
    }

    fn plug(&self, pod: usize) {
        let (eth0, port) = (name("eth0"), name(&format!("port{pod}")));
        let end = Veth { place: Place::Host, name: port.clone(), mac: None, mtu: None };
        let mac = Some(self.mac).filter(|_| pod == 0);
        let link = Link { mac, ..Link::new(eth0.clone(), LinkKind::Veth(end)) };
        let mut kernel = self.kernel(pod);
        for change in [
            Change::create_link(Place::Pod, link),
            Change::attr(Place::Host, &port, Attr::Master(None), Attr::Master(Some(name(BRIDGE)))),
            Change::up(Place::Host, &port),
            Change::up(Place::Pod, &eth0),
        ] {
            kernel.apply(&change).unwrap();
        }
        for net in [format!("10.0.5.{}/24", pod + 2), format!("fd00:5::{}/64", pod + 2)] {
            let address = Address { nodad: true, ..Address::new(&eth0, net.parse().unwrap()) };
            kernel.apply(&Change::add_address(Place::Pod, address)).unwrap();
        }
    }

    fn drop_at(&self, family: FwFamily, hook: FwHook, mut exprs: Vec<FwExpr>) {
        exprs.push(FwExpr::Verdict(FwVerdict::Drop));
        let objects = obstacle(family, hook, FwKind::Filter, exprs);
        let changes = objects.map(|object| Change::add_firewall(Place::Host, object));
        self.kernel(0).apply_firewall(&changes).unwrap();
    }

    fn scene(&self) -> Scene {
        let host: Netns<Pod> = Netns::open("/proc/thread-self/ns/net").unwrap();
        let seen = together(&[host, self.pods[0].clone(), self.pods[1].clone()]).unwrap();
        Scene { sites: seen.into_iter().zip(["node", "one", "other"]).map(site).collect() }
    }

    fn explain(&self, to: IpAddr) -> Explanation {
        let question = Question { asker: Asker::Site(1), to, port: Some(PORT), from: None, link: None };
        explain(&self.scene(), &question)
    }

    /// Whether a TCP connection comes about, which explain has to know.
    fn connect(&self, to: &str) -> Explanation {
        let to: IpAddr = to.parse().unwrap();
        let answer = self.explain(to);
        let _listener =
            self.pods[1].run(move || TcpListener::bind(SocketAddr::new(to, PORT))).unwrap().unwrap();
        let once = || {
            let to = SocketAddr::new(to, PORT);
            let connect = move || TcpStream::connect_timeout(&to, Duration::from_millis(600)).map(drop);
            self.pods[0].run(connect).unwrap().is_ok()
        };
        let tries = if answer.works == Works::Yes { 100 } else { 1 };
        let expected = if (0..tries).any(|_| once()) { Works::Yes } else { Works::No };
        assert_eq!(answer.works, expected, "{answer}");
        answer
    }
}

fn to_port() -> Vec<FwExpr> {
    vec![FwExpr::Protocol(6), FwExpr::DstPort(PORT)]
}

/// Sets whether the node hands on what crosses its bridges, as far as it can be set; whether it does.
fn hands_on(is_on: bool) -> bool {
    let files = ["iptables", "ip6tables"].map(|name| format!("/proc/sys/net/bridge/bridge-nf-call-{name}"));
    files.iter().for_each(|file| drop(std::fs::write(file, u8::from(is_on).to_string())));
    files.iter().all(|file| std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1"))
}

#[test]
fn a_rule_of_the_bridge_that_drops_is_named() {
    for (hook, word) in [
        (FwHook::Prerouting, "prerouting"),
        (FwHook::Forward, "forward"),
        (FwHook::Postrouting, "postrouting"),
        (FwHook::Input, "none"),
        (FwHook::Output, "none"),
    ] {
        let Some(pair) = Pair::new() else { return };
        pair.connect("10.0.5.3");
        pair.drop_at(FwFamily::Bridge, hook, to_port());
        for to in ["10.0.5.3", "fd00:5::3"] {
            let answer = pair.connect(to);
            assert_eq!(answer.works == Works::Yes, word == "none", "{answer}");
            if answer.works == Works::No {
                let text = format!("node drops it at {word}: table bridge obstacle chain chain handle");
                assert!(finding(&answer).contains(&text), "{answer}");
            }
        }
    }
}

#[test]
fn a_bridge_judges_by_ports_and_hardware_addresses() {
    let others = Mac([2, 0, 0, 0, 5, 9]);
    let rules = |pair: &Pair| {
        [
            (vec![FwExpr::Iif("port0".to_owned())], false),
            (vec![FwExpr::Oif("port0".to_owned())], false),
            (vec![FwExpr::Iif(BRIDGE.to_owned())], true),
            (vec![FwExpr::EtherSrc(pair.mac)], false),
            (vec![FwExpr::EtherSrc(others)], true),
        ]
    };
    for at in 0..5 {
        let Some(pair) = Pair::new() else { return };
        let (exprs, passes) = rules(&pair)[at].clone();
        // Neighbours are to find each other: what is dropped is the connection.
        let exprs = [exprs, vec![FwExpr::Protocol(6)]].concat();
        pair.drop_at(FwFamily::Bridge, FwHook::Forward, exprs.clone());
        assert_eq!(pair.connect("10.0.5.3").works == Works::Yes, passes, "{exprs:?}");
    }
}

#[test]
fn what_bridges_hand_on_is_judged_by_ip_too() {
    let Some(pair) = Pair::new() else { return };
    let is_handed_on = hands_on(true);
    pair.drop_at(FwFamily::Inet, FwHook::Forward, to_port());
    for to in ["10.0.5.3", "fd00:5::3"] {
        let answer = pair.connect(to);
        assert_eq!(answer.works == Works::No, is_handed_on, "{answer}");
        if is_handed_on {
            assert!(finding(&answer).contains("node drops it at forward: table inet obstacle"), "{answer}");
        }
    }
    let is_still = hands_on(false);
    assert_eq!(pair.connect("10.0.5.3").works == Works::Yes, !is_still);
}
