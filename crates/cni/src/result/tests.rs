use serde_json::{Value, json};

use super::*;
use crate::error::Error;
use crate::json;

/// Everything a result of 1.1.0 can say.
fn full() -> Success {
    let text = r#"{"cniVersion":"1.1.0",
        "interfaces":[{"name":"net1","mac":"02:00:00:00:00:07","mtu":1500,"sandbox":"/run/netns/c7",
            "socketPath":"/run/s","pciID":"0000:00:01.0"},{"name":"veth1"}],
        "ips":[{"interface":0,"address":"192.0.2.9/24","gateway":"192.0.2.1"},
            {"interface":0,"address":"2001:DB8::0:9/64"},{"address":"192.0.2.10/24"}],
        "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","mtu":1400,"advmss":1360,"priority":7,"table":0,"scope":0},
            {"dst":"2001:db8:1::5/48"}],
        "dns":{"nameservers":["192.0.2.53"],"domain":"lab","search":["a"],"options":["ndots:2"]}}"#;
    Success::parse(text.as_bytes(), Version::V0_1_0).unwrap()
}

fn minimal() -> Success {
    Success { ips: vec![Ip::new("192.0.2.9/24".parse().unwrap())], ..Success::default() }
}

#[test]
fn version_1_prints_sorted_keys() {
    let text = r#"{
    "cniVersion": "1.1.0",
    "dns": {
        "domain": "lab",
        "nameservers": [
            "192.0.2.53"
        ],
        "options": [
            "ndots:2"
        ],
        "search": [
            "a"
        ]
    },
    "interfaces": [
        {
            "mac": "02:00:00:00:00:07",
            "mtu": 1500,
            "name": "net1",
            "pciID": "0000:00:01.0",
            "sandbox": "/run/netns/c7",
            "socketPath": "/run/s"
        },
        {
            "name": "veth1"
        }
    ],
    "ips": [
        {
            "address": "192.0.2.9/24",
            "gateway": "192.0.2.1",
            "interface": 0
        },
        {
            "address": "2001:db8::9/64",
            "interface": 0
        },
        {
            "address": "192.0.2.10/24"
        }
    ],
    "routes": [
        {
            "advmss": 1360,
            "dst": "0.0.0.0/0",
            "gw": "192.0.2.1",
            "mtu": 1400,
            "priority": 7,
            "scope": 0,
            "table": 0
        },
        {
            "dst": "2001:db8:1::5/48"
        }
    ]
}"#;
    assert_eq!(full().print(Version::V1_1_0).unwrap(), text);
    assert_eq!(full().print(Version::V1_0_0).unwrap(), text.replace("\"1.1.0\"", "\"1.0.0\""));
}

#[test]
fn versions_0_3_and_0_4_print_the_family_and_their_own_order() {
    let text = r#"{
    "cniVersion": "0.4.0",
    "interfaces": [
        {
            "name": "net1",
            "mac": "02:00:00:00:00:07",
            "sandbox": "/run/netns/c7"
        },
        {
            "name": "veth1"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 0,
            "address": "192.0.2.9/24",
            "gateway": "192.0.2.1"
        },
        {
            "version": "6",
            "interface": 0,
            "address": "2001:db8::9/64"
        },
        {
            "version": "4",
            "address": "192.0.2.10/24"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "192.0.2.1",
            "mtu": 1400,
            "advmss": 1360,
            "priority": 7,
            "table": 0,
            "scope": 0
        },
        {
            "dst": "2001:db8:1::5/48"
        }
    ],
    "dns": {
        "nameservers": [
            "192.0.2.53"
        ],
        "domain": "lab",
        "search": [
            "a"
        ],
        "options": [
            "ndots:2"
        ]
    }
}"#;
    assert_eq!(full().print(Version::V0_4_0).unwrap(), text);
    for version in [Version::V0_3_0, Version::V0_3_1] {
        let relabelled = text.replace("0.4.0", version.as_str());
        assert_eq!(full().print(version).unwrap(), relabelled);
    }
}

