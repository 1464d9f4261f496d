//! The backend wireguard. Kernels without this kind of link leave it to the throw-away kernel of the tier vm.

use std::net::SocketAddr;

use polynic_kernel::Kernel;
use polynic_net::{
    Change, IfName, Link, LinkKind, Needs, Place, WireguardFact, WireguardPeer, WireguardSecret,
};

use crate::site::{Site, SiteNode, exchange, name, socket};

const BOTH: &str = r#"{"Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true, "Backend": {"Type": "wireguard"}}"#;
const PSK: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

fn conf(more: &str) -> String {
    BOTH.replace(r#""wireguard""#, &format!(r#""wireguard"{more}"#))
}

fn offers_wireguard(node: &mut SiteNode) -> bool {
    let probe = Change::create_link(Place::Host, Link::new(name("probe"), LinkKind::Wireguard));
    let made = node.kernel.apply(&probe).is_ok();
    match made {
        true => node.remove_link("probe"),
        false => polynic_e2e::left_to_vm("wireguard"),
    }
    made
}

/// Two nodes with pods, which know each other; none without this kind of link.
fn pair(site: &Site) -> Option<(SiteNode, SiteNode)> {
    let (mut a, mut b) = (site.node(1), site.node(2));
    if !offers_wireguard(&mut a) {
        return None;
    }
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    Some((a, b))
}

fn both_ways(a: &SiteNode, b: &SiteNode, ipv6: bool) {
    assert_eq!(exchange(a, b, ipv6), Some(a.pod_ip(ipv6)), "from {} to {}", a.number, b.number);
    assert_eq!(exchange(b, a, ipv6), Some(b.pod_ip(ipv6)), "from {} to {}", b.number, a.number);
}

fn tunnel(node: &mut SiteNode, link: &str) -> Option<WireguardFact> {
    let mut needs = Needs::default();
    needs.host.wireguard_of(&name(link));
    node.kernel.observe(&needs).unwrap().host.wireguard.into_iter().next()
}

fn peer(node: &mut SiteNode, link: &str) -> WireguardPeer {
    let peers = tunnel(node, link).unwrap().peers;
    assert_eq!(peers.len(), 1);
    peers.into_iter().next().unwrap()
}

fn addresses(node: &mut SiteNode, link: &str) -> Vec<String> {
    let link: IfName = name(link);
    node.look().addresses_of(&link).map(|address| address.net.to_string()).collect()
}

fn data(node: &SiteNode, key: &str) -> String {
    node.object.annotations[&format!("flannel.alpha.coreos.com/{key}")].clone()
}

/// Routes by a link as `ip route` shows them, without the kernel's own.
fn ways(node: &mut SiteNode, link: &str) -> Vec<String> {
    let routes = node.look().routes.into_iter();
    let by = routes.filter(|route| route.link == Some(name(link)) && route.protocol != 2);
    by.map(|route| route.to_string()).collect()
}

#[test]
fn packets_of_both_families_each_in_its_own_tunnel() {
    let more = format!(r#", "PSK": "{PSK}", "PersistentKeepaliveInterval": 25"#);
    let Some(site) = Site::new(&conf(&more)) else { return };
    let Some((mut a, mut b)) = pair(&site) else { return };
    both_ways(&a, &b, false);
    both_ways(&a, &b, true);
    let device = a.link("flannel-wg");
    assert_eq!((device.kind.as_str(), device.mtu, device.up), ("wireguard", 1420, true));
    assert_eq!(addresses(&mut a, "flannel-wg"), ["10.233.1.0/32"]);
    assert_eq!(addresses(&mut a, "flannel-wg-v6"), ["fd60:0:0:1::/128"]);
    assert_eq!(ways(&mut a, "flannel-wg"), ["10.233.0.0/16 dev flannel-wg"]);
    assert_eq!(ways(&mut a, "flannel-wg-v6"), ["fd60::/48 dev flannel-wg-v6 metric 1024"]);
    let there = peer(&mut a, "flannel-wg");
    let key = tunnel(&mut b, "flannel-wg").unwrap().key.unwrap();
    let secret: WireguardSecret = PSK.parse().unwrap();
    let expected = WireguardPeer {
        key,
        shared: Some(secret),
        endpoint: Some("192.168.10.2:51820".parse().unwrap()),
        keepalive: 25,
        allowed: vec!["10.233.2.0/24".parse().unwrap()],
    };
    assert_eq!(there, expected);
    let v6 = peer(&mut a, "flannel-wg-v6");
    assert_eq!(
        (v6.endpoint, v6.allowed),
        (Some("[fd10::2]:51821".parse().unwrap()), vec!["fd60:0:0:2::/64".parse().unwrap()])
    );
    assert_eq!(data(&b, "backend-data"), format!(r#"{{"PublicKey":"{key}","Port":51820}}"#));
    assert_eq!(data(&b, "backend-v6-data"), format!(r#"{{"PublicKey":"{key}","Port":51821}}"#));
    // Whoever has not the shared secret is not heard.
    let other = Site {
        conf: polynic_flannel::NetConf::parse(BOTH.as_bytes()).unwrap(),
        keys: site.keys.clone(),
        wire: site.wire.clone(),
    };
    // A session that was there before would go on for some minutes.
    b.remove_link("flannel-wg");
    b.restart(&other);
    let leases = site.leases(&[&a]);
    b.must_pass(&other, &leases);
    assert!(sends_into_the_void(&a, &b), "a packet came through without the shared secret");
}

/// Whether nothing arrives of some packets, although the sender's kernel takes each of them.
fn sends_into_the_void(from: &SiteNode, to: &SiteNode) -> bool {
    let there = socket(to, SocketAddr::new(to.pod_ip(false), 0));
    let here = socket(from, SocketAddr::new(from.pod_ip(false), 0));
    there.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    (0..5).all(|_| {
        let _ = here.send_to(b"hello", there.local_addr().unwrap());
        there.recv_from(&mut [0; 16]).is_err()
    })
}

#[test]
fn packets_of_both_families_in_one_tunnel_by_either() {
    for (mode, endpoint) in [("auto", "192.168.10.2:51820"), ("ipv6", "[fd10::2]:51820")] {
        let Some(site) = Site::new(&conf(&format!(r#", "Mode": "{mode}""#))) else { return };
        let Some((mut a, b)) = pair(&site) else { return };
        both_ways(&a, &b, false);
        both_ways(&a, &b, true);
        let there = peer(&mut a, "flannel-wg");
        assert_eq!((there.endpoint, there.allowed.len()), (Some(endpoint.parse().unwrap()), 2));
        assert_eq!(tunnel(&mut a, "flannel-wg-v6"), None);
        assert_eq!(ways(&mut a, "flannel-wg").len(), 2);
    }
}

#[test]
fn a_restart_changes_nothing_and_peers_that_went_are_removed() {
    let Some(site) = Site::new(&conf("")) else { return };
    let Some((mut a, mut b)) = pair(&site) else { return };
    let leases = site.leases(&[&b]);
    assert_eq!(a.must_pass(&site, &leases).made, 0);
    a.restart(&site);
    assert_eq!(a.must_pass(&site, &leases).made, 0, "the key is that of before, and so is the tunnel");
    both_ways(&a, &b, false);
    a.must_pass(&site, &[]);
    assert_eq!(tunnel(&mut a, "flannel-wg").unwrap().peers, []);
    // A node that comes back from a new disk has another key, which its peers take.
    b.remove_link("flannel-wg");
    b.restart(&site);
    let mut settings = site.settings();
    settings.secret = Some(WireguardSecret::private([99; 32]));
    b.instance = polynic_flannel::Instance::new(settings, polynic_flannel::diff::Memory::default());
    let known = site.leases(&[&a]);
    b.must_pass(&site, &known);
    let leases = site.leases(&[&b]);
    a.must_pass(&site, &leases);
    both_ways(&a, &b, false);
    both_ways(&a, &b, true);
    // A tunnel that was deleted comes back with its peers; at the daemon's end it goes.
    a.remove_link("flannel-wg");
    a.must_pass(&site, &leases);
    both_ways(&a, &b, false);
    let left = a.instance.leave(&mut a.kernel).unwrap();
    assert_eq!(left.len(), 2);
    assert!(a.look().links.iter().all(|link| link.kind != "wireguard"));
}

#[test]
fn many_peers_are_seen_whole() {
    let Some(site) = Site::new(&conf(r#", "Mode": "auto""#)) else { return };
    let mut a = site.node(1);
    if !offers_wireguard(&mut a) {
        return;
    }
    let (mut b, mut objects) = (site.node(2), Vec::new());
    b.must_pass(&site, &[]);
    for number in 3..250u8 {
        let mut object = b.object.clone();
        object.name = format!("node{number}");
        object.pod_cidrs = vec![format!("10.233.{number}.0/24"), format!("fd60:0:0:{number}::/64")];
        let key = polynic_net::WireguardKey([number; 32]);
        for name in ["backend-data", "backend-v6-data"] {
            let data = format!(r#"{{"PublicKey":"{key}","Port":51820}}"#);
            object.annotations.insert(format!("flannel.alpha.coreos.com/{name}"), data);
        }
        objects.push(object);
    }
    let lease = |object| polynic_flannel::Lease::of(object, &site.keys, &site.conf).0;
    let leases: Vec<_> = objects.iter().filter_map(lease).collect();
    a.must_pass(&site, &leases);
    let peers = tunnel(&mut a, "flannel-wg").unwrap().peers;
    assert!(peers.len() == 247 && peers.iter().all(|peer| peer.allowed.len() == 2), "{} peers", peers.len());
    assert_eq!(a.must_pass(&site, &leases).made, 0);
}

#[test]
fn all_of_it_in_a_kernel_that_has_every_link() {
    polynic_e2e::run_bare_in_vm(&[
        "wireguard::packets_of_both_families_each",
        "wireguard::packets_of_both_families_in",
        "wireguard::a_restart",
        "wireguard::many_peers",
    ]);
}
