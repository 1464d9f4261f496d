use super::*;
use crate::explanation::{Asker, Question, Works, explain};
use crate::testing::{ip, link, of_peer, port, scene, site, stack};

const NODE: usize = 0;

fn at(site: usize, link: u32) -> Spot {
    Spot { site, link }
}

/// A node with a NIC that leads out, and two pods with macvlans on it.
fn macvlans() -> Scene {
    let pod = |address| stack(vec![(of_peer(link(2, "net1", "macvlan"), at(NODE, 2)), address)]);
    scene(vec![
        site("node", stack(vec![(link(2, "eth0", ""), "10.0.0.1/24")])),
        site("one", pod("10.0.0.2/24")),
        site("two", pod("10.0.0.3/24")),
    ])
}

fn ask(scene: &Scene, from: usize, to: &str) -> crate::Explanation {
    explain(scene, &Question { asker: Asker::Site(from), to: ip(to), port: None, from: None, link: None })
}

#[test]
fn children_of_one_parent_reach_each_other_and_the_wire_but_not_the_parent() {
    let scene = macvlans();
    let segment = sent_by(&scene, at(1, 2));
    assert_eq!((segment.ends, segment.open), (vec![at(2, 2)], vec![at(NODE, 2)]));
    assert_eq!(ask(&scene, 1, "10.0.0.3").works, Works::Yes);
    assert_eq!(ask(&scene, 1, "10.0.0.77").works, Works::AsFarAsSeen);
    let parent = ask(&scene, 1, "10.0.0.1");
    assert_eq!(parent.works, Works::No);
    assert!(parent.findings[0].what.contains("a macvlan never reaches its parent"), "{parent}");
}

#[test]
fn what_comes_from_outside_reaches_the_parent_and_its_children() {
    let ends = received_at(&macvlans(), at(NODE, 2)).ends;
    assert_eq!(ends, [at(1, 2), at(2, 2), at(NODE, 2)]);
}

#[test]
fn a_bridge_leads_to_its_other_ports_but_not_between_isolated_ones() {
    let cabled = |n: u32| port(of_peer(link(10 + n, &format!("p{n}"), "veth"), at(n as usize, 2)), 5);
    let node = |isolated: bool| {
        let mut ports: Vec<_> = (1..3).map(cabled).collect();
        ports.iter_mut().for_each(|port| port.fact.isolated = Some(isolated));
        let bridge = (link(5, "br0", "bridge"), "10.0.0.1/24");
        stack([vec![bridge], ports.into_iter().map(|port| (port, "")).collect()].concat())
    };
    let pod = |n: u32, address| stack(vec![(of_peer(link(2, "eth0", "veth"), at(NODE, 10 + n)), address)]);
    let with = |isolated| {
        scene(vec![
            site("node", node(isolated)),
            site("one", pod(1, "10.0.0.2/24")),
            site("two", pod(2, "10.0.0.3/24")),
        ])
    };
    assert_eq!(ask(&with(false), 1, "10.0.0.3").works, Works::Yes);
    let isolated = with(true);
    assert_eq!(ask(&isolated, 1, "10.0.0.3").works, Works::No);
    assert_eq!(ask(&isolated, 1, "10.0.0.1").works, Works::Yes);
}

#[test]
fn a_vlan_reaches_its_own_number_only() {
    let tagged = |index: u32, id: u16| {
        let mut vlan = link(index, &format!("eth0.{id}"), "vlan");
        (vlan.fact.peer, vlan.fact.vlan_id) = (Some(2), Some(id));
        vlan
    };
    let host = |peer: usize, id: u16, address| {
        let nic = of_peer(link(2, "eth0", "veth"), at(peer, 2));
        stack(vec![(nic, ""), (tagged(3, id), address)])
    };
    let with = |id| scene(vec![site("a", host(1, 7, "10.0.0.1/24")), site("b", host(0, id, "10.0.0.2/24"))]);
    assert_eq!(ask(&with(7), 0, "10.0.0.2").works, Works::Yes);
    assert_eq!(ask(&with(8), 0, "10.0.0.2").works, Works::No);
}

