//! A packet that a namespace sends itself: routing first, then the firewall, which may make routing look again.

use polynic_net::stack::FibKind;
use polynic_net::{Family, FwHook};

use super::step;
use super::{Draft, Next, Walker, What};
use crate::flow::TCP;
use crate::lookup::{Decision, Verdict, lookup};
use crate::loss::Cause;

impl Walker<'_> {
    pub(super) fn send(&mut self, site: usize, draft: &mut Draft) -> Next {
        let wanted = draft.flow.oif;
        let decision = self.route(site, draft);
        let hop = match way_out(&decision) {
            Some(hop) => hop,
            None => return Next::lost(site, Cause::of_verdict(&decision.verdict, &draft.flow)),
        };
        let before = draft.flow.clone();
        draft.flow.oif = hop.link;
        if let Some(next) = self.hook(site, FwHook::Output, draft) {
            return next;
        }
        let again = draft.flow.dst != before.dst || draft.reroutes;
        let (decision, hop) = if again {
            draft.flow.oif = wanted;
            let decision = self.route(site, draft);
            match way_out(&decision) {
                Some(hop) => (decision, hop),
                None => return Next::lost(site, Cause::of_verdict(&decision.verdict, &draft.flow)),
            }
        } else {
            (decision, hop)
        };
        draft.flow.oif = hop.link;
        if is_local(&decision) {
            draft.flow.iif = Some(crate::lookup::LOOPBACK);
            draft.flow.oif = None;
            return self.deliver(site, draft);
        }
        self.leave(site, hop.via, draft)
    }

    /// Looks up the way and fixes the source. A TCP connection of IPv4 looks once more when it knows its source (net/ipv4/route.h,
    /// `ip_route_connect`): rules about sources then see it. Everything else keeps the first answer.
    fn route(&self, site: usize, draft: &mut Draft) -> Decision {
        let stack = self.scene.stack(site);
        let open_source = draft.flow.src.is_none();
        let mut decision = lookup(stack, &draft.flow);
        draft.flow.src = draft.flow.src.or_else(|| source(&decision));
        if open_source && draft.flow.protocol == TCP && draft.flow.family() == Family::V4 {
            let first = decision;
            decision = lookup(stack, &draft.flow);
            if way_out(&decision).map(|hop| hop.link) != way_out(&first).map(|hop| hop.link) {
                draft.say(self.scene, site, step::route(stack, &first));
                draft.say(self.scene, site, What::LooksAgain { source: draft.flow.src });
            }
        }
        draft.doubt(self.scene, site, &decision.doubts);
        draft.say(self.scene, site, step::route(stack, &decision));
        decision
    }
}

fn source(decision: &Decision) -> Option<std::net::IpAddr> {
    match &decision.verdict {
        Verdict::Route(chosen) => chosen.source,
        Verdict::AssumedOnLink { source, .. } => *source,
        _ => None,
    }
}

fn way_out(decision: &Decision) -> Option<polynic_net::stack::Hop> {
    match &decision.verdict {
        Verdict::Route(chosen) => Some(chosen.hops.first().cloned().unwrap_or_default()),
        Verdict::AssumedOnLink { link, .. } => {
            Some(polynic_net::stack::Hop { link: Some(*link), ..Default::default() })
        }
        _ => None,
    }
}

fn is_local(decision: &Decision) -> bool {
    let local = |kind| matches!(kind, FibKind::Local | FibKind::Anycast | FibKind::Broadcast);
    matches!(&decision.verdict, Verdict::Route(chosen) if local(chosen.route.kind))
}
