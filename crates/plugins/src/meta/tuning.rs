//! `tuning`: settings and attributes of an interface that others made (spec/plugins.md 3.1). What it changes goes back to what
//! it was at DEL, as long as the interface is there.

mod allowlist;
mod backup;
mod config;

use polynic_cni::{Error, Success};
use polynic_net::{Attr, Change, Entropy, Facts, LinkFact, Needs, Place, Plan, Sysctl};

use self::config::Wanted;
use crate::{Call, ChainedAttachment, ChainedPlugin, Context, Ledger, Leftovers, Planned};

/// The plugin.
pub struct Tuning;

struct Tuned {
    wanted: Wanted,
}

impl ChainedPlugin for Tuning {
    fn plugin_type(&self) -> &'static str {
        "tuning"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        Ok(Box::new(Tuned { wanted: Wanted::read(call)? }))
    }
}

impl Tuned {
    /// Old and new value of each attribute, in the order in which the replaced plugin sets them.
    fn attributes(&self, link: &LinkFact) -> Vec<(Attr, Attr)> {
        let wanted = &self.wanted;
        let mac = wanted.mac.zip(link.mac).map(|(new, old)| (Attr::Mac(old), Attr::Mac(new)));
        let promisc = wanted.promisc.then_some((Attr::Promisc(link.promisc), Attr::Promisc(true)));
        let mtu = wanted.mtu.map(|mtu| (Attr::Mtu(link.mtu), Attr::Mtu(mtu)));
        let multicast = wanted.all_multi.map(|on| (Attr::AllMulti(link.all_multicast), Attr::AllMulti(on)));
        let length =
            wanted.tx_queue_len.map(|len| (Attr::TxQueueLen(link.tx_queue_len), Attr::TxQueueLen(len)));
        [mac, promisc, mtu, multicast, length].into_iter().flatten().collect()
    }

    fn plan_sysctls(&self, call: &Call<'_>, facts: &Facts, plan: &mut Plan) -> Result<(), Error> {
        for wanted in &self.wanted.sysctls {
            let old = facts.pod.as_ref().and_then(|pod| pod.sysctl(&wanted.key));
            let old = old.ok_or_else(|| {
                call.error(format!("open /proc/sys/{}: no such file or directory", wanted.key))
            })?;
            if old != wanted.value {
                let before = Sysctl { key: wanted.key.clone(), value: old.to_owned() };
                plan.own(Change::sysctl(Place::Pod, before, wanted.value.clone()));
            }
        }
        Ok(())
    }

    fn result(&self, call: &Call<'_>, prev: &Success) -> Success {
        let mut result = prev.clone();
        if let Some(mac) = self.wanted.mac {
            let named = result.interfaces.iter_mut().filter(|i| i.name == call.ifname.as_str());
            named.for_each(|interface| interface.mac = mac.to_string());
        }
        result
    }

    fn look(&self, call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        for wanted in &self.wanted.sysctls {
            needs.pod.sysctl(wanted.key.clone());
        }
        needs
    }
}

impl ChainedAttachment for Tuned {
    fn without_prev_result(&self) -> &'static str {
        "Required prevResult missing"
    }

    fn consult(&mut self, call: &Call<'_>, _context: &Context<'_>) -> Result<(), Error> {
        allowlist::check(&self.wanted.sysctl_names).map_err(|why| call.error(why))
    }

    fn ledger(&self, call: &Call<'_>) -> Option<Box<dyn Ledger>> {
        backup::Backup::new(&self.wanted, call).map(|backup| Box::new(backup) as Box<dyn Ledger>)
    }

    fn needs(&self, call: &Call<'_>, _prev: &Success) -> Needs {
        self.look(call)
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let link = facts.link(Place::Pod, &call.ifname);
        let link = link
            .ok_or_else(|| call.error(format!("failed to get {:?}: Link not found", call.ifname.as_str())))?;
        let mut plan = Plan::default();
        self.plan_sysctls(call, facts, &mut plan)?;
        for (before, after) in self.attributes(link) {
            if before != after {
                plan.own(Change::attr(Place::Pod, &call.ifname, before, after));
            }
        }
        Ok(Planned { plan, result: self.result(call, prev) })
    }

    fn leftover_needs(&self, call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        needs
    }

    /// Attached by the replaced plugin: its backup file says what was there before.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let Some(old) = backup::take(&self.wanted.data_dir, call) else { return Leftovers::default() };
        let Some(link) = facts.link(Place::Pod, &call.ifname) else { return Leftovers::default() };
        let restore = old.attributes(link).into_iter();
        let changes = restore.map(|(now, old)| Change::attr(Place::Pod, &call.ifname, now, old)).collect();
        Leftovers { changes, ..Leftovers::default() }
    }

    fn check_needs(&self, call: &Call<'_>, _prev: &Success) -> Needs {
        self.look(call)
    }

    fn check(&self, call: &Call<'_>, _prev: &Success, facts: &Facts) -> Result<(), Error> {
        let pod = facts.pod.clone().unwrap_or_default();
        for wanted in &self.wanted.sysctls {
            let found = pod.sysctl(&wanted.key).unwrap_or_default();
            // The kernel prints lists with tabs, whatever was written.
            if !found.split_whitespace().eq(wanted.value.split_whitespace()) {
                return Err(call.error(format!(
                    "Error: Tuning configured value of {} is {}, current value is {found}",
                    wanted.key, wanted.value
                )));
            }
        }
        let link = pod.link(&call.ifname);
        let link =
            link.ok_or_else(|| call.error(format!("cannot find container link {:?}", call.ifname.as_str())))?;
        let different = self.attributes(link).into_iter().find(|(found, wanted)| found != wanted);
        let unasked =
            (link.promisc && !self.wanted.promisc).then_some((Attr::Promisc(true), Attr::Promisc(false)));
        match different.or(unasked) {
            Some((found, wanted)) => Err(call.error(format!(
                "Error: Tuning link {} configured {wanted:?}, current value is {found:?}",
                call.ifname
            ))),
            None => Ok(()),
        }
    }
}
