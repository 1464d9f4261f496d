//! Explain against packets: a pod with two NICs on a node, TCP connections between them, and what stands in their way. A connection comes
//! about if and only if explain says so, and the cause it names is the one that was put there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod bridged;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use polynic_explain::{Asker, Explanation, Question, Scene, Site, Works, explain};
use polynic_kernel::netns::{Netns, Pod};
use polynic_kernel::survey::{Surveyed, together};
use polynic_kernel::testing::{Scratch, scratch_netns};
use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{
    Address, Change, Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule,
    FwTable, FwVerdict, IfName, Link, LinkKind, Place, Route, Rule, Veth,
};

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}

/// A node and a pod with two cables: eth0 with 10.0.0.2 and the default route, net1 with 10.0.1.2. The node has 10.0.0.1 and 10.0.1.1 on them, and
/// 192.0.2.1 behind them. IPv6 alike.
struct Bench {
    scratch: Scratch,
    kernel: Box<dyn Kernel>,
}

const PORT: u16 = 8080;
const SETTINGS: [&str; 3] = ["all", "eth0", "net1"];

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

impl Bench {
    fn new() -> Option<Self> {
        let scratch = scratch_netns()?;
        let kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
        let mut bench = Self { scratch, kernel };
        for place in [Place::Host, Place::Pod] {
            bench.apply(Change::up(place, &IfName::loopback()));
        }
        for (at, (nic, port)) in [("eth0", "cali0"), ("net1", "cali1")].into_iter().enumerate() {
            bench.cable(nic, port);
            bench.address(Place::Pod, nic, &format!("10.0.{at}.2/24"));
            bench.address(Place::Host, port, &format!("10.0.{at}.1/24"));
            bench.address(Place::Pod, nic, &format!("fd00:0:0:{at}::2/64"));
            bench.address(Place::Host, port, &format!("fd00:0:0:{at}::1/64"));
        }
        bench.address(Place::Host, "lo", "192.0.2.1/32");
        bench.address(Place::Host, "lo", "fd00:2::1/128");
        for (everywhere, gw) in [("0.0.0.0/0", "10.0.0.1"), ("::/0", "fd00::1")] {
            let route = Route::new(everywhere.parse().unwrap(), &name("eth0")).via(gw.parse().unwrap());
            bench.apply(Change::add_route(Place::Pod, route));
        }
        Some(bench)
    }

    fn apply(&mut self, change: Change) {
        self.kernel.apply(&change).unwrap_or_else(|why| panic!("{why}"));
    }

    fn cable(&mut self, nic: &str, port: &str) {
        let peer = Veth { place: Place::Host, name: name(port), mac: None, mtu: None };
        self.apply(Change::create_link(Place::Pod, Link::new(name(nic), LinkKind::Veth(peer))));
        self.apply(Change::up(Place::Pod, &name(nic)));
        self.apply(Change::up(Place::Host, &name(port)));
    }

    fn address(&mut self, place: Place, link: &str, net: &str) {
        let address = Address::new(&name(link), net.parse().unwrap());
        self.apply(Change::add_address(place, Address { nodad: true, ..address }));
    }

