//! The firewalls of the bridges that a frame crosses between two stacks: tables of the family bridge, and where the node hands frames on to
//! them (`bridge-nf-call-iptables`, as Kubernetes' nodes have it), those of IP as well.
//!
//! What asks for hardware addresses crosses them too, and is not followed.

use polynic_net::{Family, FwHook};

use super::{Draft, Next, Walker};
use crate::firewall::{Frame, Links};
use crate::scene::Spot;
use crate::wire::Crossing;

impl Walker<'_> {
    /// Sends a frame over bridges; how the way goes on if it does not come over.
    pub(super) fn bridged(
        &mut self,
        crossings: &[Crossing],
        frame: Frame,
        draft: &mut Draft,
    ) -> Option<Next> {
        crossings.iter().find_map(|crossing| self.cross(crossing, frame, draft))
    }

    fn cross(&mut self, crossing: &Crossing, frame: Frame, draft: &mut Draft) -> Option<Next> {
        let Spot { site, link: bridge } = crossing.bridge;
        for hook in hooks(crossing) {
            let is_in = matches!(hook, FwHook::Prerouting | FwHook::Input | FwHook::Forward);
            let is_out = matches!(hook, FwHook::Forward | FwHook::Output | FwHook::Postrouting);
            let links = Links {
                iif: crossing.from.filter(|_| is_in),
                oif: crossing.to.filter(|_| is_out),
                frame: Some(frame),
            };
            if let Some(next) = self.hook_with(site, *hook, links, draft) {
                return Some(next);
            }
            if self.is_handed_on(crossing, draft) {
                // IP sees the bridge, not its ports (net/bridge/br_netfilter_hooks.c).
                let on = |is: bool| is.then_some(bridge);
                let links = Links { iif: on(is_in), oif: on(is_out), frame: None };
                if let Some(next) = self.hook_with(site, *hook, links, draft) {
                    return Some(next);
                }
            }
        }
        None
    }

    /// Whether IP's tables see what only crosses a bridge. What is for the bridge itself they see anyway.
    fn is_handed_on(&self, crossing: &Crossing, draft: &Draft) -> bool {
        let handed = &self.scene.stack(crossing.bridge.site).over_bridges;
        let of_family = match draft.flow.family() {
            Family::V4 => handed.v4,
            Family::V6 => handed.v6,
        };
        of_family && crossing.from.is_some() && crossing.to.is_some()
    }
}

fn hooks(crossing: &Crossing) -> &'static [FwHook] {
    match (crossing.from, crossing.to) {
        (Some(_), Some(_)) => &[FwHook::Prerouting, FwHook::Forward, FwHook::Postrouting],
        (Some(_), None) => &[FwHook::Prerouting, FwHook::Input],
        (None, Some(_)) => &[FwHook::Output, FwHook::Postrouting],
        (None, None) => &[],
    }
}
