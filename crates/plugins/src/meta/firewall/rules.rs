//! The rules in iptables' chain FORWARD.

use std::net::IpAddr;

use polynic_net::{
    Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable,
    FwVerdict,
};

use crate::{Call, comment};

/// Where the attachments' rules are.
pub(super) const CHAIN: &str = "CNI-FORWARD";
const FORWARD: &str = "FORWARD";

/// The table of iptables' filter, as its nf_tables variant calls it.
pub(super) fn table(family: Family) -> FwTable {
    let family = match family {
        Family::V4 => FwFamily::Ip,
        Family::V6 => FwFamily::Ip6,
    };
    FwTable::new(family, "filter")
}

fn rule(family: Family, chain: &str, position: FwPosition, exprs: Vec<FwExpr>, comment: String) -> FwRule {
    FwRule { table: table(family), chain: chain.to_owned(), position, exprs, comment }
}

/// What must be there before any rule of an attachment. The administrator's chain comes first.
pub(super) fn shared(family: Family, admin: &str) -> Vec<FwObject> {
    let chain =
        |name: &str, base| FwObject::Chain(FwChain { table: table(family), name: name.to_owned(), base });
    let jump = |from: &str, to: &str, comment: &str| {
        let exprs = vec![FwExpr::Verdict(FwVerdict::Jump(to.to_owned()))];
        FwObject::Rule(rule(family, from, FwPosition::First, exprs, comment.to_owned()))
    };
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Forward, priority: 0 };
    vec![
        FwObject::Table(table(family)),
        chain(FORWARD, Some(base)),
        chain(CHAIN, None),
        chain(admin, None),
        jump(FORWARD, CHAIN, "CNI firewall plugin rules"),
        jump(CHAIN, admin, "CNI firewall plugin admin overrides"),
    ]
}

/// The rules of one address: what answers it, and whatever it sends.
pub(super) fn own(call: &Call<'_>, ip: IpAddr) -> [FwRule; 2] {
    let accept = FwExpr::Verdict(FwVerdict::Accept);
    let of = |exprs: Vec<FwExpr>, what: String| {
        rule(Family::of(ip), CHAIN, FwPosition::Last, exprs, comment::about(call, &what))
    };
    [
        of(
            vec![FwExpr::Dst { net: ip.into(), not: false }, FwExpr::XtEstablished, accept.clone()],
            format!("replies to {ip}"),
        ),
        of(vec![FwExpr::Src { net: ip.into(), not: false }, accept], format!("from {ip}")),
    ]
}
