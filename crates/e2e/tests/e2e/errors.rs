//! What a runtime sees when something is wrong (spec/cni.md 1).

use std::fs;

use polynic_e2e::{Call, Node, Pod};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

fn macvlan(node: &Node) -> Value {
    conf("macvlan", json!({"master": "eth0", "ipam": host_local(node, &["192.168.1.0/24"])}))
}

#[test]
fn the_environment_is_checked_in_the_order_of_the_contract() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node));
    let bare = Call { env: Vec::new(), ..call.clone() };
    let long = "a-name-of-16-bytes";
    let cases: [(&str, Call, u64, &str); 9] = [
        (
            "ADD",
            bare.clone(),
            4,
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing",
        ),
        ("DEL", bare.clone(), 4, "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing"),
        ("GC", bare, 4, "required env variables [CNI_PATH] missing"),
        (
            "ADD",
            call.clone().without("CNI_NETNS").with("CNI_IFNAME", ""),
            4,
            "required env variables [CNI_NETNS,CNI_IFNAME] missing",
        ),
        (
            "ADD",
            call.clone().with("CNI_CONTAINERID", "../x").without("CNI_NETNS"),
            4,
            "invalid characters in containerID",
        ),
        ("ADD", call.clone().with("CNI_IFNAME", long), 4, "interface name is too long"),
        (
            "ADD",
            call.clone().with("CNI_IFNAME", "a/b"),
            4,
            "interface name contains / or : or whitespace characters",
        ),
        ("ADD", call.clone().with("CNI_IFNAME", ".."), 4, "interface name is . or .."),
        ("FROB", call.clone(), 4, "unknown CNI_COMMAND: FROB"),
    ];
    let before = pod.state();
    for (verb, call, code, msg) in cases {
        assert_eq!(call.run(verb).error(), (code, msg.to_owned()), "{verb} {:?}", call.env);
    }
    pod.state().assert_same(&before, "after errors");
}

#[test]
fn the_input_is_checked_in_the_order_of_the_contract() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node));
    let with = |key: &str, value: Value| call.clone().key(key, value);
    let cases = [
        ("ADD", with("name", json!("")), 7, "missing network name"),
        ("ADD", with("name", json!("a b")), 7, "invalid characters found in network name"),
        ("ADD", with("cniVersion", json!("9.9.9")), 1, "incompatible CNI versions"),
        ("CHECK", with("cniVersion", json!("0.3.1")), 1, "config version does not allow CHECK"),
        ("STATUS", with("cniVersion", json!("1.0.0")), 1, "config version does not allow STATUS"),
        ("GC", with("cniVersion", json!("1.0.0")), 1, "config version does not allow GC"),
        ("CHECK", call.clone(), 999, "required prevResult missing"),
    ];
    for (verb, call, code, msg) in cases {
        // CHECK of IPAM comes first and finds no address: what is meant here is the main plugin's own.
        let call = if code == 999 { call.key("ipam", json!({})) } else { call };
        assert_eq!(call.run(verb).error(), (code, msg.to_owned()), "{verb} {}", call.conf);
    }
    let details = with("cniVersion", json!("9.9.9")).run("ADD").error_object()["details"].clone();
    let versions = r#"["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#;
    assert_eq!(details, format!("config is \"9.9.9\", plugin supports {versions}"));
    let (code, msg) = call.start_with("ADD", b"{ no json").answer().error();
    assert!(code == 6 && msg.starts_with("error unmarshall network config: "), "{code} {msg}");
    let (code, _) = call.start_with("ADD", b"").answer().error();
    assert_eq!(code, 6);
}

#[test]
fn unknown_arguments_are_refused_unless_told_to_ignore_them() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node));
    for (args, text) in
        [("A=B;C=D", "ARGS: unknown args [\"A=B\" \"C=D\"]"), ("A", "ARGS: invalid pair \"A\"")]
    {
        let (code, msg) = call.clone().with("CNI_ARGS", args).run("ADD").error();
        assert_eq!((code, msg.as_str()), (999, text));
    }
    let ignoring = call.with("CNI_ARGS", "IgnoreUnknown=1;A=B");
    ignoring.add();
    ignoring.del();
}

