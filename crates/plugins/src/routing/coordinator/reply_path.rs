//! Replies through the cable to what came through it, whatever the destination (spec/coordinator.md 4.6).
//!
//! Connections that the node opens through `veth0` get a mark, packets of theirs from the pod get it again, and a rule sends
//! marked packets back. One bit of the mark is ours; the others stay as they are. The rules are of nf_tables, in a table of
//! our own, and see both families.

use polynic_net::{
    Change, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable, IfName,
    NsFacts, Place,
};

use crate::routing::draft::Draft;

/// The bit.
pub(super) const MARK: (u32, u32) = (0x1, 0x1);
/// The table of marked packets.
pub(super) const TABLE: u32 = 100;
/// Where iptables' `mangle` stands (`NF_IP_PRI_MANGLE`): after connection tracking, before addresses are rewritten.
const MANGLE: i32 = -150;
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";

/// The firewall table in the pod.
pub(super) fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, "polynic_coordinator")
}

/// Plans the firewall's part, unless it is there.
pub(super) fn mark(draft: &mut Draft, pod: &NsFacts, cable: &IfName) {
    if pod.firewall.contains(&FwObject::Table(table())) {
        return;
    }
    for object in objects(cable) {
        draft.plan.own(Change::add_firewall(Place::Pod, object));
    }
}

fn objects(cable: &IfName) -> Vec<FwObject> {
    let (value, mask) = MARK;
    let new = vec![FwExpr::Iif(cable.to_string()), FwExpr::NewConnection, FwExpr::SetMark { value, mask }];
    let save = vec![FwExpr::Mark { value, mask }, FwExpr::SetConnectionMark { value, mask }];
    let restore = vec![FwExpr::ConnectionMark { value, mask }, FwExpr::SetMark { value, mask }];
    vec![
        FwObject::Table(table()),
        chain(PREROUTING, FwKind::Filter, FwHook::Prerouting),
        // Of type route: the mark decides about the way, so the way is looked for again.
        chain(OUTPUT, FwKind::Route, FwHook::Output),
        rule(PREROUTING, "polynic: new connections from the node", new),
        rule(PREROUTING, "polynic: remember them", save),
        rule(OUTPUT, "polynic: replies go back to the node", restore),
    ]
}

fn chain(name: &str, kind: FwKind, hook: FwHook) -> FwObject {
    let base = FwBase { kind, hook, priority: MANGLE };
    FwObject::Chain(FwChain { table: table(), name: name.into(), base: Some(base) })
}

fn rule(chain: &str, comment: &str, exprs: Vec<FwExpr>) -> FwObject {
    let (chain, comment) = (chain.into(), comment.into());
    FwObject::Rule(FwRule { table: table(), chain, position: FwPosition::Last, exprs, comment })
}
