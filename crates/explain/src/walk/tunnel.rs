//! Tunnels: where a VXLAN sends a frame, and by which way the packet goes that it is wrapped in.

use polynic_net::{Mac, VxlanFact};

use super::{Draft, Next, Walker, What};
use crate::flow::{Flow, UDP};
use crate::lookup::{Verdict, lookup};
use crate::loss::Cause;
use crate::scene::Spot;
use crate::wire::Segment;

impl Walker<'_> {
    /// Wraps a frame that leaves by a VXLAN: it comes out where its outer packet is for. How the way ends if that leads nowhere. Silent about
    /// other links, and where nobody has set the other end.
    pub(super) fn wrap(
        &self,
        spot: Spot,
        mac: Option<Mac>,
        segment: &mut Segment,
        draft: &mut Draft,
    ) -> Option<Next> {
        let vxlan = self.scene.link(spot)?.fact.vxlan.as_ref()?;
        let stack = self.scene.stack(spot.site);
        let of_tunnel = || stack.forwarding.iter().filter(|entry| entry.link == spot.link);
        let entry = mac.and_then(|mac| of_tunnel().find(|entry| entry.mac == mac));
        let floods = of_tunnel().any(|entry| entry.mac == Mac([0; 6]));
        let remote = match (entry.map(|entry| entry.dst).or_else(|| only_end(vxlan)), mac) {
            (Some(remote), _) => remote,
            (None, Some(mac)) if !floods && !vxlan.learning && vxlan.remote.is_none() => {
                return Some(Next::lost(spot.site, Cause::NoTunnelEnd { link: spot.link, mac }));
            }
            _ => return None,
        };
        let outer =
            Flow { src: vxlan.local, protocol: UDP, port: Some(vxlan.port), ..Flow::to(remote, None) };
        let Verdict::Route(chosen) = lookup(stack, &outer).verdict else {
            let verdict = lookup(stack, &outer).verdict;
            return Some(Next::lost(spot.site, Cause::of_verdict(&verdict, &outer)));
        };
        let hop = chosen.hops.first().cloned().unwrap_or_default();
        let wraps = What::Wraps {
            link: self.name(spot),
            vni: vxlan.vni,
            port: vxlan.port,
            from: vxlan.local.or(chosen.source),
            to: remote,
            by: hop.link.map(|link| stack.name_of(link)),
            next_hop: hop.via,
        };
        draft.say(self.scene, spot.site, wraps);
        segment.ends.retain(|end| self.scene.stack(end.site).owns(remote));
        None
    }
}

/// The other end of a tunnel that has one for all frames.
fn only_end(vxlan: &VxlanFact) -> Option<std::net::IpAddr> {
    vxlan.remote.filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
}
