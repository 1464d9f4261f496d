//! `loopback`: brings `lo` up, whatever interface name it is called with (spec/plugins.md 1.7).

use std::net::IpAddr;

use polynic_cni::{Error, Interface, Ip, Success};
use polynic_net::{
    Attr, Change, Entropy, Facts, Family, IfName, IpNet, Needs, NsFacts, Place, Plan, SysctlKey,
};

use crate::{Attacher, Attachment, Call, Leftovers, Planned};

/// The plugin.
pub struct Loopback;

struct LoopbackAttachment;

impl Attacher for Loopback {
    fn plugin_type(&self) -> &'static str {
        "loopback"
    }

    fn read(&self, _: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        Ok(Box::new(LoopbackAttachment))
    }
}

fn disable_ipv6() -> SysctlKey {
    SysctlKey::conf("ipv6", &IfName::loopback(), "disable_ipv6")
}

/// The addresses that `lo` has once it is up: what is there, or what the kernel adds when it goes up.
fn addresses(pod: &NsFacts) -> Vec<IpNet> {
    let lo = IfName::loopback();
    let kernel = [
        IpNet::new_assert(IpAddr::from([127, 0, 0, 1]), 8),
        IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
    ];
    let up = pod.link(&lo).is_some_and(|l| l.up);
    let has_ipv6 = pod.sysctl(&disable_ipv6()) == Some("0");
    let first = |family: Family| {
        let seen = pod.addresses_of(&lo).map(|a| a.net).find(|n| Family::of(n.addr()) == family);
        let coming = kernel.into_iter().find(|n| Family::of(n.addr()) == family);
        seen.or(coming.filter(|_| !up && (family == Family::V4 || has_ipv6)))
    };
    [first(Family::V4), first(Family::V6)].into_iter().flatten().collect()
}

fn refuse_strangers(call: &Call<'_>, pod: &NsFacts) -> Result<(), Error> {
    match pod.addresses_of(&IfName::loopback()).find(|a| !a.net.addr().is_loopback()) {
        Some(a) => {
            let address = a.net.addr().to_string();
            Err(call.error(format!("loopback interface found with non-loopback address {address:?}")))
        }
        None => Ok(()),
    }
}

impl Attachment for LoopbackAttachment {
    fn ipam_type<'a>(&self, _: &Call<'a>) -> &'a str {
        ""
    }

    fn needs(&self, _: &Call<'_>, _: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&IfName::loopback());
        needs.pod.addresses.push(IfName::loopback());
        needs.pod.sysctl(disable_ipv6());
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        call.conf.prev_result().map_err(|e| call.explain(e))?;
        facts.pod.as_ref().map_or(Ok(()), |pod| refuse_strangers(call, pod))
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        _: Option<&Success>,
        _: &mut Entropy,
    ) -> Result<Planned, Error> {
        let mut plan = Plan::default();
        // Even if it is up already: DEL takes it down, as the replaced plugin does.
        plan.own(Change::up(Place::Pod, &IfName::loopback()));
        if let Some(result) = call.conf.prev_result()? {
            return Ok(Planned { plan, result });
        }
        let ips = facts.pod.as_ref().map(addresses).unwrap_or_default();
        let interface = Interface {
            name: "lo".to_owned(),
            mac: "00:00:00:00:00:00".to_owned(),
            sandbox: call.invocation.netns.clone(),
            ..Interface::default()
        };
        let ips = ips.into_iter().map(|net| Ip { interface: Some(0), ..Ip::new(net) }).collect();
        Ok(Planned { plan, result: Success { interfaces: vec![interface], ips, ..Success::default() } })
    }

    fn leftovers(&self, _: &Call<'_>, _: &Facts) -> Leftovers {
        let down = Change::attr(Place::Pod, &IfName::loopback(), Attr::Up(true), Attr::Up(false));
        Leftovers { links: Vec::new(), changes: vec![down] }
    }

    fn check(&self, call: &Call<'_>, _: &Success, facts: &Facts) -> Result<(), Error> {
        match facts.link(Place::Pod, &IfName::loopback()).is_some_and(|l| l.up) {
            true => Ok(()),
            false => Err(call.error("loopback interface is down")),
        }
    }

    fn status(&self, _: &Call<'_>, _: &Facts) -> Result<(), Error> {
        Ok(())
    }
}
