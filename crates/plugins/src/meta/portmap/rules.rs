//! The firewall objects: tables of each family with chains that all attachments share, and rules of each attachment's own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use polynic_net::{
    Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable,
    FwVerdict, IpNet,
};

use super::config::{Config, Mapping};
use crate::{Call, comment};

/// Where destinations are rewritten.
pub(super) const HOSTPORTS: &str = "hostports";
/// Where sources are.
pub(super) const MASQUERADING: &str = "masquerading";
const ALL: &str = "hostports_all";
/// Priorities of the hooks (`dstnat` and `srcnat` of nft; locally made packets have the same as `dstnat`).
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;

/// The table of a family.
pub(super) fn table(family: Family) -> FwTable {
    let family = match family {
        Family::V4 => FwFamily::Ip,
        Family::V6 => FwFamily::Ip6,
    };
    FwTable::new(family, "cni_hostport")
}

/// Makes the objects for one address of a pod.
pub(super) struct Rules<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) config: &'a Config,
    /// The address, with its network's prefix.
    pub(super) pod: IpNet,
}

impl Rules<'_> {
    fn family(&self) -> Family {
        Family::of(self.pod.addr())
    }

    fn rule(&self, chain: &str, exprs: Vec<FwExpr>, comment: String) -> FwRule {
        let (table, position) = (table(self.family()), FwPosition::Last);
        FwRule { table, chain: chain.to_owned(), position, exprs, comment }
    }

    /// What must be there before any rule of an attachment.
    pub(super) fn shared(&self) -> Vec<FwObject> {
        let chain = |name: &str, base| {
            FwObject::Chain(FwChain { table: table(self.family()), name: name.to_owned(), base })
        };
        let nat = |hook, priority| Some(FwBase { kind: FwKind::Nat, hook, priority });
        let jump = |from: &str, matches: &[FwExpr], to: &str, comment: &str| {
            let verdict = FwExpr::Verdict(FwVerdict::Jump(to.to_owned()));
            let exprs = matches.iter().cloned().chain([verdict]).collect();
            FwObject::Rule(self.rule(from, exprs, comment.to_owned()))
        };
        let local = "polynic: to this node";
        let mut objects = vec![
            FwObject::Table(table(self.family())),
            chain(HOSTPORTS, None),
            chain(ALL, None),
            jump(ALL, &[], HOSTPORTS, "polynic: attachments"),
            chain("prerouting", nat(FwHook::Prerouting, DSTNAT)),
            jump("prerouting", &[FwExpr::DstIsLocal], ALL, local),
            chain("output", nat(FwHook::Output, DSTNAT)),
            jump("output", &[FwExpr::DstIsLocal], ALL, local),
        ];
        objects.extend(self.config.snat.then(|| chain(MASQUERADING, nat(FwHook::Postrouting, SRCNAT))));
        objects
    }

    /// The rules of these mappings.
    pub(super) fn own<'m>(&self, mappings: impl Iterator<Item = &'m Mapping>) -> Vec<FwRule> {
        mappings.flat_map(|m| std::iter::once(self.rewrite(m)).chain(self.masquerade(m))).collect()
    }

    fn rewrite(&self, mapping: &Mapping) -> FwRule {
        let mut exprs = self.config.conditions(self.family()).to_vec();
        exprs.extend(mapping.host_ip.map(|ip| FwExpr::Dst { net: ip.into(), not: false }));
        exprs.push(FwExpr::Protocol(mapping.transport.number()));
        exprs.push(FwExpr::DstPort(mapping.host_port));
        exprs.push(FwExpr::Dnat(SocketAddr::new(self.pod.addr(), mapping.container_port)));
        self.rule(HOSTPORTS, exprs, comment::about(self.call, &name(mapping)))
    }

    /// From where a mapped connection gets a source that the pod's answer comes back to: the pod itself and its neighbours, who
    /// would be answered directly, and the node's 127.0.0.1.
    fn sources(&self) -> Vec<Option<IpNet>> {
        match (self.config.snat, self.config.masq_all, self.pod) {
            (false, ..) => Vec::new(),
            (true, true, _) => vec![None],
            (true, false, IpNet::V4(net)) => {
                vec![Some(net.trunc().into()), Some(IpAddr::from(Ipv4Addr::LOCALHOST).into())]
            }
            (true, false, IpNet::V6(net)) => vec![Some(net.trunc().into())],
        }
    }

    fn masquerade(&self, mapping: &Mapping) -> Vec<FwRule> {
        let rule = |source: Option<IpNet>| {
            let from = source.map_or_else(|| "anywhere".to_owned(), |net| net.to_string());
            let mut exprs: Vec<FwExpr> =
                source.map(|net| FwExpr::Src { net, not: false }).into_iter().collect();
            exprs.extend([
                FwExpr::Dst { net: self.pod.addr().into(), not: false },
                FwExpr::Protocol(mapping.transport.number()),
                FwExpr::DestinationRewritten,
                FwExpr::OriginalDstPort(mapping.host_port),
                FwExpr::Masquerade,
            ]);
            let what = format!("{} from {from}", name(mapping));
            self.rule(MASQUERADING, exprs, comment::about(self.call, &what))
        };
        self.sources().into_iter().map(rule).collect()
    }
}

/// A mapping as comments name it.
fn name(mapping: &Mapping) -> String {
    match mapping.host_ip {
        Some(ip) => format!("{} {}", mapping.transport, SocketAddr::new(ip, mapping.host_port)),
        None => format!("{} {}", mapping.transport, mapping.host_port),
    }
}
