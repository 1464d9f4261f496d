//! From the policies that concern a pod to its table (spec/multi-networkpolicy.md 4).
//!
//! Different from the replaced agent, a policy's chain does not accept whatever claims to come from the pod's own address: packets to
//! oneself go by `lo`, which no policy is about, and the rule would let everybody pass who writes that address into an IPv6 packet.
//! Blocks are flattened, exceptions included, so there are no sets of exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polynic_net::{
    Family, FwBase, FwBody, FwExpr, FwHook, FwKind, FwRules, FwRuleset, FwSet, FwVerdict, IpNet, ip_from_u128,
};

use crate::index::{Held, Options};
use crate::names::{Direction, Names, table};
use crate::pod::Pod;
use crate::pod_table::PodTable;
use crate::policy::PolicyKey;

mod allow;
mod shared;

use allow::Allow;
pub(crate) use shared::{Entries, Parts};
use shared::{Part, Role};

/// Protocol number of ICMP.
const ICMP: u8 = 1;

/// A pod's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The table; absent if no policy concerns the pod.
    pub table: Option<PodTable>,
    /// The policies that concern the pod.
    pub policies: Vec<PolicyKey>,
}

/// A policy that concerns the pod, and the interfaces it is about.
pub(crate) struct Concerned<'a> {
    pub(crate) held: &'a mut Held,
    pub(crate) interfaces: Arc<BTreeSet<String>>,
}

pub(crate) fn render(
    pod: &Pod,
    concerned: Vec<Concerned<'_>>,
    entries: &mut Entries,
    options: &Options,
) -> Rendered {
    if concerned.is_empty() {
        return Rendered::default();
    }
    let policies = concerned.iter().map(|one| one.held.policy.key.clone()).collect();
    let entry = entries.of(&concerned, options);
    let part = |one: Concerned<'_>| (Arc::clone(&one.held.names.hash), one.held.part(pod, one.interfaces));
    Rendered { table: Some(PodTable::new(entry, concerned.into_iter().map(part))), policies }
}

/// What leads packets to the policies' chains.
fn entry(concerned: &[Concerned<'_>], roles: &[Role], options: &Options) -> FwRuleset {
    let mut ruleset = empty();
    for (at, direction) in Direction::BOTH.into_iter().enumerate() {
        let of_direction = concerned.iter().zip(roles).map(|(one, (_, parts))| (&*one.held.names, parts[at]));
        let isolating: Vec<_> = of_direction.filter(|(_, part)| *part != Part::Absent).collect();
        lead(&mut ruleset, direction, &isolating, options);
    }
    ruleset
}

fn empty() -> FwRuleset {
    FwRuleset { table: table(), sets: BTreeMap::new(), chains: BTreeMap::new() }
}

/// The chains that packets of a direction run through before they come to single policies.
///
/// An interface leads there once, however many policies isolate it: what comes to `ingress` never comes back, and the kernel checks all
/// that can follow each jump, so a jump for each policy would cost the square of them.
fn lead(ruleset: &mut FwRuleset, direction: Direction, isolating: &[(&Names, Part)], options: &Options) {
    let leading = isolating.iter().filter(|(_, part)| *part == Part::Leads);
    let into = |(names, _): &(&Names, Part)| {
        rule(vec![arriving(direction, names), jump(direction.chain())], &names.comment)
    };
    let base = FwRules { base: Some(hook(direction)), rules: leading.map(into).collect() };
    ruleset.chains.insert(direction.base().to_owned(), base);
    if isolating.is_empty() {
        return;
    }
    let mut rules = vec![
        rule(vec![FwExpr::KnownConnection, accept()], "known connections"),
        rule(vec![jump(direction.common())], "always allowed"),
    ];
    rules.extend(isolating.iter().map(|(names, _)| rule(vec![jump(&names.chain())], &names.comment)));
    rules.push(rule(vec![FwExpr::Verdict(FwVerdict::Drop)], "not allowed by any policy"));
    ruleset.chains.insert(direction.chain().to_owned(), FwRules { base: None, rules });
    let common = FwRules { base: None, rules: common(direction, options) };
    ruleset.chains.insert(direction.common().to_owned(), common);
}

/// Neighbour discovery (133-137) and multicast listeners (130-132, 143): without them an IPv6 address is of no use, and connection
/// tracking does not know them.
fn common(direction: Direction, options: &Options) -> Vec<FwBody> {
    let types = |first, last, comment| rule(vec![FwExpr::Icmpv6Types { first, last }, accept()], comment);
    let mut rules = vec![
        types(130, 137, "multicast listeners, neighbour discovery"),
        types(143, 143, "multicast listeners"),
    ];
    if options.accept_icmp {
        let ipv4 = FwExpr::Src { net: IpNet::new_assert(ip_from_u128(Family::V4, 0), 0), not: false };
        rules.push(rule(vec![ipv4, FwExpr::Protocol(ICMP), accept()], "ICMP"));
    }
    if options.accept_icmpv6 {
        rules.push(types(0, 255, "ICMPv6"));
    }
    let custom = match direction {
        Direction::Ingress => &options.custom_ingress,
        Direction::Egress => &options.custom_egress,
    };
    rules.extend(custom.0.iter().map(|exprs| rule(exprs.clone(), "custom rule")));
    rules
}

/// Chain and sets of one policy, as a pod with these interfaces needs them.
pub(crate) fn part(held: &mut Held, pod: &Pod, interfaces: &BTreeSet<String>) -> FwRuleset {
    let names = held.names.clone();
    let mut ruleset = empty();
    ruleset.sets.insert(names.interfaces(), FwSet::Links(interfaces.clone()));
    let (mut rules, families) = (Vec::new(), held.families());
    for direction in Direction::BOTH {
        let count = held.policy.rules(direction).map_or(0, <[_]>::len);
        for at in 0..count {
            let ruleset = &mut ruleset;
            let mut allow = Allow { names: &names, direction, at, interfaces, pod, families, ruleset };
            rules.extend(allow.rules(held));
        }
    }
    ruleset.chains.insert(names.chain(), FwRules { base: None, rules });
    ruleset
}

/// On one of the policy's interfaces.
fn arriving(direction: Direction, names: &Names) -> FwExpr {
    match direction {
        Direction::Ingress => FwExpr::IifIn(names.interfaces()),
        Direction::Egress => FwExpr::OifIn(names.interfaces()),
    }
}

fn hook(direction: Direction) -> FwBase {
    let hook = match direction {
        Direction::Ingress => FwHook::Input,
        Direction::Egress => FwHook::Output,
    };
    FwBase { kind: FwKind::Filter, hook, priority: 0 }
}

fn rule(exprs: Vec<FwExpr>, comment: &str) -> FwBody {
    FwBody { exprs, comment: comment.to_owned() }
}

fn accept() -> FwExpr {
    FwExpr::Verdict(FwVerdict::Accept)
}

fn jump(chain: &str) -> FwExpr {
    FwExpr::Verdict(FwVerdict::Jump(chain.to_owned()))
}

#[cfg(test)]
mod tests;
