//! Reading tables. Expressions of rules are passed over, but for the comments of iptables: rules are recognised by their comments.

use netlink_packet_netfilter::nftables::{
    ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetMessage,
};
use polynic_net::{FwBase, FwChain, FwHook, FwInventory, FwKind, FwObject, FwPosition, FwRule, FwTable};

use super::comment;
use super::expr::xt;
use super::message::{about, table_message};
use crate::Errno;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::{Fault, Socket};

/// Fixed part of a message (`struct nfgenmsg`).
const HEADER: usize = 4;

/// Attribute numbers of include/uapi/linux/netfilter/nf_tables.h.
pub(super) mod nfta {
    pub const TABLE_NAME: u16 = 1;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;
}

/// A rule as far as it is read.
pub(super) struct SeenRule {
    pub(super) chain: String,
    pub(super) handle: u64,
    pub(super) comment: String,
}

/// The table, its chains and its rules; nothing if there is no such table.
pub(crate) fn observe(socket: &mut Socket, table: &FwTable) -> Result<Vec<FwObject>, Fault> {
    if !exists(socket, table)? {
        return Ok(Vec::new());
    }
    let mut found = vec![FwObject::Table(table.clone())];
    found.extend(chains_in(socket, table)?.into_iter().map(FwObject::Chain));
    found.extend(
        rules_in(socket, table)?.into_iter().map(|rule| FwObject::Rule(without_content(table, rule))),
    );
    Ok(found)
}

fn exists(socket: &mut Socket, table: &FwTable) -> Result<bool, Fault> {
    let ask = about(table, NfTablesMessage::GetTable(table_message(table)));
    let named = |payload: &[u8]| Attrs::after(payload, HEADER).get(nfta::TABLE_NAME).map(drop);
    match socket.get(ask, named) {
        Err(fault) if fault.is(Errno::ENOENT) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// The names of what is in the table; nothing if there is no such table, or none any more when it is read.
pub(crate) fn inventory(socket: &mut Socket, table: &FwTable) -> Result<Option<FwInventory>, Fault> {
    if !exists(socket, table)? {
        return Ok(None);
    }
    match content(socket, table) {
        // Somebody removed it between the two reads.
        Err(_) if !exists(socket, table)? => Ok(None),
        read => read.map(Some),
    }
}

fn content(socket: &mut Socket, table: &FwTable) -> Result<FwInventory, Fault> {
    let chains = chains_in(socket, table)?.into_iter().map(|chain| (chain.name, chain.base)).collect();
    let attributes = vec![SetAttribute::Table(table.name.clone())];
    let ask = about(table, NfTablesMessage::GetSet(SetMessage { attributes }));
    let sets = socket.dump(ask, |payload| set_name(Attrs::after(payload, HEADER), table))?;
    Ok(FwInventory { chains, sets: sets.into_iter().flatten().collect() })
}

/// The name of a set; none for one that belongs to a single rule and goes with it.
fn set_name(list: Attrs<'_>, table: &FwTable) -> Option<Option<String>> {
    const ANONYMOUS: u32 = 1;
    let text = |kind| list.get(kind).and_then(attrs::text);
    if text(nfta::SET_TABLE) != Some(&table.name) {
        return None;
    }
    let flags = list.get(nfta::SET_FLAGS).and_then(|f| f.first_chunk()).map_or(0, |f| u32::from_be_bytes(*f));
    Some(text(nfta::SET_NAME).filter(|_| flags & ANONYMOUS == 0).map(str::to_owned))
}

fn without_content(table: &FwTable, rule: SeenRule) -> FwRule {
    FwRule {
        table: table.clone(),
        chain: rule.chain,
        position: FwPosition::Last,
        exprs: Vec::new(),
        comment: rule.comment,
    }
}

pub(super) fn chains_in(socket: &mut Socket, table: &FwTable) -> Result<Vec<FwChain>, Fault> {
    let ask = about(table, NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }));
    socket.dump(ask, |payload| chain(Attrs::after(payload, HEADER), table))
}

fn chain(list: Attrs<'_>, table: &FwTable) -> Option<FwChain> {
    let text = |kind| list.get(kind).and_then(attrs::text);
    if text(nfta::CHAIN_TABLE) != Some(&table.name) {
        return None;
    }
    let base = base(list.nested(nfta::CHAIN_HOOK), text(nfta::CHAIN_TYPE));
    Some(FwChain { table: table.clone(), name: text(nfta::CHAIN_NAME)?.to_owned(), base })
}

pub(super) fn base(hook: Attrs<'_>, kind: Option<&str>) -> Option<FwBase> {
    let kind = match kind? {
        "filter" => FwKind::Filter,
        "nat" => FwKind::Nat,
        "route" => FwKind::Route,
        _ => return None,
    };
    let number = |kind| Some(u32::from_be_bytes(*hook.get(kind)?.first_chunk()?));
    let point = match number(nfta::HOOK_NUMBER)? {
        0 => FwHook::Prerouting,
        1 => FwHook::Input,
        2 => FwHook::Forward,
        3 => FwHook::Output,
        4 => FwHook::Postrouting,
        _ => return None,
    };
    Some(FwBase { kind, hook: point, priority: number(nfta::HOOK_PRIORITY)?.cast_signed() })
}

/// The rules of a table, chain by chain in their order.
pub(super) fn rules_in(socket: &mut Socket, table: &FwTable) -> Result<Vec<SeenRule>, Fault> {
    let attributes = vec![RuleAttribute::Table(table.name.clone())];
    let ask = about(table, NfTablesMessage::GetRule(RuleMessage { attributes }));
    socket.dump(ask, |payload| rule(Attrs::after(payload, HEADER), table))
}

fn rule(list: Attrs<'_>, table: &FwTable) -> Option<SeenRule> {
    let text = |kind| list.get(kind).and_then(attrs::text);
    if text(nfta::RULE_TABLE) != Some(&table.name) {
        return None;
    }
    let ours = list.get(nfta::RULE_USERDATA).and_then(comment::decode);
    let comment = ours.or_else(|| xt::comment(list.nested(nfta::RULE_EXPRESSIONS))).unwrap_or_default();
    Some(SeenRule {
        chain: text(nfta::RULE_CHAIN)?.to_owned(),
        handle: u64::from_be_bytes(*list.get(nfta::RULE_HANDLE)?.first_chunk()?),
        comment: comment.to_owned(),
    })
}
