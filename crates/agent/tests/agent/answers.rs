//! What the API answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use polynic_wire::messages::{BatchDelRequest, PodIdentity};
use polynic_wire::{AddressService, ServiceError};
use serde_json::{Value, json};

use crate::world::{COORDINATORS, ENDPOINTS, PODS, World, add_request, soon, until};

fn pod(name: &str) -> PodIdentity {
    PodIdentity { pod_namespace: "default".into(), pod_name: name.into() }
}

#[test]
fn an_interface_gets_an_address_keeps_it_and_gives_it_back() {
    let world = World::new();
    world.pool(
        "p",
        json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "gateway": "10.9.0.1", "default": true,
        "routes": [{"dst": "10.40.0.0/16", "gw": "10.9.0.9"}]}),
    );
    let agent = world.agent("n1");
    let uid = world.pod("web", "n1", json!({}));
    let response = agent.add("web", &uid, "eth0").unwrap();
    let expected = json!({
        "ips": [{"version": 4, "address": "10.9.0.7/16", "gateway": "10.9.0.1", "ipPool": "p", "nic": "eth0"}],
        "routes": [{"ifName": "eth0", "dst": "10.40.0.0/16", "gw": "10.9.0.9"},
                   {"ifName": "eth0", "dst": "0.0.0.0/0", "gw": "10.9.0.1"}],
    });
    assert_eq!(json!(response), expected);
    assert_eq!(agent.add("web", &uid, "eth0").unwrap(), response);
    assert_eq!(world.records("p").get("10.9.0.7"), Some(&("default/web".to_owned(), uid.clone())));
    until("the endpoint is there", || world.get(ENDPOINTS, "web").is_some());
    let endpoint = world.get(ENDPOINTS, "web").unwrap();
    assert_eq!(endpoint["metadata"]["finalizers"], json!(["spiderpool.spidernet.io"]));
    assert_eq!(endpoint["metadata"]["ownerReferences"][0]["uid"], json!(uid));
    let current = &endpoint["status"]["current"];
    assert_eq!((&current["uid"], &current["node"]), (&json!(uid), &json!("n1")));
    assert_eq!(current["ips"][0]["ipv4"], "10.9.0.7/16");
    assert_eq!(endpoint["status"]["ownerControllerType"], "Pod");
    let held = agent.service.workload_endpoint(&pod("web"), soon()).unwrap();
    assert_eq!(
        (held.interfaces[0].ipv4.as_str(), held.interfaces[0].ipv4_pool.as_str()),
        ("10.9.0.7/16", "p")
    );

    let pod = world.get(PODS, "web").unwrap();
    assert!(!pod.to_string().contains("ipam.spidernet.io"), "nothing is written to pods: {pod}");

    // Its sandbox is restarted: the pod lives, and keeps its address.
    agent.del("web", &uid).unwrap();
    assert_eq!(world.records("p").len(), 1);
    world.delete(PODS, "web", 30);
    agent.del("web", &uid).unwrap();
    agent.del("web", &uid).unwrap();
    assert_eq!(world.records("p").len(), 0);
}

/// A sandbox of an earlier pod of that name may still be asked for, and deleted, when the next pod is there.
#[test]
fn a_namesake_gets_nothing_of_a_pods_and_takes_nothing_from_it() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "default": true}));
    let agent = world.agent("n1");
    let earlier = world.pod("web", "n1", json!({}));
    agent.add("web", &earlier, "eth0").unwrap();
    world.delete(PODS, "web", 0);
    let later = world.pod("web", "n1", json!({}));
    let why = agent.add("web", &earlier, "eth0").unwrap_err().to_string();
    assert!(why.contains(&format!("the pod has UID {later}, and this sandbox is of UID {earlier}")), "{why}");
    let address = agent.address("web", &later, "eth0");
    assert!(agent.add("web", &earlier, "eth0").is_err(), "the endpoint is the other's");
    agent.del("web", &earlier).unwrap();
    let own = ("default/web".to_owned(), later.clone());
    until("one record is left, and it is the pod's", || world.records("p").values().eq([&own]));
    assert_eq!(agent.address("web", &later, "eth0"), address);
}

