//! Masquerading of a pod's traffic that leaves its network (spec/plugins.md 0.6), in the objects of the nftables backend.

use polynic_cni::Error;
use polynic_net::{
    Change, Diff, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable,
    FwVerdict, IpNet, Needs, NsFacts, Object, Place, Plan,
};

use crate::{Call, comment, iptables};

const CHECKS: &str = "masq_checks";
const POSTROUTING: &str = "postrouting";

/// The table that all attachments share.
pub(crate) fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, "cni_plugins_masquerade")
}

/// Refuses an `ipMasqBackend` that does not exist. Both backends get the objects of the nftables one: what they do to packets is
/// the same (ARCHITECTURE.md, decision 11).
pub(crate) fn check_backend(call: &Call<'_>, backend: &str) -> Result<(), Error> {
    match backend {
        "" | "iptables" | "nftables" => Ok(()),
        other => Err(call.error(format!("unknown ipmasq backend {other:?}"))),
    }
}

/// What [`setup`] and [`leftovers`] must know.
pub(crate) fn needs() -> Needs {
    let mut needs = Needs::default();
    needs.host.firewall.push(table());
    needs
}

/// Plans the shared objects and one rule for each address.
pub(crate) fn setup(plan: &mut Plan, call: &Call<'_>, addresses: &[IpNet]) {
    for object in shared_objects() {
        plan.ensure(Change::add_firewall(Place::Host, object));
    }
    for net in addresses {
        plan.own(Change::add_firewall(Place::Host, FwObject::Rule(rule(call, *net))));
    }
}

fn shared_objects() -> Vec<FwObject> {
    let chain = |name: &str, base| FwObject::Chain(FwChain { table: table(), name: name.to_owned(), base });
    let base = FwBase { kind: FwKind::Nat, hook: FwHook::Postrouting, priority: 100 };
    let multicast = |net: IpNet, comment: &str| {
        let exprs = vec![FwExpr::Dst { net, not: false }, FwExpr::Verdict(FwVerdict::Return)];
        FwObject::Rule(shared_rule(exprs, comment))
    };
    let goto = vec![FwExpr::Verdict(FwVerdict::Goto(CHECKS.to_owned()))];
    vec![
        FwObject::Table(table()),
        chain(CHECKS, None),
        chain(POSTROUTING, Some(base)),
        multicast(v4_multicast(), "polynic: multicast"),
        multicast(v6_multicast(), "polynic: IPv6 multicast"),
        FwObject::Rule(shared_rule(goto, "polynic: attachments")),
    ]
}

fn v4_multicast() -> IpNet {
    IpNet::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0).into(), 4)
}

fn v6_multicast() -> IpNet {
    IpNet::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8)
}

fn shared_rule(exprs: Vec<FwExpr>, comment: &str) -> FwRule {
    FwRule {
        table: table(),
        chain: POSTROUTING.to_owned(),
        position: FwPosition::Last,
        exprs,
        comment: comment.to_owned(),
    }
}

fn rule(call: &Call<'_>, net: IpNet) -> FwRule {
    let host = IpNet::from(net.addr());
    FwRule {
        table: table(),
        chain: CHECKS.to_owned(),
        position: FwPosition::Last,
        exprs: vec![
            FwExpr::Src { net: host, not: false },
            FwExpr::Dst { net: net.trunc(), not: true },
            FwExpr::Masquerade,
        ],
        comment: comment::about(call, &format!("net: {net}")),
    }
}

/// What [`leftovers`] must know.
pub(crate) fn leftover_needs() -> Needs {
    let mut needs = needs();
    iptables::needs(&mut needs);
    needs
}

/// What the replaced plugins' iptables backend leaves.
const IPTABLES: iptables::Chain<'static> =
    iptables::Chain { prefix: "CNI-", from: "POSTROUTING", comment: "" };

/// The rules of this attachment that are there, ours or the replaced plugin's: what a DEL without a record removes.
pub(crate) fn leftovers(call: &Call<'_>, host: &NsFacts) -> Vec<Change> {
    let prefix = comment::prefix(call);
    let ours = host.firewall.iter().filter(
        |object| matches!(object, FwObject::Rule(r) if r.chain == CHECKS && r.comment.starts_with(&prefix)),
    );
    let delete =
        |o: &FwObject| Change { place: Place::Host, object: Object::Firewall(Diff::delete(o.clone())) };
    ours.map(delete).chain(IPTABLES.leftovers(call, host)).collect()
}
