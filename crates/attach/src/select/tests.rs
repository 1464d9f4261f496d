use serde_json::{Value, json};

use crate::cause;
use crate::fake::World;

use super::*;

fn single(name: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": name})
}

fn clustered(extra: Value) -> World {
    let mut conf = json!({"clusterNetwork": "fabric", "multusNamespace": "infra"});
    conf.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
    let world = World::new(conf);
    world.nad("infra/fabric", json!({"type": "fabric"}));
    world.nad("infra/mgmt", json!({"type": "mgmt"}));
    world.nad("a", json!({"type": "a"}));
    world.pod("");
    world
}

fn select(world: &World) -> Result<Vec<DelegateConf>, String> {
    let context = world.context();
    let pod = world.cluster.pod.borrow();
    delegates(&world.config(), context.cluster, pod.as_ref()).map_err(|why| cause::chain(&why))
}

fn names(world: &World) -> Vec<String> {
    select(world).unwrap().into_iter().map(|delegate| delegate.display_name).collect()
}

#[test]
fn cluster_network_then_default_networks_then_what_the_pod_selects() {
    let world = clustered(json!({"defaultNetworks": ["mgmt"]}));
    world.pod("a,infra/mgmt");
    assert_eq!(names(&world), ["infra/fabric", "infra/mgmt", "blue/a", "infra/mgmt"]);
    assert_eq!(world.api_calls(), 1, "all NADs are read at once");
}

#[test]
fn system_namespaces_get_no_default_networks() {
    let world = clustered(json!({"defaultNetworks": ["mgmt"], "systemNamespaces": ["blue"]}));
    assert_eq!(names(&world), ["infra/fabric"]);
    let world = clustered(json!({"defaultNetworks": ["mgmt"], "systemNamespaces": []}));
    world.cluster.pod.borrow_mut().as_mut().unwrap().namespace = "kube-system".into();
    assert_eq!(names(&world), ["infra/fabric", "infra/mgmt"]);
}

#[test]
fn a_cluster_network_without_nad_is_found_by_its_cni_name() {
    let world = World::new(json!({"clusterNetwork": "calico"}));
    world.pod("");
    world.file("10-a.conf", &single("other"));
    world.file("20-b.conflist", &json!({"name": "calico", "plugins": [{"type": "x"}]}));
    world.file("calico/10.conf", &json!({"type": "beside"}));
    let list = select(&world).unwrap();
    assert_eq!((list[0].display_name.as_str(), list[0].list.plugins.len()), ("calico", 1));
}

#[test]
fn a_cluster_network_that_cannot_be_found_is_named_with_its_cause() {
    let world = World::new(json!({"clusterNetwork": "nowhere", "multusNamespace": "infra"}));
    world.pod("");
    let text = select(&world).unwrap_err();
    assert!(text.starts_with("failed to get clusterNetwork nowhere in namespace infra: "), "{text}");
    assert!(
        text.contains("cannot find a network-attachment-definition (nowhere) in namespace (infra)"),
        "{text}"
    );
}

#[test]
fn a_cluster_network_needs_somebody_to_ask() {
    let world = clustered(json!({}));
    world.has_cluster.set(false);
    assert_eq!(select(&world).unwrap_err(), "must have either Kubernetes config or delegates");
}

#[test]
fn a_directory_gives_its_first_file() {
    let mut world = clustered(json!({}));
    let directory = world.file("nets/20-b.conf", &single("b")).parent().unwrap().to_owned();
    world.file("nets/10-a.json", &single("a"));
    world.file("nets/05-z.txt", &single("z"));
    world.conf["clusterNetwork"] = json!(directory);
    assert_eq!(names(&world), ["a"]);
    std::fs::remove_file(directory.join("20-b.conf")).unwrap();
    assert!(select(&world).unwrap_err().contains("No networks found in"));
}

#[test]
fn a_file_is_taken_as_it_is() {
    let mut world = clustered(json!({}));
    let file = world.file("10-net.conflist", &json!({"name": "net", "plugins": [{"type": "x"}]}));
    world.file("net/10.conf", &json!({"type": "beside"}));
    world.conf["clusterNetwork"] = json!(file);
    let list = select(&world).unwrap();
    assert_eq!((list[0].display_name.as_str(), list[0].list.plugins.len()), ("net", 2));
}

