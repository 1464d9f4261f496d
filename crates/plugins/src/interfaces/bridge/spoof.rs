//! `macspoofchk`: the pod may send only with its own hardware address. Objects of spec/plugins.md 1.1, in the bridge family.

use polynic_net::{
    Change, Diff, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable,
    FwVerdict, IfName, Mac, Needs, NsFacts, Object, Place, Plan,
};

use crate::Call;

const PREROUTING: &str = "PREROUTING";

fn table() -> FwTable {
    FwTable::new(FwFamily::Bridge, "nat")
}

pub(super) fn needs() -> Needs {
    let mut needs = Needs::default();
    needs.host.firewall.push(table());
    needs
}

fn chains(call: &Call<'_>) -> [String; 2] {
    let iface = format!("cni-br-iface-{}-{}", call.container_id(), call.ifname);
    let mac = format!("{iface}-mac");
    [iface, mac]
}

fn comment(call: &Call<'_>) -> String {
    format!("macspoofchk-{}-{}", call.container_id(), call.ifname)
}

fn rule(call: &Call<'_>, chain: &str, exprs: Vec<FwExpr>) -> FwRule {
    let position = FwPosition::Last;
    FwRule { table: table(), chain: chain.to_owned(), position, exprs, comment: comment(call) }
}

/// Plans the shared table and base chain, and the attachment's own chains and rules.
pub(super) fn setup(plan: &mut Plan, call: &Call<'_>, host_end: &IfName, mac: Mac) {
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Prerouting, priority: -300 };
    let shared = [
        FwObject::Table(table()),
        FwObject::Chain(FwChain { table: table(), name: PREROUTING.to_owned(), base: Some(base) }),
    ];
    for object in shared {
        plan.ensure(Change::add_firewall(Place::Host, object));
    }
    for object in own_objects(call, host_end, mac) {
        plan.own(Change::add_firewall(Place::Host, object));
    }
}

fn own_objects(call: &Call<'_>, host_end: &IfName, mac: Mac) -> Vec<FwObject> {
    let [iface, mac_chain] = chains(call);
    let chain = |name: &str| FwObject::Chain(FwChain { table: table(), name: name.to_owned(), base: None });
    let jump = |to: &str| FwExpr::Verdict(FwVerdict::Jump(to.to_owned()));
    let own = vec![FwExpr::EtherSrc(mac), FwExpr::Verdict(FwVerdict::Return)];
    // Rules are told apart by chain and comment, and this chain has two.
    let mut last = rule(call, &mac_chain, vec![FwExpr::Verdict(FwVerdict::Drop)]);
    last.comment = second(&last.comment);
    vec![
        chain(&mac_chain),
        chain(&iface),
        FwObject::Rule(rule(call, &mac_chain, own)),
        FwObject::Rule(last),
        FwObject::Rule(rule(call, &iface, vec![jump(&mac_chain)])),
        FwObject::Rule(rule(call, PREROUTING, vec![FwExpr::Iif(host_end.to_string()), jump(&iface)])),
    ]
}

/// The comment of the second rule of a chain.
fn second(comment: &str) -> String {
    format!("{comment}-drop")
}

/// What is there of this attachment: rules before the chains they jump to.
pub(super) fn leftovers(call: &Call<'_>, host: &NsFacts) -> Vec<Change> {
    let names = chains(call);
    let comment = comment(call);
    let is_rule = |o: &&FwObject| matches!(o, FwObject::Rule(r) if (r.comment == comment || r.comment == second(&comment)) && (r.chain == PREROUTING || names.contains(&r.chain)));
    let is_chain =
        |o: &&FwObject| matches!(o, FwObject::Chain(c) if c.table == table() && names.contains(&c.name));
    let rules = host.firewall.iter().filter(is_rule);
    let chains = host.firewall.iter().filter(is_chain);
    rules
        .chain(chains)
        .map(|o| Change { place: Place::Host, object: Object::Firewall(Diff::delete(o.clone())) })
        .collect()
}
