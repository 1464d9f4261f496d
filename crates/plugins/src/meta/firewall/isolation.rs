//! `ingressPolicy`: which bridges' pods may send to which (spec/plugins.md 3.4). The chains of the replaced plugin
//! (`CNI-ISOLATION-STAGE-1` and `-2`), in a table of our own, with both families in one.

use polynic_net::{
    FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable, FwVerdict,
};

const FORWARD: &str = "forward";
const STAGE_2: &str = "to_other_bridges";

/// Who may send to the pods of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Everybody.
    Open,
    /// Not the pods of other bridges with a policy.
    SameBridge,
    /// Nor those of the same.
    Isolated,
}

impl Policy {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text {
            "" | "open" => Ok(Self::Open),
            "same-bridge" => Ok(Self::SameBridge),
            "isolated" => Ok(Self::Isolated),
            other => Err(format!("unknown ingress policy: {other:?}")),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::SameBridge => "same-bridge",
            Self::Isolated => "isolated",
        }
    }

    /// What must be there for a bridge. It is all its attachments', and stays.
    pub(super) fn objects(self, bridge: &str) -> Vec<FwObject> {
        let comment =
            |policy: &str| format!("CNI firewall plugin rules (ingressPolicy: {policy}), bridge {bridge}");
        let (iif, oif) = (FwExpr::Iif(bridge.to_owned()), FwExpr::Oif(bridge.to_owned()));
        let drop = FwExpr::Verdict(FwVerdict::Drop);
        let within = vec![iif.clone(), oif.clone(), drop.clone()];
        let onwards = vec![
            iif,
            FwExpr::NotOif(bridge.to_owned()),
            FwExpr::Verdict(FwVerdict::Jump(STAGE_2.to_owned())),
        ];
        let mut objects = match self {
            Self::Open => return Vec::new(),
            Self::SameBridge | Self::Isolated => chains(),
        };
        objects.push(rule(STAGE_2, vec![oif, drop], comment("same-bridge|isolated")));
        objects.push(rule(FORWARD, onwards, comment("same-bridge|isolated")));
        if self == Self::Isolated {
            objects.push(rule(FORWARD, within, comment("isolated")));
        }
        objects
    }
}

/// The table of all bridges.
pub(super) fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, "cni_isolation")
}

fn chains() -> Vec<FwObject> {
    let chain = |name: &str, base| FwObject::Chain(FwChain { table: table(), name: name.to_owned(), base });
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Forward, priority: 0 };
    vec![FwObject::Table(table()), chain(FORWARD, Some(base)), chain(STAGE_2, None)]
}

fn rule(chain: &str, exprs: Vec<FwExpr>, comment: String) -> FwObject {
    let (table, position) = (table(), FwPosition::Last);
    FwObject::Rule(FwRule { table, chain: chain.to_owned(), position, exprs, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_three_names() {
        for policy in [Policy::Open, Policy::SameBridge, Policy::Isolated] {
            assert_eq!(Policy::read(policy.as_str()), Ok(policy));
        }
        assert_eq!(Policy::read("closed"), Err("unknown ingress policy: \"closed\"".to_owned()));
    }

    #[test]
    fn rules_of_two_bridges_differ_and_an_open_one_has_none() {
        let of = |bridge| Policy::Isolated.objects(bridge);
        let same = of("a").iter().filter(|o| of("b").iter().any(|other| other.same_identity(o))).count();
        assert_eq!(same, chains().len());
        assert_eq!(Policy::Open.objects("a"), []);
    }
}
