//! Settings of links that the routing plugins write, in the pod and on the node.
//!
//! They are shared by all attachments of a pod, or of the node, and stay when one of them goes.

use polynic_net::{Change, IfName, NsFacts, Place, Sysctl, SysctlKey};

use super::draft::Draft;

/// A setting of every link, as in `net.ipv4.conf.*.rp_filter`.
#[derive(Clone, Copy)]
pub(super) struct PerLink {
    pub(super) family: &'static str,
    pub(super) setting: &'static str,
}

pub(super) const RP_FILTER: PerLink = PerLink { family: "ipv4", setting: "rp_filter" };
pub(super) const DISABLE_IPV6: PerLink = PerLink { family: "ipv6", setting: "disable_ipv6" };

impl PerLink {
    pub(super) fn key(self, link: &IfName) -> SysctlKey {
        SysctlKey::conf(self.family, link, self.setting)
    }

    /// Of what is called a link but is none: `all`, and `default`, which new links start with.
    pub(super) fn of(self, name: &str) -> Option<SysctlKey> {
        IfName::new(name).ok().map(|name| self.key(&name))
    }

    /// The keys of a namespace's links, `default` and `all`, in the order in which they are written: links first, because
    /// writing `default` also changes those that nobody has set (net/ipv4/devinet.c, `devinet_copy_dflt_conf`).
    pub(super) fn keys(self, ns: &NsFacts) -> Vec<SysctlKey> {
        let links = ns.links.iter().map(|l| self.key(&l.name));
        links.chain(["default", "all"].into_iter().filter_map(|n| self.of(n))).collect()
    }
}

impl Draft {
    /// Gives a setting a value, if there is such a setting with another.
    pub(super) fn set(&mut self, place: Place, ns: &NsFacts, key: &SysctlKey, value: &str) {
        match ns.sysctl(key) {
            Some(old) if old != value => {
                let before = Sysctl { key: key.clone(), value: old.to_owned() };
                self.plan.ensure(Change::sysctl(place, before, value));
            }
            _ => {}
        }
    }

    /// Gives the setting of a link that the plan makes a value. It starts with that of `default`.
    pub(super) fn set_new(&mut self, place: Place, ns: &NsFacts, of: (PerLink, &IfName), value: &str) {
        let (setting, link) = of;
        let default = setting.of("default").and_then(|key| ns.sysctl(&key));
        match default {
            Some(old) if old != value => {
                let before = Sysctl { key: setting.key(link), value: old.to_owned() };
                self.plan.own(Change::sysctl(place, before, value));
            }
            _ => {}
        }
    }

    /// Switches IPv6 on for every link of the pod and for new ones. `all` is left as it is: it has no effect of its own, and to
    /// put it back would switch IPv6 off on links that had it.
    pub(super) fn enable_ipv6(&mut self, pod: &NsFacts) {
        let all = DISABLE_IPV6.of("all");
        for key in DISABLE_IPV6.keys(pod).iter().filter(|key| Some(*key) != all.as_ref()) {
            self.set(Place::Pod, pod, key, "0");
        }
    }
}
