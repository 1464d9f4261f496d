//! Edits of a whole table ([`FwEdit`]) as one batch.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::nftables::{ChainMessage, NfTablesMessage, RuleMessage};
use polynic_net::{FwChain, FwEdit, FwPosition, FwRule, FwSet, FwTable};

use super::Refusal;
use super::batch::Batch;
use super::message::{NLM_F_NONREC, about, chain_name, new_chain, new_rule, rule_place, table_message};
use super::set;
use crate::netlink::{Fault, Socket};

/// Carries out all edits or none.
pub(crate) fn edit(socket: &mut Socket, table: &FwTable, edits: &[FwEdit]) -> Result<(), Refusal> {
    // A batch goes out in one piece, however many elements a set has.
    socket.make_room()?;
    let mut batch = Batch::new(socket);
    for (position, edit) in edits.iter().enumerate() {
        let messages = messages(table, edit, position);
        let messages = messages.map_err(|fault| Refusal { change: Some(position), fault })?;
        for (message, flags) in messages {
            batch.push(position, message, flags);
        }
    }
    batch.send()
}

/// The messages of one edit, with their flags. `position` makes ids of new sets differ within the batch.
fn messages(table: &FwTable, edit: &FwEdit, position: usize) -> Result<Vec<(NetfilterMessage, u16)>, Fault> {
    let one = |message, flags| vec![(about(table, message), flags)];
    Ok(match edit {
        FwEdit::MakeTable => one(NfTablesMessage::NewTable(table_message(table)), NLM_F_CREATE | NLM_F_EXCL),
        // Without NLM_F_NONREC everything goes with it.
        FwEdit::RemoveTable => one(NfTablesMessage::DeleteTable(table_message(table)), 0),
        FwEdit::MakeChain { chain, base } => {
            let chain = FwChain { table: table.clone(), name: chain.clone(), base: base.clone() };
            one(NfTablesMessage::NewChain(new_chain(&chain)), NLM_F_CREATE | NLM_F_EXCL)
        }
        // Without a handle it is about all rules of the chain.
        FwEdit::EmptyChain(chain) => {
            one(NfTablesMessage::DeleteRule(RuleMessage { attributes: rule_place(table, chain) }), 0)
        }
        FwEdit::RemoveChain(chain) => {
            let chain = FwChain { table: table.clone(), name: chain.clone(), base: None };
            let message = ChainMessage { attributes: chain_name(&chain) };
            one(NfTablesMessage::DeleteChain(message), NLM_F_NONREC)
        }
        FwEdit::MakeSet { set, content } => {
            let made = (
                about(table, set::declaration(table, set, content, id(position))),
                NLM_F_CREATE | NLM_F_EXCL,
            );
            std::iter::once(made).chain(elements(table, set, content, set::addition)).collect()
        }
        FwEdit::RemoveSet(set) => one(set::removal(table, set), 0),
        FwEdit::AddElements { set, elements: new } => elements(table, set, new, set::addition),
        FwEdit::RemoveElements { set, elements: gone } => elements(table, set, gone, set::subtraction),
        FwEdit::AddRule { chain, body } => {
            let rule = FwRule {
                table: table.clone(),
                chain: chain.clone(),
                position: FwPosition::Last,
                exprs: body.exprs.clone(),
                comment: body.comment.clone(),
            };
            one(NfTablesMessage::NewRule(new_rule(&rule)?), NLM_F_CREATE | NLM_F_APPEND)
        }
    })
}

/// Ids start at 1, as those of `nft`.
fn id(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX - 1) + 1
}

fn elements(
    table: &FwTable,
    name: &str,
    content: &FwSet,
    message: fn(&FwTable, &str, Vec<set::Element>) -> NfTablesMessage,
) -> Vec<(NetfilterMessage, u16)> {
    let chunks = set::chunks(content).into_iter();
    // NLM_F_CREATE lets elements be added; a removal does not look at it.
    chunks.map(|chunk| (about(table, message(table, name, chunk)), NLM_F_CREATE)).collect()
}

#[cfg(test)]
mod tests;
