use polynic_cni::{Verb, code};
use serde_json::{Value, json};

use crate::cluster::{PodError, StatusError};
use crate::fake::World;

use super::*;

fn world() -> World {
    let fabric = json!({"cniVersion": "0.3.1", "name": "fabric", "type": "fabric"});
    let world = World::new(json!({"delegates": [fabric]}));
    world.nad("macvlan-conf", json!({"cniVersion": "0.3.0", "type": "macvlan"}));
    world.nad("b", json!({"cniVersion": "1.0.0", "type": "b", "capabilities": {"mac": true, "ips": true}}));
    world
}

fn status_rows(world: &World) -> Vec<NetworkStatus> {
    status::parse(&world.cluster.status.borrow()[annotation::NETWORK_STATUS]).unwrap()
}

/// `name interface ips` of every row.
fn summary(world: &World) -> Vec<(String, String, bool)> {
    status_rows(world).into_iter().map(|row| (row.name, row.interface, row.default)).collect()
}

fn row(name: &str, interface: &str, default: bool) -> (String, String, bool) {
    (name.to_owned(), interface.to_owned(), default)
}

#[test]
fn the_quickstart_gives_net1_net2_and_three_rows() {
    let world = world();
    world.pod("macvlan-conf,macvlan-conf");
    let result = world.add().unwrap();
    assert_eq!(result.interfaces[0].name, "eth0");
    assert_eq!(world.plugin.calls(), ["ADD fabric eth0", "ADD macvlan net1", "ADD macvlan net2"]);
    assert_eq!(world.plugin.stdin(1)["name"], "macvlan-conf");
    assert_eq!(
        summary(&world),
        [
            row("fabric", "eth0", true),
            row("blue/macvlan-conf", "net1", false),
            row("blue/macvlan-conf", "net2", false)
        ]
    );
    let text = world.cluster.status.borrow()[annotation::NETWORK_STATUS].clone();
    assert!(
        text.ends_with(
            r#"},{
    "name": "blue/macvlan-conf",
    "interface": "net2",
    "ips": [
        "10.0.0.4"
    ],
    "mac": "02:00:00:00:00:04",
    "dns": {},
    "gateway": [
        "10.0.0.1"
    ]
}]"#
        ),
        "{text}"
    );
}

#[test]
fn a_pod_without_annotation_gets_the_master_and_one_row() {
    let world = world();
    world.annotated(&[]);
    world.add().unwrap();
    assert_eq!(world.plugin.calls(), ["ADD fabric eth0"]);
    assert_eq!(summary(&world), [row("fabric", "eth0", true)]);
}

#[test]
fn the_result_is_the_masters_in_its_own_version() {
    let world = world();
    world.pod("b");
    assert_eq!(world.add().unwrap().cni_version, Version::V0_3_1);
}

#[test]
fn events_tell_each_attachment_once() {
    let world = world();
    world.pod("b@lan0");
    world.add().unwrap();
    let events = [
        ("AddedInterface", "Add eth0 [10.0.0.2/24] from fabric".to_owned()),
        ("AddedInterface", "Add lan0 [10.0.0.3/24] from blue/b".to_owned()),
    ];
    assert_eq!(world.events(), events);
}

#[test]
fn without_an_api_server_only_the_inline_delegates_run() {
    let world = world();
    world.pod("b");
    world.has_cluster.set(false);
    world.add().unwrap();
    assert_eq!(world.plugin.calls(), ["ADD fabric eth0"]);
    assert!(world.cluster.status.borrow().is_empty() && world.events().is_empty());
}

#[test]
fn a_pod_that_is_gone_gets_a_placeholder_and_nothing_else() {
    let world = world();
    let result = world.add().unwrap();
    let placeholder = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c7"}],
        "ips": [{"address": "0.0.0.0/0", "gateway": "0.0.0.0"}],
    });
    assert_eq!(result.to_value(result.cni_version).unwrap(), placeholder);
    assert!(world.plugin.calls().is_empty() && world.files().is_empty());
}

#[test]
fn another_pod_of_the_same_name_is_an_error() {
    let world = world();
    world.pod("b");
    world.cluster.pod.borrow_mut().as_mut().unwrap().uid = "uid-2".into();
    let error = world.add().unwrap_err();
    assert_eq!(
        error.msg,
        r#"Multus: [blue/pod-1/uid-1]: expected pod UID "uid-1" but got "uid-2" from Kube API"#
    );
    assert!(world.plugin.calls().is_empty());
}

