use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(value: &str) -> Result<Vec<SelectionElement>, SelectionError> {
    parse_networks(value, "blue")
}

fn one(value: Value) -> Result<SelectionElement, SelectionError> {
    parse(&json!([value]).to_string()).map(|mut elements| elements.remove(0))
}

fn triples(value: &str) -> Vec<(String, String, String)> {
    let elements = parse(value).unwrap();
    elements.into_iter().map(|element| (element.namespace, element.name, element.interface)).collect()
}

fn triple(namespace: &str, name: &str, interface: &str) -> (String, String, String) {
    (namespace.to_owned(), name.to_owned(), interface.to_owned())
}

#[test]
fn nothing_selected_is_an_empty_list() {
    assert_eq!(parse(""), Ok(vec![]));
    assert_eq!(parse("[]"), Ok(vec![]));
}

#[test]
fn the_comma_list_has_namespaces_and_interfaces() {
    assert_eq!(
        triples("macvlan-conf, infra/lan@Lan.0 , a / b @ c,a,a"),
        [
            triple("blue", "macvlan-conf", ""),
            triple("infra", "lan", "Lan.0"),
            triple("a", "b", "c"),
            triple("blue", "a", ""),
            triple("blue", "a", ""),
        ]
    );
}

#[test]
fn nothing_after_the_at_sign_is_no_request() {
    assert_eq!(triples("lan@"), [triple("blue", "lan", "")]);
}

#[test]
fn blanks_and_a_trailing_comma_leave_an_empty_name_to_the_look_up() {
    assert_eq!(triples("  "), [triple("blue", "", "")]);
    assert_eq!(triples("a,"), [triple("blue", "a", ""), triple("blue", "", "")]);
}

#[test]
fn separators_occur_once() {
    let slash = parse("a/b/c").unwrap_err().to_string();
    assert!(slash.starts_with("Invalid network object (failed at '/')"), "{slash}");
    let at = parse("a@b@c").unwrap_err().to_string();
    assert!(at.starts_with("Invalid network object (failed at '@')"), "{at}");
}

#[test]
fn parts_of_the_comma_list_are_labels() {
    for bad in ["a.b", "A", "-a", "a-", "a_b", "a b", "x y/a", "a@b/c", "a@sixteen-bytes-xy", "a@b c", "ä"] {
        let text = parse(bad).unwrap_err().to_string();
        assert!(text.contains("did not match comma-delimited format"), "{text}");
        assert!(text.ends_with(&format!("mismatch @ '{bad}'")), "{text}");
    }
    assert!(parse("0-9/a-b@exactly15bytes_").is_ok());
}

#[test]
fn the_json_list_has_every_field() {
    let element = one(json!({
        "name": "lan", "namespace": "infra", "interface": "lan0", "interfaceRequest": "no",
        "ips": ["10.77.0.9/24", "fd77::9"], "mac": "02:aa:00:00:00:09",
        "infiniband-guid": "c2:11:22:33:44:55:66:77",
        "portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp", "hostIP": "::1"}],
        "bandwidth": {"ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4},
        "deviceID": "0000:01:02.3", "cni-args": {"prio": 7}, "default-route": ["10.77.0.1", "fd77::1"],
        "ipam-claim-reference": "claim", "gateway": ["ignored"],
    }));
    let wanted = SelectionElement {
        name: "lan".into(),
        namespace: "infra".into(),
        interface: "lan0".into(),
        ips: vec!["10.77.0.9/24".into(), "fd77::9".into()],
        mac: "02:aa:00:00:00:09".into(),
        infiniband_guid: "c2:11:22:33:44:55:66:77".into(),
        port_mappings: vec![PortMapping {
            host_port: 80,
            container_port: 8080,
            protocol: "tcp".into(),
            host_ip: "::1".into(),
        }],
        bandwidth: Some(Bandwidth { ingress_rate: 1, ingress_burst: 2, egress_rate: 3, egress_burst: 4 }),
        device_id: "0000:01:02.3".into(),
        cni_args: Some(JsonMap::from_iter([("prio".to_owned(), json!(7))])),
        default_route: Some(vec!["10.77.0.1".parse().unwrap(), "fd77::1".parse().unwrap()]),
        ipam_claim_reference: "claim".into(),
    };
    assert_eq!(element, Ok(wanted));
}

