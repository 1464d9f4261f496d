use serde_json::json;

use super::*;

#[test]
fn an_answer_has_the_keys_of_the_replaced_agent() {
    let ip = IpConfig {
        version: 4,
        address: "10.9.3.20/16".into(),
        nic: "net1".into(),
        ip_pool: "blue-v4".into(),
        gateway: "10.9.0.1".into(),
        ..IpConfig::default()
    };
    let route = Route { if_name: "net1".into(), dst: "10.40.0.0/16".into(), gw: "10.9.0.9".into() };
    let response = AddResponse { ips: vec![ip], routes: vec![route], dns: None };
    let expected = json!({
        "ips": [{"version": 4, "address": "10.9.3.20/16", "gateway": "10.9.0.1", "ipPool": "blue-v4", "nic": "net1"}],
        "routes": [{"ifName": "net1", "dst": "10.40.0.0/16", "gw": "10.9.0.9"}],
    });
    assert_eq!(serde_json::to_value(&response).unwrap(), expected);
    let flags = IpConfig {
        enable_gateway_detection: true,
        enable_ip_conflict_detection: true,
        vlan: 7,
        mac: "02:00:00:00:00:01".into(),
        ..IpConfig::default()
    };
    let flags = serde_json::to_value(flags).unwrap();
    assert_eq!(flags["enableGatewayDetection"], true);
    assert_eq!(flags["enableIPConflictDetection"], true);
    assert_eq!((&flags["vlan"], &flags["mac"]), (&json!(7), &json!("02:00:00:00:00:01")));
}

#[test]
fn requests_have_the_keys_of_the_replaced_plugin() {
    let add =
        AddRequest { default_ipv4_ippool: vec!["a".into()], clean_gateway: true, ..AddRequest::default() };
    let required = |key: &str| (key.to_owned(), json!(""));
    let mut expected: serde_json::Map<_, _> =
        ["containerID", "ifName", "netNamespace", "podNamespace", "podName", "podUID"]
            .into_iter()
            .map(required)
            .collect();
    expected.insert("defaultIPv4IPPool".into(), json!(["a"]));
    expected.insert("cleanGateway".into(), json!(true));
    assert_eq!(serde_json::to_value(add).unwrap(), json!(expected));
    let del = serde_json::to_value(DelRequest::default()).unwrap();
    let expected = json!({"containerID": "", "ifName": "", "podNamespace": "", "podName": "", "podUID": ""});
    assert_eq!(del, expected);
    let batch = BatchDelRequest { is_release_conflict_ips: true, ..BatchDelRequest::default() };
    let expected = json!({"containerID": "", "podNamespace": "", "podName": "", "podUID": "", "isReleaseConflictIPs": true});
    assert_eq!(serde_json::to_value(batch).unwrap(), expected);
}

#[test]
fn coordinator_lists_are_always_there_and_defaults_are_left_out() {
    let config = CoordinatorConfig { mode: "auto".into(), tune_pod_routes: true, ..Default::default() };
    let expected = json!({"mode": "auto", "overlayPodCIDR": [], "serviceCIDR": [], "tunePodRoutes": true});
    assert_eq!(serde_json::to_value(&config).unwrap(), expected);
    let full = CoordinatorConfig {
        hijack_cidr: vec!["169.254.0.0/16".into()],
        policy_routes: vec![PolicyRoute { dst: "10.0.0.0/8".into(), gw: "10.0.0.1".into() }],
        pod_mac_prefix: "0a:1b".into(),
        pod_default_route_nic: "net1".into(),
        host_rule_table: 500,
        pod_rp_filter: -1,
        tx_queue_len: 10,
        veth_link_address: "169.254.1.2".into(),
        veth_mtu: 1500,
        ..config
    };
    let full = serde_json::to_value(full).unwrap();
    let keys = ["hijackCIDR", "policyRoutes", "podMACPrefix", "podDefaultRouteNIC", "hostRuleTable"];
    let more = ["podRPFilter", "txQueueLen", "vethLinkAddress", "vethMTU"];
    assert!(keys.iter().chain(&more).all(|key| full.get(key).is_some()), "{full}");
}

#[test]
fn an_endpoint_has_the_keys_of_the_replaced_agent() {
    let interface = EndpointInterface {
        interface: "eth0".into(),
        ipv4: "10.9.0.7/16".into(),
        ipv4_pool: "blue-v4".into(),
        ..Default::default()
    };
    let endpoint = WorkloadEndpoint {
        pod_namespace: "team-a".into(),
        pod_name: "web-0".into(),
        pod_uid: "u".into(),
        node: "n1".into(),
        interfaces: vec![interface],
    };
    let expected = json!({
        "podNamespace": "team-a", "podName": "web-0", "podUID": "u", "node": "n1",
        "interfaces": [{"interface": "eth0", "ipv4": "10.9.0.7/16", "ipv4Pool": "blue-v4"}],
    });
    assert_eq!(serde_json::to_value(endpoint).unwrap(), expected);
}
