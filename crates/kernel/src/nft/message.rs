//! The messages that make and remove tables, chains and rules.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, InetHookNumber, NfTablesMessage, RuleAttribute,
    RuleMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use polynic_net::{FwBase, FwChain, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable};

use super::{comment, expr};
use crate::Errno;
use crate::netlink::Fault;

/// On a deletion: only if nothing is in it (include/uapi/linux/netlink.h, `NLM_F_NONREC`).
pub(super) const NLM_F_NONREC: u16 = 0x100;
/// Policy of a base chain that lets packets pass (`NF_ACCEPT`).
const ACCEPT: u32 = 1;

/// The message that makes an object, with its flags.
pub(super) fn create(object: &FwObject) -> Result<(NetfilterMessage, u16), Fault> {
    Ok(match object {
        FwObject::Table(table) => {
            (about(table, NfTablesMessage::NewTable(table_message(table))), NLM_F_CREATE | NLM_F_EXCL)
        }
        FwObject::Chain(chain) => {
            (about(&chain.table, NfTablesMessage::NewChain(new_chain(chain))), NLM_F_CREATE | NLM_F_EXCL)
        }
        FwObject::Rule(rule) => {
            let position = match rule.position {
                FwPosition::First => 0,
                FwPosition::Last => NLM_F_APPEND,
            };
            (about(&rule.table, NfTablesMessage::NewRule(new_rule(rule)?)), NLM_F_CREATE | position)
        }
    })
}

/// The message that removes an object, a rule by its handle.
pub(super) fn delete(object: &FwObject, handle: Option<u64>) -> (NetfilterMessage, u16) {
    match object {
        FwObject::Table(table) => {
            (about(table, NfTablesMessage::DeleteTable(table_message(table))), NLM_F_NONREC)
        }
        FwObject::Chain(chain) => {
            let message = ChainMessage { attributes: chain_name(chain) };
            (about(&chain.table, NfTablesMessage::DeleteChain(message)), NLM_F_NONREC)
        }
        FwObject::Rule(rule) => {
            let mut attributes = rule_place(&rule.table, &rule.chain);
            attributes.extend(handle.map(RuleAttribute::Handle));
            (about(&rule.table, NfTablesMessage::DeleteRule(RuleMessage { attributes })), 0)
        }
    }
}

/// A message about a table's family.
pub(super) fn about(table: &FwTable, message: NfTablesMessage) -> NetfilterMessage {
    let family = match table.family {
        FwFamily::Ip => NetfilterProtoFamily::IPv4,
        FwFamily::Ip6 => NetfilterProtoFamily::IPv6,
        FwFamily::Inet => NetfilterProtoFamily::Inet,
        FwFamily::Bridge => NetfilterProtoFamily::Bridge,
    };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

/// A message that names a table.
pub(super) fn table_message(table: &FwTable) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.name.clone())] }
}

/// The attributes that say which chain.
pub(super) fn chain_name(chain: &FwChain) -> Vec<ChainAttribute> {
    vec![ChainAttribute::Table(chain.table.name.clone()), ChainAttribute::Name(chain.name.clone())]
}

/// The message body that makes a chain.
pub(super) fn new_chain(chain: &FwChain) -> ChainMessage {
    let mut attributes = chain_name(chain);
    if let Some(base) = &chain.base {
        attributes.push(ChainAttribute::Hook(hook(base)));
        attributes.push(ChainAttribute::Policy(ACCEPT));
        attributes.push(ChainAttribute::Type(kind(base.kind).to_owned()));
    }
    ChainMessage { attributes }
}

fn hook(base: &FwBase) -> Vec<Hook> {
    // A bridge's hooks have the same numbers.
    let number = match base.hook {
        FwHook::Prerouting => InetHookNumber::PreRouting,
        FwHook::Input => InetHookNumber::LocalIn,
        FwHook::Forward => InetHookNumber::Forward,
        FwHook::Output => InetHookNumber::LocalOut,
        FwHook::Postrouting => InetHookNumber::PostRouting,
    };
    // The kernel reads the number back as a signed one.
    vec![Hook::Number(HookNumber::Inet(number)), Hook::Priority(base.priority.cast_unsigned())]
}

fn kind(kind: FwKind) -> &'static str {
    match kind {
        FwKind::Filter => "filter",
        FwKind::Nat => "nat",
        FwKind::Route => "route",
    }
}

/// The attributes that say which chain a rule is in.
pub(super) fn rule_place(table: &FwTable, chain: &str) -> Vec<RuleAttribute> {
    vec![RuleAttribute::Table(table.name.clone()), RuleAttribute::Chain(chain.to_owned())]
}

/// The message body that makes a rule.
pub(super) fn new_rule(rule: &FwRule) -> Result<RuleMessage, Fault> {
    let mut attributes = rule_place(&rule.table, &rule.chain);
    let mut list = Vec::new();
    for e in &rule.exprs {
        list.extend(expr::encode(e, rule.table.family)?);
    }
    attributes.push(RuleAttribute::Expressions(list));
    let comment = comment::encode(&rule.comment).ok_or_else(|| {
        Fault::refused(
            Errno::EINVAL,
            format!("a rule's comment has at most {} bytes, no zero", comment::MAX_LEN),
        )
    })?;
    attributes.push(RuleAttribute::UserData(comment));
    Ok(RuleMessage { attributes })
}
