//! What one rule of a policy allows.

use std::collections::BTreeSet;
use std::sync::Arc;

use polynic_net::{Family, FwBody, FwExpr, FwRuleset, FwSet};

use super::{accept, arriving, rule};
use crate::index::Held;
use crate::names::{Direction, Names};
use crate::pod::Pod;
use crate::policy::Rule;
use crate::ports::{PortMatch, Span, merged};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// One rule of a policy on its way into the table.
pub(super) struct Allow<'a> {
    pub(super) names: &'a Names,
    pub(super) direction: Direction,
    /// Its place among the rules of its direction.
    pub(super) at: usize,
    pub(super) interfaces: &'a BTreeSet<String>,
    pub(super) pod: &'a Pod,
    /// Which families pods have on the policy's networks, IPv4 first.
    pub(super) families: [bool; 2],
    /// The sets go here.
    pub(super) ruleset: &'a mut FwRuleset,
}

impl Allow<'_> {
    pub(super) fn rules(&mut self, held: &mut Held) -> Vec<FwBody> {
        let Some(rule) = held.policy.rules(self.direction).and_then(|rules| rules.get(self.at)) else {
            return Vec::new();
        };
        let (spans, anybody, has_names) = (self.spans(rule), rule.peers.is_none(), rule.has_names());
        let mut bodies = Vec::new();
        if anybody {
            bodies.extend(self.with_spans(&[self.on_any()], spans.as_deref()));
        }
        if let Some(peers) = &rule.peers {
            for block in peers.blocks.iter().filter(|block| !block.is_empty()) {
                bodies.extend(self.block(FwSet::Intervals(block.clone()), block.family(), spans.as_deref()));
            }
        }
        let Some(members) = held.members(self.direction, self.at) else { return bodies };
        if !anybody {
            let all = members.all().clone();
            bodies.extend(self.pods("", &all, spans.as_deref()));
        }
        if has_names && self.direction == Direction::Egress {
            for ((protocol, port), addresses) in members.named().clone() {
                let part = format!("_{protocol}_{port}");
                bodies.extend(self.pods(&part, &addresses, Some(&[(protocol, Some((port, port)))])));
            }
        }
        bodies
    }

    /// Protocols and ports; absent if any will do. Names are those of the selected pod's ports for what comes in.
    fn spans(&self, rule: &Rule) -> Option<Vec<Span>> {
        let ports = rule.ports.as_ref()?;
        let own = |protocol: u8, name: &String| {
            let own = self.pod.ports.iter().filter(|_| self.direction == Direction::Ingress);
            let named = own.filter(|port| port.protocol == protocol && port.name == *name);
            named.map(|port| (port.protocol, Some((port.port, port.port)))).collect()
        };
        let spans = ports.iter().flat_map(|port| match port {
            PortMatch::Protocol(protocol) => vec![(*protocol, None)],
            PortMatch::Range { protocol, first, last } => vec![(*protocol, Some((*first, *last)))],
            PortMatch::Named { protocol, name } => own(*protocol, name),
        });
        Some(merged(spans.collect()))
    }

    /// Addresses of pods: sets of single addresses for each interface and family of the networks, which are there even when they are empty,
    /// so that a pod that comes or goes changes elements only.
    fn pods(
        &mut self,
        suffix: &str,
        addresses: &[Arc<BTreeSet<std::net::IpAddr>>; 2],
        spans: Option<&[Span]>,
    ) -> Vec<FwBody> {
        if spans.is_some_and(<[_]>::is_empty) {
            return Vec::new();
        }
        let mut bodies = Vec::new();
        let families = self.families;
        let on_networks =
            || FAMILIES.into_iter().zip(addresses).zip(families).filter(|(_, is_there)| *is_there);
        // A name that ends in an asterisk would match others as well.
        for interface in self.interfaces.iter().filter(|name| !name.ends_with('*')) {
            for ((family, addresses), _) in on_networks() {
                let part = format!("{interface}{suffix}");
                let set = self.names.addresses(self.direction, family, &part, self.at);
                let on = self.on(interface);
                bodies.extend(self.with_spans(&[on, self.other_end(&set, family)], spans));
                self.ruleset.sets.insert(set, FwSet::Addresses(family, Arc::clone(addresses)));
            }
        }
        bodies
    }

    fn block(&mut self, content: FwSet, family: Family, spans: Option<&[Span]>) -> Vec<FwBody> {
        if spans.is_some_and(<[_]>::is_empty) {
            return Vec::new();
        }
        let set = self.names.addresses(self.direction, family, "cidr", self.at);
        let matches = [self.on_any(), self.other_end(&set, family)];
        self.ruleset.sets.insert(set, content);
        self.with_spans(&matches, spans)
    }

    /// By one interface.
    fn on(&self, interface: &str) -> FwExpr {
        match self.direction {
            Direction::Ingress => FwExpr::Iif(interface.to_owned()),
            Direction::Egress => FwExpr::Oif(interface.to_owned()),
        }
    }

    /// By any of the policy's interfaces.
    fn on_any(&self) -> FwExpr {
        let mut interfaces = self.interfaces.iter();
        match (interfaces.next(), interfaces.next()) {
            (Some(only), None) if !only.ends_with('*') => self.on(only),
            _ => arriving(self.direction, self.names),
        }
    }

    fn other_end(&self, set: &str, family: Family) -> FwExpr {
        let set = set.to_owned();
        match self.direction {
            Direction::Ingress => FwExpr::SrcIn { set, family },
            Direction::Egress => FwExpr::DstIn { set, family },
        }
    }

    /// A rule for each span, or one for all.
    fn with_spans(&self, matches: &[FwExpr], spans: Option<&[Span]>) -> Vec<FwBody> {
        let body = |ports: Vec<FwExpr>| rule([matches, &ports, &[accept()]].concat(), &self.names.comment);
        match spans {
            None => vec![body(Vec::new())],
            Some(spans) => spans.iter().map(|span| body(ports(*span))).collect(),
        }
    }
}

fn ports((protocol, ports): Span) -> Vec<FwExpr> {
    let ports = ports.map(|(first, last)| FwExpr::DstPorts { first, last });
    [FwExpr::Protocol(protocol)].into_iter().chain(ports).collect()
}
