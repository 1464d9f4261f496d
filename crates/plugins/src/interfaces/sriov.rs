//! `sriov`: a virtual function of an SR-IOV device for a pod (spec/sriov.md): its link moves into the pod, or, where a driver in
//! user space has it, only its settings are made.
//!
//! The physical function's link makes the settings. What was there before is on record, and in the replaced plugin's files. As with
//! `host-device` no temporary namespace is needed: the kernel takes the new name with the move.

mod config;
mod files;
mod function;
mod ledger;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;

use polynic_cni::{Error, Interface, Success, Verb};
use polynic_net::{
    Announcement, Attr, Change, Entropy, Facts, LinkFact, LinkRef, Mac, Needs, NsFacts, Place, Plan, VfAttr,
    VfFact, Wait,
};

use self::config::Wanted;
use self::files::Store;
use self::function::Function;
use crate::addressing::{self, Announce};
use crate::interfaces::refuse_taken_name;
use crate::{Attacher, Attachment, Call, Context, Ledger, Leftovers, Planned, Stray, log, prev};

/// The plugin.
pub struct Sriov {
    /// Where sysfs is mounted: `/sys`.
    pub sysfs: &'static str,
    /// The replaced plugin's files: `/var/lib/cni/sriov`.
    pub directory: &'static str,
}

struct Device {
    sysfs: &'static str,
    store: Store,
    /// What is wrong with it is said by those who need it: DEL and GC do not.
    wanted: Result<Wanted, Error>,
}

/// A function as an attachment finds it.
struct Found<'f> {
    function: Function,
    vf: &'f VfFact,
    /// Absent where a driver in user space has the function.
    link: Option<&'f LinkFact>,
    pf: &'f LinkFact,
}

impl Attacher for Sriov {
    fn plugin_type(&self) -> &'static str {
        "sriov"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let store = Store::new(self.directory);
        Ok(Box::new(Device { sysfs: self.sysfs, store, wanted: Wanted::read(call) }))
    }

    fn log(&self, call: &Call<'_>) -> Result<Option<log::Options>, Error> {
        config::log(call)
    }
}

impl Device {
    fn wanted(&self) -> Result<&Wanted, Error> {
        self.wanted.as_ref().map_err(Clone::clone)
    }

    fn function(&self, call: &Call<'_>) -> Result<Function, Error> {
        let wanted = self.wanted()?;
        Function::find(Path::new(self.sysfs), &wanted.device).map_err(|why| {
            call.error(format!("SRIOV-CNI failed to load netconf: failed to get VF information: {why}"))
        })
    }

    /// The function among the facts; one that cannot be used is refused.
    fn find<'f>(&self, call: &Call<'_>, facts: &'f Facts) -> Result<Found<'f>, Error> {
        let function = self.function(call)?;
        function.require_use().map_err(|why| call.error(why))?;
        let missing = |what: &str| call.error(format!("failed to get original vf information: {what}"));
        let pf = facts.host.link(&function.pf);
        let pf = pf.ok_or_else(|| missing(&format!("failed to lookup master {:?}", function.pf.as_str())))?;
        let vf = facts.host.vf(&function.pf, function.index);
        let vf = vf.ok_or_else(|| missing(&format!("failed to find vf {}", function.index)))?;
        let link = function.link.as_ref().map(|name| {
            let gone = || missing(&format!("error getting VF netdevice with name {name}"));
            facts.host.link(name).ok_or_else(gone)
        });
        Ok(Found { link: link.transpose()?, function, vf, pf })
    }

    fn result(&self, call: &Call<'_>, ipam: Option<&Success>, found: &Found<'_>) -> Result<Success, Error> {
        let mut result = ipam.map(|ipam| addressing::on_interface(ipam, 0)).unwrap_or_default();
        let mac = self.wanted()?.mac.or_else(|| found.mac());
        result.interfaces = vec![Interface {
            name: call.ifname.to_string(),
            mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
            mtu: Some(found.link.unwrap_or(found.pf).mtu),
            sandbox: call.invocation.netns.clone(),
            ..Interface::default()
        }];
        Ok(result)
    }

