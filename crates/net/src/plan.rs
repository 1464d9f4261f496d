//! Plans: what an attachment does to the kernel, in order, with whose each change is.

use serde::{Deserialize, Serialize};

use crate::implied::{dies_with, links_created};
use crate::{Attr, AttrChange, Change, IfName, Object, Place};

/// The format number written with every stored plan. A reader that meets another number must not interpret the plan.
pub const PLAN_FORMAT: u32 = 1;

/// Whose a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stake {
    /// This attachment's alone: DEL takes it back.
    Owned,
    /// Shared with others (a bridge, forwarding, base chains): made if missing, never taken back by DEL; a failing ADD
    /// takes it back only if it made it, under the lock it has held since.
    Ensured,
    /// Somebody else's, and nobody's to keep (a setting of another pod's link): done once, if that is still there. Neither CHECK nor a
    /// repeated ADD looks for it, DEL leaves it; a failing ADD takes it back, as above.
    Once,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose it is.
    pub stake: Stake,
    /// What it does.
    pub change: Change,
}

/// An ordered list of steps. See ARCHITECTURE.md, "Plans, attempts and records".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_FORMAT`] of the writer.
    pub format: u32,
    /// The steps, in the order of execution.
    pub steps: Vec<Step>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { format: PLAN_FORMAT, steps: Vec::new() }
    }
}

impl Plan {
    /// Appends a change that belongs to this attachment.
    pub fn own(&mut self, change: Change) {
        self.steps.push(Step { stake: Stake::Owned, change });
    }

    /// Appends a change to something shared.
    pub fn ensure(&mut self, change: Change) {
        self.steps.push(Step { stake: Stake::Ensured, change });
    }

    /// Appends a change to what is somebody else's.
    pub fn once(&mut self, change: Change) {
        self.steps.push(Step { stake: Stake::Once, change });
    }

    /// Whether it changes anything that attachments of other pods share, and so needs the node's lock of shared objects for
    /// itself. What a pod's own attachments share is guarded by the lock of the pod's records.
    pub fn touches_shared(&self) -> bool {
        let shared = |s: &Step| s.stake != Stake::Owned && s.change.place == Place::Host;
        self.steps.iter().any(|s| shared(s) && !matches!(s.change.object, Object::Wait(_)))
    }

    /// The links that it makes in a place or brings there, each once.
    pub fn links_in(&self, place: Place) -> Vec<IfName> {
        let mut links: Vec<IfName> = Vec::new();
        for step in &self.steps {
            let moved = match &step.change.object {
                Object::Move(moved) => Some((step.change.place, moved.name.clone())),
                _ => None,
            };
            let new = links_created(&step.change).into_iter().chain(moved);
            let new = new.filter(|(at, _)| *at == place).map(|(_, name)| name);
            links.extend(new.filter(|name| !links.contains(name)).collect::<Vec<_>>());
        }
        links
    }

    /// What removes the owned changes of an applied plan, in order: each inverse, last first, without those whose
    /// effect dies with a link that is deleted anyway. Before all else go settings of virtual functions, in an order of their own:
    /// drivers refuse to let a function's link be reset that was distrusted first (spec/sriov.md 5).
    pub fn teardown(&self) -> Vec<Change> {
        teardown(self.steps.iter().filter(|s| s.stake == Stake::Owned).map(|s| &s.change))
    }

    /// What removes the first `count` steps, for an attempt that failed after them. Of those that are not owned only those are
    /// taken back for which `made` says that this attempt made them.
    pub fn undo(&self, count: usize, made: impl Fn(usize) -> bool) -> Vec<Change> {
        let done = self.steps.iter().enumerate().take(count);
        teardown(done.filter(|(i, s)| s.stake == Stake::Owned || made(*i)).map(|(_, s)| &s.change))
    }
}

fn teardown<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Change> {
    let changes: Vec<&Change> = changes.collect();
    let doomed: Vec<_> = changes.iter().flat_map(|c| links_created(c)).collect();
    let mut inverse: Vec<Change> = changes
        .into_iter()
        .rev()
        .filter(|c| !doomed.iter().any(|(place, name)| dies_with(c, *place, name)))
        .filter_map(|c| c.clone().inverse())
        .collect();
    inverse.sort_by_key(turn_back);
    inverse
}