#[test]
fn the_rights_of_the_manifests_are_enough() {
    let world = World::with_rights_of_the_manifests();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "default": true}));
    let agent = world.agent_of_the_manifests("n1");
    let uid = world.pod("web", "n1", json!({}));
    agent.add("web", &uid, "eth0").unwrap();
    until("the endpoint is there", || world.get(ENDPOINTS, "web").is_some());
    agent.add("web", &uid, "net1").unwrap();
    assert_eq!(world.records("p").len(), 2);
    world.delete(PODS, "web", 30);
    agent.del("web", &uid).unwrap();
    assert_eq!(world.records("p").len(), 0);
    until("the endpoint is gone", || world.get(ENDPOINTS, "web").is_none());
}

#[test]
fn both_families_and_all_interfaces_of_one_pod() {
    let world = World::new();
    world.pool("v4", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "gateway": "10.9.0.1"}));
    world
        .pool("v6", json!({"subnet": "fd00:9::/64", "ips": ["fd00:9::7-fd00:9::9"], "gateway": "fd00:9::1"}));
    let agent = world.agent("n1");
    let pools = json!([{"interface": "eth0", "ipv4": ["v4"], "ipv6": ["v6"]},
                       {"interface": "net1", "ipv4": ["v4"], "cleangateway": true}]);
    let uid = world.pod("web", "n1", json!({"ipam.spidernet.io/ippools": pools.to_string()}));
    let response = agent.add("web", &uid, "eth0").unwrap();
    let of = |nic: &str| {
        let ips = response.ips.iter().filter(|ip| ip.nic == nic);
        ips.map(|ip| ip.address.clone()).collect::<Vec<_>>()
    };
    let first = of("eth0");
    assert_eq!(first.len(), 2, "{response:?}");
    assert!(first.contains(&"fd00:9::7/64".to_owned()), "{response:?}");
    let second = of("net1");
    assert_eq!(second.len(), 1);
    assert_ne!(
        first.iter().find(|ip| ip.starts_with("10.")),
        second.first(),
        "two interfaces, two addresses"
    );
    assert_eq!(agent.address("web", &uid, "net1"), second[0]);
    assert_eq!((world.records("v4").len(), world.records("v6").len()), (2, 1));
    world.delete(PODS, "web", 30);
    agent.del("web", &uid).unwrap();
    assert_eq!((world.records("v4").len(), world.records("v6").len()), (0, 0));
}

#[test]
fn errors_are_bare_texts_with_their_statuses() {
    let world = World::new();
    let agent = world.agent("n1");
    let status = |error: ServiceError| match error {
        ServiceError::Status { code, message } => (code, message),
        other => panic!("{other}"),
    };
    let uid = world.pod("web", "n1", json!({}));
    let (code, text) = status(agent.add("web", &uid, "eth0").unwrap_err());
    assert!(code == 500 && text.contains("no IPPool available") && text.contains("default/web"), "{text}");
    let (code, text) = status(agent.add("nobody", "", "eth0").unwrap_err());
    assert!(code == 500 && text.contains("default/nobody"), "{text}");
    assert_eq!(status(agent.service.workload_endpoint(&pod("web"), soon()).unwrap_err()).0, 404);
    let (code, text) = status(agent.service.coordinator_config(&pod("web"), soon()).unwrap_err());
    assert!(code == 500 && text.contains("SpiderCoordinator default"), "{text}");
    let nothing = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderCoordinator",
        "metadata": {"name": "default"}, "spec": {"mode": "overlay", "podCIDRType": "none", "hijackCIDR": ["169.254.0.0/16"]}});
    world.create(COORDINATORS, &nothing);
    let (code, text) = status(agent.service.coordinator_config(&pod("web"), soon()).unwrap_err());
    assert!(code == 500 && text.contains("not Synced"), "{text}");
    let status_now =
        json!({"status": {"phase": "Synced", "serviceCIDR": ["10.96.0.0/12"], "overlayPodCIDR": []}});
    world.patch(COORDINATORS, "default/status", &status_now);
    let config = agent.service.coordinator_config(&pod("web"), soon()).unwrap();
    assert_eq!((config.mode.as_str(), config.service_cidr), ("overlay", vec!["10.96.0.0/12".to_owned()]));
    let (code, _) = status(agent.service.coordinator_config(&pod("nobody"), soon()).unwrap_err());
    assert_eq!(code, 500);
}

