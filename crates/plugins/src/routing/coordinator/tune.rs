//! `tunePodRoutes`: which interface keeps the pod's default route in main, and which get tables of their own
//! (spec/coordinator.md 4.7).
//!
//! Decided for each family by itself. An interface without a default route never takes the pod's away; one that is
//! to have it and is not there yet gets it when it comes.

use polynic_net::{Family, IfName, IpNet};

use super::config::Settings;
use super::mode::{Kind, Layout};
use super::reply_path;
use crate::routing::draft::{Draft, Selector};
use crate::routing::moves::{Keep, Move};
use crate::routing::view::{View, single};

/// What the interface is.
pub(super) struct Nic<'a> {
    pub(super) name: &'a IfName,
    pub(super) addresses: &'a [IpNet],
    pub(super) families: &'a [Family],
    pub(super) layout: Layout,
}

/// Plans rules first, then routes, families in turn.
pub(super) fn tune(draft: &mut Draft, settings: &Settings, view: View<'_>, nic: &Nic<'_>) {
    // Without any other default route there is nothing to choose between.
    if nic.families.iter().all(|family| view.default_link(*family, nic.name).is_none()) {
        return;
    }
    for family in nic.families.iter().copied() {
        Tuning { draft: &mut *draft, view, nic, family }.run(settings);
    }
}

struct Tuning<'a, 'd> {
    draft: &'d mut Draft,
    view: View<'a>,
    nic: &'a Nic<'a>,
    family: Family,
}

impl Tuning<'_, '_> {
    fn run(&mut self, settings: &Settings) {
        let wanted = settings.default_route_nic.as_ref() == Some(self.nic.name);
        let brings_default = self.view.defaults(self.family, self.nic.name).next().is_some();
        match self.view.default_link(self.family, self.nic.name).cloned() {
            Some(holder) if wanted && brings_default => self.holder_gives_way(&holder),
            holder => self.nic_gives_way(holder),
        }
    }

    fn holder_gives_way(&mut self, holder: &IfName) {
        self.rules_from(&self.view.pod_addresses(holder), self.nic.layout.table);
        self.draft.move_routes(self.job(holder));
    }

    fn nic_gives_way(&mut self, holder: Option<IfName>) {
        self.rules_from(self.nic.addresses, self.nic.layout.table);
        if let Some(holder) = holder.as_ref().filter(|_| self.is_first_overlay()) {
            self.rules_from(&self.view.pod_addresses(holder), reply_path::TABLE);
            let job = Move { table: reply_path::TABLE, ..self.job(holder) };
            self.draft.copy_defaults(job);
        }
        let job = self.job(self.nic.name);
        match holder {
            Some(_) => self.draft.move_routes(job),
            // The only default route of the family: it stays in main, too.
            None => self.draft.copy_routes(job),
        }
    }

    fn is_first_overlay(&self) -> bool {
        self.nic.layout.first && self.nic.layout.kind == Kind::Overlay
    }

    fn job<'l>(&self, link: &'l IfName) -> Move<'l> {
        Move { link, family: self.family, table: self.nic.layout.table, keep: Keep::Essence }
    }

    fn rules_from(&mut self, addresses: &[IpNet], table: u32) {
        for net in addresses.iter().filter(|net| Family::of(net.addr()) == self.family) {
            self.draft.add_rule(self.family, Selector::from(single(net.addr())), table);
        }
    }
}
