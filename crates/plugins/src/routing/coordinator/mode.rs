//! Which plan an interface gets: overlay or underlay, the first call or a later one, and its table (spec/coordinator.md 4.3).

use polynic_cni::Error;
use polynic_net::{IfName, LinkFact, TABLE_MAIN};

use super::config::{Mode, Settings};
use crate::Call;
use crate::routing::cable;
use crate::routing::draft::Draft;
use crate::routing::view::View;

/// The plan's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Underlay,
    Overlay,
}

/// What is known of the call before its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    /// Whether no call for another interface of the pod came before.
    pub(super) first: bool,
    pub(super) table: u32,
}

impl Layout {
    pub(super) fn find(
        settings: &Settings,
        call: &Call<'_>,
        view: View<'_>,
        draft: &Draft,
    ) -> Result<Self, Error> {
        let has_cable = view.pod.link(&cable::pod_end()).is_some();
        let is_first_nic = call.ifname == settings.first_nic;
        let kind = match settings.mode {
            Mode::Underlay => Kind::Underlay,
            Mode::Overlay => Kind::Overlay,
            _ if is_first_nic || has_cable => Kind::Underlay,
            _ => Kind::Overlay,
        };
        match kind {
            Kind::Underlay if !is_first_nic && !has_cable => Err(call.error(underlay_text(call, settings))),
            Kind::Overlay if is_first_nic || has_cable => {
                Err(call.error(overlay_text(call, settings, is_first_nic)))
            }
            Kind::Underlay => Ok(Self::underlay(call, view, draft, is_first_nic)),
            Kind::Overlay => Ok(Self::overlay(call, view, draft)),
        }
    }

    fn underlay(call: &Call<'_>, view: View<'_>, draft: &Draft, first: bool) -> Self {
        let meant = if first { 101 } else { links(call, view) + 98 };
        // The first call puts the ways to the node into the table that the second interface will have.
        let cable = cable::pod_end();
        let table = if first { meant } else { free(draft, call, meant, &cable) };
        Self { kind: Kind::Underlay, first, table }
    }

    fn overlay(call: &Call<'_>, view: View<'_>, draft: &Draft) -> Self {
        let links = links(call, view);
        // Two links are the overlay's and this one. Where there are more (somebody else's), the traces of a call tell.
        let first = links == 2 || !has_traces(view);
        let meant = if first { 101 } else { links + 99 };
        let dv = overlay_link();
        Self { kind: Kind::Overlay, first, table: free(draft, call, meant, &dv) }
    }
}

/// The overlay's link in the pod.
pub(super) fn overlay_link() -> IfName {
    match IfName::new("eth0") {
        Ok(name) => name,
        Err(_) => unreachable!("four letters are a valid name"),
    }
}

/// How many links of the pod can carry an interface's traffic; the interface itself will be up.
fn links(call: &Call<'_>, view: View<'_>) -> u32 {
    let counts = |l: &&LinkFact| (l.up || l.name == call.ifname) && l.broadcast && l.multicast && !l.loopback;
    u32::try_from(view.pod.links.iter().filter(counts).count()).unwrap_or(u32::MAX / 2)
}

/// Whether there are rules, or routes in tables other than main, which a pod does not have by itself.
fn has_traces(view: View<'_>) -> bool {
    let ours = |table: u32| (100..253).contains(&table) || table > 255;
    view.pod.rules.iter().any(|r| ours(r.table)) || view.pod.routes.iter().any(|r| ours(r.table))
}

/// The table that is meant, unless another interface has it.
fn free(draft: &Draft, call: &Call<'_>, meant: u32, dv: &IfName) -> u32 {
    draft.free_table(meant.min(TABLE_MAIN - 2), |route| {
        let through_node = route.link.as_ref() == Some(dv) && !route.is_default();
        !through_node && route.link.as_ref() != Some(&call.ifname)
    })
}

fn underlay_text(call: &Call<'_>, settings: &Settings) -> String {
    format!(
        "when creating interface {} in underlay mode, it detects that the auxiliary interface {} was not created by \
         previous interface. please enable coordinator plugin in previous interface",
        call.ifname, settings.first_nic
    )
}

fn overlay_text(call: &Call<'_>, settings: &Settings, is_first_nic: bool) -> String {
    let found = if is_first_nic {
        format!("it is the pod's first interface {}", settings.first_nic)
    } else {
        "the auxiliary interface veth0 of underlay mode exists".to_owned()
    };
    format!("when creating interface {} in overlay mode, it detects that {found}", call.ifname)
}
