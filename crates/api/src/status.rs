//! The network-status annotation (spec/multus.md 10): a row per interface that a pod got.

use polynic_cni::Dns;
use polynic_cni::json::{self, JsonError};
use serde::{Deserialize, Serialize};

use crate::device_info::DeviceInfo;

/// One row. The order of the fields is the order of the keys in the annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStatus {
    /// The network's display name.
    pub name: String,
    /// The interface in the pod, or empty if the network reported none there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Addresses without prefix length.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The interface's hardware address, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The interface's MTU in bytes; 0 is unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// Is it the pod's default network?
    #[serde(skip_serializing_if = "is_false")]
    pub default: bool,
    /// Name service.
    pub dns: Dns,
    /// The device behind the interface, if known.
    #[serde(rename = "device-info", skip_serializing_if = "Option::is_none")]
    pub device_info: Option<DeviceInfo>,
    /// Next hops of the network's default routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
}

// serde hands over references.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The annotation's value, byte for byte as Multus writes it: every row indented by four spaces, rows joined by `},{`.
pub fn print(rows: &[NetworkStatus]) -> String {
    let rows: Vec<String> = rows.iter().map(json::print_indented).collect();
    format!("[{}]", rows.join(","))
}

/// Reads an annotation's value.
pub fn parse(text: &str) -> Result<Vec<NetworkStatus>, JsonError> {
    json::from_slice(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_info::Pci;
    use proptest::prelude::*;

    /// The example of spec/multus.md 10.3, to the byte.
    const EXAMPLE: &str = r#"[{
    "name": "infra/pod-fabric",
    "interface": "eth0",
    "ips": [
        "10.40.1.7"
    ],
    "mac": "02:11:22:33:44:55",
    "default": true,
    "dns": {},
    "gateway": [
        "10.40.1.1"
    ]
},{
    "name": "blue/lan-a",
    "interface": "lan0",
    "mac": "02:aa:00:00:00:09",
    "dns": {}
}]"#;

    #[test]
    fn rows_print_as_in_the_contract() {
        let first = NetworkStatus {
            name: "infra/pod-fabric".into(),
            interface: "eth0".into(),
            ips: vec!["10.40.1.7".into()],
            mac: "02:11:22:33:44:55".into(),
            default: true,
            gateway: vec!["10.40.1.1".into()],
            ..NetworkStatus::default()
        };
        let second = NetworkStatus {
            name: "blue/lan-a".into(),
            interface: "lan0".into(),
            mac: "02:aa:00:00:00:09".into(),
            ..NetworkStatus::default()
        };
        assert_eq!(print(&[first, second]), EXAMPLE);
    }

    #[test]
    fn every_key_has_its_place() {
        let row = NetworkStatus {
            name: "a".into(),
            interface: "i".into(),
            ips: vec!["::1".into()],
            mac: "m".into(),
            mtu: 1400,
            default: true,
            dns: Dns { nameservers: vec!["n".into()], domain: "d".into(), ..Dns::default() },
            device_info: Some(DeviceInfo {
                kind: "pci".into(),
                version: "1.1.0".into(),
                pci: Some(Pci { pci_address: "p".into(), ..Pci::default() }),
                ..DeviceInfo::default()
            }),
            gateway: vec!["g".into()],
        };
        let text = print(std::slice::from_ref(&row));
        let keys = ["name", "interface", "ips", "mac", "mtu", "default", "dns", "device-info", "gateway"];
        let places: Vec<usize> =
            keys.iter().map(|key| text.find(&format!("\n    \"{key}\": ")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
        assert_eq!(parse(&text), Ok(vec![row]));
    }

    #[test]
    fn html_is_escaped() {
        let row = NetworkStatus { name: "<a>&".into(), ..NetworkStatus::default() };
        assert!(print(&[row]).contains(r"\u003ca\u003e\u0026"));
    }

    #[test]
    fn no_rows_are_an_empty_list() {
        assert_eq!(print(&[]), "[]");
        assert_eq!(parse("[]"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn rows_read_back(name in "\\PC{0,12}", ips in prop::collection::vec("[0-9a-f:.]{1,8}", 0..3), mtu: u32, default: bool) {
            let row = NetworkStatus { name, ips, mtu, default, ..NetworkStatus::default() };
            prop_assert_eq!(parse(&print(std::slice::from_ref(&row))), Ok(vec![row]));
        }
    }
}
