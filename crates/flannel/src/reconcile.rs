//! One look at the kernel, and what has to be done about it. Called again and again: state, not events.

use polynic_kernel::{Errno, Kernel, KernelError};
use polynic_net::{
    Entropy, Facts, Family, FwObject, FwTable, IfName, Mac, Needs, Place, WireguardFact, WireguardKey,
    WireguardSecret,
};

use crate::desired::{Desired, Wish};
use crate::diff::{self, Changes, ForeignDevice, Group, Memory};
use crate::family::BOTH;
use crate::iptables;
use crate::rules::{self, RuleOptions};
use crate::wireguard::{KeyPair, Told};
use crate::{
    Announcement, Backend, External, InterfaceError, Keys, Lease, NetConf, Own, PerFamily, Selection,
};

/// Looks within one pass: a device that was just made shows its settings only afterwards.
const LOOKS: usize = 3;

/// Every so many passes the rules are looked at, although they are as they were: on a node with kube-proxy that is the dearest look.
const RULES_EVERY: usize = 2;

/// What does not change while an instance runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The network configuration.
    pub conf: NetConf,
    /// Names of this instance.
    pub keys: Keys,
    /// The choice of the external interface.
    pub selection: Selection,
    /// Which rules.
    pub rules: RuleOptions,
    /// `--ip-blackhole-route`
    pub blackhole: bool,
    /// The private key of the backend wireguard.
    pub secret: Option<WireguardSecret>,
}

/// An instance of flannel on this node, with what it has found out.
#[derive(Debug)]
pub struct Instance {
    settings: Settings,
    external: Option<External>,
    vteps: PerFamily<Mac>,
    /// The public key, once a tunnel of WireGuard has shown it.
    public_key: Option<WireguardKey>,
    /// The endpoints that WireGuard's peers were given.
    told: Told,
    passes: usize,
    /// The rules that were put in place last.
    rules: Option<Vec<FwObject>>,
    /// What an upstream daemon left with iptables is gone.
    is_cleared: bool,
    /// Routes without a tunnel that were made.
    pub memory: Memory,
}

/// How a pass ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What peers have to know.
    pub announcement: Announcement,
    /// What pods' interfaces can carry, in bytes.
    pub mtu: u32,
    /// How many changes were made.
    pub made: usize,
    /// What went wrong, each with what it was about. Everything else was done.
    pub problems: Vec<String>,
    /// The tunnels are as they should be, so that peers can be told of them.
    pub has_devices: bool,
    /// The rules are as they should be.
    pub has_rules: bool,
}

