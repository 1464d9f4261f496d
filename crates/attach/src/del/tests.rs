use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use polynic_cni::Verb;
use serde_json::{Value, json};

use crate::cluster::PodError;
use crate::fake::World;

use super::*;

fn attached() -> World {
    let fabric = json!({"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"});
    let world = World::new(json!({"delegates": [fabric]}));
    world.nad("a", json!({"cniVersion": "1.0.0", "type": "a", "custom": {"deep": [1, 2]}}));
    world.nad("b", json!({"cniVersion": "1.0.0", "plugins": [{"type": "b"}, {"type": "c", "keep": "me"}]}));
    world.pod("a,b@lan0");
    world.add().unwrap();
    world.plugin.forget();
    world
}

const REVERSE: [&str; 4] = ["DEL c lan0", "DEL b lan0", "DEL a net1", "DEL fabric eth0"];

#[test]
fn everything_goes_in_reverse_order_without_asking_the_api_server() {
    let world = attached();
    let asked = world.api_calls();
    world.cluster.nads.borrow_mut().clear();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), REVERSE);
    assert_eq!(world.api_calls(), asked);
    assert!(world.files().is_empty() && world.links().is_empty());
}

#[test]
fn configurations_come_back_whole() {
    let world = attached();
    world.del().unwrap();
    assert_eq!(world.plugin.stdin(0)["keep"], "me");
    assert_eq!(world.plugin.stdin(2)["custom"], json!({"deep": [1, 2]}));
    assert!(world.plugin.stdin(2)["prevResult"]["ips"].is_array());
}

#[test]
fn a_second_del_succeeds() {
    let world = attached();
    world.del().unwrap();
    world.cluster.pod.borrow_mut().take();
    world.del().unwrap();
    world.has_cluster.set(false);
    world.del().unwrap();
}

#[test]
fn a_missing_namespace_does_not_matter() {
    let world = attached();
    let invocation = Invocation { netns: String::new(), ..world.invocation() };
    del(&world.context(), &invocation, &world.config()).unwrap();
    assert_eq!(world.plugin.calls(), REVERSE);
}

#[test]
fn every_delegate_is_tried_and_every_error_told() {
    let world = attached();
    world.plugin.fail_nth(Verb::Del, 0, Error::internal("first"));
    world.plugin.fail_nth(Verb::Del, 1, Error::internal("second"));
    let error = world.del().unwrap_err();
    assert_eq!(world.plugin.calls(), ["DEL c lan0", "DEL a net1", "DEL fabric eth0"]);
    let texts = "errors: DelegateDel: error invoking ConflistDel - \"b\": plugin type=\"c\" failed (delete): first / \
                 DelegateDel: error invoking DelegateDel - \"a\": plugin type=\"a\" name=\"a\" failed (delete): second";
    assert!(error.msg.contains(texts), "{error}");
    assert!(error.msg.starts_with("Multus: [blue/pod-1/uid-1]: "), "{error}");
    assert!(!world.scratch().exists(), "the scratch file goes unless configured otherwise");
}

#[test]
fn what_failed_is_retried_from_the_cached_results() {
    let world = attached();
    world.plugin.fail_nth(Verb::Del, 0, Error::internal("busy"));
    world.del().unwrap_err();
    world.plugin.heal();
    world.plugin.forget();
    world.cluster.pod.borrow_mut().take();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), ["DEL c lan0", "DEL b lan0"]);
    assert!(world.files().is_empty() && world.links().is_empty());
}

#[test]
fn the_scratch_file_can_be_kept_for_a_retry() {
    let mut world = attached();
    world.conf["retryDeleteOnError"] = json!(true);
    world.plugin.fail_nth(Verb::Del, 0, Error::internal("busy"));
    world.del().unwrap_err();
    assert!(world.scratch().exists());
    world.plugin.heal();
    world.del().unwrap();
    assert!(!world.scratch().exists());
}

#[test]
fn a_retry_ends_when_the_plugin_says_that_a_file_is_gone() {
    let mut world = attached();
    world.conf["retryDeleteOnError"] = json!(true);
    world.plugin.fail_nth(Verb::Del, 0, Error::internal("open /x: no such file or directory"));
    world.del().unwrap_err();
    assert!(!world.scratch().exists());
}

