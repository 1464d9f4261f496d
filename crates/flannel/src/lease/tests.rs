use super::*;

fn conf(text: &str) -> NetConf {
    NetConf::parse(text.as_bytes()).unwrap()
}

fn vxlan() -> NetConf {
    conf(r#"{"Network": "10.233.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}"#)
}

fn dual() -> NetConf {
    conf(
        r#"{"Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true, "Backend": {"Type": "vxlan"}}"#,
    )
}

fn keys() -> Keys {
    Keys::new(crate::DEFAULT_PREFIX).unwrap()
}

fn node(annotations: &[(&str, &str)]) -> Node {
    let annotations =
        annotations.iter().map(|(k, v)| (format!("flannel.alpha.coreos.com/{k}"), (*v).to_owned())).collect();
    Node {
        name: "node2".into(),
        pod_cidrs: vec!["10.233.65.0/24".into(), "fd60:0:0:65::/64".into()],
        annotations,
    }
}

const DATA: &str = r#"{"VNI":7,"VtepMAC":"a2:00:00:00:00:07"}"#;

#[test]
fn a_lease_is_read_from_a_nodes_annotations() {
    let full = node(&[
        ("kube-subnet-manager", "true"),
        ("backend-type", "vxlan"),
        ("backend-data", DATA),
        ("public-ip", "192.168.10.12"),
    ]);
    let (lease, problems) = Lease::of(&full, &keys(), &vxlan());
    let expected = Endpoint {
        subnet: "10.233.65.0/24".parse().unwrap(),
        public: "192.168.10.12".parse().unwrap(),
        vtep: Some("a2:00:00:00:00:07".parse().unwrap()),
        wireguard: None,
    };
    assert_eq!((lease.unwrap().endpoints.v4, problems), (Some(expected), vec![]));
    // The other family of the same node is missing, which does not harm the first.
    let (lease, problems) = Lease::of(&full, &keys(), &dual());
    assert_eq!(lease.unwrap().endpoints.v4, Some(expected));
    assert!(problems[0].to_string().contains("public-ipv6"), "{problems:?}");
}

#[test]
fn nodes_that_are_none_of_the_network_or_use_another_backend_have_no_lease() {
    assert_eq!(Lease::of(&node(&[]), &keys(), &vxlan()), (None, vec![]));
    let other = node(&[("kube-subnet-manager", "true"), ("backend-type", "host-gw")]);
    let (lease, problems) = Lease::of(&other, &keys(), &vxlan());
    assert_eq!(lease, None);
    assert!(problems[0].to_string().contains("host-gw"), "{problems:?}");
    let broken = node(&[
        ("kube-subnet-manager", "true"),
        ("backend-type", "vxlan"),
        ("backend-data", "null"),
        ("public-ip", "192.168.10.12"),
    ]);
    let (lease, problems) = Lease::of(&broken, &keys(), &vxlan());
    assert_eq!(lease, None);
    assert!(problems[0].to_string().contains("backend-data"), "{problems:?}");
}

#[test]
fn the_own_node_keeps_its_hardware_address_and_the_administrators_choices() {
    let own =
        node(&[("backend-data", DATA), ("node-public-ip", "192.0.2.9"), ("public-ip-overwrite", "nat")]);
    let own = Own::of(&own, &keys(), &vxlan()).unwrap();
    assert_eq!(own.vteps.v4, Some("a2:00:00:00:00:07".parse().unwrap()));
    assert_eq!(own.node_public.v4, Some("192.0.2.9".parse().unwrap()));
    assert_eq!((own.subnets.v4, own.subnets.v6), (Some("10.233.65.0/24".parse().unwrap()), None));
    let told = Announcement {
        public: PerFamily { v4: Some("192.0.2.9".parse().unwrap()), v6: None },
        wireguard: PerFamily::default(),
        vteps: own.vteps,
    };
    let annotations = told.annotations(&own, &keys(), &vxlan());
    let text = |key: &str| annotations.get(&format!("flannel.alpha.coreos.com/{key}")).map(String::as_str);
    assert_eq!(text("backend-data"), Some(DATA));
    assert_eq!((text("public-ip"), text("backend-type")), (Some("nat"), Some("vxlan")));
    assert_eq!((text("kube-subnet-manager"), text("backend-v6-data")), (Some("true"), None));
}

#[test]
fn what_no_host_and_no_link_can_have_is_refused() {
    let peer = |data: &str, public: &str| {
        let peer = node(&[
            ("kube-subnet-manager", "true"),
            ("backend-type", "vxlan"),
            ("backend-data", data),
            ("public-ip", public),
        ]);
        Lease::of(&peer, &keys(), &vxlan())
    };
    let mac = |mac: &str| format!(r#"{{"VNI":7,"VtepMAC":"{mac}"}}"#);
    for (data, public) in [
        (mac("a2:00:00:00:00:07"), "0.0.0.0"),
        (mac("a2:00:00:00:00:07"), "127.0.0.1"),
        (mac("a2:00:00:00:00:07"), "224.0.0.5"),
        (mac("a2:00:00:00:00:07"), "fd00::5"),
        (mac("01:00:5e:00:00:07"), "192.168.10.12"),
        (mac("00:00:00:00:00:00"), "192.168.10.12"),
        (mac("ff:ff:ff:ff:ff:ff"), "192.168.10.12"),
    ] {
        let (lease, problems) = peer(&data, public);
        assert!(lease.is_none() && problems.len() == 1, "{data} {public}: {problems:?}");
    }
    let own = node(&[("backend-data", &mac("ff:ff:ff:ff:ff:ff")), ("node-public-ip", "fd00::5")]);
    let own = Own::of(&own, &keys(), &vxlan()).unwrap();
    assert_eq!((own.vteps.v4, own.node_public.v4), (None, None));
    assert!(own.problems[0].to_string().contains("node-public-ip"), "{:?}", own.problems);
}

#[test]
fn the_tunnels_that_were_announced_last_are_known() {
    let tunnels =
        |annotations: &[(&str, &str)]| Own::of(&node(annotations), &keys(), &vxlan()).unwrap().tunnels;
    assert_eq!(tunnels(&[("backend-type", "vxlan"), ("backend-data", DATA)]), ["flannel.7"]);
    assert_eq!(tunnels(&[("backend-type", "ipip"), ("backend-data", "null")]), ["flannel.ipip"]);
    assert_eq!(tunnels(&[("backend-type", "host-gw"), ("backend-data", "null")]), Vec::<String>::new());
}

#[test]
fn host_gw_has_no_data() {
    let conf = conf(r#"{"Network": "10.233.0.0/16", "Backend": {"Type": "host-gw"}}"#);
    let own = Own::of(&node(&[]), &keys(), &conf).unwrap();
    let public = PerFamily { v4: Some("192.0.2.9".parse().unwrap()), v6: None };
    let told = Announcement { public, vteps: PerFamily::default(), wireguard: PerFamily::default() }
        .annotations(&own, &keys(), &conf);
    assert_eq!(told.get("flannel.alpha.coreos.com/backend-data").map(String::as_str), Some("null"));
}

#[test]
fn a_node_without_a_fitting_subnet_has_no_part() {
    let mut bare = node(&[]);
    bare.pod_cidrs.clear();
    assert!(Own::of(&bare, &keys(), &vxlan()).unwrap_err().to_string().contains("not assigned"));
    bare.pod_cidrs = vec!["10.9.0.0/24".into()];
    assert!(Own::of(&bare, &keys(), &vxlan()).unwrap_err().to_string().contains("not inside"));
    bare.pod_cidrs = vec!["10.233.1.0/24".into(); 3];
    assert!(Own::of(&bare, &keys(), &vxlan()).unwrap_err().to_string().contains("3 podCIDRs"));
}
