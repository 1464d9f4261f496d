//! One rule: its operations over 64 bytes of registers, each of which may be unknown.

use std::net::IpAddr;

use polynic_net::FwVerdict;
use polynic_net::stack::{Element, SeenChain, SeenOp, SeenRule, SeenSet, Stack, VERDICT_REGISTER};

use super::packet::{Bytes, Packet, known};
use crate::lookup::source_on;

/// What a rule makes of a packet.
pub struct Judged {
    pub outcome: Outcome,
    pub changes: Vec<Change>,
    /// Why the rule could not be judged, where it might have mattered, or that it decides by chance.
    pub doubt: Option<String>,
}

/// How a rule ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next rule is asked.
    Passes,
    /// The packet is thrown away.
    Drops,
    /// The chain is done with the packet.
    Ends,
    /// What the rule says.
    Verdict(FwVerdict),
}

/// What a rule changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Mark(u32),
    ConnectionMark(u32),
    Destination(IpAddr, Option<u16>),
    Source(IpAddr),
}

/// Keys that can be set.
const META_MARK: u32 = 3;
const CT_MARK: u32 = 3;
/// Bytes of all registers.
const REGISTERS: usize = 64;

/// How one operation ends.
enum Step {
    Next,
    /// The rule is not about this packet.
    No,
    /// Nobody can say.
    Unknown(String),
    End(Outcome),
}

struct Machine<'a> {
    stack: &'a Stack,
    chain: &'a SeenChain,
    packet: &'a Packet<'a>,
    registers: Bytes,
    changes: Vec<Change>,
    chance: bool,
}

/// Judges a rule.
pub fn judge(stack: &Stack, chain: &SeenChain, rule: &SeenRule, packet: &Packet<'_>) -> Judged {
    let registers = vec![None; REGISTERS];
    let mut machine = Machine { stack, chain, packet, registers, changes: Vec::new(), chance: false };
    for op in &rule.ops {
        match machine.step(op) {
            Step::Next => {}
            Step::No => return machine.done(Outcome::Passes, None),
            Step::Unknown(why) => {
                let doubt = matters(rule).then(|| format!("cannot be judged, because of {why}"));
                return machine.done(Outcome::Passes, doubt);
            }
            Step::End(outcome) => {
                let doubt = machine.chance.then(|| "is one of several, by chance".to_owned());
                return machine.done(outcome, doubt);
            }
        }
    }
    machine.done(Outcome::Passes, None)
}

/// Whether anything came of the rule if it were about the packet.
fn matters(rule: &SeenRule) -> bool {
    rule.ops.iter().any(|op| {
        matches!(
            op,
            SeenOp::Verdict(_)
                | SeenOp::Nat { .. }
                | SeenOp::Masquerade
                | SeenOp::Redirect
                | SeenOp::Reject
                | SeenOp::Lookup { to: Some(VERDICT_REGISTER), .. }
                | SeenOp::SetMeta { key: META_MARK, .. }
        )
    })
}

