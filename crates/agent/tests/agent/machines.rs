//! Fixed addresses of KubeVirt's virtual machines: through restarts, and while a machine moves between nodes.

use serde_json::{Value, json};

use crate::world::{Agent, ENDPOINTS, PODS, World, until};

const GROUP: &str = "/apis/kubevirt.io/v1/namespaces/default";

/// A cluster that knows KubeVirt's kinds, with a machine `vm` and its instance.
fn cluster() -> World {
    let world = World::new();
    for (kind, plural) in [
        ("VirtualMachine", "virtualmachines"),
        ("VirtualMachineInstance", "virtualmachineinstances"),
        ("VirtualMachineInstanceMigration", "virtualmachineinstancemigrations"),
    ] {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.kubevirt.io")},
            "spec": {"group": "kubevirt.io", "scope": "Namespaced",
                     "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
                     "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        });
        world.define(&crd);
        until("the kind is served", || {
            world.try_create(&format!("{GROUP}/{plural}"), &object(kind, "probe"))
        });
    }
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"], "gateway": "10.9.0.1", "default": true}));
    world.create(&format!("{GROUP}/virtualmachines"), &object("VirtualMachine", "vm"));
    world
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "kubevirt.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}})
}

fn instance(world: &World) -> String {
    let made =
        world.create(&format!("{GROUP}/virtualmachineinstances"), &object("VirtualMachineInstance", "vm"));
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// The pod that runs an instance.
fn launcher(world: &World, name: &str, instance: &str, node: &str, annotations: Value) -> String {
    let owner = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "uid": instance, "controller": true});
    let labels = json!({"kubevirt.io": "virt-launcher"});
    let metadata =
        json!({"name": name, "labels": labels, "ownerReferences": [owner], "annotations": annotations});
    world.pod_with(metadata, node)
}

fn agents(world: &World) -> [Agent; 2] {
    ["n1", "n2"]
        .map(|node| world.agent_with(world.config_with(node, "enableIPConflictDetection: true\n", &[])))
}

fn holder(world: &World) -> (String, String) {
    let records = world.records("p");
    assert_eq!(records.len(), 1, "{records:?}");
    records["10.9.0.7"].clone()
}

#[test]
fn a_machine_keeps_its_address_through_a_restart_and_gives_it_back_with_its_end() {
    let world = cluster();
    let [one, two] = agents(&world);
    let first = instance(&world);
    let uid = launcher(&world, "launcher-a", &first, "n1", json!({}));
    assert_eq!(one.address("launcher-a", &uid, "eth0"), "10.9.0.7/16");
    assert_eq!(holder(&world), ("default/vm".to_owned(), uid.clone()));
    let endpoint = world.get(ENDPOINTS, "vm").unwrap();
    assert_eq!(endpoint["metadata"].get("ownerReferences"), None);
    assert_eq!(
        (&endpoint["status"]["current"]["uid"], &endpoint["status"]["ownerControllerName"]),
        (&json!(uid), &json!("vm"))
    );

    // Stopped and started: another instance, another pod, another node. Meanwhile there is the machine alone.
    world.delete(PODS, "launcher-a", 30);
    world.delete(&format!("{GROUP}/virtualmachineinstances"), "vm", 0);
    one.del("launcher-a", &uid).unwrap();
    world.delete(PODS, "launcher-a", 0);
    let second = instance(&world);
    let later = launcher(&world, "launcher-b", &second, "n2", json!({}));
    assert_eq!(two.address("launcher-b", &later, "eth0"), "10.9.0.7/16");
    assert_eq!(holder(&world), ("default/vm".to_owned(), later.clone()));
    assert_eq!(world.get(ENDPOINTS, "vm").unwrap()["status"]["current"]["node"], "n2");
    assert_eq!(world.violations(), [""; 0], "a record of a machine is no leftover");

    // The machine is deleted.
    for plural in ["virtualmachines", "virtualmachineinstances"] {
        world.delete(&format!("{GROUP}/{plural}"), "vm", 0);
    }
    world.delete(PODS, "launcher-b", 30);
    two.del("launcher-b", &later).unwrap();
    assert_eq!(world.records("p").len(), 0);
    until("the endpoint is gone", || world.get(ENDPOINTS, "vm").is_none());
}

#[test]
fn a_machine_that_moves_has_one_address_on_both_nodes_and_it_is_no_conflict() {
    let world = cluster();
    let [one, two] = agents(&world);
    let vmi = instance(&world);
    let source = launcher(&world, "launcher-a", &vmi, "n1", json!({}));
    let before = one.add("launcher-a", &source, "eth0").unwrap();
    assert!(before.ips[0].enable_ip_conflict_detection);
    world.create(
        &format!("{GROUP}/virtualmachineinstancemigrations"),
        &object("VirtualMachineInstanceMigration", "move"),
    );
    let annotations = json!({"kubevirt.io/migrationJobName": "move"});
    let target = launcher(&world, "launcher-b", &vmi, "n2", annotations);
    let answer = two.add("launcher-b", &target, "eth0").unwrap();
    assert_eq!(
        (answer.ips[0].address.as_str(), answer.ips[0].enable_ip_conflict_detection),
        ("10.9.0.7/16", false)
    );
    assert_eq!(two.add("launcher-b", &target, "eth0").unwrap(), answer);
    assert_eq!(holder(&world).1, target);
    assert_eq!(world.violations(), [""; 0]);

    // The source has done its work: its release takes nothing from the target.
    world.delete(PODS, "launcher-a", 30);
    one.del("launcher-a", &source).unwrap();
    world.delete(PODS, "launcher-a", 0);
    one.del("launcher-a", &source).unwrap();
    assert_eq!(holder(&world).1, target);
    assert_eq!(world.get(ENDPOINTS, "vm").unwrap()["status"]["current"]["uid"], json!(target));

    // A migration that is only said to be one does not switch the probes off.
    let annotations = json!({"kubevirt.io/migrationJobName": "nobody"});
    let pod = world.pod("other", "n2", annotations);
    assert!(two.add("other", &pod, "eth0").unwrap().ips[0].enable_ip_conflict_detection);
}

polynic_control_plane::on_a_real_server!(
    a_machine_keeps_its_address_through_a_restart_and_gives_it_back_with_its_end,
    a_machine_that_moves_has_one_address_on_both_nodes_and_it_is_no_conflict,
);
