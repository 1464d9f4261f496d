//! What the firewall of one namespace does with a packet at one hook: an evaluation of the rules as the kernel has them.
//!
//! Packets here have no body and no history but their connection's, so some rules cannot be judged: those are named, and passed over.

mod packet;
mod rule;

use std::net::IpAddr;

use polynic_net::stack::{SeenChain, Stack};
use polynic_net::{Family, FwFamily, FwHook, FwKind, FwVerdict, Mac};
use serde::Serialize;

use crate::flow::Flow;
use packet::Packet;
use rule::Outcome;

/// Jumps deeper than this are refused by the kernel (include/net/netfilter/nf_tables.h, `NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// What one namespace remembers of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Its mark.
    pub mark: u32,
    /// The packet is one of the reply.
    pub reply: bool,
    /// Addresses that were rewritten on the way out.
    pub rewritten: Vec<Rewritten>,
}

/// A rewritten address: the reply's is rewritten back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The source was rewritten, not the destination.
    pub source: bool,
    /// What it was.
    pub from: (IpAddr, Option<u16>),
    /// What it became.
    pub to: (IpAddr, Option<u16>),
}

/// Links at a hook.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links {
    /// By which it came in.
    pub iif: Option<u32>,
    /// By which it goes out.
    pub oif: Option<u32>,
    /// The frame that it is in, where a bridge looks at it: the links are ports then.
    pub frame: Option<Frame>,
}

/// A frame's hardware addresses, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Who sends it.
    pub from: Option<Mac>,
    /// Whom it is for.
    pub to: Option<Mac>,
}

/// What a hook did with a packet.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// The rule or chain that threw it away.
    pub dropped: Option<Place>,
    /// A chain of type route changed its mark: its way has to be looked up again.
    pub reroutes: bool,
    /// Rules that changed it.
    pub effects: Vec<Effect>,
    /// What could not be judged.
    pub doubts: Vec<String>,
}

/// A rule that changed a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// What it did.
    pub does: String,
}

/// A place in the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Family and name of the table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule's number; none for the policy of the chain.
    pub handle: Option<u64>,
    /// The rule's comment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table {} chain {}", self.table, self.chain)?;
        match self.handle {
            Some(handle) => write!(f, " handle {handle}")?,
            None => write!(f, " policy")?,
        }
        if !self.comment.is_empty() {
            write!(f, " ({:?})", self.comment)?;
        }
        Ok(())
    }
}

/// Sends `flow` through all chains of `hook`, which may change it and the connection.
pub fn pass(
    stack: &Stack,
    hook: FwHook,
    links: Links,
    flow: &mut Flow,
    connection: &mut Connection,
) -> Passage {
    let mut passage = Passage::default();
    let family = flow.family();
    let sees = |of: FwFamily| match of {
        // Bridges rewrite nothing, and tables of theirs see nothing else.
        FwFamily::Bridge => links.frame.is_some(),
        _ if links.frame.is_some() => false,
        FwFamily::Inet => true,
        FwFamily::Ip => family == Family::V4,
        FwFamily::Ip6 => family == Family::V6,
    };
    if links.frame.is_none() {
        restore(hook, flow, connection, &mut passage);
    }
    for chain in chains(stack, hook, sees) {
        let is_nat = chain.base.as_ref().is_some_and(|base| base.kind == FwKind::Nat);
        // Only the first packet of a connection sees chains of type nat.
        if is_nat && (connection.reply || rewrote(connection, hook)) {
            continue;
        }
        let mark = flow.mark;
        let mut run = Run { stack, links, flow, connection, passage: &mut passage };
        let gone = run.base(chain);
        let routes = chain.base.as_ref().is_some_and(|base| base.kind == FwKind::Route);
        passage.reroutes |= routes && flow.mark != mark;
        if gone {
            break;
        }
    }
    passage
}

/// Whether the address that chains of type nat rewrite at this hook was rewritten already.
fn rewrote(connection: &Connection, hook: FwHook) -> bool {
    let source = matches!(hook, FwHook::Postrouting | FwHook::Input);
    connection.rewritten.iter().any(|rewritten| rewritten.source == source)
}

/// The base chains of a hook in tables that see the packet, in the order of their priorities.
fn chains(stack: &Stack, hook: FwHook, sees: impl Fn(FwFamily) -> bool) -> Vec<&SeenChain> {
    let here = |chain: &&SeenChain| {
        sees(chain.table.family) && chain.base.as_ref().is_some_and(|base| base.hook == hook)
    };
    let mut found: Vec<&SeenChain> = stack.ruleset.chains.iter().filter(here).collect();
    found.sort_by_key(|chain| chain.base.as_ref().map_or(0, |base| base.priority));
    found
}

/// The reply's addresses are rewritten back: the destination before routing, the source behind it.
fn restore(hook: FwHook, flow: &mut Flow, connection: &Connection, passage: &mut Passage) {
    if !connection.reply {
        return;
    }
    for rewritten in &connection.rewritten {
        match (rewritten.source, hook) {
            (true, FwHook::Prerouting | FwHook::Output) if flow.dst == rewritten.to.0 => {
                flow.dst = rewritten.from.0;
                flow.port = rewritten.from.1.or(flow.port);
                passage.effects.push(back("destination", flow.dst));
            }
            (false, FwHook::Postrouting | FwHook::Input) if flow.src == Some(rewritten.to.0) => {
                flow.src = Some(rewritten.from.0);
                flow.source_port = rewritten.from.1.or(flow.source_port);
                passage.effects.push(back("source", rewritten.from.0));
            }
            _ => {}
        }
    }
}

