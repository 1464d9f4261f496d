//! The way of one packet through namespaces and over wires, step by step, as far as somebody looked.

mod bridged;
mod firewall;
mod send;
mod step;
mod tunnel;

use std::net::IpAddr;

use polynic_net::{FwHook, Mac};

use crate::firewall::{Connection, Frame};
use crate::flow::Flow;
use crate::incoming::{Fate, incoming};
use crate::lookup::Verdict;
use crate::loss::{Cause, Loss};
use crate::neighbour::{self, Receiver, Silence};
use crate::reverse_path;
use crate::scene::{Scene, Spot};
use crate::wire;
pub use step::{Step, What};

/// More stops than this are a loop.
const MOST_STOPS: usize = 16;

/// The way of one packet.
#[derive(Clone, Debug)]
pub struct Way {
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// Where it ended.
    pub end: End,
    /// The packet as it was in the end.
    pub flow: Flow,
    /// Links by which it left stacks, and by which it came to the next ones.
    pub left_by: Vec<Spot>,
    /// See [`Way::left_by`].
    pub came_by: Vec<Spot>,
    /// What could not be judged.
    pub doubts: Vec<String>,
}

/// Where a way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At a namespace that has the destination.
    Arrived(usize),
    /// It left what was looked at, by this link.
    Left(Spot),
    /// It was lost.
    Lost(Box<Loss>),
}

/// Walks packets through a scene; remembers what namespaces remember of the connection.
pub(crate) struct Walker<'a> {
    scene: &'a Scene,
    connections: Vec<Connection>,
}

/// A way under construction.
pub(crate) struct Draft {
    steps: Vec<Step>,
    flow: Flow,
    left_by: Vec<Spot>,
    came_by: Vec<Spot>,
    doubts: Vec<String>,
    /// The hook that was passed last asks for another look at the routes.
    reroutes: bool,
}

/// What comes after a stop.
pub(crate) enum Next {
    /// The packet comes in by that link.
    Comes(Spot),
    /// The way ends.
    Ends(End),
}

impl Next {
    fn lost(site: usize, cause: Cause) -> Self {
        Self::Ends(End::Lost(Box::new(Loss { site, cause })))
    }
}

impl<'a> Walker<'a> {
    pub(crate) fn new(scene: &'a Scene) -> Self {
        Self { scene, connections: vec![Connection::default(); scene.sites.len()] }
    }

    /// From now on packets are those of the reply.
    pub(crate) fn turn(&mut self) {
        self.connections.iter_mut().for_each(|connection| connection.reply = true);
    }

    /// The way of a packet that a site sends.
    pub(crate) fn sent_from(&mut self, site: usize, flow: Flow) -> Way {
        let mut draft = Draft::new(flow);
        let next = self.send(site, &mut draft);
        self.follow(draft, next)
    }

    /// The way of a packet that comes in by a link from beyond.
    pub(crate) fn come_to(&mut self, spot: Spot, flow: Flow) -> Way {
        self.follow(Draft::new(flow), Next::Comes(spot))
    }

    fn follow(&mut self, mut draft: Draft, mut next: Next) -> Way {
        for _ in 0..MOST_STOPS {
            match next {
                Next::Ends(end) => return draft.end(end),
                Next::Comes(spot) => next = self.stop(spot, &mut draft),
            }
        }
        let end = match next {
            Next::Ends(end) => end,
            Next::Comes(spot) => End::Lost(Box::new(Loss { site: spot.site, cause: Cause::Loop })),
        };
        draft.end(end)
    }

    /// A packet comes in by a link.
    fn stop(&mut self, spot: Spot, draft: &mut Draft) -> Next {
        let site = spot.site;
        draft.came_by.push(spot);
        draft.flow.iif = Some(spot.link);
        draft.flow.oif = None;
        draft.flow.mark = 0;
        draft.say(self.scene, site, What::Enters { link: self.name(spot) });
        if let Some(next) = self.hook(site, FwHook::Prerouting, draft) {
            return next;
        }
        let found = incoming(self.scene.stack(site), &draft.flow);
        draft.doubt(self.scene, site, &found.decision.doubts);
        if let Some(check) = &found.reverse_path {
            let mode = reverse_path::mode(self.scene.stack(site), spot.link);
            let verdict = step::reverse_path(self.scene.stack(site), check);
            draft.say(self.scene, site, What::ReversePath { link: self.name(spot), mode, verdict });
        }
        match (found.fate, &found.decision.verdict) {
            (Fate::Deliver, _) => self.deliver(site, draft),
            (Fate::Forward, Verdict::Route(chosen)) => {
                draft.say(self.scene, site, step::route(self.scene.stack(site), &found.decision));
                let hop = chosen.hops.first().cloned().unwrap_or_default();
                draft.flow.oif = hop.link;
                if let Some(next) = self.hook(site, FwHook::Forward, draft) {
                    return next;
                }
                self.leave(site, hop.via, draft)
            }
            (Fate::Disbelieve, _) => {
                let check = found.reverse_path.unwrap_or(reverse_path::ReversePath::Off);
                let source = draft.flow.src;
                Next::lost(site, Cause::ReversePath { link: spot.link, source, check })
            }
            (Fate::NotForwarding, _) => {
                Next::lost(site, Cause::NotForwarding { link: spot.link, dst: draft.flow.dst })
            }
            (Fate::Martian, _) => Next::lost(site, Cause::Martian { flow: draft.flow.clone() }),
            (_, verdict) => Next::lost(site, Cause::of_verdict(verdict, &draft.flow)),
        }
    }

