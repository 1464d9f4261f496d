use super::plan::{Site, Stage, stages};
use super::*;
use polynic_net::{Object, Place};
use proptest::prelude::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn texts(stage: &Stage) -> Vec<String> {
    stage.plan.steps.iter().map(|step| step.change.to_string()).collect()
}

fn stage_of(layout: &Layout, site: &Site) -> Stage {
    stages(layout).unwrap().into_iter().find(|stage| stage.site == *site).unwrap()
}

#[test]
fn the_quickstart_network_keeps_clear_of_the_range_of_its_guide() {
    let layout = Layout::new(MAX_NODES, &[]).unwrap();
    let range = net("192.168.1.200/29");
    for node in layout.nodes() {
        let [v4, _] = layout.address(node, 0).unwrap();
        let IpAddr::V4(ip) = v4.addr() else { panic!("{v4}") };
        assert!(!range.contains(&ip) && net("192.168.1.0/24").contains(&ip));
    }
    assert_eq!(
        layout.address(Node { number: 1 }, 0).unwrap().map(|n| n.to_string()),
        ["192.168.1.10/24", "fd00:192:168:1::10/80"]
    );
}

#[test]
fn each_nic_has_a_network_and_a_companion_of_its_own() {
    let layout = Layout::new(2, &[net("172.16.0.0/25"), net("172.16.0.128/25")]).unwrap();
    let [a, b] = [0, 1].map(|nic| layout.address(Node { number: 2 }, nic).unwrap());
    assert_eq!(a.map(|n| n.to_string()), ["172.16.0.11/25", "fd00:172:16::11/80"]);
    assert_eq!(b.map(|n| n.to_string()), ["172.16.0.139/25", "fd01:172:16:0:128::11/80"]);
}

#[test]
fn networks_that_collide_or_are_too_small_are_refused() {
    for bad in ["10.244.3.0/24", "10.0.0.0/8", "198.51.100.0/25", "10.97.0.0/16", "192.168.1.0/29"] {
        assert!(matches!(Layout::new(3, &[net(bad)]), Err(Error::Input(_))), "{bad}");
    }
    let twice = [net("192.168.1.0/24"), net("192.168.0.0/16")];
    let why = Layout::new(1, &twice).unwrap_err().to_string();
    assert_eq!(why, "underlay 192.168.0.0/16: overlaps underlay 192.168.1.0/24");
    assert!(Layout::new(0, &[]).is_err());
    assert!(Layout::new(MAX_NODES + 1, &[]).is_err());
}

#[test]
fn a_node_gets_a_cable_addresses_a_default_route_and_its_neighbours_pods() {
    let layout = Layout::new(2, &[]).unwrap();
    let stage = stage_of(&layout, &Site::Node(Node { number: 1 }));
    assert_eq!(
        texts(&stage),
        [
            "set Up(true) on lo in pod",
            "add link veth node1-0 in host",
            "set Master(Some(IfName(\"switch0\"))) on node1-0 in host",
            "set Up(true) on node1-0 in host",
            "set Up(true) on eth0 in pod",
            "add address 192.168.1.10/24 on eth0 in pod",
            "add address fd00:192:168:1::10/80 on eth0 in pod",
            "add route default via 192.168.1.1 dev eth0 in pod",
            "add route default via fd00:192:168:1::1 dev eth0 in pod",
            "add route 10.244.2.0/24 via 192.168.1.11 dev eth0 in pod",
            "add route fd00:10:244:2::/64 via fd00:192:168:1::11 dev eth0 in pod",
        ]
    );
    assert_eq!(stage.settings.len(), 2);
}

#[test]
fn the_host_behind_the_router_forwards_nothing() {
    let layout = Layout::new(1, &[]).unwrap();
    assert_eq!(stage_of(&layout, &Site::Outside).settings, []);
    assert_eq!(layout.outside_host().map(|ip| ip.to_string()), ["198.51.100.10", "fd00:198:51:100::10"]);
}

#[test]
fn the_switches_have_no_addresses() {
    let layout = Layout::new(3, &[net("10.1.0.0/24"), net("10.2.0.0/24")]).unwrap();
    for stage in stages(&layout).unwrap() {
        for step in stage.plan.steps {
            let addressed = matches!(step.change.object, Object::Address(_) | Object::Route(_));
            assert!(!(addressed && step.change.place == Place::Host), "{}", step.change);
        }
    }
}

proptest! {
    #[test]
    fn addresses_of_a_lab_are_unique_and_within_their_networks(
        nodes in 1..=MAX_NODES, a in 11u8..=95, prefix in 8u8..=25,
    ) {
        let given = Ipv4Net::new(Ipv4Addr::new(a, 1, 2, 3), prefix).unwrap().trunc();
        let layout = Layout::new(nodes, &[given]).unwrap();
        let segment = layout.segments()[0];
        let mut seen: Vec<IpAddr> = segment.router().to_vec();
        for node in layout.nodes() {
            let [v4, v6] = layout.address(node, 0).unwrap();
            prop_assert!(IpNet::V4(segment.v4).contains(&v4.addr()));
            prop_assert!(IpNet::V6(segment.v6).contains(&v6.addr()));
            seen.extend([v4.addr(), v6.addr()]);
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), count);
    }
}
