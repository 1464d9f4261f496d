//! iptables, where its nf_tables variant keeps its chains: an accept in its FORWARD, and what an upstream daemon left (spec/flannel.md 10, 11).
//!
//! A drop in any table is final, an accept counts in its own chain alone. So where iptables' FORWARD is there, whose policy Docker for one
//! sets to drop, our accepts stand in it as well. Nothing is made where it is not there.

use polynic_kernel::{Kernel, KernelError};
use polynic_net::{
    Change, Diff, Family, FwExpr, FwFamily, FwObject, FwPosition, FwRule, FwTable, FwVerdict, Object, Place,
};

use crate::rules::RuleOptions;
use crate::{Keys, NetConf};

const FORWARD: &str = "FORWARD";
const FILTER: &str = "filter";
const NAT: &str = "nat";

/// What is to stand in FORWARD of either family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForward {
    /// What the instance's comments begin with.
    mark: String,
    rules: Vec<FwRule>,
}

/// The table of a family.
fn table(family: Family, name: &str) -> FwTable {
    let of = match family {
        Family::V4 => FwFamily::Ip,
        Family::V6 => FwFamily::Ip6,
    };
    FwTable::new(of, name)
}

/// iptables' tables beside tables of our own.
pub(crate) fn tables(own: &[FwTable]) -> impl Iterator<Item = FwTable> {
    own.iter().map(|own| FwTable::new(own.family, FILTER))
}

/// The rules of an instance.
pub(crate) fn wanted(keys: &Keys, conf: &NetConf, options: RuleOptions) -> InForward {
    let mark = match keys.instance() {
        Some(instance) => format!("flanneld {instance} forward"),
        None => "flanneld forward".to_owned(),
    };
    let is_on = options.forward && !conf.without_iptables;
    let networks = conf.networks.iter().filter(|_| is_on);
    let rules = networks.flat_map(|(family, network)| {
        let net = *network;
        let ways = [("from", FwExpr::Src { net, not: false }), ("to", FwExpr::Dst { net, not: false })];
        ways.map(|(way, end)| accept(family, end, format!("{mark} {way} {net}")))
    });
    let rules = rules.collect();
    InForward { mark, rules }
}

fn accept(family: Family, end: FwExpr, comment: String) -> FwRule {
    let exprs = vec![end, FwExpr::Verdict(FwVerdict::Accept)];
    FwRule {
        table: table(family, FILTER),
        chain: FORWARD.to_owned(),
        position: FwPosition::Last,
        exprs,
        comment,
    }
}

impl InForward {
    /// What has to change, from what was seen in the tables.
    pub(crate) fn changes(&self, seen: &[FwObject]) -> Vec<Change> {
        [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| self.changes_in(&table(family, FILTER), seen))
            .collect()
    }

    fn changes_in(&self, table: &FwTable, seen: &[FwObject]) -> Vec<Change> {
        let is_there = |object: &FwObject| match object {
            FwObject::Chain(chain) => chain.table == *table && chain.name == FORWARD && chain.base.is_some(),
            _ => false,
        };
        if !seen.iter().any(is_there) {
            return Vec::new();
        }
        let own: Vec<&FwRule> = seen.iter().filter_map(|object| self.own(object, table)).collect();
        let wanted: Vec<&FwRule> = self.rules.iter().filter(|rule| rule.table == *table).collect();
        if own.iter().map(|rule| &rule.comment).eq(wanted.iter().map(|rule| &rule.comment)) {
            return Vec::new();
        }
        let change = |diff| Change { place: Place::Host, object: Object::Firewall(diff) };
        let of = |rule: &FwRule| FwObject::Rule(rule.clone());
        let gone = own.into_iter().map(|rule| change(Diff::delete(of(rule))));
        gone.chain(wanted.into_iter().map(|rule| change(Diff::create(of(rule))))).collect()
    }

    fn own<'o>(&self, object: &'o FwObject, table: &FwTable) -> Option<&'o FwRule> {
        let FwObject::Rule(rule) = object else { return None };
        let words = rule.comment.strip_prefix(&self.mark)?;
        let says_so = words.starts_with(" from ") || words.starts_with(" to ");
        (says_so && rule.table == *table && rule.chain == FORWARD).then_some(rule)
    }
}

/// Takes away the chains that an upstream daemon made with iptables, and the jumps to them; answers how many chains there were. Ours have
/// to be in force by then.
pub(crate) fn clear_upstreams(kernel: &mut dyn Kernel, conf: &NetConf) -> Result<usize, KernelError> {
    let mut is_upstreams = |name: &str| ["FLANNEL-POSTRTG", "FLANNEL-FWD"].contains(&name);
    let mut count = 0;
    for family in conf.networks.families() {
        for name in [NAT, FILTER] {
            count += kernel.remove_chains(Place::Host, &table(family, name), &mut is_upstreams)?;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use polynic_net::{FwBase, FwChain, FwHook, FwKind};

    use super::*;
    use crate::DEFAULT_PREFIX;

    const ALL: RuleOptions = RuleOptions { forward: true, masquerade: true, random: true };

    fn conf(more: &str) -> NetConf {
        let text = format!(r#"{{"Network": "10.233.0.0/16", {more} "Backend": {{"Type": "vxlan"}}}}"#);
        NetConf::parse(text.as_bytes()).unwrap()
    }

    fn forward() -> FwObject {
        let base = Some(FwBase { kind: FwKind::Filter, hook: FwHook::Forward, priority: 0 });
        FwObject::Chain(FwChain { table: table(Family::V4, FILTER), name: FORWARD.to_owned(), base })
    }

    fn texts(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn accepts_stand_where_iptables_is_and_nowhere_else() {
        let keys = Keys::new(DEFAULT_PREFIX).unwrap();
        let wanted = wanted(&keys, &conf(""), ALL);
        assert_eq!(wanted.changes(&[]), []);
        assert_eq!(wanted.changes(&[forward()]).len(), 2, "{:?}", texts(&wanted.changes(&[forward()])));
        let mut there = vec![forward()];
        there.extend(wanted.rules.iter().cloned().map(FwObject::Rule));
        assert_eq!(wanted.changes(&there), []);
        // Without the last one both are written again, in their order; others' rules stay.
        there.pop();
        let jump = FwRule { comment: "flanneld forward".to_owned(), ..wanted.rules[0].clone() };
        there.push(FwObject::Rule(jump));
        assert_eq!(wanted.changes(&there).len(), 3);
    }

    #[test]
    fn who_wants_no_iptables_gets_none_and_instances_do_not_touch_each_other() {
        let keys = Keys::new(DEFAULT_PREFIX).unwrap();
        let none = wanted(&keys, &conf(r#""EnableNFTables": true,"#), ALL);
        let other = wanted(&Keys::new("net.acme.io/b").unwrap(), &conf(""), ALL);
        let mut there = vec![forward()];
        there.extend(other.rules.iter().cloned().map(FwObject::Rule));
        assert_eq!(none.changes(&there), []);
        there.extend(wanted(&keys, &conf(""), ALL).rules.into_iter().map(FwObject::Rule));
        assert_eq!(none.changes(&there).len(), 2, "they were wanted once");
        assert_eq!(other.changes(&there), []);
    }
}
