//! What happens to a node while it runs and between two processes of its daemon.

use polynic_flannel::PassError;
use polynic_net::{Address, Attr, Change, Diff, Link, LinkKind, Object, Place};

use crate::site::{DUAL, Site, SiteNode, VXLAN, exchange, name};

fn pair(site: &Site) -> (SiteNode, SiteNode) {
    let (mut a, mut b) = (site.node(1), site.node(2));
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    assert!(exchange(&a, &b, false).is_some());
    (a, b)
}

#[test]
fn a_restart_that_changes_nothing_changes_nothing() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let before = a.link("flannel.1");
    let leases = site.leases(&[&b]);
    a.restart(&site);
    assert_eq!(a.must_pass(&site, &leases).made, 0);
    let after = a.link("flannel.1");
    assert_eq!((after.index, after.mac), (before.index, before.mac));
}

#[test]
fn a_tunnel_that_was_deleted_comes_back_with_its_address_and_all_peers() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let before = a.link("flannel.1");
    let leases = site.leases(&[&b]);
    for restarted in [false, true] {
        a.remove_link("flannel.1");
        if restarted {
            a.restart(&site);
        }
        a.must_pass(&site, &leases);
        assert_eq!(a.link("flannel.1").mac, before.mac, "peers need not be told");
        assert!(exchange(&a, &b, false).is_some() && exchange(&b, &a, false).is_some());
    }
}

#[test]
fn a_tunnel_that_was_set_down_comes_up_with_all_peers() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let leases = site.leases(&[&b]);
    a.apply(Change::attr(Place::Host, &name("flannel.1"), Attr::Up(true), Attr::Up(false)));
    a.must_pass(&site, &leases);
    assert!(exchange(&a, &b, false).is_some());
}

#[test]
fn an_external_interface_that_flaps_is_followed() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let leases = site.leases(&[&b]);
    // Gone: nothing can be done, and nothing is changed.
    a.remove_link("eth1");
    assert!(matches!(a.pass(&site, &leases), Err(PassError::Interface(_))));
    assert!(a.look().link(&name("flannel.1")).is_none(), "the kernel takes the tunnel along");
    // Back, as another link.
    site.plug(&a);
    a.must_pass(&site, &leases);
    assert!(exchange(&a, &b, false).is_some() && exchange(&b, &a, false).is_some());
    // Down and up again.
    for (from, to) in [(true, false), (false, true)] {
        a.apply(Change::attr(Place::Host, &name("eth1"), Attr::Up(from), Attr::Up(to)));
    }
    a.must_pass(&site, &leases);
    assert!(exchange(&a, &b, false).is_some());
}

#[test]
fn another_address_of_the_external_interface_is_announced_and_reaches_peers() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, mut b) = pair(&site);
    let eth1 = name("eth1");
    let old = Address::new(&eth1, "192.168.10.1/24".parse().unwrap());
    a.apply(Change { place: Place::Host, object: Object::Address(Diff::delete(old)) });
    a.apply(Change::add_address(Place::Host, Address::new(&eth1, "192.168.10.111/24".parse().unwrap())));
    let mac = a.link("flannel.1").mac;
    let leases = site.leases(&[&b]);
    let outcome = a.must_pass(&site, &leases);
    assert_eq!(outcome.announcement.public.v4, Some("192.168.10.111".parse().unwrap()));
    assert_eq!(a.link("flannel.1").mac, mac);
    let leases = site.leases(&[&a]);
    b.must_pass(&site, &leases);
    assert!(exchange(&a, &b, false).is_some() && exchange(&b, &a, false).is_some());
}

#[test]
fn the_mtu_follows_the_external_interface() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let leases = site.leases(&[&b]);
    a.apply(Change::attr(Place::Host, &name("eth1"), Attr::Mtu(1500), Attr::Mtu(9000)));
    assert_eq!(a.must_pass(&site, &leases).mtu, 8950);
    assert_eq!(a.link("flannel.1").mtu, 8950);
    a.apply(Change::attr(Place::Host, &name("eth1"), Attr::Mtu(9000), Attr::Mtu(1400)));
    assert_eq!(a.must_pass(&site, &leases).mtu, 1350);
    assert_eq!(a.link("flannel.1").mtu, 1350);
}

#[test]
fn options_of_the_tunnel_take_effect_although_it_exists() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let leases = site.leases(&[&b]);
    let edited = Site {
        conf: polynic_flannel::NetConf::parse(
            VXLAN
                .replace(r#""vxlan"}"#, r#""vxlan", "Port": 4789, "Learning": true, "MTU": 1300}"#)
                .as_bytes(),
        )
        .unwrap(),
        ..site
    };
    a.restart(&edited);
    a.must_pass(&edited, &leases);
    let device = a.link("flannel.1");
    let vxlan = device.vxlan.unwrap();
    assert_eq!((vxlan.port, vxlan.learning, device.mtu), (4789, true, 1250));
    assert_eq!(a.routes_by("flannel.1").len(), 1);
}

fn with(site: &Site, conf: &str) -> Site {
    let conf = polynic_flannel::NetConf::parse(conf.as_bytes()).unwrap();
    Site { wire: site.wire.clone(), keys: site.keys.clone(), conf }
}