#[test]
fn two_links_that_answer_for_one_address_are_told() {
    let pod = |ignore: u8| {
        let nics = [(2, "net1", "10.0.0.2/24"), (3, "net2", "10.0.0.3/24")];
        stack(Vec::from(nics.map(|(index, name, address)| {
            let mut nic = of_peer(link(index, name, "macvlan"), at(NODE, 2));
            nic.conf.v4.arp_ignore = ignore;
            (nic, address)
        })))
    };
    let with = |ignore| {
        let other = stack(vec![(of_peer(link(2, "net1", "macvlan"), at(NODE, 2)), "10.0.0.9/24")]);
        scene(vec![
            site("node", stack(vec![(link(2, "eth0", ""), "")])),
            site("pod", pod(ignore)),
            site("other", other),
        ])
    };
    let both = ask(&with(0), 2, "10.0.0.3");
    assert!(both.doubts.iter().any(|doubt| doubt.contains("all answer for 10.0.0.3")), "{both}");
    let own = ask(&with(1), 2, "10.0.0.3");
    assert_eq!(own.doubts, Vec::<String>::new(), "{own}");
}

#[test]
fn a_link_that_is_down_leads_nowhere() {
    let mut scene = macvlans();
    scene.sites[NODE].stack.links[0].fact.up = false;
    let answer = ask(&scene, 1, "10.0.0.77");
    assert!(answer.findings[0].what.contains("a link there is down"), "{answer}");
}

/// Two nodes with a tunnel each, as flannel makes them; `dst` is what the first one's entry says.
fn tunnels(dst: &str) -> Scene {
    let node = |number: u8, mac: u8, entry: Option<(u8, &str)>| {
        let mut vxlan = link(3, "flannel.1", "vxlan");
        vxlan.fact.mac = Some(polynic_net::Mac([2, 0, 0, 0, 0, mac]));
        let local = Some(ip(&format!("192.168.10.{number}")));
        vxlan.fact.vxlan = Some(polynic_net::VxlanFact { vni: 1, port: 8472, local, ..Default::default() });
        let nic = (link(2, "eth1", ""), format!("192.168.10.{number}/24"));
        let own = (vxlan, format!("10.233.{number}.0/32"));
        let mut stack = stack(vec![(nic.0, nic.1.as_str()), (own.0, own.1.as_str())]);
        let other = 3 - number;
        let mut way = crate::testing::route(
            format!("10.233.{other}.0/24").parse().unwrap(),
            polynic_net::TABLE_MAIN,
            3,
        );
        way.hops[0].via = Some(ip(&format!("10.233.{other}.0")));
        stack.routes.push(way);
        if let Some((mac, dst)) = entry {
            let mac = polynic_net::Mac([2, 0, 0, 0, 0, mac]);
            let base = ip(&format!("10.233.{other}.0"));
            stack.neighbours.push(polynic_net::stack::NeighbourState {
                link: 3,
                ip: base,
                mac: Some(mac),
                nud: polynic_net::stack::Nud::Permanent,
                proxy: false,
            });
            if !dst.is_empty() {
                stack.forwarding.push(polynic_net::stack::ForwardingState { link: 3, mac, dst: ip(dst) });
            }
        }
        stack
    };
    scene(vec![site("one", node(1, 1, Some((2, dst)))), site("two", node(2, 2, Some((1, "192.168.10.1"))))])
}

#[test]
fn a_tunnel_says_what_it_wraps_a_packet_in_and_where_that_comes_out() {
    let good = ask(&tunnels("192.168.10.2"), 0, "10.233.2.0");
    assert_eq!(good.works, Works::Yes, "{good}");
    let line = "flannel.1 wraps it: VNI 1, UDP port 8472, from 192.168.10.1 to 192.168.10.2 by eth1";
    assert!(good.to_string().contains(line), "{good}");
    // The entry names a host that nobody looked at: it does not come out at the node of the same tunnel.
    let elsewhere = ask(&tunnels("192.168.10.77"), 0, "10.233.2.0");
    assert_eq!(elsewhere.works, Works::AsFarAsSeen, "{elsewhere}");
    let nowhere = ask(&tunnels(""), 0, "10.233.2.0");
    assert!(nowhere.findings[0].what.contains("does not know behind which host"), "{nowhere}");
    let no_way = ask(&tunnels("203.0.113.9"), 0, "10.233.2.0");
    assert!(no_way.findings[0].what.contains("no route to 203.0.113.9"), "{no_way}");
}
