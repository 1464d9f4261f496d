//! Connections that are there when a table changes. Known connections pass whatever the policies say, so those that a changed table would
//! not let begin are forgotten: their next packet is judged as a first one. Those of TCP are ended as well, because a packet of the pod itself
//! would begin them anew, and its answers pass. All others go on undisturbed.

use std::collections::HashMap;
use std::net::IpAddr;

use polynic_kernel::{Kernel, KernelError};
use polynic_net::{Flow, FwEdit, FwSet, Needs, Place};
use polynic_policy::{Direction, Packet, PodTable, passes};

/// Whether edits may forbid what was allowed before. More addresses in sets allow more, and nothing else does: more interfaces in a set are
/// more that a policy isolates.
pub(super) fn may_tighten(edits: &[FwEdit]) -> bool {
    let allows = |edit: &FwEdit| matches!(edit, FwEdit::AddElements { elements, .. } if !matches!(elements, FwSet::Links(_)));
    edits.iter().any(|edit| !allows(edit))
}

/// Forgets the connections that a table, which is in force by now, would not let begin; answers how many.
///
/// # Errors
/// Addresses or connections cannot be listed.
pub(super) fn cut(kernel: &mut dyn Kernel, table: &PodTable) -> Result<usize, KernelError> {
    let mut needs = Needs::default();
    needs.pod.all_addresses = true;
    let addresses = kernel.observe(&needs)?.pod.unwrap_or_default().addresses;
    let own = addresses.into_iter().map(|fact| (fact.net.addr(), fact.link.to_string())).collect();
    kernel.forget_connections(Place::Pod, &mut |flow| is_forbidden(flow, &own, table))
}

/// Whether a table would not let a connection begin. One between the pod's own addresses, or between others', is none of its business.
fn is_forbidden(flow: &Flow, own: &HashMap<IpAddr, String>, table: &PodTable) -> bool {
    let (direction, interface) = match (own.get(&flow.destination), own.get(&flow.source)) {
        (Some(interface), None) => (Direction::Ingress, interface),
        (None, Some(interface)) => (Direction::Egress, interface),
        _ => return false,
    };
    let first = Packet {
        direction,
        interface: interface.clone(),
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        port: flow.port,
        known: false,
    };
    !passes(table, &first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use polynic_policy::{Attachment, Index, Options, Pod, PodKey, Policy};
    use serde_json::json;

    use super::*;

    /// web-in lets TCP port 80 of the own network's 10.0.0.7 in; nothing is said about what goes out.
    fn table() -> PodTable {
        let mut index = Index::new(Options { node: "n1".into(), ..Options::default() });
        let attachment = Attachment {
            network: "shop/lan".into(),
            interface: "net1".into(),
            addresses: vec!["10.0.0.1".parse().unwrap()],
        };
        let pod = Pod {
            node: "n1".into(),
            selects_networks: true,
            attachments: vec![attachment],
            ..Pod::default()
        };
        index.set_pod(PodKey::new("shop", "web"), pod);
        let rules = json!([{"from": [{"ipBlock": {"cidr": "10.0.0.7/32"}}], "ports": [{"port": 80}]}]);
        let metadata = json!({"name": "in", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/policy-for": "lan"}});
        let policy = json!({"metadata": metadata, "spec": {"podSelector": {}, "ingress": rules}});
        index.set_policy(Policy::parse(&policy));
        index.render(&PodKey::new("shop", "web")).table.unwrap()
    }

    #[test]
    fn only_what_could_not_begin_now_is_forgotten() {
        let own = HashMap::from([
            ("10.0.0.1".parse().unwrap(), "net1".to_owned()),
            ("10.9.0.1".parse().unwrap(), "eth0".to_owned()),
        ]);
        let table = table();
        let forgotten = |source: &str, destination: &str, port| {
            let [source, destination] = [source, destination].map(|ip| ip.parse().unwrap());
            is_forbidden(&Flow { source, source_port: 4000, destination, protocol: 6, port }, &own, &table)
        };
        assert!(!forgotten("10.0.0.7", "10.0.0.1", 80));
        assert!(forgotten("10.0.0.7", "10.0.0.1", 81));
        assert!(forgotten("10.0.0.8", "10.0.0.1", 80));
        // What goes out, what comes by another link, and what is not the pod's.
        assert!(!forgotten("10.0.0.1", "10.0.0.8", 9));
        assert!(!forgotten("10.0.0.8", "10.9.0.1", 80));
        assert!(!forgotten("10.0.0.1", "10.9.0.1", 9));
        assert!(!forgotten("10.0.0.8", "10.0.0.9", 9));
    }

    #[test]
    fn peers_that_come_tighten_nothing() {
        let add = |elements| FwEdit::AddElements { set: "s".into(), elements };
        assert!(may_tighten(&[add(FwSet::Links([].into()))]), "another interface is isolated");
        let add = add(FwSet::Addresses(polynic_net::Family::V4, Arc::default()));
        assert!(!may_tighten(std::slice::from_ref(&add)) && !may_tighten(&[]));
        assert!(may_tighten(&[add, FwEdit::EmptyChain("ingress".into())]));
    }
}
