//! Nodes whose NICs carry packets of different sizes, with a router between them.

use std::net::SocketAddr;
use std::time::Duration;

use polynic_kernel::{Kernel, RealKernel};
use polynic_net::{Address, Attr, Change, IpNet, Place, Route};
use rustix::io::Errno;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};

use crate::site::{Site, SiteNode, VXLAN, name, set_sysctl, socket};

/// IPv4 and UDP.
const HEADERS: usize = 28;
/// The first packets may get lost while neighbours are looked for.
const TRIES: usize = 60;

/// A node in a network of its own, 192.168.(10 + n).2/24, whose NIC has an MTU; the wire's namespace is the router, at .1.
fn routed(site: &Site, number: u8, mtu: u32) -> SiteNode {
    let mut node = site.node(number);
    let mut router = RealKernel::new(site.wire.clone(), None).unwrap();
    set_sysctl(&mut router, "net/ipv4/ip_forward", "1");
    let (port, eth1) = (name(&format!("port{number}")), name("eth1"));
    let net = |last: u8| format!("192.168.{}.{last}/24", 10 + number).parse::<IpNet>().unwrap();
    for change in [
        Change::attr(Place::Host, &port, Attr::Master(Some(name("wire"))), Attr::Master(None)),
        Change::attr(Place::Host, &port, Attr::Mtu(1500), Attr::Mtu(mtu)),
        Change::add_address(Place::Host, Address::new(&port, net(1))),
    ] {
        router.apply(&change).unwrap();
    }
    let old = Address::new(&eth1, format!("192.168.10.{number}/24").parse().unwrap());
    let everywhere = "0.0.0.0/0".parse::<IpNet>().unwrap();
    for change in [
        Change::attr(Place::Host, &eth1, Attr::Mtu(1500), Attr::Mtu(mtu)),
        Change::add_address(Place::Host, old).inverse().unwrap(),
        Change::add_address(Place::Host, Address::new(&eth1, net(2))),
        Change::add_route(Place::Host, Route::new(everywhere, &eth1).via(net(1).addr())),
    ] {
        node.apply(change);
    }
    node
}

/// What became of packets.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Arrived,
    /// The sender was told.
    TooLong,
    Lost,
}

/// Sends IPv4 packets of so many bytes that may not be cut where they are sent, until one arrives.
fn send(from: &SiteNode, to: &SiteNode, bytes: usize) -> Fate {
    let there = socket(to, SocketAddr::new(to.pod_ip(false), 0));
    there.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let here = socket(from, SocketAddr::new(from.pod_ip(false), 0));
    set_ip_mtu_discover(&here, Ipv4PathMtuDiscovery::DO).unwrap();
    let (packet, mut buffer) = (vec![7; bytes - HEADERS], vec![0; 10_000]);
    for _ in 0..TRIES {
        match here.send_to(&packet, there.local_addr().unwrap()) {
            Err(why) if why.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => return Fate::TooLong,
            sent => drop(sent.unwrap()),
        }
        if matches!(there.recv_from(&mut buffer), Ok((length, _)) if length == packet.len()) {
            return Fate::Arrived;
        }
    }
    Fate::Lost
}

#[test]
fn packets_of_the_largest_size_arrive_between_nodes_of_different_mtus_and_larger_ones_are_told() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, mut b) = (routed(&site, 1, 9000), routed(&site, 2, 1500));
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    assert_eq!((a.link("flannel.1").mtu, b.link("flannel.1").mtu), (8950, 1450));
    for (from, to, edge) in [(&a, &b, 8950), (&b, &a, 1450)] {
        assert_eq!(send(from, to, 1450), Fate::Arrived, "node{} to node{}", from.number, to.number);
        assert_eq!(send(from, to, edge), Fate::Arrived, "node{} to node{}", from.number, to.number);
        assert_eq!(send(from, to, edge + 1), Fate::TooLong, "node{} to node{}", from.number, to.number);
    }
    // A NIC that gets another MTU takes its tunnel along.
    a.apply(Change::attr(Place::Host, &name("eth1"), Attr::Mtu(9000), Attr::Mtu(1500)));
    site.converge(&mut [&mut a, &mut b]);
    assert_eq!(a.link("flannel.1").mtu, 1450);
    assert_eq!((send(&a, &b, 1450), send(&a, &b, 1451)), (Fate::Arrived, Fate::TooLong));
}
