use polynic_net::{AddressFact, IfName, IpRange, LinkFact, NsFacts, Route};

use super::*;

fn ranges(texts: &[&str]) -> Vec<IpRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A pod with one address, everything about it consistent.
fn consistent() -> Cluster {
    let ip = "10.9.0.7".parse().unwrap();
    let record = Record { ip, pod: "team/web".into(), uid: "u".into(), nic: Some("eth0".into()) };
    let pool = Pool {
        name: "blue".into(),
        subnet: "10.9.0.0/16".parse().unwrap(),
        ips: ranges(&["10.9.0.1-10.9.0.9"]),
        exclude_ips: ranges(&["10.9.0.9"]),
        owner: Some("sub".into()),
        records: vec![record],
        total: Some(8),
        allocated: Some(1),
    };
    let subnet = Subnet { name: "sub".into(), ips: ranges(&["10.9.0.1-10.9.0.99"]), exclude_ips: Vec::new() };
    let address = EndpointAddress { nic: "eth0".into(), pool: "blue".into(), ip };
    let endpoint =
        Endpoint { key: "team/web".into(), uid: "u".into(), fixed: false, addresses: vec![address] };
    let pod = Pod {
        key: "team/web".into(),
        uid: "u".into(),
        in_use: vec![ip],
        network_status: vec![NetworkStatus { nic: "eth0".into(), ips: vec![ip] }],
        ..Pod::default()
    };
    let reserved = Reserved { name: "r".into(), ips: ranges(&["10.9.0.5"]) };
    Cluster {
        pools: vec![pool],
        subnets: vec![subnet],
        reserved: vec![reserved],
        endpoints: vec![endpoint],
        pods: vec![pod],
    }
}

fn rules(cluster: &Cluster) -> Vec<Rule> {
    check_cluster(cluster).into_iter().map(|violation| violation.rule).collect()
}

fn after(change: impl FnOnce(&mut Cluster)) -> Vec<Rule> {
    let mut cluster = consistent();
    change(&mut cluster);
    rules(&cluster)
}

#[test]
fn what_is_consistent_has_no_violations() {
    assert_eq!(check_cluster(&consistent()), []);
}

#[test]
fn every_rule_notices_its_violation() {
    type Change = fn(&mut Cluster);
    let cases: [(&[Rule], Change); 13] = [
        (&[Rule::AllocatedCount], |c| c.pools[0].allocated = Some(2)),
        (&[Rule::TotalCount], |c| c.pools[0].total = Some(9)),
        (&[Rule::RecordNotReserved], |c| c.reserved[0].ips = ranges(&["10.9.0.7"])),
        (&[Rule::PoolInOwner], |c| c.subnets[0].ips = ranges(&["10.9.0.2-10.9.0.99"])),
        (&[Rule::PoolInOwner], |c| c.subnets.clear()),
        (&[Rule::RecordInPool, Rule::TotalCount], |c| {
            c.pools[0].exclude_ips = ranges(&["10.9.0.7-10.9.0.9"])
        }),
        (&[Rule::PoolInSubnet], |c| c.pools[0].subnet = "10.9.0.0/29".parse().unwrap()),
        (&[Rule::RecordHasPod, Rule::EndpointHasPod], |c| c.pods.clear()),
        (&[Rule::RecordInEndpoint], |c| c.endpoints.clear()),
        (&[Rule::StatusAgrees], |c| c.pods[0].network_status[0].ips.clear()),
        (&[Rule::EndpointAgrees], |c| c.pools[0].records[0].nic = Some("net1".into())),
        (&[Rule::UsedIsRecorded, Rule::EndpointAgrees, Rule::AllocatedCount], |c| c.pools[0].records.clear()),
        (&[Rule::PoolsApart], |c| {
            let other =
                Pool { name: "red".into(), records: Vec::new(), allocated: Some(0), ..c.pools[0].clone() };
            c.pools.push(other);
        }),
    ];
    for (expected, change) in cases {
        let found = after(change);
        for rule in expected {
            assert!(found.contains(rule), "{rule:?} is not among {found:?}");
        }
        assert_eq!(found.len(), expected.len(), "{expected:?} {found:?}");
    }
}

#[test]
fn two_pods_with_one_address_are_the_worst() {
    let found = after(|c| {
        let twin = Pod { key: "team/twin".into(), uid: "t".into(), ..c.pods[0].clone() };
        c.pods.push(twin);
    });
    assert_eq!(found, [Rule::OneOwner, Rule::UsedIsRecorded]);
    let endpoints = after(|c| {
        c.pods.push(Pod { key: "team/twin".into(), uid: "t".into(), ..Pod::default() });
        c.endpoints.push(Endpoint { key: "team/twin".into(), uid: "t".into(), ..c.endpoints[0].clone() });
    });
    assert_eq!(endpoints[0], Rule::OneOwner);
    let pools = after(|c| {
        let mut other = Pool { name: "red".into(), ..c.pools[0].clone() };
        other.records[0].pod = "team/twin".into();
        c.pools.push(other);
    });
    assert!(pools.contains(&Rule::OneOwner), "{pools:?}");
}

