//! Nodes that come, go and move while a daemon is not looking: its next process finds everything.

use polynic_flannel::Node;
use polynic_net::Entropy;

use crate::site::{Site, VXLAN, exchange, name};

/// A peer that is only an object in the cluster.
fn peer(number: u8, subnet: u8, mac: u8) -> Node {
    let key = |key: &str| format!("flannel.alpha.coreos.com/{key}");
    let annotations = [
        (key("kube-subnet-manager"), "true".to_owned()),
        (key("backend-type"), "vxlan".to_owned()),
        (key("backend-data"), format!(r#"{{"VNI":1,"VtepMAC":"a2:00:00:00:00:{mac:02x}"}}"#)),
        (key("public-ip"), format!("192.168.10.{number}")),
    ];
    Node {
        name: format!("peer{number}"),
        pod_cidrs: vec![format!("10.233.{subnet}.0/24")],
        annotations: annotations.into_iter().collect(),
    }
}

fn leases(site: &Site, peers: &[Node]) -> Vec<polynic_flannel::Lease> {
    peers.iter().filter_map(|node| polynic_flannel::Lease::of(node, &site.keys, &site.conf).0).collect()
}

#[test]
fn peers_that_changed_while_the_daemon_was_away_leave_nothing_stale() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    a.must_pass(
        &site,
        &leases(&site, &[peer(11, 11, 11), peer(12, 12, 12), peer(13, 13, 13), peer(14, 14, 14)]),
    );
    // 11 is gone, 12 has another tunnel, 13 another address, 14 another subnet, 15 is new; then 14 and 15 exchange their tunnels' MACs.
    let now = [peer(12, 12, 92), peer(93, 13, 13), peer(14, 94, 14), peer(15, 15, 15)];
    let swapped = [peer(12, 12, 92), peer(93, 13, 13), peer(14, 94, 15), peer(15, 15, 14)];
    for (peers, macs) in [(&now, [14, 15]), (&swapped, [15, 14])] {
        a.restart(&site);
        a.must_pass(&site, &leases(&site, peers));
        let facts = a.look();
        let mut entries: Vec<(u8, String)> =
            facts.forwarding.iter().map(|e| (e.mac.0[5], e.dst.to_string())).collect();
        entries.sort();
        let mut expected = vec![
            (92, "192.168.10.12".to_owned()),
            (13, "192.168.10.93".to_owned()),
            (macs[0], "192.168.10.14".to_owned()),
            (macs[1], "192.168.10.15".to_owned()),
        ];
        expected.sort();
        assert_eq!(entries, expected);
        let mut ips: Vec<String> = facts.neighbours.iter().map(|n| n.ip.to_string()).collect();
        ips.sort();
        assert_eq!(ips, ["10.233.12.0", "10.233.13.0", "10.233.15.0", "10.233.94.0"]);
        assert_eq!(a.routes_by("flannel.1").len(), 4);
        assert_eq!(a.must_pass(&site, &leases(&site, peers)).made, 0);
    }
}

/// A machine that came back under another name, whose old object is still there, has one tunnel and two subnets.
#[test]
fn a_node_with_the_tunnel_and_the_address_of_a_dead_one_is_reached() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    let dead = Node { name: "a-dead-one".into(), ..peer(12, 12, 12) };
    let alive = peer(12, 13, 12);
    a.must_pass(&site, &leases(&site, &[dead.clone(), alive.clone()]));
    assert_eq!(a.routes_by("flannel.1").len(), 2, "{:?}", a.seen_on("flannel.1"));
    assert_eq!(a.must_pass(&site, &leases(&site, &[dead, alive.clone()])).made, 0);
    a.must_pass(&site, &leases(&site, &[alive]));
    assert_eq!(a.routes_by("flannel.1"), ["10.233.13.0/24 via 10.233.13.0 dev flannel.1"]);
    assert_eq!(a.look().forwarding.len(), 1);
}

#[test]
fn nobody_gets_a_part_of_the_own_subnet() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    let thief = Node { pod_cidrs: vec!["10.233.1.128/25".into()], ..peer(12, 12, 12) };
    let outcome = a.pass(&site, &leases(&site, &[thief])).unwrap();
    assert!(outcome.problems[0].contains("own subnet"), "{:?}", outcome.problems);
    assert_eq!(a.routes_by("flannel.1"), Vec::<String>::new());
}

#[test]
fn any_sequence_of_clusters_ends_in_what_the_last_one_says() {
    let Some(site) = Site::new(VXLAN) else { return };
    let Some(elsewhere) = Site::new(VXLAN) else { return };
    let (mut a, mut fresh) = (site.node(1), elsewhere.node(1));
    let mut dice = Entropy::new(4711);
    for round in 0..40 {
        let peers: Vec<Node> = (0..dice.bits() % 8)
            .map(|n| peer(20 + n as u8, 100 + (dice.bits() % 12) as u8, (dice.bits() % 12) as u8))
            .collect();
        if dice.bits().is_multiple_of(3) {
            a.restart(&site);
        }
        if dice.bits().is_multiple_of(7) {
            a.remove_link("flannel.1");
        }
        let all = leases(&site, &peers);
        // Peers may claim what others have: that is told, and not acted on.
        a.pass(&site, &all).unwrap();
        fresh.remove_link_if_there("flannel.1");
        fresh.restart(&site);
        fresh.pass(&site, &all).unwrap();
        assert_eq!(a.seen_on("flannel.1"), fresh.seen_on("flannel.1"), "round {round}");
    }
}

#[test]
fn one_peer_that_cannot_be_used_stops_no_other() {
    let Some(site) = Site::new(&crate::site::HOST_GW.replace(r#""EnableIPv6": true, "#, "")) else { return };
    let (mut a, mut b) = (site.node(1), site.node(2));
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    let mut far = peer(9, 9, 9);
    far.annotations.insert("flannel.alpha.coreos.com/backend-type".into(), "host-gw".into());
    far.annotations.insert("flannel.alpha.coreos.com/public-ip".into(), "203.0.113.9".into());
    let mut all = leases(&site, &[far]);
    all.extend(site.leases(&[&b]));
    let outcome = a.pass(&site, &all).unwrap();
    assert!(outcome.problems.len() == 1 && outcome.problems[0].contains("peer9"), "{:?}", outcome.problems);
    assert!(exchange(&a, &b, false).is_some());
    assert_eq!(a.look().link(&name("eth1")).unwrap().name, name("eth1"));
}
