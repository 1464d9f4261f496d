//! A bridge that still has the gateway of the subnet the node had before.
//!
//! When a node gets another podCIDR, `bridge` would refuse new pods: its IPv4 address is not the gateway it wants (spec/flannel.md 12.8).
//! Pods that run use the old gateway, so it stays, and the new one is put beside it before the delegate looks.

use polynic_cni::{Error, GoMap, JsonMap};
use polynic_flannel::SubnetFile;
use polynic_net::{Address, Change, IfName, IpNet, Needs, NsFacts, Place};

use crate::Context;

/// The bridge of a delegate that names none (spec/plugins.md 1.1).
const DEFAULT_BRIDGE: &str = "cni0";

/// Gives the bridge the gateway's address if it has another one of the kind.
///
/// # Errors
/// The kernel cannot be asked, or refuses the address.
pub(super) fn prepare(context: &Context<'_>, delegate: &JsonMap, subnet: &SubnetFile) -> Result<(), Error> {
    let Some(bridge) = gateway_bridge(delegate) else { return Ok(()) };
    let failed = |why: String| Error::internal(format!("cannot prepare bridge {bridge}: {why}"));
    let mut kernel = context.door.open(None).map_err(|e| failed(e.to_string()))?;
    let mut needs = Needs::default();
    needs.host.link(&bridge);
    let facts = kernel.observe(&needs).map_err(|e| failed(e.to_string()))?;
    if facts.host.link(&bridge).is_none() {
        return Ok(());
    }
    needs.host.addresses.push(bridge.clone());
    let facts = kernel.observe(&needs).map_err(|e| failed(e.to_string()))?;
    let Some(address) = missing_gateway(&bridge, &facts.host, subnet) else { return Ok(()) };
    match kernel.apply(&Change::add_address(Place::Host, address)) {
        // Somebody was faster.
        Err(e) if e.is_stale() => Ok(()),
        done => done.map_err(|e| failed(e.to_string())),
    }
}

/// The bridge that the delegate makes a gateway.
fn gateway_bridge(delegate: &JsonMap) -> Option<IfName> {
    let keys = GoMap(delegate);
    let is_gateway = ["isGateway", "isDefaultGateway"].iter().any(|key| keys.bool(key) == Ok(Some(true)));
    // With a VLAN the gateway is on a link of its own; with forceAddress the user wants the old one gone.
    let other = keys.int("vlan") != Ok(None) && keys.int("vlan") != Ok(Some(0))
        || keys.bool("forceAddress") == Ok(Some(true));
    if keys.string("type") != Ok("bridge") || !is_gateway || other {
        return None;
    }
    let name = keys.string("bridge").unwrap_or_default();
    IfName::new(if name.is_empty() { DEFAULT_BRIDGE } else { name }).ok()
}

/// The IPv4 gateway's address, where the bridge has another IPv4 address and not this one.
fn missing_gateway(bridge: &IfName, host: &NsFacts, subnet: &SubnetFile) -> Option<Address> {
    let gateway = subnet.gateway(polynic_net::Family::V4)?;
    let mut present = host.addresses_of(bridge).filter(|a| matches!(a.net, IpNet::V4(_))).peekable();
    present.peek()?;
    present.all(|a| a.net != gateway).then(|| Address::new(bridge, gateway))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_bridge_that_is_a_gateway_is_prepared() {
        let bridge = |value: serde_json::Value| {
            gateway_bridge(value.as_object().unwrap()).map(|name| name.to_string())
        };
        assert_eq!(bridge(json!({"type": "bridge", "isGateway": true})).as_deref(), Some("cni0"));
        assert_eq!(
            bridge(json!({"type": "bridge", "isDefaultGateway": true, "bridge": "cni9"})).as_deref(),
            Some("cni9")
        );
        for other in [
            json!({"type": "bridge", "isGateway": false}),
            json!({"type": "macvlan", "isGateway": true}),
            json!({"type": "bridge", "isGateway": true, "vlan": 7}),
            json!({"type": "bridge", "isGateway": true, "forceAddress": true}),
        ] {
            assert_eq!(bridge(other.clone()), None, "{other}");
        }
    }
}