/// Whether the daemon was ours before, which keeps notes, or the replaced one, which does not.
#[test]
fn another_number_or_backend_leaves_nothing_of_the_former_tunnel() {
    let seven = VXLAN.replace(r#""vxlan"}"#, r#""vxlan", "VNI": 7}"#);
    let host_gw = VXLAN.replace("vxlan", "host-gw");
    for (conf, is_noted) in [(&seven, true), (&seven, false), (&host_gw, true), (&host_gw, false)] {
        let Some(site) = Site::new(VXLAN) else { return };
        let (mut a, mut b) = pair(&site);
        let site = with(&site, conf);
        for node in [&mut a, &mut b] {
            node.restart(&site);
            if !is_noted {
                node.instance = polynic_flannel::Instance::new(site.settings(), Default::default());
            }
        }
        site.converge(&mut [&mut a, &mut b]);
        assert!(a.look().link(&name("flannel.1")).is_none(), "{conf}, noted: {is_noted}");
        assert!(exchange(&a, &b, false).is_some() && exchange(&b, &a, false).is_some(), "{conf}");
        let leases = site.leases(&[&b]);
        assert_eq!(a.must_pass(&site, &leases).made, 0, "{conf}");
    }
}

#[test]
fn a_family_that_is_switched_off_leaves_nothing() {
    let Some(site) = Site::new(DUAL) else { return };
    let (mut a, b) = pair(&site);
    let site = with(&site, VXLAN);
    let leases = site.leases(&[&b]);
    a.restart(&site);
    a.must_pass(&site, &leases);
    assert!(a.look().link(&name("flannel-v6.1")).is_none());
    let mut needs = polynic_net::Needs::default();
    needs.host.firewall.push(polynic_net::FwTable::new(polynic_net::FwFamily::Ip6, "flannel-ipv6"));
    use polynic_kernel::Kernel as _;
    assert_eq!(a.kernel.observe(&needs).unwrap().host.firewall, []);
    assert!(exchange(&a, &b, false).is_some());
}

#[test]
fn a_tunnel_that_cannot_be_made_is_announced_to_nobody() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    // Somebody else has the number already.
    let vxlan = polynic_net::Vxlan {
        vni: 1,
        parent: None,
        local: None,
        remote: None,
        port: 8472,
        learning: false,
        gbp: false,
    };
    a.apply(Change::create_link(Place::Host, Link::new(name("theirs"), LinkKind::Vxlan(vxlan))));
    let outcome = a.pass(&site, &[]).unwrap();
    assert!(!outcome.has_devices && outcome.has_rules, "{outcome:?}");
    assert!(outcome.problems[0].starts_with("device flannel.1: "), "{:?}", outcome.problems);
}

#[test]
fn another_podcidr_moves_the_tunnels_address_and_the_rules() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, mut b) = pair(&site);
    a.object.pod_cidrs = vec!["10.233.200.0/24".into()];
    let leases = site.leases(&[&b]);
    a.must_pass(&site, &leases);
    let addresses: Vec<String> =
        a.look().addresses_of(&name("flannel.1")).map(|x| x.net.to_string()).collect();
    assert!(
        addresses.contains(&"10.233.200.0/32".to_owned()) && !addresses.contains(&"10.233.1.0/32".to_owned())
    );
    let leases = site.leases(&[&a]);
    b.must_pass(&site, &leases);
    assert_eq!(b.routes_by("flannel.1"), ["10.233.200.0/24 via 10.233.200.0 dev flannel.1"]);
    let neighbours: Vec<String> = b.look().neighbours.iter().map(|n| n.ip.to_string()).collect();
    assert_eq!(neighbours, ["10.233.200.0"]);
}

#[test]
fn a_link_of_the_tunnels_name_that_is_none_is_somebody_elses() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    a.apply(Change::create_link(
        Place::Host,
        Link::new(name("flannel.1"), LinkKind::Bridge { vlan_filtering: false }),
    ));
    let why = a.pass(&site, &[]).unwrap_err().to_string();
    assert!(why.contains("flannel.1") && why.contains("bridge"), "{why}");
    assert_eq!(a.link("flannel.1").kind, "bridge");
}

#[test]
fn rules_that_somebody_removed_come_back_in_order() {
    let Some(site) = Site::new(VXLAN) else { return };
    let (mut a, b) = pair(&site);
    let leases = site.leases(&[&b]);
    let table = polynic_net::FwTable::new(polynic_net::FwFamily::Ip, "flannel-ipv4");
    let rules = |a: &mut SiteNode| {
        let mut needs = polynic_net::Needs::default();
        needs.host.firewall.push(table.clone());
        use polynic_kernel::Kernel as _;
        a.kernel.observe(&needs).unwrap().host.firewall
    };
    let before = rules(&mut a);
    let Some(polynic_net::FwObject::Rule(third)) =
        before.iter().filter(|o| matches!(o, polynic_net::FwObject::Rule(_))).nth(3)
    else {
        panic!("no rule in {before:?}")
    };
    let gone = Object::Firewall(Diff::delete(polynic_net::FwObject::Rule(third.clone())));
    a.apply(Change { place: Place::Host, object: gone });
    // Rules are looked at in every second pass.
    a.must_pass(&site, &leases);
    a.must_pass(&site, &leases);
    assert_eq!(rules(&mut a), before);
}
