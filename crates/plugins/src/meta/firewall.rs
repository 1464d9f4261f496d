//! `firewall`: lets a pod's packets through a node that lets nothing through, and keeps bridges apart (spec/plugins.md 3.4).
//!
//! An accept counts in its own table only, so the rules of the iptables backend are in iptables' own chain FORWARD, in words that
//! iptables can read back; they have comments, by which they are known again. Where firewalld runs, it drops what it does not know,
//! so it is told to trust the pods' addresses instead. A drop counts everywhere: what keeps bridges apart is in a table of our own.

mod isolation;
mod rules;

use polynic_cni::{Error, Ip, Success, Version};
use polynic_net::{
    Change, Diff, Entropy, Facts, Family, FwExpr, FwFamily, FwObject, FwTable, Needs, Object, Place, Plan,
    ZoneSource,
};
use serde::Deserialize;

use self::isolation::Policy;
use super::since;
use crate::{Call, ChainedAttachment, ChainedPlugin, Leftovers, Planned, comment};

/// The plugin.
pub struct Firewall;

/// What to do where firewalld cannot be talked to.
const HELP: &str = "give us its bus (/run/dbus), or trust the pods' networks there (firewall-cmd --zone=trusted --add-source=...) and set \"backend\" to \"iptables\"";

/// The table that firewalld has while it runs. Its drops count whatever other tables accept.
fn firewalld_table() -> FwTable {
    FwTable::new(FwFamily::Inet, "firewalld")
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    backend: String,
    #[serde(rename = "iptablesAdminChainName")]
    admin_chain: String,
    firewalld_zone: String,
    ingress_policy: String,
}

/// Who lets the pods' packets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    /// Our rules, whether firewalld runs or not.
    Iptables,
    /// firewalld, which must run.
    Firewalld,
    /// firewalld if it runs, else our rules.
    Found,
}

impl Backend {
    fn read(text: &str) -> Self {
        match text {
            "iptables" => Self::Iptables,
            "firewalld" => Self::Firewalld,
            _ => Self::Found,
        }
    }
}

struct Guarded {
    backend: Backend,
    admin_chain: String,
    zone: String,
    policy: Policy,
}

impl ChainedPlugin for Firewall {
    fn plugin_type(&self) -> &'static str {
        "firewall"
    }

    /// The replaced plugin begins with 0.4.0; the chains of older networks may have it as well.
    fn versions(&self) -> &'static [Version] {
        since(Version::V0_3_0)
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let config: Config = call.conf.read()?;
        let policy = Policy::read(&config.ingress_policy).map_err(|why| call.error(why))?;
        let or = |name: String, default: &str| if name.is_empty() { default.to_owned() } else { name };
        Ok(Box::new(Guarded {
            backend: Backend::read(&config.backend),
            admin_chain: or(config.admin_chain, "CNI-ADMIN"),
            zone: or(config.firewalld_zone, "trusted"),
            policy,
        }))
    }
}

impl Guarded {
    fn families(prev: &Success) -> Vec<Family> {
        let has = |family: &Family| prev.ips.iter().any(|ip| Family::of(ip.address.addr()) == *family);
        [Family::V4, Family::V6].into_iter().filter(has).collect()
    }

    /// What firewalld is told of.
    fn sources(&self, prev: &Success) -> Vec<ZoneSource> {
        let source = |ip: &Ip| ZoneSource { zone: self.zone.clone(), source: ip.address.addr().into() };
        prev.ips.iter().map(source).collect()
    }

    /// Whether firewalld lets the packets through; an error if it has to and we cannot talk to it.
    fn asks_firewalld(&self, call: &Call<'_>, facts: &Facts) -> Result<bool, Error> {
        let runs = facts.host.zone_sources.is_some();
        match self.backend {
            Backend::Iptables => Ok(false),
            Backend::Firewalld | Backend::Found if runs => Ok(true),
            Backend::Firewalld => {
                let why = "backend \"firewalld\" is asked for, but nobody has its name on the system's bus";
                Err(call.error(format!("{why}: start firewalld, or {HELP}")))
            }
            Backend::Found if facts.host.firewall.contains(&FwObject::Table(firewalld_table())) => {
                let why = "firewalld runs on this node and would drop the pod's packets, but is not to be found on the system's bus";
                Err(call.error(format!("{why}: {HELP}")))
            }
            Backend::Found => Ok(false),
        }
    }

    /// What the old iptables drops no rule of ours can accept.
    fn refuse_legacy_drop(call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        let drops = |family: &Family| facts.host.legacy_forward_drops.contains(family);
        let Some(family) = Self::families(prev).into_iter().find(drops) else { return Ok(()) };
        let program = match family {
            Family::V4 => "iptables-legacy",
            Family::V6 => "ip6tables-legacy",
        };
        Err(call.error(format!(
            "{program} drops what passes through this node, and rules of nf_tables cannot accept for it: \
             run `{program} -P FORWARD ACCEPT`, or move its rules to nf_tables (iptables-nft)"
        )))
    }