#[test]
fn a_configuration_that_is_refused_can_still_be_deleted() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let place = Place { node: &node, shared: &[] };
    let before = place.before(&pod);
    let call = Call::new(&pod, macvlan(&node));
    for (key, value) in [("mode", json!("fast")), ("mtu", json!("big")), ("master", json!("a/b"))] {
        call.add();
        let refused = call.clone().key(key, value);
        assert_eq!(refused.run("CHECK").code, 1);
        refused.del();
        place.assert_nothing_left(&pod, &before, key);
        pod.state().assert_same(&before.1, key);
        let (code, _) = refused.run("ADD").error();
        assert_eq!(code, 999);
        refused.del();
    }
}

#[test]
fn a_namespace_that_is_none_is_named() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let place = Place { node: &node, shared: &[] };
    let before = place.before(&pod);
    let file = format!("{}/file", node.directory());
    fs::write(&file, "").unwrap();
    let missing = format!("{}/missing", node.directory());
    for (path, why) in [
        (&file, format!("unknown FS magic on \"{file}\": 1021994")),
        (&missing, format!("failed to Statfs \"{missing}\": no such file or directory")),
    ] {
        let call = Call::new(&pod, macvlan(&node)).with("CNI_NETNS", path);
        let (code, msg) = call.run("ADD").error();
        assert_eq!((code, msg), (999, format!("failed to open netns \"{path}\": {why}")));
        call.del();
        place.assert_nothing_left(&pod, &before, path);
    }
    assert!(fs::metadata(&missing).is_err(), "DEL creates nothing at the path");
}

#[test]
fn the_nodes_own_namespace_is_refused_unless_overridden() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let before = node.state();
    let call = Call::new(&pod, macvlan(&node)).with("CNI_NETNS", "/proc/self/ns/net");
    let text = "plugin's netns and netns from CNI_NETNS should not be the same";
    for verb in ["ADD", "DEL"] {
        assert_eq!(call.run(verb).error(), (8, text.to_owned()), "{verb}");
    }
    node.state().assert_same(&before, "after a refusal");
    let overridden = call.with("CNI_NETNS_OVERRIDE", "TRUE");
    overridden.add();
    assert!(node.state().link_names().contains(&"net1"));
    overridden.del();
    node.state().assert_same(&before, "after DEL");
}

#[test]
fn version_needs_neither_input_nor_anything_else() {
    let Some(_node) = Node::new() else { return };
    let versions = r#"["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]"#;
    let expected = format!("{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":{versions}}}\n");
    for plugin in ["macvlan", "bridge", "ptp", "loopback", "calico-like", "host-local", "static"] {
        let call = Call { plugin: plugin.to_owned(), env: Vec::new(), ..Call::new(&Pod::new(), json!({})) };
        for stdin in ["", "nonsense", "{\"cniVersion\":\"0.2.0\"}"] {
            let answer = call.start_with("VERSION", stdin.as_bytes()).answer();
            assert_eq!((answer.code, answer.stdout), (0, expected.clone()), "{plugin}");
        }
        let about = call.start_with("", b"").answer();
        assert_eq!((about.code, about.stdout.as_str()), (0, ""));
        let lines: Vec<&str> = about.stderr.lines().collect();
        assert!(lines[0].starts_with(&format!("CNI {plugin} plugin v")), "{lines:?}");
        let supported = "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";
        assert_eq!(lines[1..], [supported]);
    }
}

#[test]
fn an_occupied_name_is_refused_and_a_repeated_add_converges() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, macvlan(&node));
    pod.ip("link add net1 type veth peer name other");
    let before = pod.state();
    for plugin in [call.clone(), Call::new(&pod, conf("bridge", json!({})))] {
        let (code, msg) = plugin.run("ADD").error();
        assert!(code == 999 && msg.contains("already exists"), "{code} {msg}");
        pod.state().assert_same(&before, "after a refusal");
    }
    assert_eq!(node.addresses_held("net"), [""; 0]);
    pod.ip("link del net1");
    let first = call.add();
    let state = pod.state();
    assert_eq!(call.add(), first);
    pod.state().assert_same(&state, "after the same ADD again");
    // Something went missing: the same ADD again mends it.
    pod.ip("link set net1 down");
    assert_eq!(call.add(), first);
    pod.state().assert_same(&state, "after the same ADD mended it");
    call.del();
}
