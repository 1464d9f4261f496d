//! What the plugins that make one new link in the pod have in common: `macvlan`, `ipvlan`, `vlan`, `dummy`, `tap`. Most of
//! them stand on a parent link. Each plugin's own file says what its link is; addresses, results, CHECK and STATUS are here.

use polynic_cni::{Error, Interface, Success};
use polynic_net::{Change, Entropy, Facts, Link, LinkFact, LinkName, LinkRef, Mac, Needs, Place, Plan};

use crate::addressing::{self, Announce};
use crate::interfaces::{default_route_link, default_route_needs, refuse_taken_name};
use crate::{Attachment, Call, Leftovers, Planned, prev};

/// The link that a station stands on.
pub(crate) struct Parent {
    /// Absent: the link of the default route.
    pub(crate) name: Option<LinkName>,
    /// Where it is: in the pod with `linkInContainer`.
    pub(crate) place: Place,
}

impl Parent {
    /// From the keys `master` and `linkInContainer`.
    pub(crate) fn read(call: &Call<'_>, master: &str, in_container: bool) -> Result<Self, Error> {
        let name = match master {
            "" => None,
            name => {
                Some(LinkName::new(name).map_err(|e| call.error(format!("invalid master {name:?}: {e}")))?)
            }
        };
        Ok(Self { name, place: if in_container { Place::Pod } else { Place::Host } })
    }

    fn needs(&self, needs: &mut Needs) {
        match &self.name {
            Some(name) => needs.at_mut(self.place).link_called(name),
            None => default_route_needs(needs, self.place),
        }
    }

    fn find<'f>(&self, call: &Call<'_>, facts: &'f Facts) -> Result<&'f LinkFact, Error> {
        let name = match &self.name {
            Some(name) => name.to_string(),
            None => default_route_link(call, facts, self.place)?.to_string(),
        };
        let missing = || call.error(format!("failed to look up master {name:?}: Link not found"));
        facts.at(self.place).and_then(|ns| ns.link_called(&name)).ok_or_else(missing)
    }

    /// The parent as plans name it.
    pub(crate) fn reference(&self, fact: &LinkFact) -> LinkRef {
        LinkRef { place: self.place, name: fact.name.clone() }
    }
}

/// How a plugin treats the absence of an IPAM plugin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Without one the link just comes up.
    Optional,
    /// This error.
    Required(&'static str),
}

/// Whose DNS settings the result carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DnsOf {
    /// The network configuration's; the IPAM plugin's are dropped.
    Network,
    /// The IPAM plugin's.
    Ipam,
}

/// What a plugin's link is.
pub(crate) trait Station {
    /// The kernel's name of the kind.
    fn kind(&self) -> &'static str;

    /// The parent, if it needs one.
    fn parent(&self) -> Option<&Parent> {
        None
    }

    /// Whether addresses are needed.
    fn addresses(&self) -> Addresses {
        Addresses::Optional
    }

    /// Whose DNS settings count.
    fn dns(&self) -> DnsOf {
        DnsOf::Network
    }

    /// Which addresses are announced.
    fn announce(&self) -> Announce {
        Announce::ByFamily
    }

    /// Addresses that come from somewhere else than an IPAM plugin.
    fn given(&self, _call: &Call<'_>) -> Result<Option<Success>, Error> {
        Ok(None)
    }

    /// Further things to look at.
    fn more_needs(&self, _needs: &mut Needs) {}

