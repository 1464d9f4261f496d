//! Kernel settings: the defaults of a new namespace and of a new link, and what setting some of them sets off.

use std::collections::BTreeMap;

use polynic_net::{Diff, IfName, Sysctl, SysctlKey};

use super::space::Space;
use super::world::Refusal;
use crate::Errno;

/// Settings of a namespace and their defaults.
const GLOBAL: &[(&str, &str)] = &[
    ("net/core/somaxconn", "4096"),
    ("net/ipv4/fib_multipath_hash_policy", "0"),
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/ip_local_port_range", "32768\t60999"),
    ("net/ipv4/ip_nonlocal_bind", "0"),
    ("net/ipv4/ip_unprivileged_port_start", "1024"),
    ("net/ipv6/bindv6only", "0"),
    ("net/ipv6/ip_nonlocal_bind", "0"),
];

/// `net/ipv4/conf/*` (net/ipv4/devinet.c).
const IPV4: &[(&str, &str)] = &[
    ("accept_local", "0"),
    ("accept_redirects", "1"),
    ("accept_source_route", "1"),
    ("arp_accept", "0"),
    ("arp_announce", "0"),
    ("arp_filter", "0"),
    ("arp_ignore", "0"),
    ("arp_notify", "0"),
    ("disable_policy", "0"),
    ("disable_xfrm", "0"),
    ("forwarding", "0"),
    ("ignore_routes_with_linkdown", "0"),
    ("log_martians", "0"),
    ("promote_secondaries", "0"),
    ("proxy_arp", "0"),
    ("proxy_arp_pvlan", "0"),
    ("route_localnet", "0"),
    ("rp_filter", "0"),
    ("secure_redirects", "1"),
    ("send_redirects", "1"),
    ("shared_media", "1"),
    ("src_valid_mark", "0"),
];

/// `net/ipv6/conf/*` (net/ipv6/addrconf.c).
const IPV6: &[(&str, &str)] = &[
    ("accept_dad", "1"),
    ("accept_ra", "1"),
    ("accept_ra_defrtr", "1"),
    ("accept_ra_pinfo", "1"),
    ("accept_redirects", "1"),
    ("accept_source_route", "0"),
    ("addr_gen_mode", "0"),
    ("autoconf", "1"),
    ("dad_transmits", "1"),
    ("disable_ipv6", "0"),
    ("enhanced_dad", "1"),
    ("forwarding", "0"),
    ("hop_limit", "64"),
    ("keep_addr_on_down", "0"),
    ("ndisc_notify", "0"),
    ("proxy_ndp", "0"),
    ("router_solicitations", "-1"),
    ("use_tempaddr", "0"),
];

/// `net/{ipv4,ipv6}/neigh/*` (net/ipv4/arp.c, net/ipv6/ndisc.c).
const NEIGH: &[(&str, &str)] = &[
    ("app_solicit", "0"),
    ("base_reachable_time_ms", "30000"),
    ("delay_first_probe_time", "5"),
    ("gc_stale_time", "60"),
    ("locktime", "100"),
    ("mcast_solicit", "3"),
    ("proxy_delay", "80"),
    ("proxy_qlen", "64"),
    ("retrans_time_ms", "1000"),
    ("ucast_solicit", "3"),
    ("unres_qlen", "101"),
];

/// Settings whose default differs from that of other links.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/lo/disable_policy", "1"),
    ("net/ipv4/conf/lo/disable_xfrm", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/lo/accept_dad", "-1"),
    ("net/ipv6/conf/lo/use_tempaddr", "-1"),
];

/// Families of settings per link: directory, and the settings in it.
const PER_LINK: &[(&str, &[(&str, &str)])] =
    &[("net/ipv4/conf", IPV4), ("net/ipv6/conf", IPV6), ("net/ipv4/neigh", NEIGH), ("net/ipv6/neigh", NEIGH)];

/// Settings of which writing `all` writes every link's and `default`.
const SPREADING: &[(&str, &str)] =
    &[("ipv4", "forwarding"), ("ipv6", "forwarding"), ("ipv6", "disable_ipv6")];

/// The settings of a namespace without links.
pub(super) fn of_new_space() -> BTreeMap<SysctlKey, String> {
    let global = GLOBAL.iter().map(|(path, _)| (*path).to_owned());
    let shared = PER_LINK.iter().flat_map(|(directory, settings)| {
        // Neighbour tables have no `all`.
        let names: &[&str] = if directory.ends_with("conf") { &["all", "default"] } else { &["default"] };
        names
            .iter()
            .flat_map(move |name| settings.iter().map(move |(s, _)| format!("{directory}/{name}/{s}")))
    });
    let keys = global.chain(shared).filter_map(|path| SysctlKey::new(path).ok());
    keys.filter_map(|key| Some((key.clone(), default_of(&key)?.to_owned()))).collect()
}

