use polynic_attach::{Cluster as _, DeviceError, Devices, PodInfo};
use serde_json::{Value, json};

use super::fake_kubelet::{Answer, FakeKubelet};
use super::pod_resources::{ContainerDevices, ContainerResources, ListAnswer, PodResources};
use crate::fake_server::{FakeServer, failure};

fn pod() -> PodInfo {
    PodInfo {
        namespace: "blue".into(),
        name: "p".into(),
        uid: "u".into(),
        node: "n".into(),
        ..PodInfo::default()
    }
}

fn pod_object(status: Value) -> (u16, Value) {
    (200, json!({"metadata": {"name": "p", "namespace": "blue", "uid": "u"}, "status": status}))
}

fn resources(name: &str, containers: &[&[(&str, &[&str])]]) -> PodResources {
    let device = |(resource, ids): &(&str, &[&str])| ContainerDevices {
        resource_name: (*resource).to_owned(),
        device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let container =
        |devices: &&[(&str, &[&str])]| ContainerResources { devices: devices.iter().map(device).collect() };
    PodResources {
        name: name.to_owned(),
        namespace: "blue".to_owned(),
        containers: containers.iter().map(container).collect(),
    }
}

fn ask(kubelet: &FakeKubelet, server: &FakeServer) -> Result<Devices, DeviceError> {
    server.cluster().with_kubelet(kubelet.files()).devices(&pod())
}

fn all(mut devices: Devices, resource: &str) -> Vec<String> {
    std::iter::from_fn(|| devices.take(resource)).collect()
}

#[test]
fn kubelet_lists_the_devices_of_all_containers() {
    let kubelet = FakeKubelet::new();
    // The second container has what the init container had.
    let of_pod =
        resources("p", &[&[("vendor/vf", &["b", "a"]), ("x/y", &["z"])], &[("vendor/vf", &["b", "c"])]]);
    let other = resources("q", &[&[("vendor/vf", &["d"])]]);
    kubelet.serve(Answer::Pods(ListAnswer { pod_resources: vec![other, of_pod] }));
    kubelet.write_checkpoint("not looked at");
    let devices = ask(&kubelet, &FakeServer::new([pod_object(json!({}))])).unwrap();
    assert_eq!(all(devices.clone(), "vendor/vf"), ["a", "b", "c"]);
    assert_eq!(all(devices, "x/y"), ["z"]);
}

#[test]
fn a_kubelet_that_refuses_or_is_gone_is_named() {
    let kubelet = FakeKubelet::new();
    kubelet.serve(Answer::Fails("8", "too many requests"));
    let error = ask(&kubelet, &FakeServer::new([])).unwrap_err().to_string();
    assert!(error.starts_with("failed to get resourceMap from ResourceClient: kubelet at "), "{error}");
    assert!(error.contains("too many requests"), "{error}");
    let left = FakeKubelet::new();
    drop(std::os::unix::net::UnixListener::bind(left.files().socket()).unwrap());
    let error = ask(&left, &FakeServer::new([])).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn an_answer_of_many_pods_is_read_whole() {
    let kubelet = FakeKubelet::new();
    let ids: Vec<String> = (0..110).map(|n| format!("{n:0>1000}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut pods: Vec<_> =
        (0..60).map(|n| resources(&format!("other-{n}"), &[&[("vendor/vf", &ids[..])]])).collect();
    pods.push(resources("p", &[&[("vendor/vf", &["mine"])]]));
    kubelet.serve(Answer::Pods(ListAnswer { pod_resources: pods }));
    let devices = ask(&kubelet, &FakeServer::new([pod_object(json!({}))])).unwrap();
    assert_eq!(all(devices, "vendor/vf"), ["mine"], "more than 4 MiB, which is gRPC's usual limit");
}

#[test]
fn without_the_socket_the_checkpoint_tells() {
    let kubelet = FakeKubelet::new();
    let entry = |uid: &str, ids: Value| json!({"PodUID": uid, "ContainerName": "c", "ResourceName": "vendor/vf", "DeviceIDs": ids, "AllocResp": "Cg=="});
    let entries = [
        entry("u", json!({"1": ["b"], "0": ["a"], "-1": null})),
        entry("v", json!({"0": ["x"]})),
        entry("u", json!(["c"])),
    ];
    kubelet.write_checkpoint(
        &json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 7}).to_string(),
    );
    let devices = ask(&kubelet, &FakeServer::new([pod_object(json!({}))])).unwrap();
    assert_eq!(all(devices, "vendor/vf"), ["a", "b", "c"]);
    for broken in ["{", "{}"] {
        kubelet.write_checkpoint(broken);
        let error = ask(&kubelet, &FakeServer::new([])).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to get a ResourceClient instance") && error.contains("is broken"),
            "{error}"
        );
    }
}

/// A kubelet without devices.
fn idle() -> FakeKubelet {
    let kubelet = FakeKubelet::new();
    kubelet.write_checkpoint(r#"{"Data":{"PodDeviceEntries":null}}"#);
    kubelet
}

fn claim(results: Value) -> (u16, Value) {
    (200, json!({"status": {"allocation": {"devices": {"results": results}}}}))
}

fn allocated(request: &str, driver: &str, device: &str) -> Value {
    json!({"request": request, "driver": driver, "pool": "p", "device": device})
}

fn slices(driver: &str, devices: Value) -> (u16, Value) {
    (200, json!({"items": [{"spec": {"driver": driver, "pool": {"name": "p"}, "devices": devices}}]}))
}

fn vf(name: &str, id: &str) -> Value {
    json!({"name": name, "attributes": {"k8s.cni.cncf.io/deviceID": {"string": id},
                                        "k8s.cni.cncf.io/resourceName": {"string": "vendor/vf"}}})
}

#[test]
fn claims_give_devices_beside_kubelets() {
    let kubelet = FakeKubelet::new();
    kubelet
        .serve(Answer::Pods(ListAnswer { pod_resources: vec![resources("p", &[&[("vendor/vf", &["k"])]])] }));
    let status =
        json!({"resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "p-nic"}, {"name": "unused"}]});
    let server = FakeServer::new([
        pod_object(status),
        claim(json!([allocated("r", "nic.example", "vf-0"), allocated("r", "gpu.example", "gpu-0")])),
        slices("gpu.example", json!([{"name": "gpu-0", "attributes": {}}])),
        slices("nic.example", json!([vf("vf-0", "0000:01")])),
    ]);
    // The two lists are asked for at once, so either may come first; a device is looked for in all of them.
    let devices = ask(&kubelet, &server).unwrap();
    assert_eq!(devices.notes.len(), 2, "{:?}", devices.notes);
    assert_eq!(all(devices, "vendor/vf"), ["0000:01", "k"]);
    let mut requests = server.requests();
    requests[2..].sort();
    let list =
        "GET /apis/resource.k8s.io/v1/resourceslices?&fieldSelector=spec.nodeName%3Dn%2Cspec.driver%3D";
    assert_eq!(
        requests,
        [
            "GET /api/v1/namespaces/blue/pods/p".to_owned(),
            "GET /apis/resource.k8s.io/v1/namespaces/blue/resourceclaims/p-nic".to_owned(),
            format!("{list}gpu.example"),
            format!("{list}nic.example"),
        ]
    );
}

#[test]
fn an_extended_resource_is_a_claim_behind_the_scenes() {
    let status = json!({"extendedResourceClaimStatus": {"resourceClaimName": "p-extended",
        "requestMappings": [{"containerName": "c", "resourceName": "vendor/vf", "requestName": "container-0-request-0"}]}});
    let results = json!([allocated("container-0-request-0", "nic.example", "vf-0")]);
    let asked = |results: Value| {
        ask(
            &idle(),
            &FakeServer::new([
                pod_object(status.clone()),
                claim(results),
                slices("nic.example", json!([vf("vf-0", "0000:01")])),
            ]),
        )
    };
    assert_eq!(all(asked(results).unwrap(), "vendor/vf"), ["0000:01"]);
    let error = asked(json!([allocated("other", "nic.example", "vf-0")])).unwrap_err().to_string();
    assert!(error.contains("from DRA client") && error.contains("no device for request"), "{error}");
}

#[test]
fn a_claim_that_cannot_be_read_or_has_nothing_fails() {
    let status = json!({"resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "p-nic"}]});
    let asked = |answer| {
        ask(&idle(), &FakeServer::new([pod_object(status.clone()), answer])).unwrap_err().to_string()
    };
    let error = asked(failure(403, "Forbidden", "resourceclaims is forbidden"));
    assert!(error.contains("ResourceClaim p-nic: resourceclaims is forbidden"), "{error}");
    let error = asked((200, json!({"status": {}})));
    assert!(error.contains("claim p-nic has no device allocation"), "{error}");
}
