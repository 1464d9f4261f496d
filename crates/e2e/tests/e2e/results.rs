//! The exact text of results in every protocol version (spec/cni.md 4). The golden files are written anew when
//! POLYNIC_BLESS is set; then read the difference.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use polynic_e2e::{Call, Node, Pod, mask::mask};
use serde_json::{Value, json};

use crate::life::conf;

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn addresses() -> Value {
    json!({
        "type": "static",
        "addresses": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"address": "FD00:0::3/64", "gateway": "fd00::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::fe"}, {"dst": "10.8.0.0/16", "gw": "10.1.2.9", "priority": 5, "table": 0}],
        "dns": {"nameservers": ["10.1.2.53"], "domain": "example.org", "search": ["a", "b"], "options": ["ndots:5"]},
    })
}

/// ADD in all versions, as one text.
fn all_versions(conf: &Value) -> String {
    let mut text = String::new();
    for version in VERSIONS {
        let pod = Pod::new();
        let call = Call::new(&pod, conf.clone()).key("cniVersion", json!(version));
        let call = Call { plugin: conf["type"].as_str().unwrap().to_owned(), ..call };
        let answer = call.run("ADD");
        writeln!(text, "=== {version}: exit {}\n{}", answer.code, mask(&answer.stdout, &pod.path)).unwrap();
        if answer.code != 0 {
            assert_eq!(pod.state().link_names(), [""; 0], "a failed ADD leaves nothing");
        }
        call.del();
    }
    text.replace(&format!("-{}", std::process::id()), "-PID")
}

fn assert_golden(name: &str, conf: &Value) {
    let text = all_versions(conf);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("POLYNIC_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

#[test]
fn macvlan_with_everything() {
    let Some(_node) = Node::new() else { return };
    let dns = json!({"nameservers": ["10.1.2.54"]});
    assert_golden("macvlan", &conf("macvlan", json!({"master": "eth0", "ipam": addresses(), "dns": dns})));
}

#[test]
fn bridge_and_ptp_take_the_dns_of_ipam() {
    let Some(_node) = Node::new() else { return };
    assert_golden("bridge", &conf("bridge", json!({"isGateway": true, "ipam": addresses()})));
    assert_golden("ptp", &conf("ptp", json!({"ipam": addresses()})));
}

#[test]
fn ipam_results_have_no_interfaces() {
    let Some(_node) = Node::new() else { return };
    let one_each = addresses();
    assert_golden("static", &json!({"name": "net", "type": "static", "ipam": one_each}));
}

#[test]
fn a_result_without_addresses_cannot_be_said_in_old_versions() {
    let Some(_node) = Node::new() else { return };
    let conf = conf("macvlan", json!({"master": "eth0"}));
    for version in VERSIONS {
        let pod = Pod::new();
        let call = Call::new(&pod, conf.clone()).key("cniVersion", json!(version));
        if version < "0.3.0" {
            let (code, msg) = call.run("ADD").error();
            assert_eq!((code, msg.as_str()), (999, "cannot convert: no valid IP addresses"), "{version}");
            assert_eq!(pod.state().link_names(), [""; 0]);
        } else {
            call.add();
        }
        call.del();
    }
}
