//! One batch: several messages between a begin and an end, sent at once.

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use polynic_net::{FwRule, FwTable};

use super::Refusal;
use super::read::{SeenRule, rules_in};
use crate::Errno;
use crate::netlink::{Fault, Socket, encode};

/// The subsystem that a batch is for (include/uapi/linux/netfilter/nfnetlink.h, `NFNL_SUBSYS_NFTABLES`).
const NFTABLES: u16 = 10;

/// A batch under construction.
pub(super) struct Batch<'a> {
    socket: &'a mut Socket,
    messages: Vec<(usize, NetfilterMessage, u16)>,
    /// The rules of the tables looked at so far, without those that the batch removes: a second removal with the same
    /// comment means another rule.
    rules: Vec<(FwTable, Vec<SeenRule>)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(socket: &'a mut Socket) -> Self {
        Self { socket, messages: Vec::new(), rules: Vec::new() }
    }

    /// Adds a message that carries out the change at `position`.
    pub(super) fn push(&mut self, position: usize, message: NetfilterMessage, flags: u16) {
        self.messages.push((position, message, flags));
    }

    /// The handle of the first rule with a comment in a chain that the batch does not remove yet.
    pub(super) fn handle_of(&mut self, rule: &FwRule) -> Result<u64, Fault> {
        let rules = self.rules_of(&rule.table)?;
        let found = rules.iter().position(|r| r.chain == rule.chain && r.comment == rule.comment);
        match found {
            Some(at) => Ok(rules.remove(at).handle),
            None => Err(Fault::refused(Errno::ENOENT, "no such rule")),
        }
    }

    fn rules_of(&mut self, table: &FwTable) -> Result<&mut Vec<SeenRule>, Fault> {
        let at = match self.rules.iter().position(|(seen, _)| seen == table) {
            Some(at) => at,
            None => {
                let rules = rules_in(self.socket, table)?;
                self.rules.push((table.clone(), rules));
                self.rules.len() - 1
            }
        };
        Ok(&mut self.rules[at].1)
    }

    /// Sends the batch and waits for its outcome. Only the last message asks for an acknowledgement: errors come anyway, in
    /// the order of the messages, and after the last one there is nothing to come.
    pub(super) fn send(self) -> Result<(), Refusal> {
        let count = self.messages.len();
        let begin = self.socket.next_sequence();
        let mut bytes = encode(control(ControlMessage::BatchBegin), NLM_F_REQUEST, begin);
        let mut sent = Vec::new();
        for (at, (position, message, flags)) in self.messages.into_iter().enumerate() {
            let sequence = self.socket.next_sequence();
            let ack = if at + 1 == count { NLM_F_ACK } else { 0 };
            bytes.extend(encode(message, NLM_F_REQUEST | ack | flags, sequence));
            sent.push((sequence, position));
        }
        let Some((last, _)) = sent.last() else { return Ok(()) };
        let end = self.socket.next_sequence();
        bytes.extend(encode(control(ControlMessage::BatchEnd), NLM_F_REQUEST, end));
        self.socket.send_raw(&bytes)?;
        let refused = self.socket.read_acks(begin, *last)?;
        match refused.into_iter().next() {
            None => Ok(()),
            Some((sequence, fault)) => {
                let change = sent.iter().find(|(s, _)| *s == sequence).map(|(_, position)| *position);
                Err(Refusal { change, fault })
            }
        }
    }
}

fn control(message: ControlMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES), message)
}
