//! `host-device`: a link of the node moves into the pod, and back (spec/plugins.md 1.5).
//!
//! Unlike the replaced plugin no temporary namespace is needed: the kernel takes the new name with the move.

mod select;

use polynic_cni::{Error, Interface, Success};
use polynic_net::{Attr, Change, Entropy, Facts, IfName, LinkFact, LinkNeed, LinkRef, Needs, Place, Plan};

use self::select::{Found, Selector};
use crate::addressing::{self, Announce};
use crate::interfaces::refuse_taken_name;
use crate::{Attacher, Attachment, Call, Leftovers, Planned, prev};

/// The plugin.
pub struct HostDevice {
    /// Where sysfs is mounted: `/sys`.
    pub sysfs: &'static str,
}

struct Device {
    selector: Selector,
    sysfs: &'static str,
}

impl Attacher for HostDevice {
    fn plugin_type(&self) -> &'static str {
        "host-device"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        Ok(Box::new(Device { selector: Selector::read(call)?, sysfs: self.sysfs }))
    }
}

impl Device {
    fn find<'f>(&self, call: &Call<'_>, facts: &'f Facts) -> Result<Found<'f>, Error> {
        let found = self.selector.find(self.sysfs.as_ref(), &facts.host.links);
        found.map_err(|why| call.error(format!("failed to find host device: {why}")))
    }

    /// The device on the node under the pod's name for it, or under its number where that was taken, and what its alias says it was called.
    fn given_back<'f>(&self, call: &Call<'_>, facts: &'f Facts) -> Option<(&'f LinkFact, IfName)> {
        let link = match &self.selector {
            Selector::Name(name) => facts.host.links.iter().find(|link| was_called(link, name)),
            _ => match self.find(call, facts) {
                Ok(Found::Link(link)) => Some(link),
                _ => None,
            },
        }?;
        Some((link, self.home(call, link, facts)?))
    }

    /// What a link is to be called that the kernel has given back as it was in a pod; none if it is at home, or the name is taken.
    fn home(&self, call: &Call<'_>, link: &LinkFact, facts: &Facts) -> Option<IfName> {
        let alias = link.alias.as_ref()?;
        // Whoever asks for it by its old name knows that it is the one.
        let is_asked = matches!(&self.selector, Selector::Name(name) if name == alias && !link.up);
        let is_pods = link.name == call.ifname || link.name.as_str() == format!("dev{}", link.index);
        let home = IfName::new(alias).ok().filter(|home| facts.host.link(home).is_none())?;
        (is_asked || is_pods).then_some(home)
    }

    /// The device in the pod if somebody in there has renamed it, as far as the configuration tells.
    fn renamed<'f>(&self, facts: &'f Facts) -> Option<&'f LinkFact> {
        let mut links = facts.pod.as_ref()?.links.iter();
        match &self.selector {
            Selector::Name(name) => links.find(|link| was_called(link, name)),
            Selector::Hardware(mac) => links.find(|link| link.mac == Some(*mac)),
            _ => None,
        }
    }

    fn result(call: &Call<'_>, ipam: Option<&Success>, link: Option<&LinkFact>) -> Success {
        let mac = link.and_then(|link| link.mac).map(|mac| mac.to_string()).unwrap_or_default();
        let (name, sandbox) = (call.ifname.to_string(), call.invocation.netns.clone());
        let interfaces = vec![Interface { name, mac, sandbox, ..Interface::default() }];
        let addressed = ipam.map(|ipam| addressing::on_interface(ipam, 0)).unwrap_or_default();
        // Without addresses the answer is the interface and no more.
        let dns = ipam.map(|_| call.conf.dns.clone()).unwrap_or_default();
        Success { interfaces, dns, ..addressed }
    }

    /// The link goes down, moves, and remembers in its alias what it was called.
    fn moved(plan: &mut Plan, call: &Call<'_>, link: &LinkFact) {
        if link.up {
            // DEL leaves the device down, as the replaced plugin does; a failed ADD does not.
            plan.ensure(Change::attr(Place::Host, &link.name, Attr::Up(true), Attr::Up(false)));
        }
        let from = LinkRef { place: Place::Host, name: link.name.clone() };
        plan.own(Change::move_link(from, Place::Pod, &call.ifname));
        let alias = Attr::Alias(link.name.to_string());
        let before = Attr::Alias(link.alias.clone().unwrap_or_default());
        plan.own(Change::attr(Place::Pod, &call.ifname, before, alias));
    }

    /// The link takes its old name, and needs no alias to remember it.
    fn comes_home(link: &LinkFact, home: &IfName) -> [Change; 2] {
        let (alias, none) = (Attr::Alias(home.to_string()), Attr::Alias(String::new()));
        let from = LinkRef { place: Place::Host, name: link.name.clone() };
        [Change::attr(Place::Host, &link.name, alias, none), Change::move_link(from, Place::Host, home)]
    }
}

