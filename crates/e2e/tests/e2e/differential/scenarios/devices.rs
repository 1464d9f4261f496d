//! Devices of the node that go into the pod.

use serde_json::{Value, json};

use super::{Scenario, conf, host_local, with};

const DEVICE: &str =
    "link add dev0 type veth peer name dev1\nlink set dev1 up\nlink set dev0 address 02:00:00:00:00:21";

pub(super) fn all() -> Vec<Scenario> {
    let device = |name: &str, keys: Value| {
        Scenario::new(&format!("host-device {name}"), conf("host-device", keys)).on_node(DEVICE)
    };
    let dev0 = json!({"device": "dev0"});
    vec![
        device("by name", dev0.clone()),
        device("by hardware address", json!({"hwaddr": "02:00:00:00:00:21"})),
        device("with addresses", with(dev0.clone(), json!({"ipam": host_local(&["10.5.0.0/24"])}))),
        device("with dns", with(dev0.clone(), json!({"dns": {"nameservers": ["10.0.0.53"]}}))),
        device("in 0.3.1", with(dev0.clone(), json!({"cniVersion": "0.3.1"}))),
        device("missing", json!({"device": "dev9"})),
        device("unknown hardware address", json!({"hwaddr": "02:00:00:00:00:99"})),
        device("none", json!({})),
        device("name taken", dev0).in_pod("link add net1 type veth peer name other"),
        device("no path of a device", json!({"kernelpath": "/tmp"})),
    ]
}
