//! What the interfaces of one pod get, ADD by ADD: addresses, routes, and the same again.

use std::cell::RefCell;

use polynic_cni::Verb;
use serde_json::{Value, json};

use crate::site::{Added, Site};
use crate::world::{COORDINATORS, ENDPOINTS, PODS, World, until};

fn world() -> World {
    let world = World::new();
    world.pool(
        "a",
        json!({"subnet": "10.1.0.0/16", "ips": ["10.1.0.7-10.1.0.9"], "gateway": "10.1.0.1",
                           "routes": [{"dst": "10.40.0.0/16", "gw": "10.1.0.2"}]}),
    );
    world.pool("b", json!({"subnet": "10.2.0.0/16", "ips": ["10.2.0.7-10.2.0.9"], "gateway": "10.2.0.1"}));
    world.pool("c", json!({"subnet": "10.3.0.0/16", "ips": ["10.3.0.7-10.3.0.9"]}));
    world.pool("six", json!({"subnet": "fd00:6::/64", "ips": ["fd00:6::7"], "gateway": "fd00:6::1"}));
    world
}

fn ippools(items: Value) -> Value {
    json!({"ipam.spidernet.io/ippools": items.to_string()})
}

/// The records of all pools together.
fn held(site: &Site) -> usize {
    ["a", "b", "c", "six"].iter().map(|pool| site.world.records(pool).len()).sum()
}

#[test]
fn items_without_names_go_to_the_interfaces_as_they_come() {
    let site = Site::new(world());
    let pod = site.pod(ippools(json!([{"ipv4": ["a"], "ipv6": ["six"]}, {"ipv4": ["b"]}, {"ipv4": ["c"]}])));
    assert_eq!(site.add(&pod, "eth0").unwrap().addresses(), ["10.1.0.7/16", "fd00:6::7/64"]);
    assert_eq!(held(&site), 4, "the others have theirs already");
    until("the endpoint is there", || site.world.get(ENDPOINTS, &pod.name).is_some());
    assert_eq!(site.add(&pod, "san0").unwrap().addresses(), ["10.2.0.7/16"]);
    // Which is now known by its name.
    until("the endpoint names it", || {
        let endpoint = site.world.get(ENDPOINTS, &pod.name).unwrap();
        endpoint["status"]["current"]["ips"][1]["interface"] == "san0"
    });
    assert_eq!(site.add(&pod, "net1").unwrap().addresses(), ["10.3.0.7/16"]);
    assert_eq!(site.add(&pod, "san0").unwrap().addresses(), ["10.2.0.7/16"]);
    assert_eq!(held(&site), 4);
    let why =
        site.add(&site.pod(ippools(json!([{"ipv4": ["a"]}, {"ipv4": ["b"], "interface": "net1"}]))), "eth0");
    assert!(why.unwrap_err().contains("either all items name an interface or none"));
}

#[test]
fn routes_are_the_pools_then_the_pods_then_the_default() {
    let site = Site::new(world());
    let own = json!([{"dst": "10.50.0.0/16", "gw": "10.1.0.3"}, {"dst": "10.60.0.0/16", "gw": "192.0.2.1"},
                     {"dst": "fd00:50::/48", "gw": "fd00:6::9"}]);
    let annotations = |gateway: bool| {
        let mut all =
            ippools(json!([{"interface": "eth0", "ipv4": ["a"], "ipv6": ["six"], "cleangateway": !gateway}]));
        all["ipam.spidernet.io/routes"] = json!(own.to_string());
        all
    };
    let pod = site.pod(annotations(true));
    let of_pool = "10.40.0.0/16 via 10.1.0.2";
    let of_pod = ["10.50.0.0/16 via 10.1.0.3", "fd00:50::/48 via fd00:6::9"];
    let default = ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:6::1"];
    let added = site.add(&pod, "eth0").unwrap();
    assert_eq!(
        added.routes(),
        [&[of_pool][..], &of_pod, &default].concat(),
        "what is beyond its networks is left out"
    );
    site.world.delete(PODS, &pod.name, 30);
    site.del(&pod, "eth0");
    let added = site.add(&site.pod(annotations(false)), "eth0").unwrap();
    assert_eq!(added.routes(), [&[of_pool][..], &of_pod].concat());

    // For every other source, the network's configuration says so.
    let named = json!({"ipam.spidernet.io/ippool": json!({"ipv4": ["b"]}).to_string()});
    let with =
        |clean| site.add_with(&site.pod(named.clone()), "eth0", &json!({"clean_gateway": clean})).unwrap();
    assert_eq!(with(false).routes(), ["0.0.0.0/0 via 10.2.0.1"]);
    assert_eq!(with(true).routes(), [""; 0]);
    let mut wrong = named.clone();
    wrong["ipam.spidernet.io/routes"] = json!(json!([{"dst": "10.50.0.0", "gw": "x"}]).to_string());
    let why = site.add(&site.pod(wrong), "eth0").unwrap_err();
    assert!(why.contains("invalid format of Pod annotation 'ipam.spidernet.io/routes'"), "{why}");
}