/// Why nothing could be done at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// The kernel could not be looked at.
    #[error("the kernel's state cannot be read")]
    Look(#[source] KernelError),
    /// There is no external interface (now).
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A link of the tunnel's name is somebody else's.
    #[error(transparent)]
    Foreign(#[from] ForeignDevice),
    /// A tunnel of WireGuard needs a key.
    #[error("backend wireguard: there is no private key")]
    NoKey,
    /// host-gw sends to the peers themselves.
    #[error("backend host-gw: public {family} address must be that of the external interface {link}")]
    PublicElsewhere {
        /// The family.
        family: Family,
        /// The interface.
        link: String,
    },
}

impl Instance {
    /// An instance that has seen nothing yet. `memory` is what an earlier process of it made.
    pub fn new(settings: Settings, memory: Memory) -> Self {
        Self {
            settings,
            external: None,
            vteps: PerFamily::default(),
            public_key: None,
            told: Told::default(),
            passes: 0,
            rules: None,
            is_cleared: false,
            memory,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The external interface of the last pass.
    pub fn external(&self) -> Option<&External> {
        self.external.as_ref()
    }

    /// Makes the kernel as it should be, as far as it can be.
    ///
    /// # Errors
    /// [`PassError`] if nothing can be done at all; nothing is changed then.
    pub fn pass(
        &mut self,
        kernel: &mut dyn Kernel,
        own: &Own,
        leases: &[Lease],
        entropy: &mut Entropy,
    ) -> Result<Outcome, PassError> {
        let mut made = 0;
        self.passes += 1;
        self.memory.tunnels.extend(own.tunnels.iter().cloned());
        for look in 1.. {
            let (desired, changes) = self.compare(kernel, own, leases, entropy)?;
            let mut done = carry_out(kernel, &changes);
            made += done.made;
            self.rules = done.has_rules.then(|| desired.firewall.clone());
            if changes.is_empty() || look == LOOKS || !done.problems.is_empty() {
                done.made = made + self.clear_upstreams(kernel, &mut done.problems);
                self.remember(&desired, done.problems.is_empty());
                done.problems.extend(desired.problems.iter().cloned());
                return Ok(self.outcome(&desired, done));
            }
        }
        unreachable!("the last look ends the loop")
    }

    /// What could not be taken away now is still known the next time.
    fn remember(&mut self, desired: &Desired, is_all_done: bool) {
        let now = diff::memory(desired);
        if is_all_done {
            self.memory = now;
        } else {
            self.memory.extend(now);
        }
    }

    /// Once, after the own rules are in place. Instances with a prefix of their own may stand beside an upstream daemon, whose chains
    /// have one name whatever its prefix.
    fn clear_upstreams(&mut self, kernel: &mut dyn Kernel, problems: &mut Vec<String>) -> usize {
        if self.is_cleared || !problems.is_empty() || self.settings.keys.instance().is_some() {
            return 0;
        }
        match iptables::clear_upstreams(kernel, &self.settings.conf) {
            Ok(count) => {
                self.is_cleared = true;
                count
            }
            Err(why) => {
                problems.push(format!("rules of an upstream daemon: {why}"));
                0
            }
        }
    }

    /// Looks, and says what would change.
    ///
    /// # Errors
    /// As [`Instance::pass`].
    pub fn compare(
        &mut self,
        kernel: &mut dyn Kernel,
        own: &Own,
        leases: &[Lease],
        entropy: &mut Entropy,
    ) -> Result<(Desired, Changes), PassError> {
        let tables = self.tables_to_look_at(own);
        let facts = self.look(kernel, leases, &tables)?;
        let families: Vec<Family> = self.settings.conf.networks.families().collect();
        let mut selection = self.settings.selection.clone();
        for (family, ip) in own.node_public.iter() {
            selection.public.set(family, Some(*ip));
        }
        let external = selection.choose(&facts.host, &families, self.external.as_ref())?;
        self.check_public(&external)?;
        if matches!(self.settings.conf.backend, Backend::Wireguard(_)) && self.settings.secret.is_none() {
            return Err(PassError::NoKey);
        }
        self.choose_vteps(own, &facts, entropy);
        self.public_key = facts.host.wireguard.iter().find_map(|tunnel| self.public_key_of(tunnel));
        let wireguard = self.settings.secret.map(|secret| KeyPair { secret, public: self.public_key });
        let wish = Wish {
            conf: &self.settings.conf,
            keys: &self.settings.keys,
            own,
            leases,
            external: &external,
            vteps: &self.vteps,
            wireguard,
            told: &self.told,
            rules: self.settings.rules,
            blackhole: self.settings.blackhole,
        };
        let desired = wish.desired(&facts.host);
        let changes = diff::changes(&desired, &facts.host, &self.memory, &tables)?;
        self.told.learn(desired.wireguard.as_deref().unwrap_or_default(), &facts.host.wireguard);
        self.external = Some(external);
        Ok((desired, changes))
    }

    fn look(
        &self,
        kernel: &mut dyn Kernel,
        leases: &[Lease],
        tables: &[FwTable],
    ) -> Result<Facts, PassError> {
        let mut needs = Needs::default();
        self.settings.selection.needs(&mut needs.host);
        diff::needs(&self.settings.conf, tables, &mut needs.host);
        if self.settings.conf.backend.direct_routing() {
            needs.host.ways.extend(leases.iter().flat_map(|l| l.endpoints.iter()).map(|(_, e)| e.public));
        }
        kernel.observe(&needs).map_err(PassError::Look)
    }

    /// The MAC of a tunnel: the link's if it is there, else the one that the node announced, else one by chance.
    fn choose_vteps(&mut self, own: &Own, facts: &Facts, entropy: &mut Entropy) {
        let Backend::Vxlan(conf) = &self.settings.conf.backend else { return };
        for family in self.settings.conf.networks.families() {
            let name = crate::desired::device_name(conf.vni, family);
            let there = facts.host.links.iter().find(|l| l.name.as_str() == name && l.vxlan.is_some());
            let known = || self.vteps.get(family).or(own.vteps.get(family)).copied();
            let mac = there.and_then(|link| link.mac).or_else(known).unwrap_or_else(|| entropy.mac());
            self.vteps.set(family, Some(mac));
        }
    }

    /// What the kernel makes of the private key; of another one, that a link of before has, nothing is known.
    fn public_key_of(&self, tunnel: &WireguardFact) -> Option<WireguardKey> {
        tunnel.key.filter(|_| tunnel.own.secret.is_some() && tunnel.own.secret == self.settings.secret)
    }

    /// Removes what does not stay when the daemon ends: tunnels of WireGuard (spec/flannel.md 2). Answers their names.
    ///
    /// # Errors
    /// The kernel cannot be looked at, or refuses.
    pub fn leave(&self, kernel: &mut dyn Kernel) -> Result<Vec<IfName>, KernelError> {
        let Backend::Wireguard(_) = self.settings.conf.backend else { return Ok(Vec::new()) };
        let mut needs = Needs::default();
        diff::wireguard::names().for_each(|name| needs.host.link(&name));
        let tunnels = diff::wireguard::present(&kernel.observe(&needs)?.host);
        kernel.delete_links(Place::Host, &tunnels)?;
        Ok(tunnels)
    }

    fn check_public(&self, external: &External) -> Result<(), PassError> {
        let elsewhere = |family: &Family| external.public.get(*family) != external.addresses.get(*family);
        match self.settings.conf.networks.families().find(elsewhere) {
            Some(family) if self.settings.conf.backend == Backend::HostGw => {
                Err(PassError::PublicElsewhere { family, link: external.link.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The tables that are this instance's own; none if their rules are in place and it is not yet time to look again.
    fn tables_to_look_at(&self, own: &Own) -> Vec<FwTable> {
        let Settings { keys, conf, rules, .. } = &self.settings;
        let wanted = rules::wanted(keys, conf, &own.subnets, *rules);
        if self.rules.as_ref() == Some(&wanted) && !self.passes.is_multiple_of(RULES_EVERY) {
            return Vec::new();
        }
        // A family that is off now may have been on before.
        let is_on = |family: &Family| self.rules.is_none() || conf.networks.get(*family).is_some();
        BOTH.into_iter().filter(is_on).map(|family| rules::table(keys, family)).collect()
    }

    fn outcome(&self, desired: &Desired, done: Done) -> Outcome {
        let public = self.external.as_ref().map(|external| external.public).unwrap_or_default();
        let tunnels = matches!(self.settings.conf.backend, Backend::Vxlan(_));
        let vteps = if tunnels { self.vteps } else { PerFamily::default() };
        let Done { made, problems, has_devices, has_rules } = done;
        let wireguard = match (&self.settings.conf.backend, self.public_key) {
            (Backend::Wireguard(conf), Some(key)) => {
                let on: Vec<Family> = self.settings.conf.networks.families().collect();
                conf.ends(&on, key)
            }
            _ => PerFamily::default(),
        };
        let announcement = Announcement { public, vteps, wireguard };
        Outcome { announcement, mtu: desired.mtu, made, problems, has_devices, has_rules }
    }
}

/// How changes went.
#[derive(Default)]
struct Done {
    made: usize,
    problems: Vec<String>,
    has_devices: bool,
    has_rules: bool,
}

/// Carries changes out; what fails ends its group, and is told.
fn carry_out(kernel: &mut dyn Kernel, changes: &Changes) -> Done {
    let mut done = Done::default();
    carry_out_groups(kernel, &changes.devices, &mut done);
    done.has_devices = done.problems.is_empty();
    carry_out_groups(kernel, &changes.groups, &mut done);
    match kernel.apply_firewall(&changes.firewall) {
        Ok(()) => {
            done.made += changes.firewall.len();
            done.has_rules = true;
        }
        Err(why) => done.problems.push(format!("rules: {why}")),
    }
    done
}

fn carry_out_groups(kernel: &mut dyn Kernel, groups: &[Group], done: &mut Done) {
    for group in groups {
        for change in &group.changes {
            match kernel.apply(change) {
                Ok(()) => done.made += 1,
                Err(why) if is_done(change, &why) || is_beyond_us(change, &why) => {}
                Err(why) => {
                    done.problems.push(format!("{}: {why}", group.about));
                    break;
                }
            }
        }
    }
}

/// Whether somebody else has done it since we looked.
fn is_done(change: &polynic_net::Change, why: &KernelError) -> bool {
    use polynic_net::Object;
    let removal = match &change.object {
        Object::Route(d) => d.after.is_none(),
        Object::Neighbour(d) => d.after.is_none(),
        Object::Forwarding(d) => d.after.is_none(),
        Object::Address(d) => d.after.is_none(),
        Object::Link(d) => d.after.is_none(),
        _ => false,
    };
    removal && why.is_absent()
}

/// In a container without privileges, as flannel's manifest makes it, `/proc/sys` cannot be written. Routers' advertisements inside a tunnel,
/// which is what is refused there, come from nobody but nodes of this cluster.
fn is_beyond_us(change: &polynic_net::Change, why: &KernelError) -> bool {
    let refusals = [Errno::EROFS, Errno::EACCES, Errno::EPERM];
    matches!(change.object, polynic_net::Object::Sysctl(_))
        && why.errno().is_some_and(|errno| refusals.contains(&errno))
}

#[cfg(test)]
mod tests {
    use polynic_net::{Change, Sysctl, SysctlKey};

    use super::*;

    #[test]
    fn a_sysctl_that_cannot_be_written_stops_nothing_else_does() {
        let refused = |errno| KernelError::Refused { what: "x".into(), errno, detail: None };
        let name = IfName::loopback();
        let sysctl = Sysctl { key: SysctlKey::conf("ipv6", &name, "accept_ra"), value: "1".into() };
        let sysctl = Change::sysctl(Place::Host, sysctl, "0");
        assert!(is_beyond_us(&sysctl, &refused(Errno::EROFS)));
        assert!(!is_beyond_us(&sysctl, &refused(Errno::EINVAL)));
        assert!(!is_beyond_us(&Change::up(Place::Host, &name), &refused(Errno::EPERM)));
    }
}
