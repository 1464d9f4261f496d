use polynic_cni::{Error, Verb};
use serde_json::json;

use super::*;
use crate::fake::World;

fn fabric() -> World {
    World::new(json!({"delegates": [{"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"}]}))
}

fn world(networks: &str) -> World {
    attached(fabric(), networks)
}

fn attached(world: World, networks: &str) -> World {
    world.pod(networks);
    for name in ["a", "b", "c"] {
        world.nad(name, json!({"cniVersion": "1.0.0", "type": name}));
    }
    world.add().unwrap();
    publish(&world);
    world.plugin.forget();
    world.cluster.events.borrow_mut().clear();
    world
}

/// The status that was written is in the pod.
fn publish(world: &World) {
    let written = world.cluster.status.borrow().clone();
    if let Some(pod) = world.cluster.pod.borrow_mut().as_mut() {
        pod.annotations.extend(written);
    }
}

/// The user edits the annotation, and it is followed.
fn edit(world: &World, networks: &str) -> Followed {
    let key = annotation::NETWORKS.to_owned();
    world.cluster.pod.borrow_mut().as_mut().unwrap().annotations.insert(key, networks.to_owned());
    again(world)
}

fn again(world: &World) -> Followed {
    let pod = world.cluster.pod.borrow().clone().unwrap();
    let followed = follow(&world.context(), &world.invocation(), &world.config(), &pod).unwrap();
    publish(world);
    followed
}

/// Name and interface of each row.
fn status_of(world: &World) -> Vec<String> {
    let pod = world.cluster.pod.borrow().clone().unwrap();
    let rows = status::parse(&pod.annotations[annotation::NETWORK_STATUS]).unwrap();
    rows.iter().map(|row| format!("{} {}", row.name, row.interface)).collect()
}

fn reasons(world: &World) -> Vec<&'static str> {
    world.events().into_iter().map(|(reason, _)| reason).collect()
}

const DONE: Followed = Followed { is_attached: true, try_again: false };
const AGAIN: Followed = Followed { is_attached: true, try_again: true };

#[test]
fn networks_come_and_go_by_the_annotation() {
    let world = world("a");
    assert_eq!(edit(&world, "a,b@lan0"), DONE);
    assert_eq!(world.plugin.calls(), ["ADD b lan0"]);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/a net1", "blue/b lan0"]);
    assert_eq!(edit(&world, "b@lan0,c"), DONE);
    assert_eq!(world.plugin.calls(), ["ADD b lan0", "DEL a net1", "ADD c net1"]);
    let told: Vec<bool> =
        (0..3).map(|nth| world.plugin.invocation(nth).args.contains("POLYNIC_DETACHED=true")).collect();
    assert_eq!(told, [false, true, false], "who is deleted with its pod is not");
    assert_eq!(status_of(&world), ["fabric eth0", "blue/b lan0", "blue/c net1"]);
    assert_eq!(reasons(&world), ["AddedInterface", "RemovedInterface", "AddedInterface"]);
    assert_eq!(edit(&world, "[]"), DONE);
    assert_eq!(status_of(&world), ["fabric eth0"]);
    assert_eq!(world.links().into_keys().collect::<Vec<_>>(), ["eth0"]);
}

#[test]
fn following_what_is_followed_does_nothing() {
    let world = world("a,b");
    assert_eq!(again(&world), DONE);
    assert_eq!(edit(&world, "b,a@net1"), DONE);
    assert!(world.plugin.calls().is_empty());
    assert_eq!(status_of(&world), ["fabric eth0", "blue/b net2", "blue/a net1"], "in the annotation's order");
}

#[test]
fn del_takes_hot_plugged_networks_along_with_the_configuration_of_their_add() {
    let world = world("a");
    edit(&world, "a,b");
    world.nad("b", json!({"cniVersion": "1.0.0", "type": "other"}));
    world.cluster.nads.borrow_mut().clear();
    world.plugin.forget();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), ["DEL b net2", "DEL a net1", "DEL fabric eth0"]);
    assert!(world.files().is_empty(), "{:?}", world.files());
}

#[test]
fn a_network_is_detached_though_its_nad_is_gone() {
    let world = world("a,b");
    world.cluster.nads.borrow_mut().clear();
    assert_eq!(edit(&world, "b"), DONE);
    assert_eq!(world.plugin.calls(), ["DEL a net1"]);
}