/// The alias is the name that the link had; who asks for it may have another for it.
fn was_called(link: &LinkFact, name: &str) -> bool {
    link.alias
        .as_deref()
        .is_some_and(|alias| alias == name || link.other_names.iter().any(|other| other == name))
}

impl Attachment for Device {
    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        needs.host.links = LinkNeed::All;
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
        }
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        if !self.selector.is_user_space(self.sysfs.as_ref()) {
            refuse_taken_name(call, facts)?;
        }
        self.find(call, facts).map(drop)
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let Found::Link(link) = self.find(call, facts)? else {
            return Ok(Planned { plan: Plan::default(), result: Self::result(call, ipam, None) });
        };
        refuse_taken_name(call, facts)?;
        let result = Self::result(call, ipam, Some(link));
        let mut plan = Plan::default();
        let home = self.home(call, link, facts);
        home.iter().flat_map(|home| Self::comes_home(link, home)).for_each(|change| plan.ensure(change));
        let at_home = home.map(|name| LinkFact { name, alias: None, ..link.clone() });
        Self::moved(&mut plan, call, at_home.as_ref().unwrap_or(link));
        match ipam {
            Some(_) => addressing::configure(&mut plan, call, facts, &result, Announce::No)?,
            None => plan.own(Change::up(Place::Pod, &call.ifname)),
        }
        Ok(Planned { plan, result })
    }

    fn leftover_needs(&self, call: &Call<'_>) -> Needs {
        let mut needs = self.needs(call, None);
        needs.pod.links = LinkNeed::All;
        needs
    }

    /// Where the pod's namespace went first, the kernel has given hardware back as it was in the pod.
    fn sweep(&self, call: &Call<'_>, facts: &Facts) -> Vec<Change> {
        let found = self.given_back(call, facts);
        found.iter().flat_map(|(link, home)| Self::comes_home(link, home)).collect()
    }

    fn awaits(&self, call: &Call<'_>, facts: &Facts) -> bool {
        self.find(call, facts).is_err()
    }

    /// The alias says where the link belongs; a link without one is not ours to move.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let link = facts.link(Place::Pod, &call.ifname).or_else(|| self.renamed(facts));
        let Some((link, alias)) = link.and_then(|link| Some((link, link.alias.clone()?))) else {
            return Leftovers::default();
        };
        let Ok(name) = IfName::new(&alias) else { return Leftovers::default() };
        let mut changes = Vec::new();
        if link.up {
            changes.push(Change::attr(Place::Pod, &link.name, Attr::Up(true), Attr::Up(false)));
        }
        let no_alias = Attr::Alias(String::new());
        changes.push(Change::attr(Place::Pod, &link.name, Attr::Alias(alias), no_alias));
        let from = LinkRef { place: Place::Pod, name: link.name.clone() };
        changes.push(Change::move_link(from, Place::Host, &name));
        Leftovers { changes, ..Leftovers::default() }
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        if self.selector.is_user_space(self.sysfs.as_ref()) {
            return Ok(());
        }
        let kind = facts.link(Place::Pod, &call.ifname).map(|link| link.kind.as_str());
        prev::interface(call, prev, facts, kind.unwrap_or_default())?;
        prev::addresses_and_routes(call, prev, facts)
    }

    /// The device is there as long as no pod has it.
    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        self.find(call, facts).map(drop).map_err(|e| Error::not_available(e.msg))
    }
}