#[test]
fn a_release_after_a_conflict_has_statuses_of_its_own() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "default": true}));
    let config = world.config("n1");
    let uid = world.pod("web", "n1", json!({}));
    let batch = |conflict| BatchDelRequest {
        container_id: "c".into(),
        pod_namespace: "default".into(),
        pod_name: "web".into(),
        pod_uid: uid.clone(),
        is_release_conflict_ips: conflict,
        ..BatchDelRequest::default()
    };
    let agent = world.agent_with(config.clone());
    let first = agent.address("web", &uid, "eth0");
    until("the endpoint is there", || world.get(ENDPOINTS, "web").is_some());
    agent.service.release_batch(&batch(false), soon()).unwrap();
    assert_eq!(world.records("p").len(), 0);
    let second = agent.address("web", &uid, "eth0");
    assert_ne!(first, second, "the address that failed a probe is avoided");
    agent.stop();
    let mut strict = config;
    strict.allocator.release_conflicts = false;
    let agent = world.agent_with(strict);
    let error = agent.service.release_batch(&batch(true), soon()).unwrap_err();
    assert!(matches!(error, ServiceError::Status { code: 521, .. }), "{error}");
}

/// As when a network is plugged into a running pod, and its gateway does not answer.
#[test]
fn a_probe_that_fails_for_one_interface_leaves_the_others_their_addresses() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "default": true}));
    let agent = world.agent("n1");
    let uid = world.pod("web", "n1", json!({}));
    assert_eq!(agent.address("web", &uid, "eth0"), "10.9.0.7/16");
    assert_eq!(agent.address("web", &uid, "net1"), "10.9.0.8/16");
    let batch = BatchDelRequest {
        container_id: "c".into(),
        pod_namespace: "default".into(),
        pod_name: "web".into(),
        pod_uid: uid.clone(),
        if_name: "net1".into(),
        ..BatchDelRequest::default()
    };
    agent.service.release_batch(&batch, soon()).unwrap();
    assert_eq!(world.records("p").keys().collect::<Vec<_>>(), ["10.9.0.7"]);
    let endpoint = world.get(ENDPOINTS, "web").unwrap();
    let left: Vec<&Value> = endpoint["status"]["current"]["ips"].as_array().unwrap().iter().collect();
    assert_eq!((left.len(), &left[0]["interface"]), (1, &json!("eth0")));
    assert_eq!(agent.address("web", &uid, "eth0"), "10.9.0.7/16");
    assert_eq!(agent.address("web", &uid, "net1"), "10.9.0.9/16", "what failed is avoided");
}

/// One request as text; answers status and body.
fn raw(socket: &std::path::Path, request: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.trim_end().to_owned())
}

#[test]
fn requests_that_are_wrong_are_refused_by_their_form() {
    let world = World::new();
    let _agent = world.agent("n1");
    let socket = world.socket("n1");
    let with = |method: &str, path: &str, body: &str| {
        let head = format!("{method} /v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        raw(
            &socket,
            &format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        )
    };
    let object = |body: &str| serde_json::from_str::<Value>(body).unwrap();
    let (status, body) = with("POST", "/ipam/ip", "{\"containerID\":\"\"}");
    assert_eq!((status, &object(&body)["code"]), (422, &json!(602)));
    assert!(object(&body)["message"].as_str().unwrap().contains("ifName"), "{body}");
    let (status, body) = with("GET", "/workloadendpoint", "");
    assert!(status == 422 && object(&body)["message"].as_str().unwrap().contains("podNamespace"), "{body}");
    assert_eq!(with("GET", "/nowhere", "").0, 404);
    assert_eq!(with("PUT", "/ipam/ip", "{}").0, 405);
    assert_eq!(with("POST", "/ipam/ips", "{}"), (200, String::new()));
    let request = serde_json::to_string(&add_request("nobody", "", "eth0")).unwrap();
    let (status, body) = with("POST", "/ipam/ip", &request);
    assert!(status == 500 && object(&body).is_string(), "{body}");
}

polynic_control_plane::on_a_real_server!(
    an_interface_gets_an_address_keeps_it_and_gives_it_back,
    a_namesake_gets_nothing_of_a_pods_and_takes_nothing_from_it,
    the_rights_of_the_manifests_are_enough,
    both_families_and_all_interfaces_of_one_pod,
    errors_are_bare_texts_with_their_statuses,
    a_release_after_a_conflict_has_statuses_of_its_own,
    requests_that_are_wrong_are_refused_by_their_form,
    a_probe_that_fails_for_one_interface_leaves_the_others_their_addresses,
);
