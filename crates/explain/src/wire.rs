//! Where a frame comes out that leaves by a link: through veth pairs, bridges, VLANs and to the children of a macvlan's parent.

use polynic_net::{MacvlanMode, OperState};

use crate::scene::{Scene, Spot};

/// All places that a frame may reach.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Links whose stacks may take it.
    pub ends: Vec<Spot>,
    /// Links by which it leaves what was looked at.
    pub open: Vec<Spot>,
    /// Why it does not come further, and what could not be judged.
    pub notes: Vec<String>,
    /// The bridges that it crosses on its way to each of them.
    crossings: Vec<(Spot, Vec<Crossing>)>,
}

impl Segment {
    /// The bridges on the way to an end, or to a link by which it leaves.
    pub fn crossings(&self, to: Spot) -> &[Crossing] {
        let found = self.crossings.iter().find(|(end, _)| *end == to);
        found.map(|(_, crossings)| crossings.as_slice()).unwrap_or_default()
    }
}

/// A bridge on the way of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The bridge.
    pub bridge: Spot,
    /// The port by which the frame comes in; none for what the bridge's own stack sends.
    pub from: Option<u32>,
    /// The port by which it goes out; none for what is for the bridge's own stack.
    pub to: Option<u32>,
}

/// Where a frame may come out that a stack sends by `from`.
pub fn sent_by(scene: &Scene, from: Spot) -> Segment {
    let mut tour = Tour { scene, seen: Vec::new(), crossings: Vec::new(), found: Segment::default() };
    tour.out(from, None);
    tour.found.ends.retain(|end| *end != from);
    tour.found
}

/// Where a frame may come out that arrives at `at` from outside.
pub fn received_at(scene: &Scene, at: Spot) -> Segment {
    let mut tour = Tour { scene, seen: Vec::new(), crossings: Vec::new(), found: Segment::default() };
    tour.enter(at, None);
    tour.found
}

struct Tour<'a> {
    scene: &'a Scene,
    seen: Vec<(Spot, bool, Option<u16>)>,
    /// The bridges up to here.
    crossings: Vec<Crossing>,
    found: Segment,
}