#[test]
fn what_fails_is_taken_back_alone_and_tried_again() {
    let world = world("a");
    world.plugin.fail_nth(Verb::Add, 0, Error::internal("no address left"));
    assert_eq!(edit(&world, "a,b,c"), AGAIN);
    assert_eq!(world.plugin.calls(), ["ADD b net2", "DEL b net2", "ADD c net3"]);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/a net1", "blue/c net3"]);
    let (reason, text) = world.events().remove(0);
    assert_eq!(reason, "FailedAddingInterface");
    assert!(
        text.contains("blue/pod-1") && text.contains("blue/b") && text.contains("no address left"),
        "{text}"
    );
    world.plugin.heal();
    assert_eq!(again(&world), DONE);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/a net1", "blue/b net2", "blue/c net3"]);
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let world = world("a,b");
    world.plugin.fail_nth(Verb::Del, 0, Error::internal("stuck"));
    assert_eq!(edit(&world, "b"), AGAIN);
    assert_eq!(reasons(&world), ["FailedRemovingInterface"]);
    world.plugin.heal();
    assert_eq!(again(&world), DONE);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/b net2"]);
}

#[test]
fn what_was_not_attached_to_its_end_is_made_anew_after_a_restart() {
    let world = world("a");
    edit(&world, "a,b");
    // As after a crash between the scratch cache and the result.
    let result = world.files().into_keys().find(|name| name.contains("results/b-")).unwrap();
    std::fs::remove_file(world.directory.path().join(result)).unwrap();
    world.plugin.forget();
    assert_eq!(again(&world), DONE);
    assert_eq!(world.plugin.calls(), ["DEL b net2", "ADD b net2"]);
}

#[test]
fn names_that_are_taken_and_missing_nads_are_told() {
    let world = world("a");
    world.link("busy0");
    assert_eq!(edit(&world, "a,b@net1,c@busy0"), DONE);
    assert_eq!(reasons(&world), ["InterfaceAddRejected", "InterfaceAddRejected"]);
    assert!(world.plugin.calls().is_empty());
    world.cluster.events.borrow_mut().clear();
    assert_eq!(edit(&world, "a,nowhere"), AGAIN);
    assert!(world.events()[0].1.contains("cannot find a network-attachment-definition (nowhere)"));
    world.cluster.events.borrow_mut().clear();
    assert_eq!(edit(&world, "a,b/c/d"), DONE, "an annotation that makes no sense changes nothing");
    assert_eq!(reasons(&world), ["FailedAddingInterface"]);
}

