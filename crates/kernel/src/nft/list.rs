//! The whole ruleset, as the kernel lists it: chains, rules with their operations, sets with their elements.

mod ops;
mod sets;

use std::collections::HashMap;

use polynic_net::stack::{Ruleset, SeenChain, SeenRule};
use polynic_net::{FwFamily, FwTable};

use super::comment;
use super::read::{base, nfta};
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;
use crate::netlink::{Fault, Socket};

/// Fixed part of a message (`struct nfgenmsg`).
const HEADER: usize = 4;
/// Messages of nf_tables (`NFNL_SUBSYS_NFTABLES` and `enum nf_tables_msg_types`).
const GET_CHAIN: u16 = 10 << 8 | 4;
const GET_RULE: u16 = 10 << 8 | 7;
const GET_SET: u16 = 10 << 8 | 10;
const GET_ELEMENTS: u16 = 10 << 8 | 13;
/// Attributes that only this reader wants.
const CHAIN_POLICY: u16 = 5;
const RULE_EXPRESSIONS: u16 = 4;
/// One member of a list.
const LIST_ELEMENT: u16 = 1;

/// Everything, and in words what is there of families that are not read.
pub(crate) fn list(socket: &mut Socket) -> Result<(Ruleset, Vec<String>), Fault> {
    let mut unread = Vec::new();
    let all = Raw::new(GET_CHAIN, &[0; HEADER]);
    let found = socket.dump(all, |payload| Some(chain(payload, &mut unread)))?;
    let mut chains: Vec<SeenChain> = found.into_iter().flatten().collect();
    // kube-proxy alone makes thousands of either.
    let places = chains.iter().enumerate().map(|(at, chain)| ((chain.table.clone(), chain.name.clone()), at));
    let places: HashMap<(FwTable, String), usize> = places.collect();
    for (table, name, rule) in socket.dump(Raw::new(GET_RULE, &[0; HEADER]), rule)? {
        if let Some(chain) = places.get(&(table, name)).and_then(|at| chains.get_mut(*at)) {
            chain.rules.push(rule);
        }
    }
    Ok((Ruleset { chains, sets: sets::list(socket)? }, unread))
}

/// The rules of one table with their chains' names.
pub(super) fn rules_of(socket: &mut Socket, of: &FwTable) -> Result<Vec<(String, SeenRule)>, Fault> {
    let all = socket.dump(Raw::new(GET_RULE, &[0; HEADER]), rule)?;
    Ok(all.into_iter().filter(|(table, ..)| table == of).map(|(_, chain, rule)| (chain, rule)).collect())
}

/// The family in a message's header (include/uapi/linux/netfilter.h).
fn family(payload: &[u8]) -> Option<FwFamily> {
    match i32::from(*payload.first()?) {
        libc::NFPROTO_IPV4 => Some(FwFamily::Ip),
        libc::NFPROTO_IPV6 => Some(FwFamily::Ip6),
        libc::NFPROTO_INET => Some(FwFamily::Inet),
        libc::NFPROTO_BRIDGE => Some(FwFamily::Bridge),
        _ => None,
    }
}

fn table(payload: &[u8], list: Attrs<'_>) -> Option<FwTable> {
    // The table's name has the same number in messages about chains, rules, sets and elements.
    Some(FwTable::new(family(payload)?, attrs::text(list.get(nfta::CHAIN_TABLE)?)?))
}

fn chain(payload: &[u8], unread: &mut Vec<String>) -> Option<SeenChain> {
    let list = Attrs::after(payload, HEADER);
    let text = |kind| list.get(kind).and_then(attrs::text);
    let name = text(nfta::CHAIN_NAME)?.to_owned();
    let Some(table) = table(payload, list) else {
        let hooked = list.get(nfta::CHAIN_HOOK).is_some() && i32::from(payload[0]) == libc::NFPROTO_NETDEV;
        if hooked {
            let table = text(nfta::CHAIN_TABLE).unwrap_or_default();
            unread.push(format!("chain {name} of table netdev {table}"));
        }
        return None;
    };
    let policy = list.get(CHAIN_POLICY).and_then(big);
    let base = base(list.nested(nfta::CHAIN_HOOK), text(nfta::CHAIN_TYPE));
    Some(SeenChain { table, name, base, drops: policy == Some(0), rules: Vec::new() })
}

fn rule(payload: &[u8]) -> Option<(FwTable, String, SeenRule)> {
    let list = Attrs::after(payload, HEADER);
    let table = table(payload, list)?;
    let chain = list.get(nfta::RULE_CHAIN).and_then(attrs::text)?.to_owned();
    let comment = list.get(nfta::RULE_USERDATA).and_then(comment::decode).unwrap_or_default().to_owned();
    let handle = u64::from_be_bytes(*list.get(nfta::RULE_HANDLE)?.first_chunk()?);
    let members = list.nested(RULE_EXPRESSIONS).filter(|(kind, _)| *kind == LIST_ELEMENT);
    let ops = members.map(|(_, value)| ops::op(Attrs::new(value))).collect();
    Some((table, chain, SeenRule { handle, comment, ops }))
}

/// A number in network order, as nf_tables writes them.
fn big(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}