#[test]
fn the_oldest_versions_take_the_first_address_of_each_family() {
    let text = r#"{
    "cniVersion": "0.2.0",
    "ip4": {
        "ip": "192.0.2.9/24",
        "gateway": "192.0.2.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "192.0.2.1"
            }
        ]
    },
    "ip6": {
        "ip": "2001:db8::9/64",
        "routes": [
            {
                "dst": "2001:db8:1::5/48"
            }
        ]
    },
    "dns": {}
}"#;
    let result = Success { dns: Dns::default(), ..full() };
    assert_eq!(result.print(Version::V0_2_0).unwrap(), text);
    assert_eq!(result.print(Version::V0_1_0).unwrap(), text.replace("0.2.0", "0.1.0"));
}

#[test]
fn routes_of_a_family_without_address_are_dropped() {
    let routes = vec![Route::new("2001:db8::/32".parse().unwrap(), None)];
    let text = Success { routes, ..minimal() }.print(Version::V0_2_0).unwrap();
    assert!(!text.contains("2001") && text.contains("192.0.2.9/24"), "{text}");
}

#[test]
fn a_result_without_address_cannot_become_old() {
    let error = Error::internal("cannot convert: no valid IP addresses");
    for version in [Version::V0_1_0, Version::V0_2_0] {
        assert_eq!(Success::default().print(version), Err(error.clone()));
        assert!(Success::default().print(Version::V0_3_0).is_ok());
        // Read as an old one it is itself: "same" is the identity.
        let old = Success::parse(b"{}", version).unwrap();
        assert_eq!(
            old.print(version).unwrap(),
            format!("{{\n    \"cniVersion\": \"{version}\",\n    \"dns\": {{}}\n}}")
        );
    }
}

#[test]
fn empty_dns_is_printed_up_to_0_4_only() {
    for version in Version::ALL {
        let printed = minimal().print(version).unwrap();
        assert_eq!(printed.contains("\"dns\": {}"), version <= Version::V0_4_0, "{printed}");
        assert!(!printed.contains("routes") && !printed.contains("interface"), "{printed}");
    }
}

#[test]
fn every_pair_of_versions_converts() {
    for from in Version::ALL {
        for to in Version::ALL {
            let read = Success::parse(full().print(from).unwrap().as_bytes(), Version::V0_1_0).unwrap();
            assert_eq!(read.cni_version, from);
            let converted = read.print(to).unwrap();
            let lossy = from.min(to);
            let direct = Success::parse(full().print(lossy).unwrap().as_bytes(), Version::V0_1_0).unwrap();
            assert_eq!(converted, direct.print(to).unwrap(), "{from} -> {to}");
            assert_eq!(json::parse(converted.as_bytes()), Ok(read.to_value(to).unwrap()));
        }
    }
}

#[test]
fn old_routes_are_concatenated_ip4_first() {
    let text = br#"{"ip6":{"ip":"2001:db8::9/64","routes":[{"dst":"::/0"}]},
        "ip4":{"ip":"192.0.2.9/24","routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"}]}}"#;
    let read = Success::parse(text, Version::V0_2_0).unwrap();
    assert!(read.ips[0].address.addr().is_ipv4() && read.ips[1].address.addr().is_ipv6());
    assert_eq!(read.routes[0].gw, "192.0.2.1".parse().ok());
    assert_eq!(read.routes[1], Route::new("::/0".parse().unwrap(), None));
}

