//! Rules are read as text: chain, matches, verdict.

use super::*;
use crate::shape::Shape;
use serde_json::{Value, json};

pub fn config() -> Config {
    Config { node: "node1".into(), pods: Shape::default().pods }
}

/// A Service with something laid over its spec.
pub fn service(over: Value) -> Service {
    let mut spec =
        json!({"clusterIPs": ["10.96.1.0", "fd00:10:96::100"], "ports": [{"name": "http", "port": 80}]});
    for (key, value) in over.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n"}, "spec": spec})).unwrap()
}

/// Two endpoints, the second one on another node.
pub fn slice(ready: bool) -> EndpointSlice {
    let endpoint =
        |ip: &str, node: &str| json!({"addresses": [ip], "nodeName": node, "conditions": {"ready": ready}});
    serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "n", "labels": {SERVICE_LABEL: "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
        "endpoints": [endpoint("10.244.1.2", "node1"), endpoint("10.244.2.2", "node2")],
    }))
    .unwrap()
}

fn lines(rules: &Rules, chain: &str) -> Vec<String> {
    let (_, objects) = rules.tables().next().unwrap();
    let rules = objects.iter().filter_map(|object| match object {
        FwObject::Rule(rule) if rule.chain.starts_with(chain) => Some(rule),
        _ => None,
    });
    rules.map(|rule| rule.exprs.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

fn text(expr: &FwExpr) -> String {
    match expr {
        FwExpr::Src { net, not } => format!("from {}{net}", if *not { "not " } else { "" }),
        FwExpr::Dst { net, not } => format!("to {}{net}", if *not { "not " } else { "" }),
        FwExpr::Protocol(number) => format!("proto {number}"),
        FwExpr::DstPort(port) => format!("port {port}"),
        FwExpr::OneIn(count) => format!("one in {count}"),
        FwExpr::SetMark { .. } => "mark".into(),
        FwExpr::Mark { .. } => "marked".into(),
        FwExpr::Dnat(to) => format!("dnat {to}"),
        FwExpr::Verdict(FwVerdict::Goto(chain)) => format!("goto {}", chain.split('-').next().unwrap()),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn a_service_is_spread_over_its_ready_endpoints() {
    let rules = rules(&[service(json!({}))], &[slice(true)], &config());
    assert_eq!(lines(&rules, "services"), ["to 10.96.1.0/32 proto 6 port 80 goto svc"]);
    assert_eq!(
        lines(&rules, "svc"),
        [
            "from not 10.244.0.0/16 mark",
            "proto 6 one in 2 dnat 10.244.1.2:8080",
            "proto 6 one in 1 dnat 10.244.2.2:8080"
        ]
    );
    assert_eq!(
        lines(&rules, "postrouting"),
        [
            "marked mark masquerade",
            "from 10.244.1.2/32 to 10.244.1.2/32 masquerade",
            "from 10.244.2.2/32 to 10.244.2.2/32 masquerade",
            "from 10.244.0.0/16 to not 10.244.0.0/16 masquerade"
        ]
    );
    assert!(lines(&rules, "unserved").is_empty());
}

#[test]
fn a_service_without_ready_endpoints_answers_that_nobody_listens() {
    let rules = rules(&[service(json!({}))], &[slice(false)], &config());
    assert_eq!(lines(&rules, "unserved"), ["to 10.96.1.0/32 proto 6 port 80 reject"]);
    assert!(lines(&rules, "services").is_empty());
}

#[test]
fn a_node_port_is_for_all_addresses_of_the_node_and_hides_the_client() {
    let spec = json!({"ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    let rules = rules(&[service(spec)], &[slice(true)], &config());
    assert_eq!(
        lines(&rules, "services")[1],
        "to not 127.0.0.0/8 dstislocal proto 6 port 30080 mark goto svc"
    );
}

#[test]
fn a_local_policy_keeps_to_this_node_and_shows_the_client() {
    let spec =
        json!({"externalTrafficPolicy": "Local", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    let rules = rules(&[service(spec)], &[slice(true)], &config());
    assert_eq!(lines(&rules, "services")[1], "to not 127.0.0.0/8 dstislocal proto 6 port 30080 goto own");
    assert_eq!(lines(&rules, "own"), ["proto 6 one in 1 dnat 10.244.1.2:8080"]);
}

#[test]
fn a_headless_service_needs_no_rule() {
    let rules = rules(&[service(json!({"clusterIPs": ["None"]}))], &[slice(true)], &config());
    assert!(lines(&rules, "services").is_empty() && lines(&rules, "svc").is_empty());
}
