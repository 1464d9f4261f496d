use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use polynic_api::annotation;
use polynic_cni::{Error, Verb};
use serde_json::{Value, json};

use crate::fake::World;

/// Two NADs of one resource, a list and a single configuration, and one without.
fn world() -> World {
    let world = World::new(json!({"clusterNetwork": "fabric", "multusNamespace": "infra"}));
    world.nad("infra/fabric", json!({"type": "fabric"}));
    world.nad("plain", json!({"type": "plain"}));
    with_resource(
        &world,
        "vf",
        json!({"type": "sriov", "capabilities": {"deviceID": true, "CNIDeviceInfoFile": true}}),
    );
    with_resource(
        &world,
        "vf-list",
        json!({"plugins": [{"type": "sriov", "deviceid": "old"}, {"type": "tuning"}]}),
    );
    *world.cluster.devices.borrow_mut() =
        Some(vec![("vendor/vf", "0000:02"), ("vendor/vf", "0000:01"), ("other/x", "x")]);
    world
}

fn with_resource(world: &World, name: &str, config: Value) {
    world.raw_nad(&json!({"metadata": {"name": name, "namespace": "blue",
        "annotations": {annotation::RESOURCE_NAME: "vendor/vf"}}, "spec": {"config": config.to_string()}}));
}

/// What each call of a plugin type was told.
fn told(world: &World, key: &str) -> Vec<(String, Value)> {
    let calls = world.plugin.calls();
    let told = |(nth, call): (usize, &String)| (call.clone(), world.plugin.stdin(nth)[key].clone());
    calls.iter().enumerate().map(told).collect()
}

fn devinfo(world: &World, name: &str) -> PathBuf {
    let file = world.devinfo().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    file
}

const INFO: &str = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:01"}}"#;

#[test]
fn the_kth_network_of_a_resource_takes_the_kth_device_in_order() {
    let world = world();
    world.pod("vf-list, plain, vf, vf");
    world.add().unwrap();
    let wanted = [
        ("ADD fabric eth0", Value::Null),
        ("ADD sriov net1", json!("0000:01")),
        ("ADD tuning net1", json!("0000:01")),
        ("ADD plain net2", Value::Null),
        ("ADD sriov net3", json!("0000:02")),
        ("ADD sriov net4", Value::Null),
    ];
    let wanted: Vec<_> = wanted.map(|(call, id)| (call.to_owned(), id)).into();
    assert_eq!(told(&world, "pciBusID"), wanted);
    assert_eq!(told(&world, "deviceID"), wanted);
    assert_eq!(
        world.plugin.stdin(1).get("deviceid"),
        None,
        "keys match in any case: the device is said once"
    );
    let (reason, message) = world.events().pop().unwrap();
    assert_eq!(reason, "MissingDevice");
    assert!(message.contains("blue/vf (net4)") && message.contains("vendor/vf"), "{message}");
}

#[test]
fn a_device_is_handed_out_once_in_a_pod() {
    let world = world();
    *world.cluster.devices.borrow_mut() =
        Some(vec![("vendor/vf", "a"), ("vendor/vf", "a"), ("vendor/vf", "b")]);
    world.annotated(&[(annotation::DEFAULT_NETWORK, "blue/vf"), (annotation::NETWORKS, "vf")]);
    world.add().unwrap();
    let ids = told(&world, "deviceID").into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    assert_eq!(ids, [json!("a"), json!("b")]);
}

#[test]
fn nobody_is_asked_for_devices_if_no_network_names_a_resource() {
    let world = world();
    *world.cluster.devices.borrow_mut() = None;
    world.pod("plain");
    world.add().unwrap();
    world.del().unwrap();
    world.pod("vf");
    let error = world.add().unwrap_err();
    assert!(error.msg.contains("failed to get resourceMap from ResourceClient: kubelet is busy"), "{error}");
    assert!(!world.scratch().exists());
}