#[test]
fn a_nad_without_configuration_is_found_by_its_name_in_files() {
    let world = clustered(json!({}));
    world.raw_nad(&json!({"metadata": {"name": "disk", "namespace": "blue"}}));
    world.pod("disk");
    assert!(select(&world).unwrap_err().contains("No networks found in"));
    world.file("10-a.conf", &single("other"));
    assert!(select(&world).unwrap_err().contains("no network available in the name disk in cni dir"));
    world.file("20-b.conf", &single("disk"));
    assert_eq!(names(&world)[1], "blue/disk");
    std::fs::write(world.file("15-x.conf", &json!({})), "{").unwrap();
    assert!(select(&world).unwrap_err().contains("15-x.conf"), "a broken file ends the search");
}

#[test]
fn isolation_holds_for_what_the_pod_selects() {
    let world = clustered(json!({"namespaceIsolation": true, "defaultNetworks": ["mgmt"]}));
    world.pod("a,infra/mgmt");
    let text = "namespace isolation enabled, annotation violates permission, pod is in namespace blue but refers to target \
                namespace infra";
    assert_eq!(select(&world).unwrap_err(), text);
    assert_eq!(world.api_calls(), 0, "nothing is read of a network that the pod may not have");
    world.pod("a");
    assert_eq!(names(&world), ["infra/fabric", "infra/mgmt", "blue/a"]);
}

#[test]
fn the_default_network_annotation_replaces_the_master() {
    let world = clustered(json!({"namespaceIsolation": true}));
    world.annotated(&[(annotation::DEFAULT_NETWORK, "mgmt@prim"), (annotation::NETWORKS, "a")]);
    let list = select(&world).unwrap();
    assert_eq!(list[0].display_name, "infra/mgmt");
    assert_eq!(list[0].interface_at(0, "eth0"), "prim");
    assert_eq!(list.len(), 2);
}

#[test]
fn a_replaced_cluster_network_has_to_exist_all_the_same() {
    let mut world = clustered(json!({}));
    world.annotated(&[(annotation::DEFAULT_NETWORK, "mgmt")]);
    world.conf["clusterNetwork"] = json!("nowhere");
    assert!(select(&world).unwrap_err().starts_with("failed to get clusterNetwork nowhere"));
}

#[test]
fn wrong_annotations_fail_as_a_whole() {
    let world = clustered(json!({}));
    for (key, value, cause) in [
        (annotation::DEFAULT_NETWORK, "a,b", "more than one default network is specified"),
        (annotation::DEFAULT_NETWORK, "", "names no network"),
        (annotation::NETWORKS, "a/b/c", "Invalid network object (failed at '/')"),
        (annotation::NETWORKS, "a,", "resource name may not be empty"),
        (
            annotation::NETWORKS,
            r#"[{"name":"a","default-route":["10.0.0.1","10.0.0.2"]}]"#,
            "does not support ECMP",
        ),
    ] {
        world.annotated(&[(key, value)]);
        let text = select(&world).unwrap_err();
        assert!(text.contains(cause), "{value}: {text}");
    }
}

#[test]
fn a_broken_nad_is_named() {
    let world = clustered(json!({}));
    world.raw_nad(&json!({"metadata": {"name": "broken", "namespace": "blue"}, "spec": {"config": "{"}}));
    world.pod("broken");
    let text = select(&world).unwrap_err();
    assert!(
        text.starts_with("network-attachment-definition (broken) in namespace (blue): failed to unmarshal"),
        "{text}"
    );
}

#[test]
fn the_auxiliary_chain_is_built_from_files_beside_the_cluster_network() {
    let mut world = clustered(json!({"auxiliaryCNIChainName": "aux"}));
    assert!(auxiliary(&world.config()).unwrap_err().to_string().contains("must be a path"));
    world.conf["clusterNetwork"] = json!(world.file("10-net.conf", &single("net")));
    assert_eq!(auxiliary(&world.config()).unwrap(), None);
    world.file("aux/20.conf", &json!({"type": "second"}));
    world.file("aux/10.conf", &json!({"type": "first"}));
    let chain = auxiliary(&world.config()).unwrap().unwrap();
    let types: Vec<&str> = chain.list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect();
    assert_eq!(types, ["passthru", "first", "second"]);
    assert_eq!((chain.display_name.as_str(), chain.list.cni_version.as_str()), ("aux", "1.1.0"));
    world.conf["auxiliaryCNIChainName"] = json!("../x");
    assert!(auxiliary(&world.config()).unwrap_err().to_string().contains("invalid auxiliaryCNIChainName"));
}