    /// The link to make on this parent. Refuses what cannot be made.
    fn link(&self, call: &Call<'_>, parent: Option<&LinkFact>, entropy: &mut Entropy) -> Result<Link, Error>;

    /// What has to be done between making the link and giving it addresses.
    fn dress(&self, _call: &Call<'_>, _facts: &Facts, _plan: &mut Plan) -> Result<(), Error> {
        Ok(())
    }

    /// CHECK of what only this kind has.
    fn check(&self, call: &Call<'_>, link: &LinkFact) -> Result<(), Error>;
}

/// An attachment by a station.
pub(crate) struct StationAttachment<S>(pub(crate) S);

impl<S: Station> StationAttachment<S> {
    fn parent<'f>(&self, call: &Call<'_>, facts: &'f Facts) -> Result<Option<&'f LinkFact>, Error> {
        self.0.parent().map(|parent| parent.find(call, facts)).transpose()
    }

    fn require_addresses(&self, call: &Call<'_>) -> Result<(), Error> {
        match self.0.addresses() {
            Addresses::Required(text) if call.conf.ipam_type.is_empty() => Err(call.error(text)),
            _ => Ok(()),
        }
    }

    fn result(&self, call: &Call<'_>, addresses: Option<&Success>, mac: Option<Mac>) -> Success {
        let mut result = addresses.map(|given| addressing::on_interface(given, 0)).unwrap_or_default();
        let mac = mac.map(|mac| mac.to_string()).unwrap_or_default();
        let (name, sandbox) = (call.ifname.to_string(), call.invocation.netns.clone());
        result.interfaces = vec![Interface { name, mac, sandbox, ..Interface::default() }];
        if self.0.dns() == DnsOf::Network {
            result.dns = call.conf.dns.clone();
        }
        result
    }
}

impl<S: Station> Attachment for StationAttachment<S> {
    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        if let Some(parent) = self.0.parent() {
            parent.needs(&mut needs);
        }
        // What cannot be read is refused when it is planned.
        let given = self.0.given(call).unwrap_or_default();
        if let Some(result) = ipam.or(given.as_ref()) {
            addressing::needs(&mut needs, result);
        }
        self.0.more_needs(&mut needs);
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        self.require_addresses(call)?;
        self.0.given(call)?;
        let parent = self.parent(call, facts)?;
        self.0.link(call, parent, &mut Entropy::new(0))?;
        refuse_taken_name(call, facts)
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        refuse_taken_name(call, facts)?;
        let link = self.0.link(call, self.parent(call, facts)?, entropy)?;
        let given = self.0.given(call)?;
        let addresses = ipam.or(given.as_ref());
        let result = self.result(call, addresses, link.mac);
        let mut plan = Plan::default();
        plan.own(Change::create_link(Place::Pod, link));
        self.0.dress(call, facts, &mut plan)?;
        match addresses {
            Some(_) => addressing::configure(&mut plan, call, facts, &result, self.0.announce())?,
            None => plan.own(Change::up(Place::Pod, &call.ifname)),
        }
        Ok(Planned { plan, result })
    }

    fn leftovers(&self, call: &Call<'_>, _facts: &Facts) -> Leftovers {
        Leftovers::interface(call)
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        self.parent(call, facts)?;
        let link = prev::interface(call, prev, facts, self.0.kind())?;
        self.0.check(call, link)?;
        prev::addresses_and_routes(call, prev, facts)
    }

    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        self.require_addresses(call)?;
        // A parent inside the pod can only be judged with a pod.
        if self.0.parent().is_none_or(|parent| parent.place == Place::Pod) {
            return Ok(());
        }
        match self.parent(call, facts).map_err(|e| Error::not_available(e.msg))? {
            Some(parent) if !parent.up => {
                Err(Error::not_available(format!("master {} is down", parent.name)))
            }
            _ => Ok(()),
        }
    }
}

/// A configured MTU that may not be larger than the parent's; 0 means the parent's.
pub(crate) fn bounded_mtu(call: &Call<'_>, mtu: i64, parent: &LinkFact) -> Result<Option<u32>, Error> {
    match u32::try_from(mtu) {
        Ok(0) => Ok(None),
        Ok(mtu) if mtu <= parent.mtu => Ok(Some(mtu)),
        _ => Err(call.error(format!("invalid MTU {mtu}, must be [0, master MTU({})]", parent.mtu))),
    }
}

/// The parent of a kind that has one.
pub(crate) fn required<'f>(call: &Call<'_>, parent: Option<&'f LinkFact>) -> Result<&'f LinkFact, Error> {
    parent.ok_or_else(|| call.error("no master"))
}
