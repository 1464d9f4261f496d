//! `bandwidth`: what a pod may receive and send in a second (spec/plugins.md 3.3).
//!
//! A pod behind a veth is shaped at the node's end, as the replaced plugin does. Other interfaces (macvlan, ipvlan, devices of the
//! host) have no such end: they are shaped inside of the pod, by the same means the other way round.

mod config;
mod shape;

use polynic_cni::{Error, Interface, Success, Version};
use polynic_net::{
    Change, Entropy, Facts, IfName, Link, LinkFact, LinkKind, Needs, Place, Plan, TokenBucket, TrafficHook,
    TrafficKey,
};

use self::config::{Config, Flow};
use self::shape::{Direction, Shape};
use super::since;
use crate::{Call, ChainedAttachment, ChainedPlugin, Leftovers, Planned, comment};

/// The plugin.
pub struct Bandwidth;

struct Shaped {
    config: Config,
}

impl ChainedPlugin for Bandwidth {
    fn plugin_type(&self) -> &'static str {
        "bandwidth"
    }

    fn versions(&self) -> &'static [Version] {
        since(Version::V0_3_0)
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        Ok(Box::new(Shaped { config: Config::read(call)? }))
    }

    fn leftovers_unread(&self, call: &Call<'_>) -> Leftovers {
        leftovers(call)
    }
}

/// The names that an attachment's ifb may have: first the replaced plugin's, which knows the container only, then one of the
/// interface's own.
fn ifb_names(call: &Call<'_>) -> [IfName; 2] {
    let who = format!("{}{}", call.network(), call.container_id());
    [who.clone(), format!("{who}{}", call.ifname)].map(|who| {
        match IfName::new(format!("bwp{}", &comment::hash(&who)[..12])) {
            Ok(name) => name,
            Err(_) => unreachable!("fifteen letters and digits are a valid name"),
        }
    })
}

fn leftovers(call: &Call<'_>) -> Leftovers {
    let names =
        ifb_names(call).into_iter().flat_map(|name| [(Place::Host, name.clone()), (Place::Pod, name)]);
    Leftovers { links: names.collect(), ..Leftovers::default() }
}

/// The interfaces of prevResult that are on the node.
fn on_host(prev: &Success) -> impl Iterator<Item = IfName> {
    prev.interfaces.iter().filter(|i| i.sandbox.is_empty()).filter_map(|i| IfName::new(&i.name).ok())
}

/// Where an attachment is shaped: the link and how it lies to the pod.
struct At<'f> {
    place: Place,
    link: &'f LinkFact,
}

impl At<'_> {
    /// What leaves by the link, and what comes by it, as seen from the pod.
    fn directions(&self) -> (Direction, Direction) {
        match self.place {
            Place::Host => (Direction::ToPod, Direction::FromPod),
            Place::Pod => (Direction::FromPod, Direction::ToPod),
        }
    }
}

impl Shaped {
    fn flow(&self, direction: Direction) -> Option<Flow> {
        match direction {
            Direction::ToPod => self.config.ingress,
            Direction::FromPod => self.config.egress,
        }
    }

    fn shape(&self, direction: Direction) -> Option<Shape<'_>> {
        let flow = self.flow(direction)?;
        Some(Shape { bucket: flow.bucket(), direction, subnets: &self.config.subnets })
    }

    /// A pod's veth is shaped at its other end, which must be one that the chain speaks of.
    fn place<'f>(&self, call: &Call<'_>, prev: &Success, facts: &'f Facts) -> Result<At<'f>, Error> {
        let link = facts.link(Place::Pod, &call.ifname);
        let link = link
            .ok_or_else(|| call.error(format!("failed to find interface {}: Link not found", call.ifname)))?;
        if link.kind != "veth" {
            return Ok(At { place: Place::Pod, link });
        }
        let peer = link.peer.filter(|_| link.peer_netns.is_some());
        let peer =
            peer.ok_or_else(|| call.error("the veth peer of the container interface is not in host ns"))?;
        let found = on_host(prev).filter_map(|name| facts.host.link(&name)).find(|l| l.index == peer);
        let found =
            found.ok_or_else(|| call.error("no veth peer of container interface found in host ns"))?;
        Ok(At { place: Place::Host, link: found })
    }

    /// What comes by a link cannot be held back there: it goes through an ifb, and is held back as what leaves that.
    fn divert(&self, plan: &mut Plan, at: &At<'_>, ifb: Link, shape: &Shape<'_>) {
        let name = ifb.name.clone();
        plan.own(Change::create_link(at.place, ifb));
        let add = |link: &IfName, object| Change::add_traffic(at.place, link, object);
        shape.at_root().into_iter().for_each(|object| plan.own(add(&name, object)));
        plan.own(Change::up(at.place, &name));
        Shape::redirect(&name).into_iter().for_each(|object| plan.own(add(&at.link.name, object)));
    }

    fn ifb(&self, call: &Call<'_>, facts: &Facts, at: &At<'_>, entropy: &mut Entropy) -> Result<Link, Error> {
        let free = ifb_names(call).into_iter().find(|name| facts.link(at.place, name).is_none());
        let name = free.ok_or_else(|| call.error("cannot add the ifb of this interface: file exists"))?;
        let link = Link::new(name, LinkKind::Ifb);
        Ok(Link { mac: Some(entropy.mac()), mtu: Some(at.link.mtu), ..link })
    }
}