#[test]
fn an_allocated_device_wins_over_the_one_of_the_annotation() {
    let world = world();
    world.pod(
        r#"[{"name": "vf", "deviceID": "0000:99"}, {"name": "vf"}, {"name": "vf", "deviceID": "0000:99"}]"#,
    );
    world.add().unwrap();
    let ids: Vec<Value> =
        told(&world, "runtimeConfig").into_iter().skip(1).map(|(_, conf)| conf["deviceID"].clone()).collect();
    assert_eq!(ids, [json!("0000:01"), json!("0000:02"), json!("0000:99")]);
}

#[test]
fn what_the_device_plugin_knows_reaches_plugin_and_status_and_goes_with_the_pod() {
    let world = world();
    fs::write(devinfo(&world, "dp/vendor-vf-0000:01-device.json"), INFO).unwrap();
    world.pod("vf");
    world.add().unwrap();
    let file = devinfo(&world, "cni/blue-vf-c7_net1");
    assert_eq!(world.plugin.stdin(1)["runtimeConfig"]["CNIDeviceInfoFile"], json!(file));
    assert_eq!(fs::read_to_string(&file).unwrap(), INFO);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o444);
    let status: Value =
        serde_json::from_str(&world.cluster.status.borrow()[annotation::NETWORK_STATUS]).unwrap();
    assert_eq!(status[0]["device-info"], Value::Null);
    assert_eq!(status[1]["device-info"]["pci"]["pci-address"], "0000:01");
    world.del().unwrap();
    assert!(!file.exists());
    assert!(devinfo(&world, "dp/vendor-vf-0000:01-device.json").exists(), "that one is the device plugin's");
}

#[test]
fn a_file_that_the_plugin_itself_wrote_stays_and_is_read() {
    let world = world();
    let file = devinfo(&world, "cni/blue-vf-c7_net1");
    fs::write(&file, INFO.replace("0000:01", "mine")).unwrap();
    fs::write(devinfo(&world, "dp/vendor-vf-0000:01-device.json"), INFO).unwrap();
    world.pod("vf");
    world.add().unwrap();
    assert!(world.cluster.status.borrow()[annotation::NETWORK_STATUS].contains("mine"));
}

#[test]
fn a_failed_add_leaves_no_file() {
    let world = world();
    fs::write(devinfo(&world, "dp/vendor-vf-0000:01-device.json"), INFO).unwrap();
    world.pod("vf, plain");
    world.plugin.fail_nth(Verb::Add, 2, Error::internal("no"));
    world.add().unwrap_err();
    assert!(!devinfo(&world, "cni/blue-vf-c7_net1").exists());
}

#[test]
fn a_del_without_scratch_file_removes_the_file_too_and_nothing_outside_of_the_directory() {
    let mut world = world();
    fs::write(devinfo(&world, "dp/vendor-vf-0000:01-device.json"), INFO).unwrap();
    let outside = devinfo(&world, "elsewhere");
    fs::write(&outside, "").unwrap();
    world.conf["runtimeConfig"] = json!({"CNIDeviceInfoFile": outside});
    world.pod("vf");
    world.add().unwrap();
    fs::remove_file(world.scratch()).unwrap();
    world.del().unwrap();
    assert!(!devinfo(&world, "cni/blue-vf-c7_net1").exists());
    assert!(outside.exists());
}

#[test]
fn a_del_from_the_scratch_file_has_the_device() {
    let world = world();
    world.pod("vf");
    world.add().unwrap();
    let scratch: Value = serde_json::from_slice(&fs::read(world.scratch()).unwrap()).unwrap();
    assert_eq!(
        (&scratch[1]["deviceID"], &scratch[1]["resourceName"]),
        (&json!("0000:01"), &json!("vendor/vf"))
    );
    *world.cluster.devices.borrow_mut() = None;
    world.plugin.forget();
    world.del().unwrap();
    assert_eq!(world.plugin.stdin(0)["runtimeConfig"]["deviceID"], "0000:01");
}
