//! Real packets between nodes, by every backend.

use polynic_net::{Change, Neighbour, Place, Route};

use crate::site::{DUAL, HOST_GW, Site, SiteNode, VXLAN, exchange, name};

fn pair(site: &Site) -> (SiteNode, SiteNode) {
    let (mut a, mut b) = (site.node(1), site.node(2));
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    (a, b)
}

fn both_ways(a: &SiteNode, b: &SiteNode, ipv6: bool) {
    assert_eq!(exchange(a, b, ipv6), Some(a.pod_ip(ipv6)), "from {} to {}", a.number, b.number);
    assert_eq!(exchange(b, a, ipv6), Some(b.pod_ip(ipv6)), "from {} to {}", b.number, a.number);
}

#[test]
fn vxlan_carries_packets_and_looks_as_the_contract_says() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    both_ways(&a, &b, false);
    let device = a.link("flannel.1");
    let vxlan = device.vxlan.clone().unwrap();
    assert_eq!((vxlan.vni, vxlan.port, vxlan.learning, device.mtu, device.up), (1, 8472, false, 1450, true));
    assert_eq!(vxlan.local, Some("192.168.10.1".parse().unwrap()));
    let facts = a.look();
    let addresses: Vec<String> = facts
        .addresses_of(&name("flannel.1"))
        .filter(|x| x.net.addr().is_ipv4())
        .map(|x| x.net.to_string())
        .collect();
    assert_eq!(addresses, ["10.233.1.0/32"]);
    assert_eq!(a.routes_by("flannel.1"), ["10.233.2.0/24 via 10.233.2.0 dev flannel.1"]);
    let (neighbour, entry) = (&facts.neighbours[0], &facts.forwarding[0]);
    assert_eq!(
        (neighbour.ip.to_string(), entry.dst.to_string()),
        ("10.233.2.0".into(), "192.168.10.2".into())
    );
    assert_eq!(neighbour.mac, entry.mac);
}

#[test]
fn vxlan_carries_both_families_each_in_its_own_tunnel() {
    let Some(site) = Site::new(DUAL) else { return };
    let (mut a, b) = pair(&site);
    both_ways(&a, &b, false);
    both_ways(&a, &b, true);
    assert_eq!(a.link("flannel-v6.1").mtu, 1430);
    assert_eq!(
        a.routes_by("flannel-v6.1"),
        ["fd60:0:0:2::/64 via fd60:0:0:2:: dev flannel-v6.1 metric 1024"]
    );
}

#[test]
fn vxlan_carries_ipv6_alone() {
    let only = DUAL.replace(r#""Network": "10.233.0.0/16", "#, r#""EnableIPv4": false, "#);
    let Some(site) = Site::new(&only) else { return };
    let (mut a, b) = pair(&site);
    both_ways(&a, &b, true);
    assert!(a.look().links.iter().all(|link| link.name.as_str() != "flannel.1"));
}

#[test]
fn host_gw_carries_both_families_without_tunnel() {
    let Some(site) = Site::new(HOST_GW) else { return };
    let (mut a, b) = pair(&site);
    both_ways(&a, &b, false);
    both_ways(&a, &b, true);
    let expected =
        ["10.233.2.0/24 via 192.168.10.2 dev eth1", "fd60:0:0:2::/64 via fd10::2 dev eth1 metric 1024"];
    assert_eq!(a.routes_by("eth1"), expected);
    assert!(a.look().links.iter().all(|link| !link.name.as_str().starts_with("flannel")));
}

#[test]
fn neighbours_are_reached_directly_where_the_configuration_says_so() {
    let direct = VXLAN.replace(r#""vxlan"}"#, r#""vxlan", "DirectRouting": true}"#);
    let Some(site) = Site::new(&direct) else { return };
    let (mut a, b) = pair(&site);
    both_ways(&a, &b, false);
    assert_eq!(a.routes_by("eth1"), ["10.233.2.0/24 via 192.168.10.2 dev eth1"]);
    // Behind a router it goes by the tunnel, and whoever was removed meanwhile goes from eth1 too.
    a.apply(Change::add_route(
        Place::Host,
        Route::new("192.168.10.2/32".parse().unwrap(), &name("eth1")).via("192.168.10.9".parse().unwrap()),
    ));
    let leases = site.leases(&[&b]);
    a.must_pass(&site, &leases);
    assert_eq!(a.routes_by("flannel.1"), ["10.233.2.0/24 via 10.233.2.0 dev flannel.1"]);
    a.restart(&site);
    a.must_pass(&site, &[]);
    assert_eq!(a.routes_by("flannel.1"), Vec::<String>::new());
}

#[test]
fn a_second_instance_has_its_own_tunnel_and_rules() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let second = r#"{"Network": "10.99.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}"#;
    let other = Site {
        keys: polynic_flannel::Keys::new("net.acme.io/b").unwrap(),
        conf: polynic_flannel::NetConf::parse(second.as_bytes()).unwrap(),
        wire: site.wire.clone(),
    };
    let mut instance =
        polynic_flannel::Instance::new(other.settings(), polynic_flannel::diff::Memory::default());
    std::mem::swap(&mut a.instance, &mut instance);
    a.object.pod_cidrs = vec!["10.99.1.0/24".into()];
    a.must_pass(&other, &[]);
    assert_eq!(a.must_pass(&other, &[]).made, 0);
    std::mem::swap(&mut a.instance, &mut instance);
    a.object.pod_cidrs = vec!["10.233.1.0/24".into()];
    let leases = site.leases(&[&b]);
    assert_eq!(a.must_pass(&site, &leases).made, 0, "neither touches what is the other's");
    assert_eq!(a.link("flannel.7").vxlan.unwrap().vni, 7);
    both_ways(&a, &b, false);
}

#[test]
fn what_others_made_stays() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let eth1 = name("eth1");
    let routes = [
        Route::new("10.233.77.0/24".parse().unwrap(), &eth1).via("192.168.10.77".parse().unwrap()),
        Route {
            onlink: true,
            ..Route::new("192.0.2.0/24".parse().unwrap(), &name("flannel.1"))
                .via("10.233.2.0".parse().unwrap())
        },
    ];
    let neighbours = [
        Neighbour {
            link: eth1,
            ip: "192.168.10.77".parse().unwrap(),
            mac: polynic_net::Mac([2, 0, 0, 0, 0, 7]),
        },
        Neighbour {
            link: name("flannel.1"),
            ip: "192.0.2.1".parse().unwrap(),
            mac: polynic_net::Mac([2, 0, 0, 0, 0, 8]),
        },
    ];
    for route in routes.clone() {
        a.apply(Change::add_route(Place::Host, route));
    }
    for neighbour in neighbours.clone() {
        a.apply(Change::add_neighbour(Place::Host, neighbour));
    }
    let leases = site.leases(&[&b]);
    a.restart(&site);
    assert_eq!(a.must_pass(&site, &leases).made, 0);
    let facts = a.look();
    assert!(routes.iter().all(|route| facts.routes.iter().any(|r| polynic_net::check::serves(r, route))));
    assert!(neighbours.iter().all(|neighbour| facts.neighbours.contains(neighbour)));
}
