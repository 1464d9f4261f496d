//! `firewall`: lets a pod's packets through a node that lets nothing through, and keeps bridges apart (spec/plugins.md 3.4).
//!
//! An accept counts in its own table only, so the rules of the iptables backend are in iptables' own chain FORWARD, in words that
//! iptables can read back; they have comments, by which they are known again. A drop counts everywhere: what keeps bridges apart
//! is in a table of our own.

mod isolation;
mod rules;

use polynic_cni::{Error, Success, Version};
use polynic_net::{
    Change, Diff, Entropy, Facts, Family, FwExpr, FwFamily, FwObject, FwTable, Needs, Object, Place, Plan,
};
use serde::Deserialize;

use self::isolation::Policy;
use super::since;
use crate::{Call, ChainedAttachment, ChainedPlugin, Context, Leftovers, Planned, comment};

/// The plugin.
pub struct Firewall;

/// The backend that does not care whether firewalld runs.
const IPTABLES: &str = "iptables";
/// What to do instead of letting us talk to firewalld.
const HELP: &str = "trust the pods' networks there (firewall-cmd --zone=trusted --add-source=...) and set \"backend\" to \"iptables\"";

/// The table that firewalld has while it runs. Its drops count whatever other tables accept.
fn firewalld() -> FwTable {
    FwTable::new(FwFamily::Inet, "firewalld")
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    backend: String,
    #[serde(rename = "iptablesAdminChainName")]
    admin_chain: String,
    ingress_policy: String,
}

struct Guarded {
    backend: String,
    admin_chain: String,
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
        let chain = Some(config.admin_chain).filter(|name| !name.is_empty());
        let admin_chain = chain.unwrap_or_else(|| "CNI-ADMIN".to_owned());
        Ok(Box::new(Guarded { backend: config.backend, admin_chain, policy }))
    }

    fn leftovers_unread(&self, _call: &Call<'_>) -> Leftovers {
        Leftovers::default()
    }
}

impl Guarded {
    fn families(prev: &Success) -> Vec<Family> {
        let has = |family: &Family| prev.ips.iter().any(|ip| Family::of(ip.address.addr()) == *family);
        [Family::V4, Family::V6].into_iter().filter(has).collect()
    }

    fn shared(&self, prev: &Success) -> Vec<FwObject> {
        let families = Self::families(prev).into_iter();
        let mut objects: Vec<FwObject> =
            families.flat_map(|family| rules::shared(family, &self.admin_chain)).collect();
        objects.extend(prev.interfaces.first().into_iter().flat_map(|b| self.policy.objects(&b.name)));
        objects
    }
}

impl ChainedAttachment for Guarded {
    fn without_prev_result(&self) -> &'static str {
        "missing prevResult from earlier plugin"
    }

    fn consult(&mut self, call: &Call<'_>, _context: &Context<'_>) -> Result<(), Error> {
        match self.backend.as_str() {
            "firewalld" => Err(call.error(format!("backend \"firewalld\" is not supported: {HELP}"))),
            _ => Ok(()),
        }
    }

    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, _call: &Call<'_>, prev: &Success) -> Needs {
        let mut needs = Needs::default();
        needs.host.firewall.extend(Self::families(prev).into_iter().map(rules::table));
        if self.backend != IPTABLES {
            needs.host.firewall.push(firewalld());
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
        if self.backend != IPTABLES && facts.host.firewall.contains(&FwObject::Table(firewalld())) {
            return Err(
                call.error(format!("firewalld runs on this node and would drop the pod's packets: {HELP}"))
            );
        }
        if self.policy != Policy::Open && prev.interfaces.is_empty() {
            return Err(call.error(format!(
                "interface needs to be set for ingress policy {:?}, make sure to chain \"firewall\" plugin with \"bridge\"",
                self.policy.as_str()
            )));
        }
        let mut plan = Plan::default();
        for object in self.shared(prev) {
            if !facts.host.firewall.iter().any(|seen| seen.same_identity(&object)) {
                plan.ensure(Change::add_firewall(Place::Host, object));
            }
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

    fn leftover_needs(&self, _call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.host.firewall.extend([Family::V4, Family::V6].map(rules::table));
        needs
    }

    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let prefix = comment::prefix(call);
        let ours = |o: &&FwObject| matches!(o, FwObject::Rule(r) if r.chain == rules::CHAIN && r.comment.starts_with(&prefix));
        let delete =
            |o: &FwObject| Change { place: Place::Host, object: Object::Firewall(Diff::delete(o.clone())) };
        let changes = facts.host.firewall.iter().filter(ours).map(delete).collect();
        Leftovers { changes, ..Leftovers::default() }
    }

    fn check_needs(&self, call: &Call<'_>, prev: &Success) -> Needs {
        self.needs(call, prev)
    }

    /// Unlike the replaced plugin, it makes nothing that is missing.
    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        let missing = self
            .shared(prev)
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