    /// The link's life in the pod, up to its addresses.
    fn dress(&self, plan: &mut Plan, call: &Call<'_>, facts: &Facts, link: &LinkFact) -> Result<(), Error> {
        let (empty, name) = (NsFacts::default(), &call.ifname);
        let pod = facts.pod.as_ref().unwrap_or(&empty);
        for key in [("ipv4", "arp_notify"), ("ipv6", "ndisc_notify"), ("ipv6", "optimistic_dad")] {
            addressing::set_new(plan, call, pod, key, "1");
        }
        if let Some(old) = link.mac {
            let new = self.wanted()?.mac.unwrap_or(old);
            plan.own(Change::unsteady(Place::Pod, name, Attr::Mac(old), Attr::Mac(new)));
        }
        // For the way home: later plugins may change it, and so may the pod.
        let mtu = || Attr::Mtu(link.mtu);
        plan.own(Change::unsteady(Place::Pod, name, mtu(), mtu()));
        Ok(())
    }
}

impl Found<'_> {
    /// The address that the pod finds, if none is asked for.
    fn mac(&self) -> Option<Mac> {
        match self.link {
            Some(link) => link.mac,
            None => self.vf.mac.filter(|mac| *mac != Mac([0; 6])),
        }
    }

    /// One setting of the function: what it was, and what it shall be. What its driver does not report goes back to what is usual.
    fn setting(&self, new: VfAttr) -> Change {
        let old = self.vf.setting(&new).unwrap_or_else(|| usual(&new));
        let of = |attr| Attr::Vf { index: self.function.index, attr };
        Change::unsteady(Place::Host, &self.function.pf, of(old), of(new))
    }

    /// The link goes down and moves. DEL leaves it down; a failed ADD does not.
    fn lend(&self, plan: &mut Plan, call: &Call<'_>, link: &LinkFact) {
        if link.up {
            plan.ensure(Change::attr(Place::Host, &link.name, Attr::Up(true), Attr::Up(false)));
        }
        let from = LinkRef { place: Place::Host, name: link.name.clone() };
        plan.own(Change::lend_link(from, Place::Pod, &call.ifname, ledger::spare_name(link.index)));
    }
}

/// What a driver starts with.
fn usual(like: &VfAttr) -> VfAttr {
    match like {
        VfAttr::Vlan(_) => VfAttr::Vlan(Default::default()),
        VfAttr::Mac(_) => VfAttr::Mac(Mac([0; 6])),
        VfAttr::Rate(_) => VfAttr::Rate(Default::default()),
        VfAttr::SpoofCheck(_) => VfAttr::SpoofCheck(true),
        VfAttr::Trust(_) => VfAttr::Trust(false),
        VfAttr::LinkState(_) => VfAttr::LinkState(Default::default()),
    }
}

/// Tells the network of each address, once the link may be heard.
fn announce(plan: &mut Plan, call: &Call<'_>, result: &Success) {
    let Some(mac) = result.interfaces.first().and_then(|i| i.mac.parse().ok()) else { return };
    plan.own(Change::wait(Place::Pod, Wait::Carrier { link: call.ifname.clone() }));
    for ip in &result.ips {
        let news = Announcement { link: call.ifname.clone(), ip: ip.address.addr(), mac };
        plan.own(Change::announce(Place::Pod, news));
    }
}

impl Attachment for Device {
    fn shares(&self) -> bool {
        true
    }

    fn ledger(
        &self,
        call: &Call<'_>,
        verb: Verb,
        context: &Context<'_>,
    ) -> Result<Option<Box<dyn Ledger>>, Error> {
        let entries = match verb {
            Verb::Add => Some(ledger::claim(call, context, &self.store, self.sysfs, self.wanted()?)?),
            _ => ledger::release(call, context, &self.store, self.sysfs, self.wanted.as_ref().ok())?,
        };
        Ok(entries.map(|entries| Box::new(entries) as Box<dyn Ledger>))
    }