impl Tour<'_> {
    /// A frame leaves by a link, with the VLAN's number that it carries.
    fn out(&mut self, spot: Spot, tag: Option<u16>) {
        let Some(link) = self.visit(spot, true, tag) else { return };
        match link.fact.kind.as_str() {
            "veth" => match self.scene.peer(spot) {
                Some(peer) => self.enter(peer, tag),
                None => self.leave(spot),
            },
            "macvlan" | "macvtap" | "ipvlan" => self.out_of_child(spot, tag),
            "vlan" => match self.scene.peer(spot) {
                Some(parent) => self.out(parent, link.fact.vlan_id),
                None => self.leave(spot),
            },
            "bridge" => self.ports(spot, None, tag),
            "vxlan" => self.tunnel(spot),
            "ifb" | "dummy" => {}
            _ if link.fact.loopback => {}
            _ => self.leave(spot),
        }
    }

    /// Children of one parent reach each other in bridge mode, and all reach its wire, but never the parent itself.
    fn out_of_child(&mut self, spot: Spot, tag: Option<u16>) {
        let Some(parent) = self.scene.peer(spot) else { return self.leave(spot) };
        let between = |mode: Option<MacvlanMode>| matches!(mode, None | Some(MacvlanMode::Bridge));
        let own = self.scene.link(spot).and_then(|link| link.fact.macvlan_mode);
        if between(own) && tag.is_none() {
            for child in self.children(parent, &["macvlan", "macvtap", "ipvlan"]) {
                if child != spot && between(self.scene.link(child).and_then(|l| l.fact.macvlan_mode)) {
                    self.end(child);
                }
            }
        }
        self.out(parent, tag);
    }

    /// A frame arrives at a link from its wire.
    fn enter(&mut self, spot: Spot, tag: Option<u16>) {
        let Some(link) = self.visit(spot, false, tag) else { return };
        let bridge = link.fact.master.map(|master| Spot { site: spot.site, link: master });
        if let Some(bridge) = bridge.filter(|b| self.scene.link(*b).is_some_and(|l| l.fact.kind == "bridge"))
        {
            if tag.is_none() {
                self.crossings.push(Crossing { bridge, from: Some(spot.link), to: None });
                self.end(bridge);
                self.children(bridge, &["macvlan", "macvtap", "ipvlan"])
                    .into_iter()
                    .for_each(|c| self.end(c));
                self.crossings.pop();
            }
            return self.ports(bridge, Some(spot), tag);
        }
        if tag.is_none() {
            for child in self.children(spot, &["macvlan", "macvtap", "ipvlan"]) {
                self.end(child);
            }
            self.end(spot);
            return;
        }
        for child in self.children(spot, &["vlan"]) {
            if self.scene.link(child).is_some_and(|l| l.fact.vlan_id == tag) {
                self.enter(child, None);
            }
        }
    }

    /// A bridge sends a frame to all ports but the one it came from; isolated ports do not reach each other.
    fn ports(&mut self, bridge: Spot, from: Option<Spot>, tag: Option<u16>) {
        let Some(link) = self.scene.link(bridge) else { return };
        if link.fact.vlan_filtering == Some(true) {
            let name = self.scene.describe(bridge);
            self.found.notes.push(format!("the VLAN filter of {name} is not judged"));
        }
        let isolated = |spot: Spot| self.scene.link(spot).is_some_and(|l| l.fact.isolated == Some(true));
        let ports: Vec<Spot> = self
            .scene
            .spots()
            .filter(|(spot, l)| spot.site == bridge.site && l.fact.master == Some(bridge.link))
            .map(|(spot, _)| spot)
            .filter(|spot| Some(*spot) != from && !(from.is_some_and(isolated) && isolated(*spot)))
            .collect();
        for port in ports {
            self.crossings.push(Crossing { bridge, from: from.map(|from| from.link), to: Some(port.link) });
            self.out(port, tag);
            self.crossings.pop();
        }
    }

    /// A tunnel comes out at the links of its name: they carry its number there.
    fn tunnel(&mut self, spot: Spot) {
        let Some(link) = self.scene.link(spot) else { return };
        let far = |(there, other): (Spot, &polynic_net::stack::LinkState)| {
            let same = other.fact.kind == "vxlan" && other.fact.name == link.fact.name;
            (same && there.site != spot.site).then_some(there)
        };
        let others: Vec<Spot> = self.scene.spots().filter_map(far).collect();
        for other in &others {
            self.end(*other);
        }
        self.leave(spot);
    }

    fn children(&self, parent: Spot, kinds: &[&str]) -> Vec<Spot> {
        let of_kind = self.scene.spots().filter(|(_, link)| kinds.contains(&link.fact.kind.as_str()));
        of_kind.map(|(spot, _)| spot).filter(|spot| self.scene.peer(*spot) == Some(parent)).collect()
    }

    fn end(&mut self, spot: Spot) {
        let up = self.scene.link(spot).is_some_and(|link| link.fact.up);
        if up && !self.found.ends.contains(&spot) {
            self.found.ends.push(spot);
            self.found.crossings.push((spot, self.crossings.clone()));
        }
    }

    /// It leaves what was looked at.
    fn leave(&mut self, spot: Spot) {
        self.found.open.push(spot);
        self.found.crossings.push((spot, self.crossings.clone()));
    }

    /// The link, if it is up and was not passed yet.
    fn visit(&mut self, spot: Spot, out: bool, tag: Option<u16>) -> Option<polynic_net::stack::LinkState> {
        let key = (spot, out, tag);
        if self.seen.contains(&key) {
            return None;
        }
        self.seen.push(key);
        let link = self.scene.link(spot)?;
        let down = !link.fact.up || matches!(link.fact.oper, OperState::LowerLayerDown);
        if down {
            let name = self.scene.describe(spot);
            self.found.notes.push(format!("{name} is down"));
            return None;
        }
        Some(link.clone())
    }
}

#[cfg(test)]
mod tests;