#[test]
fn the_same_add_again_gets_the_same() {
    let site = Site::new(world());
    let annotations =
        json!({"ipam.spidernet.io/ippool": json!({"ipv4": ["a"], "ipv6": ["six"]}).to_string()});
    let pod = site.pod(annotations.clone());
    let added = site.add(&pod, "eth0").unwrap();
    // With and without the endpoint, which follows in its own time; all at once, as after a timeout of the runtime.
    for _ in 0..3 {
        assert_eq!(site.add(&pod, "eth0").unwrap(), added);
    }
    assert_eq!(held(&site), 2);

    // One family fails: the other gives back what it got, and finds it when both can be served.
    let late = site.pod(annotations);
    let why = site.add(&late, "eth0").unwrap_err();
    assert!(why.contains("IPPool six: all IP addresses used out"), "{why}");
    until("what was given goes back", || held(&site) == 2);
    site.world.delete(PODS, &pod.name, 30);
    site.del(&pod, "eth0");
    let answer: RefCell<Option<Added>> = RefCell::default();
    until("there is room", || {
        site.add(&late, "eth0").is_ok_and(|added| answer.replace(Some(added)).is_none())
    });
    let answer = answer.take().unwrap();
    assert_eq!(answer.addresses(), ["10.1.0.7/16", "fd00:6::7/64"]);
    assert_eq!(held(&site), 2);
}

#[test]
fn a_coordinator_that_is_not_in_step_keeps_pods_from_starting_and_says_why() {
    let site = Site::new(world());
    let pod = site.pod(json!({}));
    let prev = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/run/netns/pod"}],
                      "ips": [{"interface": 0, "address": "10.1.0.7/16"}]});
    let conf = json!({"type": "coordinator", "prevResult": prev});
    let add = || site.plugin("coordinator", Verb::Add, &pod, ("net1", conf.clone())).unwrap_err().msg;
    let why = add();
    assert!(
        why.contains("failed to GetCoordinatorConfig: ")
            && why.contains("there is no SpiderCoordinator default"),
        "{why}"
    );
    let object = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderCoordinator", "metadata": {"name": "default"},
                        "spec": {"podCIDRType": "cluster"}});
    site.world.create(COORDINATORS, &object);
    let status = |phase: &str| json!({"status": {"phase": phase, "reason": "no pod CIDR was found", "serviceCIDR": [], "overlayPodCIDR": []}});
    site.world.patch(COORDINATORS, "default/status", &status("NotReady"));
    let why = add();
    assert!(
        why.contains("SpiderCoordinator default is NotReady, not Synced: no pod CIDR was found"),
        "{why}"
    );
    site.plugin("coordinator", Verb::Del, &pod, ("net1", conf.clone())).unwrap();
    // In step: what it says now is about the pod.
    site.world.patch(COORDINATORS, "default/status", &status("Synced"));
    let why = add();
    assert!(!why.contains("GetCoordinatorConfig"), "{why}");
}

polynic_control_plane::on_a_real_server!(
    items_without_names_go_to_the_interfaces_as_they_come,
    routes_are_the_pools_then_the_pods_then_the_default,
    the_same_add_again_gets_the_same,
    a_coordinator_that_is_not_in_step_keeps_pods_from_starting_and_says_why,
);
