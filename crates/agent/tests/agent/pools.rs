//! Which pool serves an interface: from the objects of a cluster to the result of the `spiderpool` plugin.

use polynic_wire::AddressService;
use polynic_wire::messages::AddRequest;
use serde_json::{Value, json};

use crate::site::Site;
use crate::world::{POOLS, World, add_request, soon};

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// A cluster with pools of ten addresses: pool N of the list is `10.N.0.0/16`, from 1. Each may have further members.
fn cluster(pools: &[(&str, Value)]) -> World {
    let world = World::new();
    for (at, (name, more)) in pools.iter().enumerate() {
        let net = at + 1;
        let mut spec =
            json!({"subnet": format!("10.{net}.0.0/16"), "ips": [format!("10.{net}.0.1-10.{net}.0.10")]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.pool(name, spec);
    }
    world
}

fn namespace(world: &World, name: &str, metadata: &Value) {
    let mut metadata = metadata.clone();
    metadata["name"] = json!(name);
    world.create(
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
    );
}

/// The annotation that names IPv4 pools.
fn ippool(names: &[&str]) -> Value {
    json!({"ipam.spidernet.io/ippool": json!({"ipv4": names}).to_string()})
}

/// Which network an address is from: the N of `10.N.0.0/16`.
fn network(given: Result<String, String>) -> u32 {
    let address = given.unwrap();
    address.split('.').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_first_source_that_says_something_decides() {
    let none = || json!({});
    let world = cluster(&[
        ("annotated", none()),
        ("spaced", none()),
        ("netconf", none()),
        ("standard", json!({"default": true})),
    ]);
    namespace(
        &world,
        "new",
        &json!({"annotations": {"ipam.spidernet.io/default-ipv4-ippool": "[\"spaced\"]"}}),
    );
    namespace(&world, "old", &json!({"annotations": {"ipam.spidernet.io/defaultv4ippool": "[\"spaced\"]"}}));
    let site = Site::new(world);
    let of_network = json!({"default_ipv4_ippool": ["netconf"]});
    let with = |namespace: &str, annotations: Value, ipam: &Value| {
        let pod = site.pod_of(namespace, json!({"annotations": annotations}));
        network(site.add_with(&pod, "eth0", ipam).map(|added| added.addresses().join(" ")))
    };
    assert_eq!(with("default", none(), &none()), 4);
    assert_eq!(with("default", none(), &of_network), 3);
    assert_eq!(with("new", none(), &of_network), 2);
    assert_eq!(with("old", none(), &of_network), 2);
    assert_eq!(with("new", ippool(&["annotated"]), &of_network), 1);
    let old_spelling = json!({"ipam.spidernet.io/ippool": json!({"ipv4pools": ["annotated"]}).to_string()});
    assert_eq!(with("new", old_spelling, &of_network), 1);

    let why = site.given(ippool(&["annotated", "missing"])).unwrap_err();
    assert!(
        why.starts_with("spiderpool IP allocation error") && why.contains("IPPool missing does not exist"),
        "{why}"
    );
    let why = site.given(json!({"ipam.spidernet.io/ippool": "{"})).unwrap_err();
    assert!(why.contains("invalid format of Pod annotation 'ipam.spidernet.io/ippool'"), "{why}");
    assert_eq!(site.world.records("annotated").len(), 2, "who failed holds nothing");
}

#[test]
fn patterns_stand_for_the_pools_there_are() {
    let world =
        cluster(&[("beta-2", json!({})), ("alpha", json!({})), ("beta-1", json!({"ips": ["10.3.0.1"]}))]);
    let site = Site::new(world);
    let given = |names: &[&str]| site.given(ippool(names));
    assert_eq!(network(given(&["beta-?"])), 3, "by name");
    assert_eq!(network(given(&["beta-?"])), 1, "and the next, when it is full");
    assert_eq!(network(given(&["[a-c]eta-2"])), 1);
    assert_eq!(network(given(&["nothing*", "al*"])), 2, "what matches nothing disappears");
    assert_eq!(network(given(&["alpha", "*"])), 2, "in place");
    let why = given(&["nothing*"]).unwrap_err();
    assert!(why.contains("no IPPool available"), "{why}");
    let why = given(&["alpha", "alpha"]).unwrap_err();
    assert!(why.contains("named twice"), "{why}");
}

#[test]
fn the_pool_that_is_most_precisely_for_the_pod_comes_first_and_the_next_when_it_is_full() {
    let one = |net: u32, more: Value| {
        let mut spec = json!({"ips": [format!("10.{net}.0.1")]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let labels = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let world = cluster(&[
        ("plain-b", one(1, json!({}))),
        ("plain-a", one(2, json!({}))),
        ("network", one(3, json!({"multusName": ["default/lan"]}))),
        ("namespace-labels", one(4, json!({"namespaceAffinity": labels("tier", "gold")}))),
        ("namespace-name", one(5, json!({"namespaceName": ["gold"]}))),
        ("node-labels", one(6, json!({"nodeAffinity": labels("rack", "a")}))),
        ("node-name", one(7, json!({"nodeName": ["n1"]}))),
        ("pod", one(8, json!({"podAffinity": labels("app", "web")}))),
    ]);
    world.patch("/api/v1/nodes", "n1", &json!({"metadata": {"labels": {"rack": "a"}}}));
    namespace(&world, "gold", &json!({"labels": {"tier": "gold"}}));
    let site = Site::new(world);
    let names = [
        "plain-b",
        "plain-a",
        "network",
        "namespace-labels",
        "namespace-name",
        "node-labels",
        "node-name",
        "pod",
    ];
    let mut annotations = ippool(&names);
    annotations[DEFAULT_NETWORK] = json!("default/lan");
    let next = || {
        let pod = site.pod_of("gold", json!({"annotations": annotations, "labels": {"app": "web"}}));
        site.add(&pod, "eth0").map(|added| added.addresses().join(" "))
    };
    let order: Vec<u32> = names.iter().map(|_| network(next())).collect();
    assert_eq!(order, [8, 7, 6, 5, 4, 3, 1, 2]);
    let why = next().unwrap_err();
    for name in names {
        assert!(why.contains(&format!("IPPool {name}: all IP addresses used out")), "{why}");
    }
}

#[test]
fn a_pool_that_is_not_for_the_pod_says_why() {
    let labels = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let world = cluster(&[
        (
            "good",
            json!({"nodeName": ["n1"], "nodeAffinity": labels("rack", "b"), "namespaceName": ["default"],
                        "namespaceAffinity": labels("tier", "tin"), "podAffinity": labels("app", "web")}),
        ),
        ("node-name", json!({"nodeName": ["n2"], "nodeAffinity": labels("rack", "a")})),
        ("node-labels", json!({"nodeAffinity": labels("rack", "b")})),
        ("namespace-name", json!({"namespaceName": ["other"]})),
        ("namespace-labels", json!({"namespaceAffinity": labels("tier", "gold")})),
        (
            "pod",
            json!({"podAffinity": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}),
        ),
        ("off", json!({"disable": true})),
        ("going", json!({})),
        ("network", json!({"multusName": ["default/lan"]})),
    ]);
    world.patch("/api/v1/nodes", "n1", &json!({"metadata": {"labels": {"rack": "a"}}}));
    world.patch(POOLS, "going", &json!({"metadata": {"finalizers": ["spiderpool.spidernet.io"]}}));
    world.delete(POOLS, "going", 0);
    world.pool("six", json!({"subnet": "fd00:6::/64", "ips": ["fd00:6::1-fd00:6::9"]}));
    let site = Site::new(world);
    let given = |names: &[&str]| {
        let pod = site.pod_of("default", json!({"annotations": ippool(names), "labels": {"app": "web"}}));
        site.add(&pod, "eth0").map(|added| added.addresses().join(" "))
    };
    let bad = [
        ("node-name", "nodeName does not list node n1"),
        ("node-labels", "nodeAffinity does not match the labels of node n1"),
        ("namespace-name", "namespaceName does not list namespace default"),
        ("namespace-labels", "namespaceAffinity does not match the labels of namespace default"),
        ("pod", "podAffinity does not match the pod's labels"),
        ("off", "it is disabled"),
        ("going", "it is being deleted"),
        ("six", "it is not of IPv4"),
        ("network", "neither the pod nor the cluster (MULTUS_CLUSTER_NETWORK) names one"),
    ];
    let names = bad.map(|(name, _)| name);
    let why = given(&names).unwrap_err();
    for (name, reason) in bad {
        let own = why.split("; ").find(|part| part.contains(&format!("IPPool {name}: ")));
        assert!(own.is_some_and(|own| own.contains(reason)), "{name}: {why}");
    }
    assert_eq!(network(given(&[&names[..], &["good"]].concat())), 1, "the good one serves");
}

#[test]
fn a_pool_of_a_network_serves_the_interfaces_on_it() {
    let world = cluster(&[
        ("qualified", json!({"multusName": ["default/lan"]})),
        ("of-the-agent", json!({"multusName": ["fabric"]})),
    ]);
    let config = world.config_with("n1", "", &[("MULTUS_CLUSTER_NETWORK", "kube-system/fabric")]);
    let site = Site::with(world, config);
    let given = |networks: Value, nic: &str, pool: &str| {
        let mut annotations = ippool(&[pool]);
        annotations.as_object_mut().unwrap().extend(networks.as_object().unwrap().clone());
        site.add(&site.pod(annotations), nic).map(|added| added.addresses().join(" "))
    };
    let second = json!({NETWORKS: "other, lan"});
    assert_eq!(network(given(second.clone(), "net2", "qualified")), 1);
    let why = given(second, "net1", "qualified").unwrap_err();
    assert!(why.contains("multusName does not list network default/other of interface net1"), "{why}");
    let named = json!({NETWORKS: json!([{"name": "lan", "interface": "san0"}]).to_string()});
    assert_eq!(network(given(named.clone(), "san0", "qualified")), 1);
    let why = given(named, "net1", "qualified").unwrap_err();
    assert!(why.contains("the pod's networks annotation has none"), "{why}");
    assert_eq!(network(given(json!({DEFAULT_NETWORK: "default/lan"}), "eth0", "qualified")), 1);
    assert_eq!(network(given(json!({}), "eth0", "of-the-agent")), 2, "the cluster's network");
    assert!(given(json!({DEFAULT_NETWORK: "default/lan"}), "eth0", "of-the-agent").is_err());
}

#[test]
fn excluded_and_reserved_addresses_are_not_given() {
    let world = cluster(&[(
        "p",
        json!({"default": true, "ips": ["10.1.0.20-10.1.0.22", "10.1.0.1-10.1.0.6"], "excludeIPs": ["10.1.0.20", "10.1.0.3-10.1.0.4"]}),
    )]);
    let reserved = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderReservedIP", "metadata": {"name": "r"},
                          "spec": {"ipVersion": 4, "ips": ["10.1.0.22", "10.1.0.1-10.1.0.2"]}});
    world.create("/apis/spiderpool.spidernet.io/v2beta1/spiderreservedips", &reserved);
    let site = Site::new(world);
    let given: Vec<String> = (0..3).map(|_| site.given(json!({})).unwrap()).collect();
    assert_eq!(given, ["10.1.0.21/16", "10.1.0.5/16", "10.1.0.6/16"], "as listed, each range from below");
    let why = site.given(json!({})).unwrap_err();
    assert!(why.contains("all IP addresses used out"), "{why}");
}

#[test]
fn a_pool_with_as_many_records_as_allowed_is_used_out() {
    let world = cluster(&[("p", json!({"default": true})), ("q", json!({}))]);
    let config = world.config_with("n1", "", &[("SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS", "2")]);
    let site = Site::with(world, config);
    let given = |names: &[&str]| site.given(ippool(names));
    assert_eq!(
        [network(given(&["p", "q"])), network(given(&["p", "q"])), network(given(&["p", "q"]))],
        [1, 1, 2]
    );
    let why = given(&["p"]).unwrap_err();
    assert!(why.contains("IPPool p: all IP addresses used out"), "{why}");
}

#[test]
fn the_physical_function_must_be_in_the_pools_network_if_asked_for() {
    let world = cluster(&[("one", json!({})), ("two", json!({}))]);
    let site = Site::new(world);
    let given = |addresses: Option<&str>| {
        let pod = site.pod(ippool(&["one", "two"]));
        let request = AddRequest {
            match_master_subnet: true,
            master_addresses: addresses.map(|ip| vec![ip.parse().unwrap()]),
            ..add_request(&pod.name, &pod.uid, "eth0")
        };
        let answer = site.agent.service.allocate(&request, soon());
        answer.map(|answer| answer.ips[0].address.clone()).map_err(|why| why.to_string())
    };
    assert_eq!(network(given(Some("10.2.200.1"))), 2);
    for nowhere in [Some("10.3.0.1"), None] {
        let why = given(nowhere).unwrap_err();
        assert!(
            why.contains("match_master_subnet: the host's interface has no address in 10.1.0.0/16"),
            "{why}"
        );
    }
}

polynic_control_plane::on_a_real_server!(
    the_first_source_that_says_something_decides,
    patterns_stand_for_the_pools_there_are,
    the_pool_that_is_most_precisely_for_the_pod_comes_first_and_the_next_when_it_is_full,
    a_pool_that_is_not_for_the_pod_says_why,
    a_pool_of_a_network_serves_the_interfaces_on_it,
    excluded_and_reserved_addresses_are_not_given,
    a_pool_with_as_many_records_as_allowed_is_used_out,
    the_physical_function_must_be_in_the_pools_network_if_asked_for,
);