impl ChainedAttachment for Shaped {
    fn without_prev_result(&self) -> &'static str {
        "must be called as chained plugin"
    }

    fn needs(&self, call: &Call<'_>, prev: &Success) -> Needs {
        let mut needs = Needs::default();
        if self.config.is_idle() {
            return needs;
        }
        needs.pod.link(&call.ifname);
        on_host(prev).for_each(|name| needs.host.link(&name));
        for name in ifb_names(call) {
            needs.host.link(&name);
            needs.pod.link(&name);
        }
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let (mut plan, mut result) = (Plan::default(), prev.clone());
        if self.config.is_idle() {
            return Ok(Planned { plan, result });
        }
        let at = self.place(call, prev, facts)?;
        let (leaving, coming) = at.directions();
        if let Some(shape) = self.shape(leaving) {
            for object in shape.at_root() {
                plan.own(Change::add_traffic(at.place, &at.link.name, object));
            }
        }
        if let Some(shape) = self.shape(coming) {
            let ifb = self.ifb(call, facts, &at, entropy)?;
            result.interfaces.push(Interface {
                name: ifb.name.to_string(),
                mac: ifb.mac.map(|mac| mac.to_string()).unwrap_or_default(),
                sandbox: if at.place == Place::Pod { call.invocation.netns.clone() } else { String::new() },
                ..Interface::default()
            });
            self.divert(&mut plan, &at, ifb, &shape);
        }
        Ok(Planned { plan, result })
    }

    fn leftovers(&self, call: &Call<'_>, _facts: &Facts) -> Leftovers {
        leftovers(call)
    }

    fn check_needs(&self, call: &Call<'_>, prev: &Success) -> Needs {
        let mut needs = self.needs(call, prev);
        if !self.config.is_idle() {
            needs.host.traffic.extend(on_host(prev));
            needs.pod.traffic.push(call.ifname.clone());
            needs.pod.traffic.extend(ifb_names(call));
        }
        needs
    }

    /// The numbers of the buckets, also where the replaced plugin attached.
    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        if self.config.is_idle() {
            return Ok(());
        }
        let at = self.place(call, prev, facts)?;
        let (leaving, coming) = at.directions();
        if let Some(shape) = self.shape(leaving) {
            check_bucket(call, facts, &at, &at.link.name, &shape)?;
        }
        if let Some(shape) = self.shape(coming) {
            let names = ifb_names(call);
            let named = |name: &&IfName| prev.interfaces.iter().any(|i| i.name == name.as_str());
            let ifb = names.iter().find(named).filter(|name| facts.link(at.place, name).is_some());
            let ifb = ifb.ok_or_else(|| call.error("get ifb device: Link not found"))?;
            check_bucket(call, facts, &at, ifb, &shape)?;
        }
        Ok(())
    }
}

fn check_bucket(
    call: &Call<'_>,
    facts: &Facts,
    at: &At<'_>,
    link: &IfName,
    shape: &Shape<'_>,
) -> Result<(), Error> {
    let seen = facts.at(at.place).map(|ns| ns.traffic.as_slice()).unwrap_or_default();
    let root = TrafficKey::Qdisc(TrafficHook::Root);
    let root = seen.iter().find(|fact| fact.link == *link && fact.key == root);
    let root = root.ok_or_else(|| call.error(format!("Failed to find qdisc on {link}")))?;
    let Some(found) = root.bucket.filter(|found| !shape.bucket.is_shown_as(found)) else { return Ok(()) };
    let TokenBucket { rate, limit, .. } = shape.bucket;
    let what = match (found.rate == rate, found.limit == limit) {
        (false, _) => "Rate",
        (true, false) => "Limit",
        (true, true) => "Buffer",
    };
    Err(call.error(format!("{what} doesn't match on {link}")))
}
