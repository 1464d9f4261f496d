//! CHECK by prevResult: what every main plugin compares (spec/plugins.md 0.4).
//!
//! Unlike the replaced plugins, routes are looked for in every table, so that a later plugin may have moved them.

use polynic_cni::{Error, Ip, Success};
use polynic_net::{Facts, LinkFact, Needs, NsFacts, RouteKind};

use crate::Call;

/// What the comparison must know.
pub(crate) fn needs(call: &Call<'_>) -> Needs {
    let mut needs = Needs::default();
    needs.pod.link(&call.ifname);
    needs.pod.addresses.push(call.ifname.clone());
    needs.pod.routes = true;
    needs
}

/// The interface that prevResult promises must be there, of this kind, with this MAC. Answers it.
pub(crate) fn interface<'a>(
    call: &Call<'_>,
    prev: &Success,
    facts: &'a Facts,
    kind: &str,
) -> Result<&'a LinkFact, Error> {
    let netns = &call.invocation.netns;
    let promised = prev.interfaces.iter().find(|i| i.name == call.ifname.as_str() && i.sandbox == *netns);
    let Some(promised) = promised else {
        return Err(call.error(format!("Sandbox in prevResult  doesn't match configured netns: {netns}")));
    };
    let Some(link) = facts.pod.as_ref().and_then(|pod| pod.link(&call.ifname)) else {
        return Err(call.error(format!("Container Interface name in prevResult: {} not found", call.ifname)));
    };
    if link.kind != kind {
        return Err(call.error(format!("Container interface {} not of type {kind}", call.ifname)));
    }
    let mac = link.mac.map(|m| m.to_string()).unwrap_or_default();
    if !promised.mac.is_empty() && !promised.mac.eq_ignore_ascii_case(&mac) {
        let text =
            format!("Interface {} Mac {} doesn't match container Mac: {mac}", call.ifname, promised.mac);
        return Err(call.error(text));
    }
    Ok(link)
}

/// Every address and route of prevResult must be there.
pub(crate) fn addresses_and_routes(call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
    let empty = NsFacts::default();
    let pod = facts.pod.as_ref().unwrap_or(&empty);
    for ip in prev.ips.iter().filter(|ip| is_ours(call, prev, ip)) {
        if !pod.addresses_of(&call.ifname).any(|a| a.net == ip.address) {
            return Err(
                call.error(format!("Failed to match addr {} on interface {}", ip.address, call.ifname))
            );
        }
        let reachable =
            |r: &polynic_net::Route| r.dst == ip.address.trunc() || r.dst.contains(&ip.address.addr());
        if ip.address.prefix_len() < ip.address.max_prefix_len() && !pod.routes.iter().any(reachable) {
            return Err(
                call.error(format!("Failed to find Gateway {} for interface {}", ip.address, call.ifname))
            );
        }
    }
    for route in &prev.routes {
        let found = pod.routes.iter().filter(|r| r.kind == RouteKind::Unicast).any(|r| {
            let table = route.table.is_none_or(|t| t == 0 || t == r.table);
            // Of default routes only the existence is tested: another plugin may have put a better one in front.
            let hop = r.is_default() || route.gw.is_none() || route.gw == r.gw;
            r.dst == route.dst.trunc() && table && hop
        });
        if !found {
            return Err(call.error(format!("Expected Route {} not found in routing table", route.dst)));
        }
    }
    Ok(())
}

/// Addresses without interface, or of this one.
fn is_ours(call: &Call<'_>, prev: &Success, ip: &Ip) -> bool {
    let named = ip.interface.and_then(|index| prev.interfaces.get(index));
    named.is_none_or(|i| i.name == call.ifname.as_str())
}
