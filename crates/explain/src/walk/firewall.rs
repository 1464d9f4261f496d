//! The firewall's hooks on the way.

use polynic_net::FwHook;

use super::{Draft, Next, Walker, What};
use crate::firewall::{Links, pass};
use crate::loss::Cause;

impl Walker<'_> {
    /// Sends the packet through a hook; how the way goes on if it does not come through.
    pub(super) fn hook(&mut self, site: usize, hook: FwHook, draft: &mut Draft) -> Option<Next> {
        let links = Links { iif: draft.flow.iif, oif: draft.flow.oif, frame: None };
        self.hook_with(site, hook, links, draft)
    }

    /// The same with links that are not those of the packet's way: a bridge's.
    pub(super) fn hook_with(
        &mut self,
        site: usize,
        hook: FwHook,
        links: Links,
        draft: &mut Draft,
    ) -> Option<Next> {
        let stack = self.scene.stack(site);
        let passage = pass(stack, hook, links, &mut draft.flow, &mut self.connections[site]);
        for effect in passage.effects {
            draft.say(self.scene, site, What::Firewall { hook: word(hook), effect });
        }
        draft.doubt(self.scene, site, &passage.doubts);
        draft.reroutes = passage.reroutes;
        passage.dropped.map(|place| Next::lost(site, Cause::Firewall { hook: word(hook), place }))
    }
}

/// A hook's name as `nft` prints it.
fn word(hook: FwHook) -> &'static str {
    match hook {
        FwHook::Prerouting => "prerouting",
        FwHook::Input => "input",
        FwHook::Forward => "forward",
        FwHook::Output => "output",
        FwHook::Postrouting => "postrouting",
    }
}
