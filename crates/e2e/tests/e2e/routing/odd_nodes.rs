//! Nodes as they are found: others' rules and tables, several addresses on a link, several ways out, settings of each link by itself.

use super::site::{ETH0_A, NET1_A, NET1_B, NET2_B, Site, set};
use super::{Case, Trial, case, coordinator, router, veth};

fn cases() -> Vec<Case> {
    vec![
        case(router(), &[NET1_A], "net1"),
        Case { detour: Some("net1"), ..case(router(), &[NET1_A, NET2_B], "net2") },
        case(veth(), &[ETH0_A, NET1_B], "eth0"),
        case(coordinator(""), &[NET1_A, NET2_B], "eth0"),
        case(coordinator("net1"), &[NET1_A], "net1"),
        case(coordinator(""), &[ETH0_A, NET1_B], "eth0"),
    ]
}

fn holds_with(label: &str, odd: impl Fn(&Site)) {
    for case in cases() {
        let Some(site) = Site::new(0) else { return };
        odd(&site);
        let label =
            format!("{label}, {} {:?}", case.plugin, case.nics.iter().map(|n| n.name).collect::<Vec<_>>());
        Trial::new(&site, case).run(&label);
    }
}

/// As Cilium, AWS' network plugin and VPNs leave it: the local table not first, marks, hundreds of rules, one that suppresses, and the table of
/// pods' addresses used by somebody else as well.
#[test]
fn with_rules_and_tables_of_others() {
    holds_with("rules", |site| {
        let mut lines = String::new();
        for family in ["-4", "-6"] {
            let net = if family == "-4" { "10.99.0.0/24" } else { "fd00:99::/64" };
            lines += &format!(
                "{family} rule add pref 100 lookup local
                 {family} rule del pref 0 lookup local
                 {family} rule add pref 9 fwmark 0x200/0xf00 lookup 2004
                 {family} rule add pref 10 fwmark 0xa00/0xf00 lookup 2005
                 {family} rule add pref 32000 lookup main suppress_prefixlength 0
                 {family} rule add pref 999 not from {net} fwmark 0xca6c lookup 51820
                 {family} route add {net} dev eth0 table 500
                 {family} route add {net} dev eth0 table 100
                 {family} route add {net} dev eth0 table 101\n"
            );
        }
        for n in 0..200 {
            lines += &format!("-4 rule add pref {} from 10.98.{n}.0/24 lookup {}\n", 300 + n, 3000 + n);
        }
        site.node.ip(&lines);
    });
}

#[test]
fn with_several_addresses_and_several_ways_out() {
    holds_with("ways", |site| {
        site.node.ip(
            "address add 192.168.1.11/24 dev eth0
             address add 192.168.7.1/24 dev eth0
             address add 169.254.7.7/16 dev eth0
             address add fd00:1::11/64 dev eth0 nodad
             -4 route replace default metric 10 nexthop via 192.168.1.1 dev eth0 weight 2 nexthop via 10.66.0.1 dev eth1
             -4 route add default via 10.66.0.1 dev eth1 metric 200
             -6 route add default via fd00:66::1 dev eth1 metric 2048
             -4 route add 203.0.113.0/24 nexthop via 192.168.1.1 dev eth0 nexthop via 10.66.0.1 dev eth1",
        );
    });
}

#[test]
fn with_settings_of_each_link_by_itself() {
    holds_with("settings", |site| {
        for (link, value) in [("default", "1"), ("eth0", "1"), ("eth1", "2"), ("lo", "1")] {
            set(site.node.netns(), &[&format!("net/ipv4/conf/{link}/rp_filter")], value);
        }
        for (link, value) in [("default", "1"), ("all", "1"), ("eth0", "1")] {
            set(site.node.netns(), &[&format!("net/ipv4/conf/{link}/arp_ignore")], value);
        }
    });
}

/// The node's administrator has switched IPv6 off for new links. The pods' cables are new links.
#[test]
fn with_ipv6_switched_off_for_new_links() {
    holds_with("IPv6", |site| {
        set(site.node.netns(), &["net/ipv6/conf/default/disable_ipv6"], "1");
    });
}