#[test]
fn addresses_are_read_and_printed_as_go_does() {
    for (written, printed) in [
        ("::ffff:192.0.2.9/120", Some("192.0.2.9/24")),
        ("::ffff:192.0.2.9/64", Some("192.0.2.9/0")),
        ("2001:DB8:0:0:1:0:0:1/64", Some("2001:db8::1:0:0:1/64")),
        ("::1.2.3.4/128", Some("::102:304/128")),
        ("192.0.2.9/024", Some("192.0.2.9/24")),
        ("192.0.2.9", None),
        ("192.0.2.9/33", None),
        ("192.0.2.09/24", None),
        ("192.0.2.9/+4", None),
        ("fe80::1%eth0/64", None),
        ("", None),
    ] {
        let read = parse_net(written).map(go_net);
        assert_eq!(read.as_deref().ok(), printed, "{written}");
        if printed.is_none() {
            assert_eq!(read, Err(format!("invalid CIDR address: {written}")));
        }
    }
    assert_eq!(parse_ip(""), Ok(None));
    assert_eq!(parse_ip("::ffff:192.0.2.1"), Ok("192.0.2.1".parse().ok()));
    assert_eq!(parse_ip("x"), Err("invalid IP address: x".to_owned()));
}

#[test]
fn the_version_is_the_results_own_else_the_requests() {
    let version =
        |text: &str, requested| Success::parse_reply(text.as_bytes(), requested).map(|read| read.cni_version);
    assert_eq!(version(r#"{"cniVersion":"0.3.1"}"#, "1.0.0"), Ok(Version::V0_3_1));
    assert_eq!(version(r#"{"cniVersion":""}"#, "1.0.0"), Ok(Version::V1_0_0));
    assert_eq!(version("null", "0.4.0"), Ok(Version::V0_4_0));
    assert_eq!(version("{}", ""), Ok(Version::V0_1_0));
    assert_eq!(version(r#"{"cniVersion":"0.3.1"}"#, "7.0.0"), Ok(Version::V0_3_1));
    let unknown = Err(Error::internal("unsupported CNI result version \"7.0.0\""));
    assert_eq!(version("{}", "7.0.0"), unknown);
    assert_eq!(version(r#"{"cniVersion":"7.0.0"}"#, "1.0.0"), unknown);
    assert!(version("", "1.0.0").is_err() && version("[]", "1.0.0").is_err());
}

#[test]
fn a_prev_result_has_the_shape_of_the_configs_version() {
    let old = json!({"cniVersion": "0.3.0", "ips": [{"version": "4", "address": "192.0.2.9/24"}]});
    assert_eq!(Success::parse_as(Version::V0_4_0, &old).unwrap().cni_version, Version::V0_4_0);
    let message = |version, value: &Value| Success::parse_as(version, value).unwrap_err().msg;
    let text = "could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is \"0.3.0\"";
    assert_eq!(message(Version::V1_0_0, &old), text);
    let text = "could not parse prevResult: result type supports [ 0.1.0 0.2.0] but unmarshalled CNIVersion is \"0.3.0\"";
    assert_eq!(message(Version::V0_1_0, &old), text);
    let absent = json!({"ips": [{"address": "192.0.2.9/24"}]});
    assert_eq!(Success::parse_as(Version::V1_0_0, &absent).unwrap().ips, minimal().ips);
    assert!(message(Version::V1_0_0, &json!(5)).starts_with("could not parse prevResult: "));
}

#[test]
fn wrong_fields_are_named() {
    let message =
        |value: Value| Success::parse(value.to_string().as_bytes(), Version::V1_0_0).unwrap_err().msg;
    let text = "could not read the plugin's result: ips.address: invalid CIDR address: 192.0.2.9";
    assert_eq!(message(json!({"ips": [{"address": "192.0.2.9"}]})), text);
    assert!(message(json!({"ips": [{}]})).contains("missing field `address`"));
    assert!(
        message(json!({"routes": [{"dst": "::/0", "table": -1}]})).contains("field routes.table of type int")
    );
    assert!(message(json!({"interfaces": 5})).contains("field interfaces of type array"));
}

#[test]
fn early_drafts_and_null_are_tolerated() {
    let text =
        json!({"ips": [{"interface": -1, "address": "192.0.2.9/24", "gateway": null}, ], "routes": null});
    assert_eq!(Success::parse_as(Version::V0_3_0, &text).unwrap().ips, minimal().ips);
}
