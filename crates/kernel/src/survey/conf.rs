//! Settings: of each link as the link's own message has them, of all links from `/proc/sys`.

use std::fs;

use polynic_net::stack::{Conf, ConfV4, ConfV6, OverBridges};

use crate::netlink::attrs::{self, Attrs};

/// Address families as attributes of a link (`IFLA_AF_SPEC`), and their lists of settings.
const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;

/// The settings in a link's `IFLA_AF_SPEC`.
pub(super) fn of_link(spec: Attrs<'_>) -> Conf {
    let v4 = spec.nested(AF_INET).get(IFLA_INET_CONF).unwrap_or_default();
    let v6 = spec.nested(AF_INET6).get(IFLA_INET6_CONF).unwrap_or_default();
    Conf { v4: of_v4(v4), v6: of_v6(v6) }
}

/// Positions of include/uapi/linux/ip.h, which count from one.
fn of_v4(list: &[u8]) -> ConfV4 {
    let number = |position: usize| list.get((position - 1) * 4..).and_then(attrs::u32).unwrap_or_default();
    let flag = |position| number(position) != 0;
    ConfV4 {
        forwarding: flag(1),
        proxy_arp: flag(3),
        send_redirects: flag(6),
        rp_filter: number(8) as u8,
        arp_ignore: number(19) as u8,
        accept_local: flag(23),
        src_valid_mark: flag(24),
        route_localnet: flag(26),
        ignore_linkdown: flag(29),
    }
}

/// Positions of include/uapi/linux/ipv6.h, which count from zero.
fn of_v6(list: &[u8]) -> ConfV6 {
    let flag = |position: usize| list.get(position * 4..).and_then(attrs::u32).is_some_and(|n| n != 0);
    ConfV6 {
        forwarding: flag(0),
        proxy_ndp: flag(22),
        disabled: flag(26),
        own_addresses_only: flag(37),
        ignore_linkdown: flag(39),
    }
}

/// The settings of all links, in the calling thread's namespace. What the kernel does not have counts as 0.
pub(super) fn of_all() -> Conf {
    let number = |family: &str, name: &str| -> u8 {
        let text = fs::read_to_string(format!("/proc/sys/net/{family}/conf/all/{name}"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    };
    let v4 = |name| number("ipv4", name);
    let v6 = |name| number("ipv6", name) != 0;
    Conf {
        v4: ConfV4 {
            forwarding: v4("forwarding") != 0,
            rp_filter: v4("rp_filter"),
            accept_local: v4("accept_local") != 0,
            src_valid_mark: v4("src_valid_mark") != 0,
            route_localnet: v4("route_localnet") != 0,
            send_redirects: v4("send_redirects") != 0,
            proxy_arp: v4("proxy_arp") != 0,
            ignore_linkdown: v4("ignore_routes_with_linkdown") != 0,
            arp_ignore: v4("arp_ignore"),
        },
        v6: ConfV6 {
            forwarding: v6("forwarding"),
            disabled: v6("disable_ipv6"),
            proxy_ndp: v6("proxy_ndp"),
            own_addresses_only: v6("use_oif_addrs_only"),
            ignore_linkdown: v6("ignore_routes_with_linkdown"),
        },
    }
}

/// What bridges hand on, in the calling thread's namespace. Without the module br_netfilter that is nothing.
pub(super) fn over_bridges() -> OverBridges {
    let is_on = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"));
        text.is_ok_and(|text| text.trim() != "0")
    };
    OverBridges { v4: is_on("iptables"), v6: is_on("ip6tables") }
}

/// Tables in which the old iptables keeps rules of its own: they are not in nf_tables, and cannot be read by netlink.
pub(super) fn legacy_tables() -> Vec<String> {
    let files = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];
    let names = files.map(|file| fs::read_to_string(file).unwrap_or_default());
    let mut tables: Vec<String> = names.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    tables.dedup();
    tables
}