    fn in_pod<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        self.scratch.pod.run(work).unwrap()
    }

    fn rp_filter(&self, mode: u8) {
        self.in_pod(move || {
            for link in SETTINGS {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{link}/rp_filter"), mode.to_string())
                    .unwrap();
            }
        });
    }

    fn scene(&self) -> Scene {
        let host: Netns<Pod> = Netns::open("/proc/thread-self/ns/net").unwrap();
        let seen = together(&[host, self.scratch.pod.clone()]).unwrap();
        Scene { sites: seen.into_iter().zip(["node", "pod"]).map(site).collect() }
    }

    /// Whether a TCP connection comes about, which explain has to know.
    fn connect(&self, from: Place, to: &str) -> Explanation {
        let to: IpAddr = to.parse().unwrap();
        let site = if from == Place::Host { 0 } else { 1 };
        let question = Question { asker: Asker::Site(site), to, port: Some(PORT), from: None, link: None };
        let answer = explain(&self.scene(), &question);
        // What is expected to work gets more than one chance: a busy machine is slow with the first.
        let tries = if answer.works == Works::Yes { 30 } else { 1 };
        let mut seen = self.packets(from, SocketAddr::new(to, PORT));
        for _ in 1..tries {
            if seen.is_ok() {
                break;
            }
            seen = self.packets(from, SocketAddr::new(to, PORT));
        }
        let expected = if seen.is_ok() { Works::Yes } else { Works::No };
        assert_eq!(answer.works, expected, "a connection ends with {seen:?}, and explain says:\n{answer}");
        answer
    }

    fn packets(&self, from: Place, to: SocketAddr) -> io::Result<()> {
        let any =
            |v6: bool| SocketAddr::new(if v6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) }, PORT);
        let listen = move || TcpListener::bind(any(to.is_ipv6()));
        let connect = move || TcpStream::connect_timeout(&to, Duration::from_millis(600)).map(drop);
        match from {
            Place::Pod => {
                let _listener = listen()?;
                self.in_pod(connect)
            }
            Place::Host => {
                let _listener = self.in_pod(listen)?;
                connect()
            }
        }
    }

    fn firewall(&mut self, place: Place, hook: FwHook, kind: FwKind, exprs: Vec<FwExpr>) {
        let objects = obstacle(FwFamily::Inet, hook, kind, exprs);
        self.kernel.apply_firewall(&objects.map(|object| Change::add_firewall(place, object))).unwrap();
    }
}

/// A table with one rule.
fn obstacle(family: FwFamily, hook: FwHook, kind: FwKind, exprs: Vec<FwExpr>) -> [FwObject; 3] {
    let table = FwTable::new(family, "obstacle");
    let base = Some(FwBase { kind, hook, priority: 0 });
    let chain = FwChain { table: table.clone(), name: "chain".into(), base };
    let rule = FwRule {
        table: table.clone(),
        chain: "chain".into(),
        position: FwPosition::Last,
        exprs,
        comment: "put there".into(),
    };
    [FwObject::Table(table), FwObject::Chain(chain), FwObject::Rule(rule)]
}

fn site((seen, name): (Surveyed, &str)) -> Site {
    Site { name: name.to_owned(), stack: seen.stack, numbers: seen.numbers }
}

/// The links by which request and reply left, in order.
fn links(answer: &Explanation) -> (Vec<&str>, Vec<&str>) {
    let request = answer.request.left_by.iter().map(|l| l.link.as_str()).collect();
    let reply = answer.reply.iter().flat_map(|leg| leg.left_by.iter().map(|l| l.link.as_str())).collect();
    (request, reply)
}

fn finding(answer: &Explanation) -> &str {
    &answer.findings.first().expect("something is wrong").what
}

#[test]
fn both_families_go_there_and_back_by_the_same_links() {
    let Some(bench) = Bench::new() else { return };
    for to in ["10.0.1.1", "fd00:0:0:1::1"] {
        let answer = bench.connect(Place::Pod, to);
        assert_eq!(
            (links(&answer), answer.symmetric),
            ((vec!["net1"], vec!["cali1"]), Some(true)),
            "{answer}"
        );
    }
    for to in ["192.0.2.1", "fd00:2::1"] {
        let answer = bench.connect(Place::Pod, to);
        assert_eq!(
            (links(&answer), answer.symmetric),
            ((vec!["eth0"], vec!["cali0"]), Some(true)),
            "{answer}"
        );
    }
    bench.connect(Place::Host, "10.0.1.2");
}

