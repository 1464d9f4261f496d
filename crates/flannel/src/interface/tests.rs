use super::*;

const V4: &[Family] = &[Family::V4];
const DUAL: &[Family] = &[Family::V4, Family::V6];

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn address(link: &str, net: &str) -> AddressFact {
    AddressFact {
        link: name(link),
        net: net.parse().unwrap(),
        scope: 0,
        tentative: false,
        dad_failed: false,
        permanent: true,
        deprecated: false,
        temporary: false,
    }
}

/// eth0 has the default route, eth1 the second network.
fn node() -> NsFacts {
    let mut facts = NsFacts::default();
    for (index, link) in ["lo", "eth0", "eth1"].into_iter().enumerate() {
        facts.links.push(LinkFact::new(index as u32 + 1, name(link), ""));
    }
    facts.addresses = vec![
        address("eth0", "192.168.5.126/24"),
        address("eth0", "fd05::126/64"),
        address("eth1", "fe80::12/64"),
        address("eth1", "192.168.10.12/24"),
        address("eth1", "fd10::12/64"),
    ];
    facts
        .routes
        .push(Route::new("0.0.0.0/0".parse().unwrap(), &name("eth0")).via("192.168.5.1".parse().unwrap()));
    facts
}

fn chosen(selection: &Selection, families: &[Family]) -> Result<(String, String), String> {
    let external = selection.choose(&node(), families, None).map_err(|why| why.to_string())?;
    let ips: Vec<String> = external.addresses.iter().map(|(_, ip)| ip.to_string()).collect();
    Ok((external.link.to_string(), ips.join(" ")))
}

fn iface(names: &[&str]) -> Selection {
    Selection { interfaces: names.iter().map(|n| (*n).to_owned()).collect(), ..Selection::default() }
}

fn found(link: &str, ips: &str) -> Result<(String, String), String> {
    Ok((link.to_owned(), ips.to_owned()))
}

#[test]
fn names_and_addresses_are_tried_in_order() {
    assert_eq!(chosen(&iface(&["eth9", "eth1"]), V4), found("eth1", "192.168.10.12"));
    assert_eq!(chosen(&iface(&["192.168.5.126", "eth1"]), V4), found("eth0", "192.168.5.126"));
    assert_eq!(chosen(&iface(&["eth1"]), DUAL), found("eth1", "192.168.10.12 fd10::12"));
    let why = chosen(&iface(&["eth9"]), V4).unwrap_err();
    assert!(why.contains("--iface=eth9") && why.contains("eth1"), "{why}");
}

#[test]
fn a_link_without_address_is_passed_over_and_the_preferred_one_is_taken_back() {
    let selection = iface(&["eth1", "eth0"]);
    let mut bare = node();
    bare.addresses.retain(|a| a.link != name("eth1"));
    let without = selection.choose(&bare, V4, None).unwrap();
    assert_eq!(without.link, name("eth0"));
    let back = selection.choose(&node(), V4, Some(&without)).unwrap();
    assert_eq!(back.link, name("eth1"));
    // It loses its address for a moment: nobody is sent elsewhere. It goes: the next one serves.
    let why = selection.choose(&bare, V4, Some(&back)).unwrap_err();
    assert!(matches!(why, InterfaceError::NoAddress { .. }), "{why}");
    bare.links.retain(|l| l.name != name("eth1"));
    assert_eq!(selection.choose(&bare, V4, Some(&back)).unwrap().link, name("eth0"));
}

#[test]
fn the_public_address_of_several_is_the_one_that_is_used() {
    let mut facts = node();
    facts.addresses.push(address("eth1", "192.168.10.99/24"));
    let public = PerFamily { v4: Some("192.168.10.99".parse().unwrap()), v6: None };
    let external = Selection { public, ..Selection::default() }.choose(&facts, V4, None).unwrap();
    assert_eq!((external.addresses, external.public), (public, public));
}

#[test]
fn patterns_match_addresses_before_names() {
    let pattern =
        |text: &str| Selection { patterns: vec![Regex::new(text).unwrap()], ..Selection::default() };
    assert_eq!(chosen(&pattern(r"^192\.168\.10\."), V4), found("eth1", "192.168.10.12"));
    assert_eq!(chosen(&pattern("eth1"), DUAL), found("eth1", "192.168.10.12 fd10::12"));
    assert_eq!(chosen(&pattern("12$"), DUAL), found("eth1", "192.168.10.12 fe80::12"));
    assert!(chosen(&pattern("nothing"), V4).is_err());
}

#[test]
fn without_a_choice_it_is_the_default_routes_link_or_the_public_addresss() {
    assert_eq!(chosen(&Selection::default(), V4), found("eth0", "192.168.5.126"));
    let public = PerFamily { v4: Some("192.168.10.12".parse().unwrap()), v6: None };
    let selection = Selection { public, ..Selection::default() };
    assert_eq!(chosen(&selection, V4), found("eth1", "192.168.10.12"));
    let mut facts = node();
    facts.routes.push(Route::new("::/0".parse().unwrap(), &name("eth1")));
    let split = Selection::default().choose(&facts, DUAL, None);
    assert!(matches!(split, Err(InterfaceError::Split { .. })), "{split:?}");
}

#[test]
fn the_way_to_an_address_names_link_and_source() {
    let to: IpAddr = "192.168.10.1".parse().unwrap();
    let mut facts = node();
    let way = polynic_net::Way { link: name("eth1"), gw: None, src: Some("192.168.10.12".parse().unwrap()) };
    facts.ways.insert(to, way);
    let selection = Selection { can_reach: Some(to), ..Selection::default() };
    assert_eq!(selection.choose(&facts, V4, None).unwrap().link, name("eth1"));
}

#[test]
fn a_public_address_replaces_the_announced_one_only() {
    let public = PerFamily { v4: Some("203.0.113.5".parse().unwrap()), v6: None };
    let selection = Selection { public, ..iface(&["eth1"]) };
    let external = selection.choose(&node(), V4, None).unwrap();
    assert_eq!(external.addresses.v4, Some("192.168.10.12".parse().unwrap()));
    assert_eq!(external.public.v4, Some("203.0.113.5".parse().unwrap()));
}

#[test]
fn what_was_chosen_stays_until_its_address_goes() {
    let selection = Selection::default();
    let before = selection.choose(&node(), V4, None).unwrap();
    let mut facts = node();
    facts.routes[0].link = Some(name("eth1"));
    facts.links[1].mtu = 9000;
    let after = selection.choose(&facts, V4, Some(&before)).unwrap();
    assert_eq!((after.link, after.mtu), (name("eth0"), 9000));
    facts.addresses[0] = address("eth0", "192.168.5.200/24");
    let moved = selection.choose(&facts, V4, Some(&before)).unwrap();
    assert_eq!(moved.link, name("eth1"));
    facts.addresses.retain(|a| a.link != name("eth1"));
    assert!(selection.choose(&facts, V4, Some(&before)).is_err());
}

#[test]
fn of_several_addresses_the_best_is_taken() {
    let mut facts = node();
    facts.addresses = vec![
        AddressFact { temporary: true, ..address("eth1", "fd10::1/64") },
        AddressFact { permanent: false, ..address("eth1", "fd10::2/64") },
        AddressFact { deprecated: true, ..address("eth1", "fd10::3/64") },
        address("eth1", "fe80::4/64"),
        address("eth1", "fd10::5/64"),
    ];
    assert_eq!(best_address(&facts, &name("eth1"), Family::V6), Some("fd10::5".parse().unwrap()));
}
