//! Policy routing rules.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use polynic_net::{Diff, Family, Rule};

use super::destination::Seen;
use super::route::family;
use super::space::Space;
use super::{Wanted, facts, wanted};
use crate::netlink::Fault;

impl Space {
    pub(super) fn change_rule(&mut self, diff: &Diff<Rule>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(rule)) => self.add_rule(rule),
            Some(Wanted::Delete(rule)) => self.delete_rule(rule),
            Some(Wanted::Replace(before, after)) => {
                self.add_rule(after)?;
                self.delete_rule(before)
            }
            None => Ok(()),
        }
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<(), Fault> {
        self.route.change(RouteNetlinkMessage::NewRule(message(rule)), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn delete_rule(&mut self, rule: &Rule) -> Result<(), Fault> {
        self.route.change(RouteNetlinkMessage::DelRule(message(rule)), 0)
    }

    /// All rules of a family, or of both.
    pub(super) fn rules(&mut self, of: Option<Family>) -> Result<Vec<Seen>, Fault> {
        let mut message = RuleMessage::default();
        message.header.family = of.map(family).unwrap_or_default();
        self.route.dump(RouteNetlinkMessage::GetRule(message), seen)
    }
}

fn seen(payload: &[u8]) -> Option<Seen> {
    let family = facts::family_of(*payload.first()?)?;
    Some(Seen { family, priority: facts::rule_priority(payload), rule: facts::rule(payload) })
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.family);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or_default();
    let list = &mut message.attributes;
    list.push(RuleAttribute::Priority(rule.priority));
    if rule.table > u8::MAX.into() {
        list.push(RuleAttribute::Table(rule.table));
    }
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix_len();
        list.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        list.push(RuleAttribute::Destination(to.addr()));
    }
    list.extend(rule.iif.as_ref().map(|iif| RuleAttribute::Iifname(iif.to_string())));
    if let Some((mark, mask)) = rule.mark {
        list.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    message
}