fn back(what: &str, ip: IpAddr) -> Effect {
    let place = Place {
        table: "conntrack".to_owned(),
        chain: "reply".to_owned(),
        handle: None,
        comment: String::new(),
    };
    Effect { place, does: format!("rewrites the {what} back to {ip}") }
}

/// One packet in the chains of one hook.
struct Run<'a> {
    stack: &'a Stack,
    links: Links,
    flow: &'a mut Flow,
    connection: &'a mut Connection,
    passage: &'a mut Passage,
}

/// How a chain ends.
enum Left {
    /// The packet leaves this base chain alive.
    Accepted,
    /// It is thrown away.
    Dropped,
    /// The chain has nothing more to say.
    Through,
}

impl Run<'_> {
    /// Runs a base chain; whether the packet is gone.
    fn base(&mut self, chain: &SeenChain) -> bool {
        match self.chain(chain, 0) {
            Left::Accepted => false,
            Left::Dropped => true,
            Left::Through if chain.drops => {
                self.passage.dropped = Some(place(chain, None, ""));
                true
            }
            Left::Through => false,
        }
    }

    fn chain(&mut self, chain: &SeenChain, depth: usize) -> Left {
        for rule in &chain.rules {
            let here = || place(chain, Some(rule.handle), &rule.comment);
            let packet = Packet::new(self.stack, self.links, self.flow, self.connection);
            let judged = rule::judge(self.stack, chain, rule, &packet);
            for change in judged.changes {
                self.change(change, here());
            }
            if let Some(why) = judged.doubt {
                self.passage.doubts.push(format!("{}: {why}", here()));
            }
            match judged.outcome {
                Outcome::Passes => {}
                Outcome::Drops => {
                    self.passage.dropped = Some(here());
                    return Left::Dropped;
                }
                Outcome::Ends => return Left::Accepted,
                Outcome::Verdict(verdict) => {
                    let Some(left) = self.verdict(chain, &verdict, depth) else { continue };
                    if matches!(left, Left::Dropped) && self.passage.dropped.is_none() {
                        self.passage.dropped = Some(here());
                    }
                    return left;
                }
            }
        }
        Left::Through
    }

    /// What a verdict means for the rest of the chain; nothing if it goes on.
    fn verdict(&mut self, chain: &SeenChain, verdict: &FwVerdict, depth: usize) -> Option<Left> {
        let (name, comes_back) = match verdict {
            FwVerdict::Accept => return Some(Left::Accepted),
            FwVerdict::Drop => return Some(Left::Dropped),
            FwVerdict::Return => return Some(Left::Through),
            FwVerdict::Jump(name) => (name, true),
            FwVerdict::Goto(name) => (name, false),
        };
        let target = self.stack.ruleset.chain(&chain.table, name).filter(|_| depth < DEEPEST)?;
        match self.chain(target, depth + 1) {
            Left::Through if comes_back => None,
            left => Some(left),
        }
    }

    fn change(&mut self, change: rule::Change, place: Place) {
        let does = match change {
            rule::Change::Mark(mark) if self.flow.mark == mark => return,
            rule::Change::Mark(mark) => {
                self.flow.mark = mark;
                format!("sets the packet's mark to {mark:#x}")
            }
            rule::Change::ConnectionMark(mark) if self.connection.mark == mark => return,
            rule::Change::ConnectionMark(mark) => {
                self.connection.mark = mark;
                format!("sets the connection's mark to {mark:#x}")
            }
            rule::Change::Destination(ip, port) => {
                let from = (self.flow.dst, self.flow.port);
                self.flow.dst = ip;
                self.flow.port = port.or(self.flow.port);
                self.remember(false, from, (ip, self.flow.port));
                match port {
                    Some(port) => {
                        format!("rewrites the destination to {}", std::net::SocketAddr::new(ip, port))
                    }
                    None => format!("rewrites the destination to {ip}"),
                }
            }
            rule::Change::Source(ip) => {
                let Some(from) = self.flow.src else { return };
                self.flow.src = Some(ip);
                self.remember(true, (from, self.flow.source_port), (ip, self.flow.source_port));
                format!("rewrites the source to {ip}")
            }
        };
        self.passage.effects.push(Effect { place, does });
    }

    fn remember(&mut self, source: bool, from: (IpAddr, Option<u16>), to: (IpAddr, Option<u16>)) {
        self.connection.rewritten.push(Rewritten { source, from, to });
    }
}

fn place(chain: &SeenChain, handle: Option<u64>, comment: &str) -> Place {
    let family = match chain.table.family {
        FwFamily::Ip => "ip",
        FwFamily::Ip6 => "ip6",
        FwFamily::Inet => "inet",
        FwFamily::Bridge => "bridge",
    };
    Place {
        table: format!("{family} {}", chain.table.name),
        chain: chain.name.clone(),
        handle,
        comment: comment.to_owned(),
    }
}

#[cfg(test)]
mod tests;
