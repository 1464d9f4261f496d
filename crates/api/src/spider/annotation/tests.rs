use super::*;

fn with(key: &str, value: &str) -> Annotations {
    Annotations::from([(key.to_owned(), value.to_owned())])
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_pod_names_its_pools() {
    let read = ippool(&with(IPPOOL, r#"{"ipv4":["p1","p2*"],"IPv6":["p6"]}"#)).unwrap().unwrap();
    assert_eq!((read.ipv4, read.ipv6), (names(&["p1", "p2*"]), names(&["p6"])));
    assert_eq!(ippool(&Annotations::new()), Ok(None));
}

#[test]
fn spellings_of_release_0_2_are_read() {
    let old = r#"{"interface":"eth0","ipv4pools":["a"],"ipv6pools":["b"]}"#;
    let read = ippool(&with(IPPOOL, old)).unwrap().unwrap();
    assert_eq!((read.interface.as_str(), read.ipv4, read.ipv6), ("eth0", names(&["a"]), names(&["b"])));
    let read = ippools(&with(IPPOOLS, &format!("[{old}]"))).unwrap().unwrap();
    assert_eq!(read[0].ipv4, names(&["a"]));
    let read = namespace_pools(&with(OLD_DEFAULT_IPV6_IPPOOL, r#"["n"]"#)).unwrap().unwrap();
    assert_eq!(read, DefaultPools { ipv4: vec![], ipv6: names(&["n"]) });
}

#[test]
fn what_cannot_be_read_names_the_annotation() {
    let error = ippool(&with(IPPOOL, "{")).unwrap_err();
    assert!(
        error.to_string().starts_with("invalid format of Pod annotation ipam.spidernet.io/ippool: "),
        "{error}"
    );
    assert!(ippool(&with(IPPOOL, r#"{"ipv4":"p"}"#)).is_err());
    assert!(routes(&with(ROUTES, r#"{"dst":"10.0.0.0/8"}"#)).is_err());
}

#[test]
fn a_list_of_interfaces_names_all_or_none_of_them() {
    let list = |text: &str| ippools(&with(IPPOOLS, text));
    let read =
        list(r#"[{"interface":"eth0","ipv4":["a"],"cleangateway":true},{"interface":"net1","ipv4":["b"]}]"#);
    let read = read.unwrap().unwrap();
    assert_eq!((read[0].clean_gateway, read[1].clean_gateway), (true, false));
    assert_eq!(list(r#"[{"ipv4":["a"]},{"ipv4":["b"]}]"#).unwrap().unwrap().len(), 2);
    for (text, reason) in [
        ("[]", "empty"),
        (r#"[{"interface":"a","ipv4":["a"]},{"ipv4":["b"]}]"#, "some items"),
        (r#"[{"interface":"a","ipv4":["a"]},{"interface":"a","ipv4":["b"]}]"#, "a is listed twice"),
    ] {
        assert!(list(text).unwrap_err().reason.contains(reason), "{text}");
    }
}

#[test]
fn subnets_of_an_application() {
    let one = subnets(&with(SUBNET, r#"{"ipv4":["s4"],"ipv6":["s6"]}"#)).unwrap().unwrap();
    assert_eq!((one[0].interface.as_str(), one.len()), ("eth0", 1));
    let many = r#"[{"interface":"eth0","ipv4":["a"]},{"interface":"net1","ipv4":["b"]}]"#;
    assert_eq!(subnets(&with(SUBNETS, many)).unwrap().unwrap().len(), 2);
    for (text, reason) in [
        (r#"[{"interface":"eth0"}]"#, "no subnet is given for interface eth0"),
        (r#"[{"ipv4":["a"]}]"#, "names no interface"),
        (r#"[{"interface":"eth0","ipv4":[""]}]"#, "empty name"),
        (
            r#"[{"interface":"eth0","ipv4":["a"]},{"interface":"eth0","ipv4":["b"]}]"#,
            "interface eth0 is listed twice",
        ),
        (
            r#"[{"interface":"eth0","ipv4":["a"]},{"interface":"net1","ipv4":["a"]}]"#,
            "subnet a is listed twice",
        ),
        ("[]", "empty"),
    ] {
        let error = subnets(&with(SUBNETS, text)).unwrap_err();
        assert!(error.reason.contains(reason), "{text}: {error}");
    }
}

#[test]
fn numbers_of_addresses_are_fixed_or_flexible() {
    let read = |text: &str| ip_number(&with(IPPOOL_IP_NUMBER, text));
    assert_eq!(read("5"), Ok(Some(IpNumber::Fixed(5))));
    assert_eq!(read("+2"), Ok(Some(IpNumber::Flexible(2))));
    assert_eq!(read("+0"), Ok(Some(IpNumber::Flexible(0))));
    assert_eq!(ip_number(&Annotations::new()), Ok(None));
    for bad in ["", "+", "++2", "-1", "+-1", "2+", "x", "99999999999"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn reclaim_is_a_boolean() {
    assert_eq!(reclaim(&Annotations::new()), Ok(true));
    assert_eq!(reclaim(&with(IPPOOL_RECLAIM, "false")), Ok(false));
    assert!(reclaim(&with(IPPOOL_RECLAIM, "no")).is_err());
}

#[test]
fn namespaces_have_default_pools() {
    assert_eq!(namespace_pools(&Annotations::new()), Ok(None));
    let read = namespace_pools(&with(DEFAULT_IPV4_IPPOOL, r#"["a","b"]"#)).unwrap().unwrap();
    assert_eq!(read.ipv4, names(&["a", "b"]));
    assert!(namespace_pools(&with(DEFAULT_IPV4_IPPOOL, "a")).is_err());
}
