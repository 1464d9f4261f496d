use super::plan::{Site, Stage, stages};
use super::*;
use polynic_net::{Object, Place};
use proptest::prelude::*;

/// A lab with these networks, or the quickstart's if none are given.
fn layout(nodes: u16, nets: &[Ipv4Net]) -> Result<Layout> {
    let mut shape = Shape::default();
    if !nets.is_empty() {
        shape.underlays = nets.iter().copied().map(Underlay::of).collect();
    }
    Layout::new(nodes, &shape)
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn texts(stage: &Stage) -> Vec<String> {
    stage.plan.steps.iter().map(|step| step.change.to_string()).collect()
}

fn stage_of(layout: &Layout, site: &Site) -> Stage {
    stages(layout).unwrap().into_iter().find(|stage| stage.site == *site).unwrap()
}

fn forwarding(stage: &Stage) -> Vec<String> {
    let keys = stage.after.iter().map(|(key, _)| key.to_string());
    keys.filter(|key| key.contains("forward")).collect()
}

#[test]
fn links_of_the_underlay_do_not_wait_for_duplicate_detection_but_those_of_pods_do() {
    for stage in stages(&self::layout(2, &[]).unwrap()).unwrap() {
        let probes = |settings: &[plan::Setting]| {
            let found = settings.iter().find(|(key, _)| key.as_str().ends_with("dad_transmits"));
            found.map(|(_, value)| *value)
        };
        let expected = (stage.site != Site::Switches).then_some(("0", "1"));
        assert_eq!(probes(&stage.before).zip(probes(&stage.after)), expected, "{:?}", stage.site);
    }
}

#[test]
fn the_quickstart_network_keeps_clear_of_the_range_of_its_guide() {
    let layout = self::layout(MAX_NODES, &[]).unwrap();
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
    let layout = self::layout(2, &[net("172.16.0.0/25"), net("172.16.0.128/25")]).unwrap();
    let [a, b] = [0, 1].map(|nic| layout.address(Node { number: 2 }, nic).unwrap());
    assert_eq!(a.map(|n| n.to_string()), ["172.16.0.11/25", "fd00:172:16::11/80"]);
    assert_eq!(b.map(|n| n.to_string()), ["172.16.0.139/25", "fd01:172:16:0:128::11/80"]);
}

#[test]
fn networks_that_collide_or_are_too_small_are_refused() {
    for bad in ["10.244.3.0/24", "10.0.0.0/8", "198.51.100.0/25", "10.97.0.0/16", "192.168.1.0/29"] {
        assert!(matches!(self::layout(3, &[net(bad)]), Err(Error::Input(_))), "{bad}");
    }
    let twice = [net("192.168.1.0/24"), net("192.168.0.0/16")];
    let why = layout(1, &twice).unwrap_err().to_string();
    assert_eq!(why, "underlay 192.168.0.0/16: overlaps underlay 192.168.1.0/24");
    assert!(layout(0, &[]).is_err());
    assert!(layout(MAX_NODES + 1, &[]).is_err());
}

#[test]
fn a_node_gets_a_cable_addresses_a_default_route_and_its_neighbours_pods() {
    let layout = self::layout(2, &[]).unwrap();
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
    assert_eq!(forwarding(&stage), ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]);
}

#[test]
fn the_host_behind_the_router_forwards_nothing() {
    let layout = self::layout(1, &[]).unwrap();
    assert_eq!(forwarding(&stage_of(&layout, &Site::Host("outside".into()))), Vec::<String>::new());
    assert_eq!(
        layout.host_addresses("outside").unwrap().map(|ip| ip.to_string()),
        ["198.51.100.10", "fd00:198:51:100::10"]
    );
}

#[test]
fn the_switches_have_no_addresses() {
    let layout = self::layout(3, &[net("10.1.0.0/24"), net("10.2.0.0/24")]).unwrap();
    for stage in stages(&layout).unwrap() {
        for step in stage.plan.steps {
            let addressed = matches!(step.change.object, Object::Address(_) | Object::Route(_));
            assert!(!(addressed && step.change.place == Place::Host), "{}", step.change);
        }
    }
}

#[test]
fn a_guides_own_networks_names_and_hosts_are_taken_over() {
    let shape = Shape {
        underlays: vec![Underlay {
            numbers: vec![79, 126],
            ..Underlay::parse("ens192=10.6.0.0/16").unwrap()
        }],
        pods: crate::shape::Dual::parse("10.233.64.0/18,fd00:10:233:64::/56").unwrap(),
        services: crate::shape::Dual::parse("10.233.0.0/18,fd00:10:96::/112").unwrap(),
        hosts: vec![
            Host::new("lan", "10.6.0.200/16".parse().unwrap()),
            Host::new("far", "10.7.212.101/24".parse().unwrap()),
        ],
        ..Shape::default()
    };
    let layout = Layout::new(3, &shape).unwrap();
    let addresses = layout.nodes().map(|node| layout.address(node, 0).unwrap()[0].to_string());
    assert_eq!(addresses.collect::<Vec<_>>(), ["10.6.0.79/16", "10.6.0.126/16", "10.6.0.12/16"]);
    assert_eq!(layout.pod_networks(Node { number: 2 })[0].to_string(), "10.233.66.0/24");
    let on = |host: &Host| layout.host(host).unwrap().0;
    assert_eq!((on(&shape.hosts[0]), on(&shape.hosts[1])), (On::Underlay(0), On::Beyond(0)));
    let far = texts(&stage_of(&layout, &Site::Host("far".into())));
    assert!(far.contains(&"add address 10.7.212.101/24 on eth0 in pod".into()), "{far:?}");
    assert!(far.contains(&"add route default via 10.7.212.1 dev eth0 in pod".into()), "{far:?}");
    let node = texts(&stage_of(&layout, &Site::Node(Node { number: 1 })));
    assert!(node.contains(&"add route default via 10.6.0.1 dev ens192 in pod".into()), "{node:?}");
}

#[test]
fn a_node_that_comes_later_is_made_known_to_all_others() {
    let layout = layout(3, &[]).unwrap();
    let stages = plan::another_node(&layout, Node { number: 3 }).unwrap();
    let sites: Vec<&Site> = stages.iter().map(|stage| &stage.site).collect();
    let node = |number| Site::Node(Node { number });
    assert_eq!(sites, [&node(3), &node(1), &node(2), &Site::Router]);
    assert_eq!(texts(&stages[1])[0], "add route 10.244.3.0/24 via 192.168.1.12 dev eth0 in pod");
}

proptest! {
    #[test]
    fn addresses_of_a_lab_are_unique_and_within_their_networks(
        nodes in 1..=MAX_NODES, a in 11u8..=95, prefix in 8u8..=25,
    ) {
        let given = Ipv4Net::new(Ipv4Addr::new(a, 1, 2, 3), prefix).unwrap().trunc();
        let layout = self::layout(nodes, &[given]).unwrap();
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
