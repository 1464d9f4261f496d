//! Settings of links that the routing plugins write, in the pod and on the node.
//!
//! They are shared by all attachments of a pod, or of the node, and stay when one of them goes. What this interface has and what new links
//! get is kept (CHECK looks for it); what other links have is only set.

use polynic_net::{Change, IfName, NsFacts, Place, Sysctl, SysctlKey};

use super::draft::Draft;

/// What is called a link in settings but is none.
const GENERAL: [&str; 2] = ["default", "all"];

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

    /// The keys of a namespace's links, `default` and `all`.
    pub(super) fn keys(self, ns: &NsFacts) -> Vec<SysctlKey> {
        ns.links.iter().map(|l| self.key(&l.name)).chain(self.general()).collect()
    }

    /// The keys that were observed, in the order in which they are written: links first, because writing `default` also changes those that
    /// nobody has set (net/ipv4/devinet.c, `devinet_copy_dflt_conf`).
    pub(super) fn known(self, ns: &NsFacts) -> Vec<SysctlKey> {
        let general: Vec<SysctlKey> = self.general().collect();
        let of_link = |key: &&SysctlKey| key.is_setting(self.family, self.setting) && !general.contains(key);
        let links: Vec<SysctlKey> = ns.sysctls.keys().filter(of_link).cloned().collect();
        links.into_iter().chain(general).collect()
    }

    fn general(self) -> impl Iterator<Item = SysctlKey> {
        GENERAL.into_iter().filter_map(move |name| self.of(name))
    }
}

impl Draft {
    /// Gives a setting a value, if there is such a setting with another. What other links have is theirs: they come and go.
    pub(super) fn set(&mut self, place: Place, ns: &NsFacts, key: &SysctlKey, value: &str) {
        let Some(old) = ns.sysctl(key).filter(|old| *old != value) else { return };
        let change = Change::sysctl(place, Sysctl { key: key.clone(), value: old.to_owned() }, value);
        let of_nic = place == Place::Pod && key.belongs_to(&self.nic);
        if of_nic || GENERAL.iter().any(|name| IfName::new(*name).is_ok_and(|name| key.belongs_to(&name))) {
            self.plan.ensure(change);
        } else {
            self.plan.once(change);
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
