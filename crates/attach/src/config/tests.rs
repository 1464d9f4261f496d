use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<Config, String> {
    Config::parse(value.to_string().as_bytes()).map_err(|why| cause::chain(&why))
}

fn text(value: Value) -> String {
    parse(value).unwrap_err()
}

#[test]
fn defaults_apply() {
    let config = parse(json!({"clusterNetwork": "fabric"})).unwrap();
    assert_eq!(config.conf_dir, Path::new("/etc/cni/multus/net.d"));
    assert_eq!(config.cni_dir, Path::new("/var/lib/cni/multus"));
    assert_eq!(config.bin_dir, "/opt/cni/bin");
    assert_eq!(
        (config.system_namespaces, config.global_namespaces),
        (vec!["kube-system".into()], vec!["default".into()])
    );
    assert_eq!((config.multus_namespace.as_str(), config.readiness_file), ("kube-system", None));
    assert!(config.log.log_to_stderr && !config.namespace_isolation && !config.retry_delete_on_error);
    assert!(!config.strict_capabilities && !config.legacy_status_key && config.valid_attachments.is_none());
}

#[test]
fn every_key_is_read_in_any_case() {
    let config = parse(json!({
        "cniVersion": "1.0.0", "name": "node-net", "type": "multus", "CONFDIR": "/c", "cniDir": "/d", "binDir": "/b",
        "clusterNetwork": "pod-fabric", "defaultNetworks": ["mgmt-lan"], "systemNamespaces": [],
        "multusNamespace": "infra", "namespaceIsolation": true, "globalNamespaces": "default, shared-nets",
        "readinessIndicatorFile": "/r", "kubeconfig": "/k", "retryDeleteOnError": true,
        "auxiliaryCNIChainName": "aux", "capabilities": {"portMappings": true},
        "runtimeConfig": {"mac": "m", "ips": ["i"], "infinibandGUID": "g", "deviceID": "v", "CNIDeviceInfoFile": "f", "dns": {},
                          "portMappings": [{"hostPort": 1, "containerPort": 2}], "bandwidth": {"egressRate": 3}},
        "logToStderr": false, "logFile": "/l", "logLevel": "verbose", "logOptions": {"maxAge": 1},
        "cniConf": "/ignored", "allowTryDeleteOnErr": true,
        "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/24"}]},
    }))
    .unwrap();
    assert_eq!((config.conf_dir, config.cni_dir, config.bin_dir.as_str()), ("/c".into(), "/d".into(), "/b"));
    assert_eq!((config.default_networks, config.system_namespaces), (vec!["mgmt-lan".into()], vec![]));
    assert_eq!(config.global_namespaces, ["default", "shared-nets"]);
    assert_eq!((config.readiness_file, config.kubeconfig.as_str()), (Some("/r".into()), "/k"));
    assert!(config.namespace_isolation && config.retry_delete_on_error);
    assert_eq!(config.auxiliary_chain, "aux");
    let supplied = RuntimeConfig {
        port_mappings: vec![PortMapping { host_port: 1, container_port: 2, ..PortMapping::default() }],
        bandwidth: Some(Bandwidth { egress_rate: 3, ..Bandwidth::default() }),
        ips: vec!["i".into()],
        mac: "m".into(),
        infiniband_guid: "g".into(),
        device_id: "v".into(),
        device_info_file: "f".into(),
    };
    assert_eq!(config.runtime_config, supplied);
    assert!(!config.log.log_to_stderr);
    assert_eq!((config.log.log_options.max_age, config.log.log_options.max_size), (1, 100));
}

#[test]
fn something_has_to_be_executed() {
    for empty in [json!({}), json!({"delegates": []}), json!({"delegates": null, "clusterNetwork": ""})] {
        assert_eq!(text(empty), "LoadNetConf: at least one delegate/clusterNetwork must be specified");
    }
}

#[test]
fn the_cluster_network_wins_over_delegates() {
    assert!(parse(json!({"clusterNetwork": "a", "delegates": [{}]})).unwrap().delegates.is_empty());
}

#[test]
fn wrong_delegates_are_named() {
    for (delegate, cause) in [
        (json!({}), "LoadDelegateNetConfList: delegate must have the 'type' or 'plugin' field"),
        (json!({"type": ""}), "LoadDelegateNetConfList: delegate must have the 'type' or 'plugin' field"),
        (json!({"plugins": [{}]}), "LoadDelegateNetConfList: a plugin delegate must have the 'type' field"),
        (json!({"plugins": []}), "error parsing configuration list: no plugins in list"),
        (json!({"plugins": 7}), "error parsing configuration list: invalid 'plugins' type float64"),
    ] {
        let text = text(json!({"delegates": [{"type": "ok"}, delegate]}));
        assert_eq!(text, format!("LoadNetConf: failed to load delegate 1 config: {cause}"));
    }
}

