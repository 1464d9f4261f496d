//! Taking away chains of others, with everything that leads to them: those that a replaced program left behind.

use std::collections::BTreeSet;

use netlink_packet_core::NLM_F_NONREC;
use netlink_packet_netfilter::nftables::{ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage};
use polynic_net::stack::SeenOp;
use polynic_net::{FwChain, FwTable, FwVerdict};

use super::Refusal;
use super::batch::Batch;
use super::list;
use super::message::{about, chain_name, rule_place};
use super::read;
use crate::Errno;
use crate::netlink::Socket;

/// Removes the chains of a table whose names are meant, and the rules of other chains that lead to them, in one batch. Base chains stay.
/// Answers how many chains there were; a table that is not there has none.
pub(crate) fn remove(
    socket: &mut Socket,
    table: &FwTable,
    is_meant: &mut dyn FnMut(&str) -> bool,
) -> Result<usize, Refusal> {
    let chains = match read::chains_in(socket, table) {
        Err(fault) if fault.is(Errno::ENOENT) => return Ok(0),
        chains => chains?,
    };
    let meant = chains.into_iter().filter(|chain| chain.base.is_none() && is_meant(&chain.name));
    let names: BTreeSet<String> = meant.map(|chain| chain.name).collect();
    if names.is_empty() {
        return Ok(0);
    }
    let rules = list::rules_of(socket, table)?;
    let mut batch = Batch::new(socket);
    for (chain, rule) in rules {
        if names.contains(&chain) || leads_to(&rule.ops, &names) {
            let mut attributes = rule_place(table, &chain);
            attributes.push(RuleAttribute::Handle(rule.handle));
            batch.push(0, about(table, NfTablesMessage::DeleteRule(RuleMessage { attributes })), 0);
        }
    }
    for name in &names {
        let chain = FwChain { table: table.clone(), name: name.clone(), base: None };
        let message = ChainMessage { attributes: chain_name(&chain) };
        batch.push(0, about(table, NfTablesMessage::DeleteChain(message)), NLM_F_NONREC);
    }
    batch.send()?;
    Ok(names.len())
}

fn leads_to(ops: &[SeenOp], names: &BTreeSet<String>) -> bool {
    ops.iter().any(|op| match op {
        SeenOp::Verdict(FwVerdict::Jump(to) | FwVerdict::Goto(to)) => names.contains(to),
        _ => false,
    })
}