#[test]
fn a_static_pod_has_another_uid_in_the_api() {
    let world = world();
    world.annotated(&[(annotation::CONFIG_SOURCE, "file")]);
    world.cluster.pod.borrow_mut().as_mut().unwrap().uid = "uid-2".into();
    world.add().unwrap();
}

#[test]
fn an_api_server_that_does_not_answer_fails_the_add() {
    let world = world();
    *world.cluster.fail_pod.borrow_mut() = Some(PodError("connection refused".into()));
    let error = world.add().unwrap_err();
    assert_eq!(error.msg, "Multus: [blue/pod-1/uid-1]: error waiting for pod: connection refused");
}

#[test]
fn a_missing_nad_fails_before_anything_runs() {
    let world = world();
    world.pod("b,nowhere");
    let error = world.add().unwrap_err();
    let text = "cannot find a network-attachment-definition (nowhere) in namespace (blue): \
                network-attachment-definitions.k8s.cni.cncf.io \"nowhere\" not found";
    assert_eq!((error.code, error.msg), (999, format!("Multus: [blue/pod-1/uid-1]: {text}")));
    assert_eq!(world.events(), [("NoNetworkFound", text.to_owned())]);
    assert!(world.plugin.calls().is_empty() && world.files().is_empty());
}

#[test]
fn a_failing_delegate_is_named_with_pod_network_and_cause() {
    let world = world();
    world.pod("macvlan-conf");
    world.plugin.fail_nth(Verb::Add, 1, Error::new(7, "no IP addresses available", "range 1"));
    let error = world.add().unwrap_err();
    let text = "[blue/pod-1/uid-1:macvlan-conf]: error adding container to network \"macvlan-conf\": \
                plugin type=\"macvlan\" name=\"macvlan-conf\" failed (add): no IP addresses available; range 1 \
                (network blue/macvlan-conf, interface net1)";
    assert_eq!(error, Error::internal(text));
    assert_eq!(world.events(), [("FailedAttachNetwork", text.to_owned())]);
}

#[test]
fn try_again_later_keeps_its_number() {
    let world = world();
    world.pod("");
    world.plugin.fail_nth(Verb::Add, 0, Error::try_again("agent is starting"));
    assert_eq!(world.add().unwrap_err().code, code::TRY_AGAIN_LATER);
}

/// Something that can be made to fail.
#[derive(Clone, Copy, Debug)]
enum Step {
    Delegate(usize),
    DefaultRoute(usize),
    Status,
}

/// Three delegates, of which the second supplies the default route: every step that can fail, with the deletions that undo it.
const STEPS: [(Step, &[&str]); 8] = [
    (Step::Delegate(0), &["DEL fabric eth0"]),
    (Step::DefaultRoute(0), &["DEL fabric eth0"]),
    (Step::Delegate(1), &["DEL b net1", "DEL fabric eth0"]),
    (Step::DefaultRoute(1), &["DEL b net1", "DEL fabric eth0"]),
    (Step::DefaultRoute(2), &["DEL b net1", "DEL fabric eth0"]),
    (Step::Delegate(2), &["DEL macvlan net2", "DEL b net1", "DEL fabric eth0"]),
    (Step::DefaultRoute(3), &["DEL macvlan net2", "DEL b net1", "DEL fabric eth0"]),
    (Step::Status, &["DEL macvlan net2", "DEL b net1", "DEL fabric eth0"]),
];