#[test]
fn a_delegate_without_a_name_loads() {
    let config = parse(json!({"delegates": [{"type": "a"}, {"plugins": [{"type": "b"}]}]})).unwrap();
    assert_eq!(
        config.delegates.iter().map(|delegate| delegate.list.name.as_str()).collect::<Vec<_>>(),
        ["", ""]
    );
}

#[test]
fn wrong_types_and_broken_json_are_load_errors() {
    for wrong in [
        json!({"clusterNetwork": 7}),
        json!({"clusterNetwork": "a", "capabilities": {"x": "true"}}),
        json!({"clusterNetwork": "a", "defaultNetworks": "a"}),
        json!({"clusterNetwork": "a", "runtimeConfig": {"portMappings": [{"hostPort": "80"}]}}),
        json!({"clusterNetwork": "a", "logOptions": {"maxAge": "1"}}),
        json!({"delegates": {}}),
        json!([]),
    ] {
        let text = text(wrong);
        assert!(text.starts_with("LoadNetConf: failed to load netconf: "), "{text}");
    }
    assert!(
        cause::chain(&Config::parse(b"{").unwrap_err()).starts_with("LoadNetConf: failed to load netconf: ")
    );
}

#[test]
fn a_prev_result_has_to_fit() {
    let with = |version: &str, previous: Value| {
        parse(json!({"cniVersion": version, "clusterNetwork": "a", "prevResult": previous}))
    };
    let address = json!({"address": "10.9.0.2/24"});
    for (version, previous) in [
        ("1.0.0", json!({"cniVersion": "1.1.0"})),
        ("1.0.0", json!({"ips": [address]})),
        // The node agent's version lies over the one that the runtime has cached.
        ("0.3.1", json!({"cniVersion": "1.0.0", "ips": [address]})),
        ("1.0.0", json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.9.0.2/24"}]})),
    ] {
        assert!(with(version, previous.clone()).is_ok(), "{version}: {previous}");
    }
    for broken in [
        with("1.0.0", json!({"cniVersion": "9.0.0"})),
        with("1.0.0", json!({"cniVersion": "0.3.1", "ips": [{"address": 7}]})),
        with("1.0.0", json!({"ips": 7})),
        with("9.0.0", json!({})),
    ] {
        assert!(broken.unwrap_err().contains("could not parse prevResult"));
    }
}

#[test]
fn isolation_exempts_the_global_namespaces() {
    let config = |global: &str| {
        parse(json!({"clusterNetwork": "a", "namespaceIsolation": true, "globalNamespaces": global})).unwrap()
    };
    let implicit = config("");
    assert!(
        implicit.allows("blue", "blue")
            && implicit.allows("blue", "default")
            && !implicit.allows("blue", "red")
    );
    let explicit = config(" red , green");
    assert!(
        explicit.allows("blue", "red")
            && explicit.allows("blue", "green")
            && !explicit.allows("blue", "default")
    );
    assert!(parse(json!({"clusterNetwork": "a"})).unwrap().allows("blue", "red"));
}

const SEED: &str = r#"{"cniVersion":"1.0.0","name":"n","type":"multus","delegates":[{"type":"a","name":"a","ipam":{"type":"x"}},{"name":"b","plugins":[{"type":"c"}]}],"runtimeConfig":{"mac":"m"},"logOptions":{"maxAge":1},"prevResult":{"ips":[{"address":"10.0.0.1/24"}]}}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Mutated configurations give a value or an error that says something, never a panic.
    #[test]
    fn mutated_configurations_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..6),
    ) {
        let mut bytes = SEED.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        if let Err(why) = Config::parse(&bytes) {
            prop_assert!(!why.to_string().is_empty());
        }
    }
}

#[test]
fn network_policies_are_off_unless_switched_on() {
    let socket = |keys: &str| {
        let text = format!(r#"{{"delegates": [{{"type": "a"}}]{keys}}}"#);
        Config::parse(text.as_bytes()).unwrap().policy_socket
    };
    assert_eq!(socket(""), None);
    assert_eq!(socket(r#", "multiNetworkPolicySocket": "/x""#), None, "a path alone is no switch");
    assert_eq!(socket(r#", "multiNetworkPolicy": true"#), Some(POLICY_SOCKET.into()));
    let given = socket(r#", "multiNetworkPolicy": true, "multiNetworkPolicySocket": "/x""#);
    assert_eq!(given, Some("/x".into()));
}