    fn deliver(&mut self, site: usize, draft: &mut Draft) -> Next {
        if let Some(next) = self.hook(site, FwHook::Input, draft) {
            return next;
        }
        draft.say(self.scene, site, What::Delivered { to: draft.flow.dst });
        Next::Ends(End::Arrived(site))
    }

    /// Behind routing: the last hook, the neighbour, the wire.
    fn leave(&mut self, site: usize, via: Option<IpAddr>, draft: &mut Draft) -> Next {
        if let Some(next) = self.hook(site, FwHook::Postrouting, draft) {
            return next;
        }
        let Some(link) = draft.flow.oif else {
            return Next::lost(site, Cause::NoRoute { dst: draft.flow.dst });
        };
        let spot = Spot { site, link };
        draft.left_by.push(spot);
        let hop = via.unwrap_or(draft.flow.dst);
        let mut segment = wire::sent_by(self.scene, spot);
        draft.doubts.extend(segment.notes.iter().cloned());
        let entry = neighbour::known(self.scene, spot, hop);
        let mac = entry.and_then(|entry| entry.mac);
        let text = mac.map(|mac| mac.to_string());
        draft.say(self.scene, site, What::Neighbour { link: self.name(spot), ip: hop, mac: text });
        if let Some(next) = self.wrap(spot, mac, &mut segment, draft) {
            return next;
        }
        if mac.is_none() || !neighbour::is_set(self.scene, spot, hop) {
            self.say_rivals(hop, &segment, draft);
        }
        let receiver = neighbour::receiver(self.scene, spot, hop, &segment);
        if let Some(next) = self.cross_to(&receiver, spot, mac, &segment, draft) {
            return next;
        }
        match receiver {
            Receiver::Here(there) => {
                let (from, to) = (self.scene.describe(spot), self.scene.describe(there));
                draft.say(self.scene, site, What::Crosses { from, to });
                Next::Comes(there)
            }
            Receiver::Beyond(open) => {
                draft.say(self.scene, open.site, What::Leaves { link: self.name(open) });
                Next::Ends(End::Left(open))
            }
            Receiver::Nobody(silence) => {
                let down = segment.notes.iter().any(|note| note.ends_with("is down"));
                let stale = match silence {
                    Silence::Stale(mac) => Some(mac),
                    Silence::NoAnswer => None,
                    Silence::Parent => return Next::lost(site, Cause::Parent { link, hop }),
                };
                Next::lost(site, Cause::NoNeighbour { link, hop, stale, down })
            }
        }
    }

    /// Over the bridges that are on the way to who takes the frame.
    fn cross_to(
        &mut self,
        receiver: &Receiver,
        from: Spot,
        mac: Option<Mac>,
        segment: &wire::Segment,
        draft: &mut Draft,
    ) -> Option<Next> {
        let there = match receiver {
            Receiver::Here(there) | Receiver::Beyond(there) => *there,
            Receiver::Nobody(_) => return None,
        };
        let own = |spot: Spot| self.scene.link(spot).and_then(|link| link.fact.mac);
        let to = mac.or_else(|| own(there).filter(|_| matches!(receiver, Receiver::Here(_))));
        self.bridged(segment.crossings(there), Frame { from: own(from), to }, draft)
    }

    /// Several links that answer for the next hop: which of them the packet comes by is chance.
    fn say_rivals(&self, hop: IpAddr, segment: &wire::Segment, draft: &mut Draft) {
        let rivals = neighbour::rivals(self.scene, hop, segment);
        let [first, _, ..] = rivals.as_slice() else { return };
        let all: Vec<String> = rivals.iter().map(|spot| self.scene.describe(*spot)).collect();
        let name = self.name(*first);
        draft.doubts.push(format!(
            "{} all answer for {hop}, and it is chance by which the packet comes (sysctl -w net.ipv4.conf.{name}.arp_ignore=1 and its like make each link answer for its own addresses)",
            all.join(" and ")
        ));
    }

    fn name(&self, spot: Spot) -> String {
        self.scene.stack(spot.site).name_of(spot.link)
    }
}

impl Draft {
    fn new(flow: Flow) -> Self {
        Self {
            steps: Vec::new(),
            flow,
            left_by: Vec::new(),
            came_by: Vec::new(),
            doubts: Vec::new(),
            reroutes: false,
        }
    }

    fn say(&mut self, scene: &Scene, site: usize, what: What) {
        self.steps.push(Step { site: scene.sites[site].name.clone(), what });
    }

    fn doubt(&mut self, scene: &Scene, site: usize, doubts: &[String]) {
        let name = &scene.sites[site].name;
        self.doubts.extend(doubts.iter().map(|doubt| format!("{name}: {doubt}")));
    }

    fn end(self, end: End) -> Way {
        let Self { steps, flow, left_by, came_by, mut doubts, reroutes: _ } = self;
        doubts.dedup();
        Way { steps, end, flow, left_by, came_by, doubts }
    }
}
