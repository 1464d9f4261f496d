//! loopback (spec/plugins.md 1.7).

use polynic_e2e::{Call, Node, Pod};
use serde_json::json;

use crate::life::conf;

#[test]
fn it_brings_lo_up_and_down_whatever_the_interface_is_called() {
    let Some(_node) = Node::new() else { return };
    let pod = Pod::new();
    let before = pod.state();
    let call = Call::new(&pod, conf("loopback", json!({})));
    let result = call.add();
    let expected =
        json!([{"address": "127.0.0.1/8", "interface": 0}, {"address": "::1/128", "interface": 0}]);
    assert_eq!(result["ips"], expected);
    let lo = json!([{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": pod.path}]);
    assert_eq!(result["interfaces"], lo);
    assert!(pod.state().has("link lo up mtu 65536"), "{:?}", pod.state());
    assert_eq!(call.check(&result).silent(), "");
    call.del();
    assert!(pod.state().has("link lo down mtu 65536"));
    // The kernel keeps the IPv4 address of a loopback link that goes down.
    assert_eq!(pod.state().diff(&before), ["+addr lo 127.0.0.1/8 scope host"]);
    call.del();
    let (_, msg) = call.check(&result).error();
    assert!(msg.contains("loopback interface is down"), "{msg}");
}

#[test]
fn it_reports_the_previous_result_and_refuses_other_addresses() {
    let Some(_node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, conf("loopback", json!({})));
    let previous = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}]});
    assert_eq!(call.clone().key("prevResult", previous.clone()).add(), previous);
    call.del();
    pod.ip("address add 10.0.0.1/32 dev lo");
    let (_, msg) = call.run("ADD").error();
    assert_eq!(msg, "loopback interface found with non-loopback address \"10.0.0.1\"");
}

#[test]
fn it_deletes_without_a_namespace() {
    let Some(_node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, conf("loopback", json!({})));
    call.add();
    call.clone().without("CNI_NETNS").del();
    call.with("CNI_NETNS", "/run/netns/gone").del();
}