fn turn_back(change: &Change) -> u8 {
    match &change.object {
        Object::Attr(AttrChange { after: Attr::Vf { attr, .. }, .. }) => attr.turn_back(),
        _ => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Address, Family, Link, LinkKind, LinkRef, Mac, Route, Rule, Sysctl, SysctlKey, Veth, VfAttr, VfVlan,
        Wait,
    };

    fn name(s: &str) -> IfName {
        IfName::new(s).unwrap()
    }

    fn veth() -> Change {
        let peer = Veth { place: Place::Host, name: name("veth1"), mac: None, mtu: None };
        Change::create_link(Place::Pod, Link::new(name("net1"), LinkKind::Veth(peer)))
    }

    fn rule() -> Rule {
        Rule { family: Family::V4, priority: 9, from: None, to: None, iif: None, mark: None, table: 101 }
    }

    #[test]
    fn deleting_a_pair_takes_both_ends_state_with_it() {
        let mut plan = Plan::default();
        plan.own(veth());
        plan.own(Change::up(Place::Host, &name("veth1")));
        plan.own(Change::add_address(
            Place::Pod,
            Address::new(&name("net1"), "10.0.0.2/24".parse().unwrap()),
        ));
        plan.own(Change::add_route(Place::Host, Route::new("10.0.0.2/32".parse().unwrap(), &name("veth1"))));
        plan.own(Change::wait(Place::Pod, Wait::Dad { link: name("net1") }));
        assert_eq!(plan.teardown(), [veth().inverse().unwrap()]);
    }

    #[test]
    fn state_of_other_links_is_taken_back_in_reverse() {
        let mut plan = Plan::default();
        let old = Sysctl { key: SysctlKey::conf("ipv6", &name("lo"), "disable_ipv6"), value: "1".into() };
        let sysctl = Change::sysctl(Place::Pod, old, "0");
        plan.own(sysctl.clone());
        plan.own(veth());
        plan.own(Change::add_rule(Place::Pod, rule()));
        let expected = [Change::add_rule(Place::Pod, rule()), veth(), sysctl].map(|c| c.inverse().unwrap());
        assert_eq!(plan.teardown(), expected);
    }

    #[test]
    fn a_link_of_the_same_name_elsewhere_keeps_its_state() {
        let mut plan = Plan::default();
        let foreign =
            Change::add_address(Place::Host, Address::new(&name("net1"), "10.0.0.2/24".parse().unwrap()));
        plan.own(veth());
        plan.own(foreign.clone());
        assert_eq!(plan.teardown(), [foreign.inverse().unwrap(), veth().inverse().unwrap()]);
    }

    #[test]
    fn shared_changes_survive_teardown_and_are_undone_only_by_their_maker() {
        let bridge = Link::new(name("cni0"), LinkKind::Bridge { vlan_filtering: false });
        let create = Change::create_link(Place::Host, bridge);
        let mut plan = Plan::default();
        plan.ensure(create.clone());
        assert!(plan.touches_shared());
        assert_eq!(plan.teardown(), []);
        assert_eq!(plan.undo(1, |_| false), []);
        assert_eq!(plan.undo(1, |_| true), [create.inverse().unwrap()]);
        assert_eq!(plan.undo(0, |_| true), []);
    }

    /// A function's settings go back before its link is touched, and its link goes home under its old name.
    #[test]
    fn functions_are_reset_before_their_links() {
        let vf = |attr: VfAttr| Attr::Vf { index: 3, attr };
        let settings = [
            (VfAttr::Vlan(VfVlan::default()), VfAttr::Vlan(VfVlan { id: 7, ..VfVlan::default() })),
            (VfAttr::Mac(Mac([0; 6])), VfAttr::Mac(Mac([2; 6]))),
            (VfAttr::SpoofCheck(true), VfAttr::SpoofCheck(false)),
            (VfAttr::Trust(false), VfAttr::Trust(true)),
        ];
        let [vlan, mac, spoof, trust] =
            settings.map(|(old, new)| Change::unsteady(Place::Host, &name("pf"), vf(old), vf(new)));
        let home = LinkRef { place: Place::Host, name: name("pf3") };
        let moved = Change::lend_link(home, Place::Pod, &name("net1"), name("temp_9"));
        let mut plan = Plan::default();
        for change in [&vlan, &mac, &spoof, &trust, &moved] {
            plan.own(change.clone());
        }
        assert_eq!(plan.teardown(), [vlan, spoof, mac, trust, moved].map(|c| c.inverse().unwrap()));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn plans_survive_storage() {
        let mut plan = Plan::default();
        plan.own(veth());
        plan.ensure(Change::add_rule(Place::Host, rule()));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
