//! Which rule, table and route a packet takes: the kernel's own algorithm over a [`Stack`].
//!
//! It follows net/core/fib_rules.c, net/ipv4/fib_trie.c and fib_semantics.c, and net/ipv6/route.c. The test `agreement` compares it with
//! the kernel on thousands of random cases. Where the kernel decides by a hash or by what it alone remembers, all that it may choose is
//! given.

mod rule;
mod source;
mod v4;
mod v6;

use std::net::IpAddr;

use polynic_net::Family;
use polynic_net::stack::{FibKind, FibRoute, Hop, PolicyRule, RuleAction, Stack};

use crate::flow::Flow;
pub use rule::Match;
pub use source::source_on;

/// Index of the loopback link in every namespace (net/core/dev.h, `LOOPBACK_IFINDEX`).
pub const LOOPBACK: u32 = 1;

/// What came of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Tables that were asked before and knew nothing (or were told not to answer), with the rule that asked.
    pub asked: Vec<(PolicyRule, u32)>,
    /// What it is.
    pub verdict: Verdict,
    /// What was guessed on the way, in words.
    pub doubts: Vec<String>,
}

/// How a lookup ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A route was found.
    Route(Box<Chosen>),
    /// Nothing was found or all was refused, and the sender insists on a link: IPv4 then takes the destination to be on that link.
    AssumedOnLink {
        /// The link.
        link: u32,
        /// The source address that it gets.
        source: Option<IpAddr>,
    },
    /// A rule refuses.
    RefusedByRule(Box<PolicyRule>),
    /// A route refuses.
    RefusedByRoute(Box<PolicyRule>, Box<FibRoute>),
    /// Nothing was found.
    NoRoute,
    /// The source is no address of this host.
    StrangeSource(IpAddr),
    /// The link that the sender insists on is down or gone.
    LinkDown(u32),
}

/// A route that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The rule that led to it.
    pub rule: PolicyRule,
    /// The route.
    pub route: FibRoute,
    /// The next hops that the kernel may choose: one, or one of these.
    pub hops: Vec<Hop>,
    /// The source address that the packet has or gets.
    pub source: Option<IpAddr>,
}

/// A packet of this host, or one that came in: what rules, tables and routes say.
pub fn lookup(stack: &Stack, flow: &Flow) -> Decision {
    let mut decision = Decision { asked: Vec::new(), verdict: Verdict::NoRoute, doubts: Vec::new() };
    decision.verdict = match refusal(stack, flow) {
        Some(verdict) => verdict,
        None => by_rules(stack, flow, Strictness::of(flow), &mut decision),
    };
    let failed = matches!(
        decision.verdict,
        Verdict::NoRoute | Verdict::RefusedByRule(_) | Verdict::RefusedByRoute(..)
    );
    if failed
        && flow.family() == Family::V4
        && flow.iif.is_none()
        && let Some(link) = flow.oif
    {
        let source = flow.src.or_else(|| source::v4(stack, link, None, polynic_net::scope::LINK));
        decision.verdict = Verdict::AssumedOnLink { link, source };
    }
    decision
}

/// What a packet of this host fails on before anybody is asked.
fn refusal(stack: &Stack, flow: &Flow) -> Option<Verdict> {
    if flow.iif.is_some() {
        return None;
    }
    if let Some(link) = flow.oif
        && !stack.link(link).is_some_and(|link| link.fact.up)
    {
        return Some(Verdict::LinkDown(link));
    }
    match flow.src {
        Some(src) if flow.family() == Family::V4 && !stack.owns(src) && !is_loopback(src) => {
            Some(Verdict::StrangeSource(src))
        }
        _ => None,
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// How strictly IPv6 takes the link that the sender named (`RT6_LOOKUP_F_IFACE`): only if it left the source open, or if the destination
/// means something on one link only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strictness(bool);

impl Strictness {
    fn of(flow: &Flow) -> Self {
        let narrow = match flow.dst {
            IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
            IpAddr::V4(_) => false,
        };
        Self(narrow || (flow.iif.is_none() && flow.oif.is_some() && flow.src.is_none()))
    }
}

fn by_rules(stack: &Stack, flow: &Flow, strict: Strictness, decision: &mut Decision) -> Verdict {
    let rules: Vec<&PolicyRule> = stack.rules_of(flow.family()).collect();
    let mut at = 0;
    while let Some(rule) = rules.get(at).copied() {
        at += 1;
        match rule::matches(stack, rule, flow) {
            Match::No => continue,
            Match::Yes => {}
            Match::Unknown(why) => {
                decision.doubts.push(format!("rule \"{rule}\" was passed over: {why}"));
                continue;
            }
        }
        match rule.action {
            RuleAction::Nop => {}
            RuleAction::Goto(target) => {
                // A goto whose target is missing does nothing. Targets lie ahead, so this ends.
                at = rules.iter().position(|r| r.priority == target).filter(|to| *to >= at).unwrap_or(at);
            }
            RuleAction::Table(named) => {
                let Some(table) = rule::table(stack, rule, named, flow) else { continue };
                match in_table(stack, flow, strict, rule, table) {
                    Some(verdict) => return verdict,
                    None => decision.asked.push((rule.clone(), table)),
                }
            }
            _ => return Verdict::RefusedByRule(Box::new(rule.clone())),
        }
    }
    Verdict::NoRoute
}

/// What a table says; nothing if the next rule has to be asked.
fn in_table(
    stack: &Stack,
    flow: &Flow,
    strict: Strictness,
    rule: &PolicyRule,
    table: u32,
) -> Option<Verdict> {
    let (route, hops) = match flow.family() {
        Family::V4 => v4::select(stack, flow, table)?,
        Family::V6 => v6::select(stack, flow, table, strict)?,
    };
    match route.kind {
        FibKind::Throw => return None,
        kind if kind.refuses() => {
            return Some(Verdict::RefusedByRoute(Box::new(rule.clone()), Box::new(route.clone())));
        }
        _ => {}
    }
    if rule::suppresses(stack, rule, route, &hops) {
        return None;
    }
    let (route, hops) = match flow.family() {
        Family::V4 if flow.iif.is_none() => v4::among_defaults(stack, route, hops),
        _ => (route, hops),
    };
    let source = flow.src.or_else(|| source::of_route(stack, flow.dst, route, hops.first()));
    let chosen = Chosen { rule: rule.clone(), route: route.clone(), hops, source };
    Some(Verdict::Route(Box::new(chosen)))
}