#[test]
fn fixed_addresses_may_wait_for_their_pod() {
    let found = after(|c| {
        c.pods.clear();
        c.endpoints[0].fixed = true;
    });
    assert_eq!(found, []);
}

#[test]
fn the_two_pods_of_a_migrating_virtual_machine_share_their_addresses() {
    let found = after(|c| {
        c.pods[0].recorded_as = Some("team/web".into());
        let target = Pod { key: "team/launcher-2".into(), uid: "v".into(), ..c.pods[0].clone() };
        c.pods[0].key = "team/launcher-1".into();
        c.pods.push(target);
    });
    assert_eq!(found, []);
}

#[test]
fn a_violation_says_what_why_and_what_to_do() {
    let mut cluster = consistent();
    cluster.pools[0].allocated = Some(2);
    let text = check_cluster(&cluster)[0].to_string();
    assert!(
        text.starts_with("pool blue: allocatedIPCount is 2, and there are 1; people and alarms"),
        "{text}"
    );
    assert!(text.contains("Remedy: "), "{text}");
}

fn link(index: u32, name: &str) -> LinkFact {
    LinkFact::new(index, IfName::new(name).unwrap(), "veth")
}

fn address(link: &str, net: &str) -> AddressFact {
    let link = IfName::new(link).unwrap();
    AddressFact {
        link,
        net: net.parse().unwrap(),
        scope: 0,
        tentative: false,
        dad_failed: false,
        permanent: true,
        deprecated: false,
        temporary: false,
    }
}

fn route(dst: &str, link: &str, table: u32) -> Route {
    Route { table, ..Route::new(dst.parse().unwrap(), &IfName::new(link).unwrap()) }
}

fn rule(table: u32) -> polynic_net::Rule {
    let family = polynic_net::Family::V4;
    polynic_net::Rule { family, priority: 1000, from: None, to: None, iif: None, mark: None, table }
}

fn node_rules(facts: &NsFacts, pods: &[std::net::IpAddr]) -> Vec<Rule> {
    let view = NodeView { name: "node n1".into(), facts, pod_addresses: Some(pods), host_tables: &[500] };
    check_node(&view).into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn routes_rules_and_addresses_of_a_node_hang_together() {
    let pods = ["10.9.0.7".parse().unwrap()];
    let mut facts = NsFacts { links: vec![link(1, "vetha")], ..NsFacts::default() };
    facts.routes = vec![route("10.9.0.7/32", "vetha", 500), route("10.8.0.0/16", "vetha", 254)];
    facts.rules = vec![rule(500), rule(254), rule(255), rule(253)];
    facts.addresses = vec![address("vetha", "10.1.0.1/24"), address("vetha", "169.254.1.1/32")];
    assert_eq!(node_rules(&facts, &pods), []);

    facts.routes.push(route("10.9.0.8/32", "vetha", 500));
    facts.routes.push(route("10.9.0.9/32", "vethb", 500));
    facts.rules.push(rule(101));
    facts.links.push(link(2, "vethc"));
    facts.addresses.push(address("vethc", "10.1.0.1/16"));
    facts.addresses.push(address("vethc", "169.254.1.1/32"));
    assert_eq!(
        node_rules(&facts, &pods),
        [Rule::RouteHasLink, Rule::RouteHasLink, Rule::RuleHasTable, Rule::AddressOnce]
    );
}

#[test]
fn a_pod_whose_time_is_over_may_be_without_a_record() {
    let collected = |cluster: &mut Cluster| {
        cluster.pools[0].records.clear();
        cluster.pools[0].allocated = Some(0);
        cluster.endpoints.clear();
    };
    assert_eq!(after(collected), [Rule::UsedIsRecorded]);
    let leaving = |cluster: &mut Cluster| {
        collected(cluster);
        cluster.pods[0].leaving = true;
    };
    assert_eq!(after(leaving), []);
}

/// What two system pods of one node share is the node's, and no quarrel of theirs.
#[test]
fn the_address_of_a_node_is_no_pods() {
    let on_node = |name: &str| Pod {
        key: format!("kube-system/{name}"),
        uid: name.to_owned(),
        host_network: true,
        in_use: vec!["10.9.0.3".parse().unwrap()],
        ..Pod::default()
    };
    let add = |c: &mut Cluster| c.pods.extend([on_node("proxy"), on_node("agent")]);
    assert_eq!(after(add), [Rule::NodeAddress]);
    let kept_back = |c: &mut Cluster| {
        add(c);
        c.reserved[0].ips.extend(ranges(&["10.9.0.3"]));
    };
    assert_eq!(after(kept_back), []);
}
