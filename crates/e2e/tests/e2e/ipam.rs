//! host-local and static by themselves (spec/plugins.md 2.1, 2.2).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use polynic_e2e::{Call, Node, Pod};
use serde_json::{Value, json};

use crate::life::host_local;

fn call(pod: &Pod, plugin: &str, ipam: Value) -> Call {
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": plugin, "ipam": ipam});
    let call = Call::new(pod, conf);
    Call { plugin: plugin.to_owned(), ..call }
}

#[test]
fn host_local_keeps_the_files_of_the_contract() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let mut ipam = host_local(&node, &["10.1.0.0/29", "fd00:9::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.3"}]);
    let host_local = call(&pod, "host-local", ipam);
    let result = host_local.add();
    let expected = json!({
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.1.0.2/29", "gateway": "10.1.0.1"}, {"address": "fd00:9::2/64", "gateway": "fd00:9::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.3"}],
    });
    assert_eq!(result, expected);
    assert_eq!(node.addresses_held("net"), ["10.1.0.2", "fd00:9::2"]);
    let directory = format!("{}/net", node.directory());
    let read = |name: &str| fs::read_to_string(format!("{directory}/{name}")).unwrap();
    let mode = |name: &str| fs::metadata(format!("{directory}/{name}")).unwrap().permissions().mode() & 0o777;
    assert_eq!(read("10.1.0.2"), format!("{}\r\nnet1", pod.id));
    assert_eq!(
        (read("last_reserved_ip.0"), read("last_reserved_ip.1")),
        ("10.1.0.2".into(), "fd00:9::2".into())
    );
    assert_eq!((read("lock").as_str(), mode("10.1.0.2"), mode("last_reserved_ip.0")), ("", 0o600, 0o600));
    assert_eq!(host_local.check(&result).silent(), "");
    let (_, msg) = host_local.run("ADD").error();
    assert!(msg.contains(&format!(
        "10.1.0.2 has been allocated to {}, duplicate allocation is not allowed",
        pod.id
    )));
    host_local.del();
    host_local.del();
    assert_eq!(node.addresses_held("net"), [""; 0]);
    let (_, msg) = host_local.check(&result).error();
    assert_eq!(msg, format!("host-local: Failed to find address added by container {}", pod.id));
}

#[test]
fn host_local_says_when_it_is_exhausted_and_collects_garbage() {
    let Some(node) = Node::new() else { return };
    let ipam = host_local(&node, &["10.1.0.0/29"]);
    let pods: Vec<Pod> = (0..6).map(|_| Pod::new()).collect();
    let calls: Vec<Call> =
        pods.iter().map(|p| call(p, "host-local", ipam.clone()).key("cniVersion", json!("1.1.0"))).collect();
    calls[..5].iter().for_each(|c| drop(c.add()));
    let (_, msg) = calls[5].run("ADD").error();
    assert_eq!(
        msg,
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.6"
    );
    let (code, _) = calls[5].run("STATUS").error();
    assert_eq!(code, 50);
    let valid = json!([{"containerID": pods[0].id, "ifname": "net1"}]);
    let gc = calls[5].clone().key("cni.dev/valid-attachments", valid);
    assert_eq!(gc.run("GC").silent(), "");
    assert_eq!(node.addresses_held("net").len(), 1);
    assert_eq!(calls[5].run("STATUS").silent(), "");
    calls[0].del();
}

#[test]
fn static_answers_what_it_is_told() {
    let Some(_node) = Node::new() else { return };
    let pod = Pod::new();
    let ipam = json!({
        "addresses": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"address": "fd00::3/64"}],
        "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["10.1.2.53"]}, "type": "static",
    });
    let call = call(&pod, "static", ipam);
    let result = call.add();
    let expected = json!({
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"address": "fd00::3/64"}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["10.1.2.53"]},
    });
    assert_eq!(result, expected);
    assert_eq!(call.check(&result).silent(), "");
    let more = call.clone().with("CNI_ARGS", "IP=10.1.2.4/24;GATEWAY=10.1.2.254").add();
    assert_eq!(more["ips"].as_array().unwrap().len(), 3);
    assert_eq!(more["ips"][0]["gateway"], "10.1.2.254");
    let instead = call.clone().key("runtimeConfig", json!({"ips": ["10.7.0.1/8"]})).add();
    assert_eq!(instead["ips"], json!([{"address": "10.7.0.1/8"}]));
    call.del();
    call.del();
}