#[test]
fn a_strict_reverse_path_filter_drops_what_a_rule_for_the_source_lets_pass() {
    let Some(mut bench) = Bench::new() else { return };
    // The node sends to net1 from an address that the pod answers by eth0.
    let route =
        Route::new("10.0.1.2/32".parse().unwrap(), &name("cali1")).from_src("192.0.2.1".parse().unwrap());
    bench.apply(Change::add_route(Place::Host, Route { scope: polynic_net::scope::LINK, ..route }));
    bench.rp_filter(0);
    let answer = bench.connect(Place::Host, "10.0.1.2");
    assert_eq!(answer.symmetric, Some(false), "{answer}");
    assert!(finding(&answer).contains("comes to pod by net1, the reply leaves by eth0"), "{answer}");
    bench.rp_filter(2);
    bench.connect(Place::Host, "10.0.1.2");
    bench.rp_filter(1);
    let answer = bench.connect(Place::Host, "10.0.1.2");
    assert!(finding(&answer).contains("pod does not believe that 192.0.2.1 is behind net1"), "{answer}");
    let default = Route::new("0.0.0.0/0".parse().unwrap(), &name("net1")).via("10.0.1.1".parse().unwrap());
    bench.apply(Change::add_route(Place::Pod, default.in_table(101)));
    let rule = Rule {
        family: Family::V4,
        priority: 1000,
        from: Some("10.0.1.2/32".parse().unwrap()),
        to: None,
        iif: None,
        mark: None,
        table: 101,
    };
    bench.apply(Change::add_rule(Place::Pod, rule));
    let answer = bench.connect(Place::Host, "10.0.1.2");
    assert_eq!(answer.symmetric, Some(true), "{answer}");
}

#[test]
fn a_rule_of_the_firewall_that_drops_is_named() {
    let Some(mut bench) = Bench::new() else { return };
    bench.connect(Place::Pod, "192.0.2.1");
    let exprs = vec![
        FwExpr::Src { net: "10.0.0.0/24".parse().unwrap(), not: false },
        FwExpr::Protocol(6),
        FwExpr::DstPort(PORT),
        FwExpr::Verdict(FwVerdict::Drop),
    ];
    bench.firewall(Place::Host, FwHook::Input, FwKind::Filter, exprs);
    let answer = bench.connect(Place::Pod, "192.0.2.1");
    assert!(
        finding(&answer).contains("node drops it at input: table inet obstacle chain chain handle"),
        "{answer}"
    );
    assert!(finding(&answer).contains("put there"), "{answer}");
    bench.connect(Place::Pod, "10.0.1.1");
    bench.connect(Place::Pod, "fd00:2::1");
}

#[test]
fn a_rewritten_destination_is_followed_and_comes_back() {
    let Some(mut bench) = Bench::new() else { return };
    let exprs = vec![
        FwExpr::Dst { net: "203.0.113.7/32".parse().unwrap(), not: false },
        FwExpr::Protocol(6),
        FwExpr::DstPort(PORT),
        FwExpr::Dnat(SocketAddr::new("192.0.2.1".parse().unwrap(), PORT)),
    ];
    bench.firewall(Place::Host, FwHook::Prerouting, FwKind::Nat, exprs);
    let answer = bench.connect(Place::Pod, "203.0.113.7");
    assert!(answer.to_string().contains("rewrites the destination to 192.0.2.1:8080"), "{answer}");
    assert!(answer.to_string().contains("rewrites the source back to 203.0.113.7"), "{answer}");
}

#[test]
fn what_leads_nowhere_says_so() {
    let Some(mut bench) = Bench::new() else { return };
    let answer = bench.connect(Place::Pod, "10.0.0.77");
    assert!(finding(&answer).contains("nobody on eth0 answers for 10.0.0.77"), "{answer}");
    let blackhole = Route {
        kind: polynic_net::RouteKind::Blackhole,
        link: None,
        ..Route::new("192.0.2.0/24".parse().unwrap(), &name("eth0"))
    };
    bench.apply(Change::add_route(Place::Pod, blackhole));
    let answer = bench.connect(Place::Pod, "192.0.2.1");
    assert!(finding(&answer).contains("leads to \"blackhole 192.0.2.0/24\" in table 254"), "{answer}");
    bench.apply(Change::add_route(
        Place::Pod,
        Route::new("192.0.2.1/32".parse().unwrap(), &name("net1")).via("10.0.1.1".parse().unwrap()),
    ));
    bench.connect(Place::Pod, "192.0.2.1");
}