    fn strays(&self, call: &Call<'_>) -> Vec<Stray> {
        ledger::attachments(&self.store, call.network())
    }

    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        for (family, setting) in
            [("ipv4", "arp_notify"), ("ipv6", "ndisc_notify"), ("ipv6", "optimistic_dad")]
        {
            needs.pod.sysctl(addressing::default_of(family, setting));
        }
        // One that cannot be found is refused when it is looked for.
        if let Ok(function) = self.function(call) {
            needs.host.link(&function.pf);
            needs.host.vfs_of(&function.pf);
            function.link.iter().for_each(|link| needs.host.link(link));
        }
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
        }
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        let found = self.find(call, facts)?;
        if found.link.is_some() { refuse_taken_name(call, facts) } else { Ok(()) }
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let found = self.find(call, facts)?;
        let result = self.result(call, ipam, &found)?;
        let on_link = crate::ipam::works_on_link(&call.conf.ipam_type);
        if ipam.is_some_and(|ipam| ipam.ips.is_empty()) && !on_link {
            return Err(call.error("IPAM plugin returned missing IP config"));
        }
        let mut plan = Plan::default();
        self.wanted()?.settings().into_iter().for_each(|setting| plan.own(found.setting(setting)));
        let Some(link) = found.link else { return Ok(Planned { plan, result }) };
        refuse_taken_name(call, facts)?;
        found.lend(&mut plan, call, link);
        self.dress(&mut plan, call, facts, link)?;
        addressing::configure(&mut plan, call, facts, &result, Announce::No)?;
        if !result.ips.is_empty() {
            announce(&mut plan, call, &result);
        }
        Ok(Planned { plan, result })
    }

    fn leftover_needs(&self, call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        needs
    }

    /// Attached by the replaced plugin: its file says what there was before. Without a file nothing was attached.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let Some(state) = self.store.state(&ledger::key(call)) else { return Leftovers::default() };
        let Ok(function) = Function::find(Path::new(self.sysfs), &state.device) else {
            return Leftovers::default();
        };
        let mut changes = state.resets(&function);
        if let Some(link) = facts.link(Place::Pod, &call.ifname).filter(|_| !function.user_space) {
            let name = call.ifname.clone();
            let spare = ledger::spare_name(link.index);
            changes.extend(state.homecoming(&LinkRef { place: Place::Pod, name }, spare));
        }
        Leftovers { changes, ..Leftovers::default() }
    }

    /// Where the pod's namespace went first, the kernel has given the link back as it was in the pod.
    fn sweep(&self, call: &Call<'_>, _facts: &Facts) -> Vec<Change> {
        let Some(state) = self.store.state(&ledger::key(call)) else { return Vec::new() };
        let function = Function::find(Path::new(self.sysfs), &state.device);
        function.map(|function| ledger::homecoming(&state, &function)).unwrap_or_default()
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        let function = self.function(call)?;
        check_settings(call, self.wanted()?, facts, &function)?;
        if function.user_space {
            return Ok(());
        }
        let kind = facts.link(Place::Pod, &call.ifname).map(|link| link.kind.as_str());
        prev::interface(call, prev, facts, kind.unwrap_or_default())?;
        prev::addresses_and_routes(call, prev, facts)
    }

    /// Which function it will be is known per pod: without one only the IPAM plugin can be asked.
    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        match call.conf.keys().string("deviceID") {
            Ok("") => Ok(()),
            _ => self.find(call, facts).map(drop).map_err(|e| Error::not_available(e.msg)),
        }
    }
}

fn check_settings(call: &Call<'_>, wanted: &Wanted, facts: &Facts, function: &Function) -> Result<(), Error> {
    let (pf, index) = (&function.pf, function.index);
    let vf = facts.host.vf(pf, index);
    let vf = vf.ok_or_else(|| call.error(format!("VF {index} of {pf} is gone")))?;
    for setting in wanted.settings() {
        match vf.setting(&setting) {
            Some(found) if found != setting => {
                return Err(call.error(format!("VF {index} of {pf} has {found:?}, not {setting:?}")));
            }
            _ => {}
        }
    }
    Ok(())
}