#[test]
fn default_routes_are_not_stolen_and_come_back() {
    let world = world("a");
    let hop = |text: &str| -> IpAddrs { text.split_whitespace().map(|hop| hop.parse().unwrap()).collect() };
    edit(&world, "a,b");
    assert_eq!((world.links()["eth0"].clone(), world.links()["net2"].clone()), (hop("10.0.0.1"), hop("")));
    edit(&world, r#"[{"name":"a"},{"name":"b"},{"name":"c","default-route":["10.0.0.9"]}]"#);
    assert_eq!((world.links()["eth0"].clone(), world.links()["net3"].clone()), (hop(""), hop("10.0.0.9")));
    edit(&world, "a,b");
    assert_eq!(world.links()["eth0"], hop("10.0.0.1"));
}

fn hops(world: &World, interface: &str) -> Vec<String> {
    world.links()[interface].iter().map(ToString::to_string).collect()
}

/// A default network whose result does not name the default route that it made, as Calico's.
fn silent_about_routes(networks: &str) -> World {
    let world = fabric();
    let answer =
        json!({"interfaces": [{"name": "eth0"}], "ips": [{"interface": 0, "address": "10.0.0.2/32"}]});
    world.plugin.answers.lock().unwrap().insert("fabric".to_owned(), answer);
    attached(world, networks)
}

const WITH_DEFAULT: &str = r#"[{"name":"a"},{"name":"b","default-route":["10.0.0.8"]}]"#;

#[test]
fn a_default_route_that_fails_leaves_those_that_were_there() {
    let world = silent_about_routes("a");
    // Those of eth0, net1 and net2 are deleted before.
    world.netns.fail_nth.set(Some(3));
    assert!(edit(&world, WITH_DEFAULT).try_again);
    assert_eq!(hops(&world, "eth0"), ["10.0.0.1"]);
    assert!(!world.links().contains_key("net2"));
}

#[test]
fn default_routes_come_back_whatever_the_result_says() {
    let world = silent_about_routes("a");
    edit(&world, WITH_DEFAULT);
    assert_eq!((hops(&world, "eth0"), hops(&world, "net2")), (vec![], vec!["10.0.0.8".to_owned()]));
    edit(&world, "a");
    assert_eq!(hops(&world, "eth0"), ["10.0.0.1"]);
    let from_the_start = silent_about_routes(WITH_DEFAULT);
    edit(&from_the_start, "a");
    assert_eq!(hops(&from_the_start, "eth0"), ["10.0.0.1"]);
}

#[test]
fn the_last_of_two_networks_with_a_default_route_supplies_it() {
    let second = r#"[{"name":"a"},{"name":"b","default-route":["10.0.0.8"]},{"name":"c","default-route":["10.0.0.9"]}]"#;
    let world = silent_about_routes("a");
    edit(&world, WITH_DEFAULT);
    edit(&world, second);
    assert_eq!((hops(&world, "net2"), hops(&world, "net3")), (vec![], vec!["10.0.0.9".to_owned()]));
    edit(&world, WITH_DEFAULT);
    assert_eq!((hops(&world, "eth0"), hops(&world, "net2")), (vec![], vec!["10.0.0.8".to_owned()]));
    edit(&world, second);
    edit(&world, r#"[{"name":"a"},{"name":"c","default-route":["10.0.0.9"]}]"#);
    assert_eq!((hops(&world, "eth0"), hops(&world, "net3")), (vec![], vec!["10.0.0.9".to_owned()]));
    edit(&world, "a");
    assert_eq!(hops(&world, "eth0"), ["10.0.0.1"]);
}

#[test]
fn another_configuration_changes_nothing_of_running_pods() {
    let more = json!({"cniVersion": "1.0.0", "name": "mgmt", "type": "mgmt"});
    let mut world = world("a");
    world.conf["delegates"].as_array_mut().unwrap().push(more);
    assert_eq!(again(&world), DONE);
    assert_eq!(world.plugin.calls(), Vec::<String>::new());
    let mut world = attached(World::new(world.conf.clone()), "a");
    world.conf["delegates"].as_array_mut().unwrap().pop();
    assert_eq!(again(&world), DONE);
    assert_eq!(world.plugin.calls(), Vec::<String>::new());
}

#[test]
fn of_what_another_program_attached_nothing_goes_and_nothing_comes_twice() {
    let world = world("a");
    let records = std::fs::read_to_string(world.scratch()).unwrap();
    let mut records: Vec<Value> = serde_json::from_str(&records).unwrap();
    for record in &mut records {
        record.as_object_mut().unwrap().remove("polynicOrigin").unwrap();
    }
    std::fs::write(world.scratch(), Value::from(records).to_string()).unwrap();
    assert_eq!(again(&world), DONE);
    assert_eq!(edit(&world, "a,b"), DONE);
    assert_eq!(world.plugin.calls(), ["ADD b net2"]);
    assert_eq!(edit(&world, "b@net2"), DONE);
    assert_eq!(world.plugin.calls(), ["ADD b net2"]);
}

#[test]
fn the_status_is_written_after_a_change_however_old_the_one_that_was_seen() {
    let world = world("a,b");
    let before = world.cluster.pod.borrow().clone().unwrap().annotations[annotation::NETWORK_STATUS].clone();
    edit(&world, "a");
    edit(&world, "a");
    let key = annotation::NETWORK_STATUS.to_owned();
    world.cluster.pod.borrow_mut().as_mut().unwrap().annotations.insert(key.clone(), before);
    world.cluster.status.borrow_mut().clear();
    edit(&world, "a,b");
    let written = world.cluster.status.borrow()[&key].clone();
    assert_eq!(status::parse(&written).unwrap().len(), 3, "{written}");
}

type IpAddrs = std::collections::BTreeSet<std::net::IpAddr>;

#[test]
fn a_pod_that_was_never_attached_is_not_followed() {
    let world = world("a");
    world.del().unwrap();
    assert_eq!(edit(&world, "a,b"), Followed::default());
}

#[test]
fn policies_of_a_running_pod_are_in_force_before_a_network_is_plugged_and_go_on_without_it() {
    let world = attached(fabric().guarded(), "a");
    assert_eq!(edit(&world, "a,b"), DONE);
    let calls = world.guard_calls();
    // The pod has eth0 and net1 by then: net2 is told before its link is there.
    let plugged = calls.last().unwrap();
    assert!(plugged.contains("with 2 links: blue/a@net1 blue/b@net2"), "{calls:?}");
    assert_eq!(edit(&world, "b@net2"), DONE);
    let calls = world.guard_calls();
    assert!(calls.last().unwrap().ends_with("links: blue/b@net2"), "{calls:?}");
}

#[test]
fn without_its_policies_a_network_is_not_plugged_and_tried_again() {
    let world = attached(fabric().guarded(), "a");
    let asked = world.guard_calls().len();
    world.guard.as_ref().unwrap().fail_nth.set(Some(asked));
    assert_eq!(edit(&world, "a,b"), AGAIN);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/a net1"]);
    assert!(!world.plugin.calls().contains(&"ADD b net2".to_owned()), "{:?}", world.plugin.calls());
    assert_eq!(again(&world), DONE);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/a net1", "blue/b net2"]);
}

/// Networks of one resource, and the devices that the pod was started with.
fn with_devices(world: &World, ids: &[&'static str]) {
    for name in ["a", "b"] {
        let config = json!({"cniVersion": "1.0.0", "type": name, "capabilities": {"deviceID": true}});
        let annotations = json!({"k8s.v1.cni.cncf.io/resourceName": "vendor/nic"});
        world.raw_nad(&json!({"metadata": {"name": name, "namespace": "blue", "annotations": annotations},
                              "spec": {"config": config.to_string()}}));
    }
    *world.cluster.devices.borrow_mut() = Some(ids.iter().map(|id| ("vendor/nic", *id)).collect());
}

#[test]
fn a_network_that_is_plugged_in_takes_a_device_that_the_pod_has_left() {
    let world = world("");
    with_devices(&world, &["0000:01:00.0", "0000:01:00.1"]);
    let device = |at: usize| {
        Scratch::new(&world.config().cni_dir, "c7").read().unwrap().unwrap()[at].request.device_id.clone()
    };
    assert_eq!(edit(&world, "a"), DONE);
    assert_eq!(edit(&world, "a,b"), DONE);
    assert_eq!((device(1), device(2)), ("0000:01:00.0".to_owned(), "0000:01:00.1".to_owned()));
    assert_eq!(edit(&world, "a,b,b@hot0"), DONE, "nothing to try again: the pod would have to be made anew");
    let (reason, text) = world.events().pop().unwrap();
    assert_eq!(reason, "InterfaceAddRejected");
    assert!(text.contains("no further device of resource vendor/nic"), "{text}");
    // What is given back is free for the next.
    assert_eq!(edit(&world, "b@hot1,b"), DONE);
    assert_eq!(status_of(&world), ["fabric eth0", "blue/b hot1", "blue/b net2"]);
    assert_eq!((device(1), device(2)), ("0000:01:00.1".to_owned(), "0000:01:00.0".to_owned()));
}

#[test]
fn devices_that_nobody_tells_of_are_asked_for_again() {
    let world = world("");
    with_devices(&world, &[]);
    *world.cluster.devices.borrow_mut() = None;
    assert_eq!(edit(&world, "a"), AGAIN);
    let (reason, text) = world.events().pop().unwrap();
    assert_eq!(reason, "FailedAddingInterface");
    assert!(text.contains("kubelet is busy"), "{text}");
    with_devices(&world, &["0000:01:00.0"]);
    assert_eq!(again(&world), DONE);
}

#[test]
fn what_is_asked_of_an_interface_that_is_there_changes_nothing() {
    let world = world("a");
    assert_eq!(
        edit(&world, r#"[{"name":"a","mac":"02:00:00:00:00:07","ips":["10.9.9.9/24"],"cni-args":{"x":1}}]"#),
        DONE
    );
    assert!(world.plugin.calls().is_empty());
    assert!(world.events().is_empty(), "{:?}", world.events());
}

#[test]
fn a_pod_is_not_made_what_another_of_its_name_asked_for() {
    let world = world("a");
    let mut old = world.cluster.pod.borrow().clone().unwrap();
    old.uid = "uid-of-the-old-one".into();
    old.annotations.insert(annotation::NETWORKS.to_owned(), "b".to_owned());
    let followed = follow(&world.context(), &world.invocation(), &world.config(), &old).unwrap();
    assert_eq!(followed, Followed::default());
    assert!(world.plugin.calls().is_empty());
}