impl Machine<'_> {
    fn done(self, outcome: Outcome, doubt: Option<String>) -> Judged {
        Judged { outcome, changes: self.changes, doubt }
    }

    fn step(&mut self, op: &SeenOp) -> Step {
        match op {
            SeenOp::Harmless => Step::Next,
            SeenOp::Payload { base, offset, len, to } => {
                let bytes = self.packet.header(*base, *offset, *len);
                self.store(*to, &bytes)
            }
            SeenOp::Meta { key, to } => self.load(*to, self.packet.meta(*key), "meta", *key),
            SeenOp::Ct { key, to, .. } => self.load(*to, self.packet.ct(*key), "ct", *key),
            SeenOp::Fib { result, flags, to } => {
                self.load(*to, self.packet.fib(*result, *flags), "fib", *result)
            }
            SeenOp::Immediate { to, value } => self.store(*to, &known(value)),
            SeenOp::Number { to, .. } => {
                self.chance = true;
                self.store(*to, &known(&[0; 4]))
            }
            SeenOp::Bitwise { from, to, mask, xor } => self.bitwise(*from, *to, mask, xor),
            SeenOp::Cmp { op, from, value } => self.compare(*op, *from, value),
            SeenOp::Range { not, from, first, last } => match self.fetch(*from, first.len()) {
                Some(value) => holds((first <= &value && &value <= last) != *not),
                None => unknown("a value that is not known here"),
            },
            SeenOp::Lookup { set, from, to, not } => self.lookup(set, *from, *to, *not),
            SeenOp::SetMeta { key: META_MARK, from } => self.set(*from, Change::Mark),
            SeenOp::SetCt { key: CT_MARK, from } => self.set(*from, Change::ConnectionMark),
            SeenOp::SetMeta { .. } | SeenOp::SetCt { .. } => Step::Next,
            SeenOp::Verdict(FwVerdict::Drop) | SeenOp::Reject => Step::End(Outcome::Drops),
            SeenOp::Verdict(verdict) => Step::End(Outcome::Verdict(verdict.clone())),
            SeenOp::Nat { source, address, port } => self.rewrite(*source, *address, *port),
            SeenOp::Masquerade => self.masquerade(),
            SeenOp::Redirect => unknown("redirect"),
            SeenOp::Unknown(name) => unknown(name),
        }
    }

    fn load(&mut self, to: usize, bytes: Option<Bytes>, what: &str, key: u32) -> Step {
        match bytes {
            Some(bytes) => self.store(to, &bytes),
            None => unknown(&format!("{what} key {key}")),
        }
    }

    fn store(&mut self, to: usize, bytes: &[Option<u8>]) -> Step {
        // The rest of the last four bytes is zero (`nft_reg_store8` and its kin).
        let padded = bytes.len().next_multiple_of(4);
        for at in 0..padded {
            if let Some(slot) = self.registers.get_mut(to + at) {
                *slot = bytes.get(at).copied().unwrap_or(Some(0));
            }
        }
        Step::Next
    }

    fn fetch(&self, from: usize, len: usize) -> Option<Vec<u8>> {
        self.registers.get(from..from.checked_add(len)?)?.iter().copied().collect()
    }

    fn bitwise(&mut self, from: usize, to: usize, mask: &[u8], xor: &[u8]) -> Step {
        let value: Bytes = (0..mask.len())
            .map(|at| {
                let byte = self.registers.get(from + at).copied().flatten();
                // What the mask hides need not be known.
                let kept = if mask[at] == 0 { Some(0) } else { byte.map(|byte| byte & mask[at]) };
                Some(kept? ^ xor.get(at).copied().unwrap_or_default())
            })
            .collect();
        self.store(to, &value)
    }

    fn compare(&self, op: u32, from: usize, value: &[u8]) -> Step {
        let Some(found) = self.fetch(from, value.len()) else {
            return unknown("a value that is not known here");
        };
        let (found, value) = (found.as_slice(), value);
        holds(match op {
            0 => found == value,
            1 => found != value,
            2 => found < value,
            3 => found <= value,
            4 => found > value,
            _ => found >= value,
        })
    }

    fn lookup(&mut self, name: &str, from: usize, to: Option<usize>, not: bool) -> Step {
        let Some(set) = self.stack.ruleset.set(&self.chain.table, name) else {
            return unknown("a set that cannot be read");
        };
        let Some(key) = self.fetch(from, set.key_len) else {
            return unknown("a value that is not known here");
        };
        let found = find(set, &key);
        match (found, to) {
            (None, _) => holds(not),
            (Some(_), None) => holds(!not),
            (Some(element), Some(VERDICT_REGISTER)) => match &element.verdict {
                Some(FwVerdict::Drop) => Step::End(Outcome::Drops),
                Some(verdict) => Step::End(Outcome::Verdict(verdict.clone())),
                None => Step::Next,
            },
            (Some(element), Some(to)) => {
                let data = known(&element.data);
                self.store(to, &data)
            }
        }
    }

    fn set(&mut self, from: usize, change: fn(u32) -> Change) -> Step {
        let value = self.fetch(from, 4).and_then(|bytes| bytes.first_chunk().copied());
        let Some(value) = value else { return unknown("a mark that is not known here") };
        self.changes.push(change(u32::from_ne_bytes(value)));
        Step::Next
    }

    fn rewrite(&mut self, source: bool, address: Option<usize>, port: Option<usize>) -> Step {
        let old = if source { self.packet.flow.src } else { Some(self.packet.flow.dst) };
        let Some(old) = old else { return unknown("a source that is not known here") };
        let ip = match address {
            None => Some(old),
            Some(from) if old.is_ipv4() => self.fetch(from, 4).and_then(ip4),
            Some(from) => self.fetch(from, 16).and_then(ip16),
        };
        let Some(ip) = ip else { return unknown("an address that is not known here") };
        let port = port.and_then(|from| self.fetch(from, 2)).map(|b| u16::from_be_bytes([b[0], b[1]]));
        self.changes.push(if source { Change::Source(ip) } else { Change::Destination(ip, port) });
        Step::End(Outcome::Ends)
    }

    fn masquerade(&mut self) -> Step {
        let source = self.packet.links.oif.and_then(|oif| source_on(self.stack, oif, self.packet.flow.dst));
        let Some(source) = source else { return unknown("a link without an address") };
        self.changes.push(Change::Source(source));
        Step::End(Outcome::Ends)
    }
}

fn ip4(bytes: Vec<u8>) -> Option<IpAddr> {
    bytes.first_chunk::<4>().map(|b| IpAddr::from(*b))
}

fn ip16(bytes: Vec<u8>) -> Option<IpAddr> {
    bytes.first_chunk::<16>().map(|b| IpAddr::from(*b))
}

fn holds(yes: bool) -> Step {
    if yes { Step::Next } else { Step::No }
}

fn unknown(why: &str) -> Step {
    Step::Unknown(why.to_owned())
}

/// The element that a key is in; the one for every other key comes last.
fn find<'a>(set: &'a SeenSet, key: &[u8]) -> Option<&'a Element> {
    let within = |element: &&Element| !element.first.is_empty() && is_within(set, element, key);
    let any = || set.elements.iter().find(|element| element.first.is_empty());
    set.elements.iter().find(within).or_else(any)
}

/// Part by part, each padded to four bytes.
fn is_within(set: &SeenSet, element: &Element, key: &[u8]) -> bool {
    if set.parts.is_empty() {
        return element.first.as_slice() <= key && key <= element.last.as_slice();
    }
    let mut at = 0;
    set.parts.iter().all(|len| {
        let range = at..at + len;
        at += len.next_multiple_of(4);
        let part = |bytes: &[u8]| bytes.get(range.clone()).map(<[u8]>::to_vec);
        match (part(&element.first), part(key), part(&element.last)) {
            (Some(first), Some(key), Some(last)) => first <= key && key <= last,
            _ => false,
        }
    })
}