#[test]
fn json_names_are_not_checked_and_defaults_apply() {
    let element = one(json!({"NAME": "Any.Thing", "mac": null})).unwrap();
    assert_eq!((element.name.as_str(), element.namespace.as_str()), ("Any.Thing", "blue"));
    assert_eq!(element.default_route, None);
}

#[test]
fn interface_request_is_the_old_name_of_interface() {
    assert_eq!(one(json!({"name": "a", "interfaceRequest": "old"})).unwrap().interface, "old");
    assert_eq!(
        one(json!({"name": "a", "interfaceRequest": "old", "interface": "new"})).unwrap().interface,
        "new"
    );
}

#[test]
fn an_empty_default_route_is_not_an_absent_one() {
    assert_eq!(one(json!({"name": "a", "default-route": []})).unwrap().default_route, Some(vec![]));
}

#[test]
fn wrong_values_name_the_field_and_the_network() {
    for (field, value) in [
        ("ips", json!(["10.0.0.1", "10.0.0"])),
        ("ips", json!([""])),
        ("mac", json!("02:00")),
        ("infiniband-guid", json!("x")),
        ("default-route", json!(["10.0.0.1/24"])),
        ("default-route", json!([""])),
    ] {
        let text = one(json!({"name": "lan", field: value})).unwrap_err().to_string();
        assert!(text.contains(field) && text.contains("lan"), "{text}");
    }
}

#[test]
fn json_of_another_shape_is_an_error() {
    for bad in [
        r#"{"name":"a"}"#,
        r#""a""#,
        r#"["a"]"#,
        "[1]",
        "[null",
        r#"[{"name":1}]"#,
        r#"[{"portMappings":[{"hostPort":"80"}]}]"#,
        r#"[{"bandwidth":7}]"#,
        r#"[{"cni-args":[]}]"#,
        r#"[{"name":"a"}] x"#,
    ] {
        assert!(matches!(parse(bad), Err(SelectionError::Json(_))), "{bad}: {:?}", parse(bad));
    }
}

#[test]
fn the_default_network_is_exactly_one() {
    let element = parse_default_network("fabric@eth9", "infra").unwrap();
    assert_eq!((element.namespace.as_str(), element.name.as_str()), ("infra", "fabric"));
    assert_eq!(parse_default_network("x/fabric", "infra").unwrap().namespace, "x");
    let several = parse_default_network("a,b", "infra").unwrap_err();
    assert_eq!(several.to_string(), "more than one default network is specified");
    for empty in ["", "[]"] {
        assert_eq!(parse_default_network(empty, "infra"), Err(SelectionError::NoDefault));
    }
}

/// Annotations that work, as the seeds of mutations.
const SEEDS: [&str; 3] = [
    "macvlan-conf, infra/lan@lan0,a/b@c",
    r#"[{"name":"lan","namespace":"x","interface":"net9","ips":["10.1.2.3/24","fd00::1"],"mac":"02:00:00:00:00:01","default-route":["10.1.2.1"]}]"#,
    r#"[{"name":"a","portMappings":[{"hostPort":1,"containerPort":2}],"bandwidth":{"ingressRate":5},"cni-args":{"k":{"x":[1,2.5,null]}}}]"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Mutated annotations give a value or an error that says something, never a panic.
    #[test]
    fn mutated_annotations_never_panic(
        seed in 0..SEEDS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..4u8), 0..6),
    ) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (at, symbol, kind) in edits {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match kind {
                0 => text[at] = symbol,
                1 => text.insert(at, symbol),
                2 => drop(text.remove(at)),
                _ => text.truncate(at),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(why) = parse_networks(&text, "blue") {
            prop_assert!(!why.to_string().is_empty());
        }
        let _ = parse_default_network(&text, "blue");
    }

    /// What the comma form accepts can be said again and means the same.
    #[test]
    fn comma_lists_read_back(parts in prop::collection::vec(("[a-z0-9]{1,8}", "[a-z0-9]{1,8}", "[a-zA-Z0-9.:_-]{0,15}"), 1..4)) {
        let items: Vec<String> = parts.iter().map(|(ns, name, interface)| format!("{ns}/{name}@{interface}")).collect();
        prop_assert_eq!(triples(&items.join(" , ")), parts);
    }
}
