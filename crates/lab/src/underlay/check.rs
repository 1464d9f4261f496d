//! What a shape must keep to.

use ipnet::Ipv4Net;

use super::{FIRST_NODE, MAX_NODES, link_name};
use crate::error::{Error, Result};
use crate::shape::{Shape, Underlay};

/// A network of the nodes: large enough, and apart from all others.
pub fn underlay(underlay: &Underlay, nodes: u16, shape: &Shape, others: &[Underlay]) -> Result<()> {
    let net = underlay.v4;
    let refuse = |why: String| Err(Error::Input(format!("underlay {net}: {why}")));
    if let Some(nic) = &underlay.nic {
        link_name(nic)?;
    }
    let highest =
        underlay.numbers.iter().copied().chain([FIRST_NODE + u32::from(nodes)]).max().unwrap_or_default();
    let room = u32::from(net.broadcast()) - u32::from(net.network());
    if net.prefix_len() < 8 || net.prefix_len() > 30 || room < highest {
        return refuse(format!("{nodes} nodes with addresses from .{FIRST_NODE} up do not fit"));
    }
    let taken = [(shape.pods.v4, "the pods"), (shape.services.v4, "Services")];
    if let Some((other, whose)) = taken.iter().find(|(other, _)| overlap(net, *other)) {
        return refuse(format!("overlaps {other}, which is for {whose}"));
    }
    let partly = |host: &&crate::shape::Host| overlap(net, host.v4.trunc()) && net != host.v4.trunc();
    if let Some(host) = shape.hosts.iter().find(partly) {
        return refuse(format!("overlaps {}, which is for the host {}", host.v4.trunc(), host.name));
    }
    match others.iter().find(|other| overlap(net, other.v4)) {
        Some(other) => refuse(format!("overlaps underlay {}", other.v4)),
        None => Ok(()),
    }
}

/// The networks of pods and Services.
pub fn cluster(nodes: u16, shape: &Shape) -> Result<()> {
    let refuse = |why: String| Err(Error::Input(why));
    let (pods, services) = (shape.pods, shape.services);
    if overlap(pods.v4, services.v4) {
        return refuse(format!("the pods' network {} overlaps the Services' {}", pods.v4, services.v4));
    }
    for cidrs in [Some(pods), shape.node_cidrs].into_iter().flatten() {
        let last = Ipv4Net::new_assert(cidrs.v4.broadcast(), 32);
        let [part, _] = cidrs.part(nodes);
        if !ipnet::IpNet::V4(cidrs.v4).contains(&part) || cidrs.v6.prefix_len() > 56 {
            return refuse(format!(
                "{} (to {}) and {} have no /24 and /64 for each of {nodes} nodes (at most {MAX_NODES})",
                cidrs.v4,
                last.addr(),
                cidrs.v6
            ));
        }
    }
    Ok(())
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