/// The value that a setting has by default, for telling apart what somebody has set; none for unknown settings.
pub(super) fn default_of(key: &SysctlKey) -> Option<&'static str> {
    if let Some((_, value)) = GLOBAL.iter().chain(EXCEPTIONS).find(|(path, _)| *path == key.as_str()) {
        return Some(value);
    }
    let (directory, setting) = PER_LINK.iter().find_map(|(directory, settings)| {
        let rest = key.as_str().strip_prefix(directory)?.strip_prefix('/')?;
        Some((settings, rest.rsplit_once('/')?.1))
    })?;
    directory.iter().find(|(name, _)| *name == setting).map(|(_, value)| *value)
}

impl Space {
    /// Gives a new link its settings: those that `default` has at this moment.
    pub(super) fn add_link_sysctls(&mut self, link: &IfName) {
        for (directory, settings) in PER_LINK {
            for (setting, _) in *settings {
                let key = |name: &str| SysctlKey::new(format!("{directory}/{name}/{setting}")).ok();
                let inherited = key("default").and_then(|k| self.sysctls.get(&k).cloned());
                let Some((key, inherited)) = key(link.as_str()).zip(inherited) else { continue };
                let exception = EXCEPTIONS.iter().find(|(path, _)| *path == key.as_str());
                let value = exception.map_or(inherited, |(_, value)| (*value).to_owned());
                self.sysctls.insert(key, value);
            }
        }
    }

    /// The value of a setting of one link.
    pub(super) fn conf(&self, family: &str, link: &IfName, setting: &str) -> Option<&str> {
        self.sysctls.get(&SysctlKey::conf(family, link, setting)).map(String::as_str)
    }

    pub(super) fn ipv6_enabled(&self, link: &IfName) -> bool {
        self.conf("ipv6", link, "disable_ipv6") == Some("0")
    }

    pub(super) fn change_sysctl(&mut self, diff: &Diff<Sysctl>) -> Result<(), Refusal> {
        let Diff { before: Some(before), after: Some(after) } = diff else {
            return Err(Refusal::because(Errno::EINVAL, "a setting is neither made nor deleted"));
        };
        let present = self.sysctls.get(&after.key).ok_or(Errno::ENOENT)?;
        if *present != before.value {
            return Err(Refusal::Stale(present.clone()));
        }
        self.set_sysctl(&after.key, &after.value);
        Ok(())
    }

    /// Writes a setting that exists, with all that follows from it.
    pub(super) fn set_sysctl(&mut self, key: &SysctlKey, value: &str) {
        let all = match key.as_str() {
            "net/ipv4/ip_forward" => {
                SysctlKey::new("net/ipv4/conf/all/forwarding").unwrap_or_else(|_| key.clone())
            }
            _ => key.clone(),
        };
        self.store(key, value);
        for (family, setting) in SPREADING {
            if all.as_str() == format!("net/{family}/conf/all/{setting}") {
                self.spread(family, setting, value);
            }
        }
        let disabled = key.as_str().ends_with("/disable_ipv6") && value != "0";
        if disabled {
            self.drop_disabled_ipv6();
        }
    }

    fn store(&mut self, key: &SysctlKey, value: &str) {
        if let Some(slot) = self.sysctls.get_mut(key) {
            value.clone_into(slot);
        }
    }

    fn spread(&mut self, family: &str, setting: &str, value: &str) {
        let prefix = format!("net/{family}/conf/");
        let suffix = format!("/{setting}");
        for (key, slot) in &mut self.sysctls {
            let forward = family == "ipv4" && key.as_str() == "net/ipv4/ip_forward";
            if forward || (key.as_str().starts_with(&prefix) && key.as_str().ends_with(&suffix)) {
                value.clone_into(slot);
            }
        }
    }

    fn drop_disabled_ipv6(&mut self) {
        let disabled: Vec<IfName> = self.links.keys().filter(|l| !self.ipv6_enabled(l)).cloned().collect();
        for link in disabled {
            self.drop_ipv6(&link);
            if let Some(link) = self.links.get_mut(&link) {
                link.numbered = false;
            }
        }
    }
}