    fn shared(&self, prev: &Success, firewalld: bool) -> Vec<FwObject> {
        let families = if firewalld { Vec::new() } else { Self::families(prev) };
        let mut objects: Vec<FwObject> =
            families.into_iter().flat_map(|family| rules::shared(family, &self.admin_chain)).collect();
        objects.extend(prev.interfaces.first().into_iter().flat_map(|b| self.policy.objects(&b.name)));
        objects
    }
}

impl ChainedAttachment for Guarded {
    fn without_prev_result(&self) -> &'static str {
        "missing prevResult from earlier plugin"
    }

    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, _call: &Call<'_>, prev: &Success) -> Needs {
        let mut needs = Needs::default();
        needs.host.firewall.extend(Self::families(prev).into_iter().map(rules::table));
        needs.host.legacy_forward = true;
        if self.backend != Backend::Iptables {
            needs.host.firewall.push(firewalld_table());
            needs.host.zone_sources = Some(self.sources(prev));
        }
        if self.policy != Policy::Open {
            needs.host.firewall.push(isolation::table());
        }
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let firewalld = self.asks_firewalld(call, facts)?;
        if !firewalld {
            Self::refuse_legacy_drop(call, prev, facts)?;
        }
        if self.policy != Policy::Open && prev.interfaces.is_empty() {
            return Err(call.error(format!(
                "interface needs to be set for ingress policy {:?}, make sure to chain \"firewall\" plugin with \"bridge\"",
                self.policy.as_str()
            )));
        }
        let mut plan = Plan::default();
        for object in self.shared(prev, firewalld) {
            plan.ensure(Change::add_firewall(Place::Host, object));
        }
        if firewalld {
            self.sources(prev).into_iter().for_each(|source| plan.own(Change::add_zone_source(source)));
            return Ok(Planned { plan, result: prev.clone() });
        }
        for rule in prev.ips.iter().flat_map(|ip| rules::own(call, ip.address.addr())) {
            plan.own(Change::add_firewall(Place::Host, FwObject::Rule(rule)));
        }
        Ok(Planned { plan, result: prev.clone() })
    }

    /// The kernel says no more than "no such file" of a match that it has not.
    fn refused(&self, _call: &Call<'_>, change: &Change, cause: &str) -> Option<Error> {
        let Object::Firewall(Diff { after: Some(FwObject::Rule(rule)), .. }) = &change.object else {
            return None;
        };
        let is_own = rule.chain == rules::CHAIN && rule.exprs.contains(&FwExpr::XtEstablished);
        is_own.then(|| {
            Error::internal(format!(
                "{cause}; the rules for iptables need the kernel modules nft_compat and xt_conntrack"
            ))
        })
    }

    fn leftover_needs(&self, call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.host.firewall.extend([Family::V4, Family::V6].map(rules::table));
        let prev = call.conf.prev_result().ok().flatten();
        if let Some(prev) = prev.filter(|_| self.backend != Backend::Iptables) {
            needs.host.zone_sources = Some(self.sources(&prev));
        }
        needs
    }

    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let prefix = comment::prefix(call);
        let ours = |o: &&FwObject| matches!(o, FwObject::Rule(r) if r.chain == rules::CHAIN && r.comment.starts_with(&prefix));
        let delete =
            |o: &FwObject| Change { place: Place::Host, object: Object::Firewall(Diff::delete(o.clone())) };
        let rules = facts.host.firewall.iter().filter(ours).map(delete);
        let sources = facts.host.zone_sources.iter().flatten().cloned();
        let forget = |source| Change { place: Place::Host, object: Object::ZoneSource(Diff::delete(source)) };
        Leftovers { changes: rules.chain(sources.map(forget)).collect(), ..Leftovers::default() }
    }

    fn check_needs(&self, call: &Call<'_>, prev: &Success) -> Needs {
        self.needs(call, prev)
    }

    /// Unlike the replaced plugin, it makes nothing that is missing.
    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        let firewalld = self.asks_firewalld(call, facts)?;
        let missing = self
            .shared(prev, firewalld)
            .into_iter()
            .find(|o| !facts.host.firewall.iter().any(|seen| seen.same_identity(o)));
        match missing {
            Some(FwObject::Rule(rule)) => {
                Err(call.error(format!("expected {} rule {:?} not found", rule.chain, rule.comment)))
            }
            Some(FwObject::Chain(chain)) => {
                Err(call.error(format!("expected chain {} not found", chain.name)))
            }
            Some(FwObject::Table(table)) => {
                Err(call.error(format!("expected table {} not found", table.name)))
            }
            None => Ok(()),
        }
    }
}