#[test]
fn a_broken_or_lost_scratch_file_is_replaced_by_the_cached_results() {
    for content in [None, Some(""), Some("[{\"Conf\""), Some("[]"), Some("null"), Some("[{\"Bytes\":\"!\"}]")]
    {
        let world = attached();
        match content {
            Some(content) => std::fs::write(world.scratch(), content).unwrap(),
            None => std::fs::remove_file(world.scratch()).unwrap(),
        }
        world.cluster.pod.borrow_mut().take();
        world.del().unwrap();
        assert_eq!(
            world.plugin.calls(),
            ["DEL a net1", "DEL c lan0", "DEL b lan0", "DEL fabric eth0"],
            "{content:?}"
        );
        assert!(world.files().is_empty(), "{content:?}");
    }
}

#[test]
fn where_all_caches_are_broken_the_networks_of_every_pod_go_at_least() {
    for has_pod in [true, false] {
        let world = attached();
        for file in world.files().keys() {
            std::fs::write(world.directory.path().join(file), "").unwrap();
        }
        if !has_pod {
            world.cluster.pod.borrow_mut().take();
        }
        world.del().unwrap();
        let expected = if has_pod { &REVERSE[..] } else { &["DEL fabric eth0"] };
        assert_eq!(world.plugin.calls(), expected, "{has_pod}");
    }
}

#[test]
fn without_any_cache_the_pod_tells_what_it_would_get() {
    let world = attached();
    std::fs::remove_dir_all(world.directory.path().join("cache")).unwrap();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), REVERSE);
}

#[test]
fn without_cache_and_nads_at_least_the_configured_delegates_go() {
    let world = attached();
    std::fs::remove_dir_all(world.directory.path().join("cache")).unwrap();
    world.cluster.nads.borrow_mut().clear();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), ["DEL fabric eth0"]);
}

#[test]
fn without_cache_and_pod_there_is_nothing_to_do() {
    for is_gone in [true, false] {
        let world = attached();
        std::fs::remove_dir_all(world.directory.path().join("cache")).unwrap();
        if is_gone {
            world.cluster.pod.borrow_mut().take();
        } else {
            *world.cluster.fail_pod.borrow_mut() = Some(PodError("connection refused".into()));
        }
        world.del().unwrap();
        assert!(world.plugin.calls().is_empty());
    }
}

#[test]
fn another_pod_of_the_same_name_is_not_asked() {
    let world = attached();
    std::fs::remove_dir_all(world.directory.path().join("cache")).unwrap();
    world.cluster.pod.borrow_mut().as_mut().unwrap().uid = "uid-2".into();
    world.del().unwrap();
    assert!(world.plugin.calls().is_empty());
}

#[test]
fn broken_args_and_a_missing_readiness_file_do_not_stop_it() {
    let mut world = attached();
    world.conf["readinessindicatorfile"] = json!("/nonexistent/ready");
    let invocation = Invocation { args: "nonsense".into(), ..world.invocation() };
    del(&world.context(), &invocation, &world.config()).unwrap();
    assert_eq!(world.plugin.calls(), REVERSE);
}

#[test]
fn lossy_lists_of_old_releases_are_completed_from_the_result_cache() {
    let world = attached();
    let mut records: Value = serde_json::from_str(&world.files()["cache/c7"]).unwrap();
    let lossy = json!({"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "b"}, {"type": "c"}]});
    records[2]["Bytes"] = json!(STANDARD.encode(lossy.to_string()));
    std::fs::write(world.scratch(), records.to_string()).unwrap();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), REVERSE);
    assert_eq!(world.plugin.stdin(0)["keep"], "me");
}

#[test]
fn a_network_that_a_pod_has_twice_is_completed_by_its_own_result() {
    let fabric = json!({"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"});
    let world = World::new(json!({"delegates": [fabric]}));
    world.nad("b", json!({"cniVersion": "1.0.0", "plugins": [{"type": "b"}]}));
    world.pod(r#"[{"name":"b","cni-args":{"nth":1}},{"name":"b","cni-args":{"nth":2}}]"#);
    world.add().unwrap();
    let mut records: Value = serde_json::from_str(&world.files()["cache/c7"]).unwrap();
    let lossy = json!({"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "b"}]}).to_string();
    for record in &mut records.as_array_mut().unwrap()[1..] {
        record["Bytes"] = json!(STANDARD.encode(&lossy));
    }
    std::fs::write(world.scratch(), records.to_string()).unwrap();
    world.plugin.forget();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), ["DEL b net2", "DEL b net1", "DEL fabric eth0"]);
    let nth = |call| world.plugin.stdin(call)["args"]["cni"]["nth"].clone();
    assert_eq!((nth(0), nth(1)), (json!(2), json!(1)));
}

#[test]
fn cached_lists_without_a_version_inherit_ours() {
    let world =
        World::new(json!({"cniVersion": "0.4.0", "delegates": [{"name": "n", "plugins": [{"type": "t"}]}]}));
    world.pod("");
    world.add().unwrap();
    assert_eq!(world.plugin.last_stdin()["cniVersion"], "");
    world.del().unwrap();
    assert_eq!(world.plugin.last_stdin()["cniVersion"], "0.4.0");
}

#[test]
fn addresses_of_the_pod_are_not_repeated_in_the_args() {
    let world = attached();
    world.del().unwrap();
    world.pod(r#"[{"name":"a","mac":"02:00:00:00:00:aa","ips":["10.0.0.7"]}]"#);
    world.add().unwrap();
    world.plugin.forget();
    world.del().unwrap();
    let args = world.plugin.invocation(0).args;
    assert!(!args.contains("MAC=") && !args.contains("IP=10"), "{args}");
}

#[test]
fn a_plugin_that_never_was_there_has_nothing_to_delete() {
    let fabric = json!({"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"});
    let world = World::new(json!({"delegates": [fabric]}));
    world.nad("odd", json!({"cniVersion": "1.0.0", "plugins": [{"type": "a"}, {"type": "missing"}]}));
    world.pod("odd");
    world.plugin.lose("missing");
    assert!(world.add().unwrap_err().msg.contains("missing"));
    world.plugin.forget();
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), ["DEL a net1", "DEL fabric eth0"]);
    assert!(world.files().is_empty());
}