fn routed() -> World {
    let world = world();
    world.pod(r#"[{"name":"b","default-route":["10.0.0.9"]},{"name":"macvlan-conf"}]"#);
    world
}

fn break_at(world: &World, step: Step) {
    match step {
        Step::Delegate(nth) => world.plugin.fail_nth(Verb::Add, nth, Error::internal("broken")),
        Step::DefaultRoute(nth) => world.netns.fail_nth.set(Some(nth)),
        Step::Status => *world.cluster.fail_status.borrow_mut() = Some(StatusError::Other("broken".into())),
    }
}

#[test]
fn whatever_fails_everything_done_is_undone_in_reverse_order() {
    for (step, deletions) in STEPS {
        let world = routed();
        break_at(&world, step);
        let error = world.add().unwrap_err();
        assert!(error.msg.contains("blue/pod-1/uid-1"), "{step:?}: {error}");
        let calls = world.plugin.calls();
        let deleted: Vec<&String> = calls.iter().filter(|call| call.starts_with("DEL")).collect();
        assert_eq!(deleted, deletions, "{step:?}");
        assert!(world.links().is_empty() && world.files().is_empty(), "{step:?}: {:?}", world.files());
        assert!(world.cluster.status.borrow().is_empty(), "{step:?}");
        assert_eq!(world.events().len(), 1, "{step:?}: {:?}", world.events());
        assert_eq!(world.events()[0].0, "FailedAttachNetwork", "{step:?}");
    }
}

#[test]
fn after_the_cause_is_fixed_the_same_add_succeeds() {
    for (step, _) in STEPS {
        let world = routed();
        break_at(&world, step);
        world.add().unwrap_err();
        world.plugin.heal();
        world.netns.fail_nth.set(None);
        *world.cluster.fail_status.borrow_mut() = None;
        world.add().unwrap_or_else(|why| panic!("{step:?}: {why}"));
        assert_eq!(world.links().len(), 3, "{step:?}");
    }
}

#[test]
fn what_cannot_be_undone_is_left_to_the_runtimes_del() {
    let world = world();
    world.pod("b");
    world.plugin.fail_nth(Verb::Add, 1, Error::internal("broken"));
    world.plugin.fail_nth(Verb::Del, 1, Error::internal("stuck"));
    let error = world.add().unwrap_err();
    assert!(error.msg.contains("broken") && !error.msg.contains("stuck"), "{error}");
    assert!(world.scratch().exists());
    world.plugin.heal();
    world.del().unwrap();
    assert!(world.links().is_empty() && world.files().is_empty());
}

#[test]
fn exactly_the_requested_default_routes_remain() {
    let world = routed();
    world.add().unwrap();
    let links = world.links();
    assert!(links["eth0"].is_empty() && links["net2"].is_empty(), "{links:?}");
    assert_eq!(links["net1"], ["10.0.0.9".parse().unwrap()].into());
    let routes = |network: &str, interface: &str| {
        let file: Value =
            serde_json::from_str(&world.files()[&format!("cache/results/{network}-c7-{interface}")]).unwrap();
        file["result"]["routes"].clone()
    };
    assert_eq!(routes("fabric", "eth0"), Value::Null);
    assert_eq!(routes("b", "net1"), json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.9"}]));
}

#[test]
fn a_repeated_add_remembers_the_default_routes_that_were_given_up() {
    let world = routed();
    world.add().unwrap();
    let given_up = |world: &World| {
        let records: Value = serde_json::from_str(&world.files()["cache/c7"]).unwrap();
        let all = records.as_array().unwrap().iter().map(|record| record["polynicGivenUp"].clone());
        all.collect::<Vec<Value>>()
    };
    let before = given_up(&world);
    assert!(before[0].is_array() && before[1].is_null() && before[2].is_array(), "{before:?}");
    // Somebody else's plugins may answer a repeated ADD without making their routes again.
    world.plugin.keeps_links.store(true, std::sync::atomic::Ordering::Relaxed);
    world.add().unwrap();
    assert_eq!(given_up(&world), before);
}

#[test]
fn an_unreachable_next_hop_is_named() {
    let world = routed();
    world.netns.fail_nth.set(Some(2));
    let error = world.add().unwrap_err();
    assert!(error.msg.contains("error setting default gateway: network is unreachable"), "{error}");
    assert!(error.msg.contains("blue/b"), "{error}");
}

#[test]
fn a_name_that_somebody_else_holds_is_an_error_and_stays() {
    for name in ["eth0", "net1"] {
        let world = world();
        world.pod("b");
        world.link(name);
        let error = world.add().unwrap_err();
        assert!(error.msg.contains(&format!("interface name {name} already exists")), "{error}");
        assert_eq!(world.links().into_keys().collect::<Vec<_>>(), [name]);
        assert!(world.files().is_empty());
    }
}

#[test]
fn two_networks_of_one_name_fail_and_leave_nothing() {
    let world = world();
    world.pod("b@lan0,macvlan-conf@lan0");
    let error = world.add().unwrap_err();
    assert!(error.msg.contains("interface name lan0 already exists"), "{error}");
    assert!(world.links().is_empty() && world.files().is_empty());
}

#[test]
fn a_repeated_add_converges_and_keeps_what_was_there_when_it_fails() {
    let world = world();
    world.pod("b");
    world.add().unwrap();
    world.add().unwrap();
    assert_eq!(world.links().len(), 2);
    let files = world.files();
    world.plugin.forget();
    world.plugin.fail_nth(Verb::Add, 1, Error::internal("broken"));
    world.add().unwrap_err();
    assert_eq!(world.plugin.calls(), ["ADD fabric eth0", "ADD b net1"]);
    assert_eq!((world.links().len(), world.files()), (2, files));
}

#[test]
fn a_namespace_that_cannot_be_entered_is_an_error() {
    let world = world();
    world.pod("b");
    let invocation = Invocation { netns: String::new(), ..world.invocation() };
    let error = add(&world.context(), &invocation, &world.config()).unwrap_err();
    assert!(error.msg.contains("failed to open netns"), "{error}");
    assert!(world.plugin.calls().is_empty() && world.files().is_empty());
}

#[test]
fn what_a_killed_add_left_is_taken_back_by_the_next_one() {
    let world = world();
    world.pod("b,macvlan-conf");
    world.add().unwrap();
    let result = |network: &str, ifname: &str| {
        world.directory.path().join(format!("cache/results/{network}-c7-{ifname}"))
    };
    // As if it had been killed while the second network's plugins ran; meanwhile the pod asks for less.
    std::fs::remove_file(result("b", "net1")).unwrap();
    std::fs::remove_file(result("macvlan-conf", "net2")).unwrap();
    world.pod("b");
    world.plugin.forget();
    world.add().unwrap();
    assert_eq!(
        world.plugin.calls(),
        ["DEL macvlan net2", "DEL b net1", "ADD fabric eth0", "ADD b net1"],
        "what has a result is kept"
    );
    assert_eq!(world.links().into_keys().collect::<Vec<_>>(), ["eth0", "net1"]);
    world.del().unwrap();
    assert!(world.links().is_empty() && world.files().is_empty());
}

#[test]
fn an_interface_that_no_add_of_the_container_has_made_is_nobodys_to_take() {
    let world = world();
    world.pod("b");
    world.link("net1");
    assert!(world.add().unwrap_err().msg.contains("interface name net1 already exists"));
    assert!(world.links().contains_key("net1"));
}

#[test]
fn delegates_get_path_args_and_what_the_pod_asks_for() {
    let world = world();
    world.pod(r#"[{"name":"b","mac":"02:00:00:00:00:aa","ips":["10.0.0.77/24"],"cni-args":{"k":1}}]"#);
    world.add().unwrap();
    let call = world.plugin.invocation(1);
    assert_eq!(call.path, "/opt/cni/bin:/opt/x/bin");
    assert!(
        call.args.starts_with(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=pod-1;K8S_POD_INFRA_CONTAINER_ID=c7;K8S_POD_UID=uid-1;"
        ),
        "{}",
        call.args
    );
    assert!(call.args.ends_with(";MAC=02:00:00:00:00:aa;IP=10.0.0.77/24"), "{}", call.args);
    let stdin = world.plugin.stdin(1);
    assert_eq!(stdin["runtimeConfig"], json!({"mac": "02:00:00:00:00:aa", "ips": ["10.0.0.77/24"]}));
    assert_eq!(stdin["args"], json!({"cni": {"k": 1}}));
    assert!(world.events().iter().all(|(reason, _)| *reason == "AddedInterface"));
}

#[test]
fn guids_ports_and_rates_of_an_element_reach_its_plugin_over_the_runtimes() {
    let mut world = world();
    world.conf["runtimeConfig"] = json!({"portMappings": [{"hostPort": 1, "containerPort": 1}],
                                         "bandwidth": {"ingressRate": 1, "ingressBurst": 1}});
    let capabilities = json!({"infinibandGUID": true, "portMappings": true, "bandwidth": true});
    world.nad("ib", json!({"cniVersion": "1.0.0", "type": "ib", "capabilities": capabilities}));
    world.pod(
        r#"[{"name":"ib","infiniband-guid":"c2:11:22:33:44:55:66:77","portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],
             "bandwidth":{"egressRate":2000,"egressBurst":4000}},{"name":"ib"}]"#,
    );
    world.add().unwrap();
    let wanted = json!({"infinibandGUID": "c2:11:22:33:44:55:66:77",
                        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
                        "bandwidth": {"egressRate": 2000, "egressBurst": 4000}});
    let got = world.plugin.stdin(1)["runtimeConfig"].clone();
    for key in ["infinibandGUID", "portMappings"] {
        assert_eq!(got[key], wanted[key], "{got}");
    }
    for key in ["egressRate", "egressBurst"] {
        assert_eq!(got["bandwidth"][key], wanted["bandwidth"][key], "{got}");
    }
    let other = world.plugin.stdin(2)["runtimeConfig"].clone();
    assert_eq!(
        other["portMappings"], world.conf["runtimeConfig"]["portMappings"],
        "an element that asks for nothing"
    );
    assert_eq!(other["infinibandGUID"], Value::Null);
}

#[test]
fn a_missing_capability_is_a_warning_or_with_strictness_an_error() {
    let mut world = world();
    world.pod(r#"[{"name":"macvlan-conf","mac":"02:00:00:00:00:aa"}]"#);
    world.add().unwrap();
    let (reason, message) = world.events().pop().unwrap();
    assert_eq!(reason, "MissingCapability");
    assert!(message.contains("blue/macvlan-conf") && message.contains("mac"), "{message}");
    world.del().unwrap();
    world.plugin.forget();
    world.conf["strictCapabilities"] = json!(true);
    assert!(world.add().unwrap_err().msg.contains("capability mac"));
    assert!(world.plugin.calls().is_empty());
}

#[test]
fn a_pod_that_vanishes_before_its_status_is_written_is_no_failure() {
    let world = world();
    world.pod("b");
    *world.cluster.fail_status.borrow_mut() = Some(StatusError::NotFound("pod-1".into()));
    world.add().unwrap();
    assert_eq!(world.links().len(), 2);
}

#[test]
fn the_legacy_key_is_written_when_asked_for() {
    let mut world = world();
    world.pod("");
    world.conf["legacyStatusKey"] = json!(true);
    world.add().unwrap();
    let status = world.cluster.status.borrow();
    assert_eq!(status[annotation::NETWORK_STATUS], status[annotation::NETWORKS_STATUS_LEGACY]);
}

#[test]
fn results_without_interfaces_and_addresses_leave_no_trace() {
    let world = world();
    world.pod("b");
    world.plugin.answers.lock().unwrap().insert("b".into(), json!({}));
    world.add().unwrap();
    assert_eq!(summary(&world), [row("fabric", "eth0", true)]);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn the_readiness_file_is_waited_for() {
    let mut world = world();
    world.pod("");
    world.conf["readinessindicatorfile"] = json!(world.directory.path().join("ready"));
    let error = world.add().unwrap_err();
    assert!(error.msg.contains("still waiting for readinessindicatorfile"), "{error}");
    std::fs::write(world.directory.path().join("ready"), "").unwrap();
    world.add().unwrap();
}

#[test]
fn policies_are_in_force_before_the_first_link_is_there() {
    let world = world().guarded();
    world.pod("macvlan-conf,b@lan0");
    world.add().unwrap();
    let asked = "protect pod-1 in /run/netns/c7 with 0 links: blue/b@lan0 blue/macvlan-conf@net1";
    assert_eq!(world.guard_calls(), [asked], "once is enough when the delegates do as expected");
}

#[test]
fn interfaces_that_nobody_expected_are_guarded_before_the_answer() {
    let world = world().guarded();
    world.pod("b");
    let other = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "odd0", "sandbox": "/run/netns/c7"}]});
    world.plugin.answers.lock().unwrap().insert("b".into(), other);
    world.add().unwrap();
    assert_eq!(world.guard_calls().len(), 2);
    assert_eq!(world.guard_calls()[1], "protect pod-1 in /run/netns/c7 with 2 links: blue/b@odd0");
}

#[test]
fn a_pod_without_secondary_networks_needs_no_guard() {
    let world = world().guarded();
    world.pod("");
    world.add().unwrap();
    assert_eq!(world.guard_calls(), [""; 0]);
}

#[test]
fn without_its_policies_nothing_is_attached_and_the_runtime_tries_again() {
    let world = world().guarded();
    world.pod("b");
    world.guard.as_ref().unwrap().fail_nth.set(Some(0));
    let error = world.add().unwrap_err();
    assert_eq!(error.code, code::TRY_AGAIN_LATER);
    assert!(error.msg.contains("network policies are not in force: nobody there"), "{error}");
    assert_eq!(world.plugin.calls(), [""; 0]);
    assert!(world.links().is_empty() && world.files().is_empty());
}

#[test]
fn the_guard_hears_of_an_add_that_failed_after_its_links_are_gone() {
    let world = world().guarded();
    world.pod("b");
    world.plugin.fail_nth(Verb::Add, 1, Error::internal("no"));
    world.add().unwrap_err();
    assert_eq!(world.guard_calls()[1], "release pod-1 in /run/netns/c7 with 0 links: blue/b@net1");
}