#[test]
fn a_plugin_that_has_attached_is_insisted_on() {
    let world = attached();
    world.plugin.lose("a");
    assert!(world.del().unwrap_err().msg.contains("\"a\""));
}

/// What Multus 4 leaves on disk after an ADD, to the letter (spec/multus.md 9): a scratch file whose configurations have lost what Multus does not
/// know, with the whole ones in `Bytes`, and a result in the format of the reference library for each network.
fn left_by_multus(world: &World) {
    let fabric = json!({"cniVersion": "1.0.0", "name": "fabric", "type": "fabric", "mtu": 1400});
    let lan = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "first", "own": [1]}, {"type": "second"}]});
    let bytes = |conf: &Value| STANDARD.encode(conf.to_string());
    let scratch = json!([
        {"Conf": {"cniVersion": "1.0.0", "name": "fabric", "type": "fabric", "ipam": {}, "dns": {}}, "ConfList": {}, "Name": "fabric",
         "IsFilterV4Gateway": false, "IsFilterV6Gateway": false, "Bytes": bytes(&fabric)},
        {"Conf": {"cniVersion": "1.0.0", "name": "lan", "ipam": {}},
         "ConfList": {"cniVersion": "1.0.0", "name": "lan", "plugins": [
             {"type": "first", "ipam": {}, "dns": {}}, {"type": "second", "ipam": {}, "dns": {}}]},
         "Name": "blue/lan", "ifnameRequest": "lan0", "ipRequest": ["10.77.0.9/24"],
         "IsFilterV4Gateway": false, "IsFilterV6Gateway": false, "Bytes": bytes(&lan)},
    ]);
    let results = world.scratch().with_file_name("results");
    std::fs::create_dir_all(&results).unwrap();
    std::fs::write(world.scratch(), scratch.to_string()).unwrap();
    for (conf, ifname, address) in [(&fabric, "eth0", "10.9.0.7/16"), (&lan, "lan0", "10.77.0.9/24")] {
        let name = conf["name"].as_str().unwrap();
        let entry = json!({
            "kind": "cniCacheV1", "containerId": "c7", "config": bytes(conf), "ifName": ifname, "networkName": name,
            "netns": "/run/netns/c7", "cniArgs": [["IgnoreUnknown", "true"]], "capabilityArgs": {},
            "result": {"cniVersion": "1.0.0", "ips": [{"address": address}], "dns": {}},
        });
        std::fs::write(results.join(format!("{name}-c7-{ifname}")), entry.to_string()).unwrap();
    }
}

#[test]
fn a_pod_that_multus_attached_is_deleted_from_its_caches_alone() {
    let world =
        World::new(json!({"delegates": [{"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"}]}));
    left_by_multus(&world);
    world.has_cluster.set(false);
    world.del().unwrap();
    assert_eq!(world.plugin.calls(), ["DEL second lan0", "DEL first lan0", "DEL fabric eth0"]);
    assert_eq!(world.plugin.stdin(1)["own"], json!([1]));
    assert_eq!(world.plugin.stdin(1)["prevResult"]["ips"][0]["address"], "10.77.0.9/24");
    assert_eq!(world.plugin.stdin(2)["mtu"], 1400);
    assert!(world.files().is_empty(), "{:?}", world.files());
    world.del().unwrap();
}
