//! Which rules a node needs for its Services. Pure.
//!
//! ```text
//! prerouting, output ── services ── (address, protocol, port) ── svc-X: mark foreign sources, then one endpoint at random
//! postrouting: marked packets, those of a pod to itself, and those that leave the pods' networks, get the node's address as source
//! forward, input, output: Services without endpoints answer that nobody listens
//! ```

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use polynic_net::{
    FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable, FwVerdict,
};
use sha2::{Digest, Sha256};

use super::{Config, is_v4};
use crate::controllers::SERVICE_LABEL;

/// The name of our tables, one per family.
pub const TABLE: &str = "polynic-lab-services";
/// Packets with this bit in their mark get the node's address as source; it is kube-proxy's.
const MASQUERADE: u32 = 0x4000;

/// All rules of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<(FwTable, Vec<FwObject>)>);

impl Rules {
    /// Each table with its content, itself first.
    pub fn tables(&self) -> impl Iterator<Item = (&FwTable, &[FwObject])> {
        self.0.iter().map(|(table, objects)| (table, objects.as_slice()))
    }
}

/// The rules for these Services.
pub fn rules(services: &[Service], slices: &[EndpointSlice], config: &Config) -> Rules {
    let family = |v4: bool| {
        let mut draft = Draft::new(v4, config);
        for service in services {
            draft.service(service, slices);
        }
        (draft.table.clone(), draft.finish())
    };
    Rules(vec![family(true), family(false)])
}

/// Our tables.
pub fn tables() -> [FwTable; 2] {
    [FwFamily::Ip, FwFamily::Ip6].map(|family| FwTable::new(family, TABLE))
}

/// The endpoint that a rule leads to: its comment says so.
pub fn endpoint(object: &FwObject) -> Option<SocketAddr> {
    match object {
        FwObject::Rule(rule) => rule.comment.parse().ok(),
        FwObject::Chain(_) | FwObject::Table(_) => None,
    }
}

/// One port of a Service with what stands behind it.
struct Front<'a> {
    service: &'a Service,
    spec: &'a ServiceSpec,
    port: &'a ServicePort,
    protocol: u8,
    number: u16,
    endpoints: Vec<(SocketAddr, bool)>,
}

impl Front<'_> {
    /// `namespace/name:port`, for people who read the rules.
    fn label(&self) -> String {
        let port = self.port.name.clone().unwrap_or_else(|| self.number.to_string());
        let text =
            format!("{}/{}:{port}", self.service.namespace().unwrap_or_default(), self.service.name_any());
        text.chars().take(120).collect()
    }

    fn chain(&self, kind: &str) -> String {
        let port = format!("{} {} {}", self.label(), self.protocol, self.number);
        let digits: String =
            Sha256::digest(port.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("{kind}-{digits}")
    }

    fn wants(&self, ip: IpNet) -> Vec<FwExpr> {
        vec![
            FwExpr::Dst { net: ip, not: false },
            FwExpr::Protocol(self.protocol),
            FwExpr::DstPort(self.number),
        ]
    }

    fn node_port(&self) -> Option<u16> {
        self.port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
    }

    fn keeps_clients(&self) -> bool {
        self.spec.external_traffic_policy.as_deref() == Some("Local")
    }
}

/// A table under construction.
struct Draft<'a> {
    table: FwTable,
    config: &'a Config,
    v4: bool,
    chains: Vec<FwObject>,
    rules: Vec<FwObject>,
    endpoints: Vec<IpAddr>,
}

impl<'a> Draft<'a> {
    fn new(v4: bool, config: &'a Config) -> Draft<'a> {
        let table = FwTable::new(if v4 { FwFamily::Ip } else { FwFamily::Ip6 }, TABLE);
        let mut draft =
            Draft { table, config, v4, chains: Vec::new(), rules: Vec::new(), endpoints: Vec::new() };
        draft.chain("services", None);
        draft.chain("unserved", None);
        for (name, hook) in [("prerouting", FwHook::Prerouting), ("output", FwHook::Output)] {
            draft.chain(name, Some(FwBase { kind: FwKind::Nat, hook, priority: -100 }));
            draft.rule(name, "to Services", vec![FwExpr::Verdict(FwVerdict::Jump("services".into()))]);
        }
        // In front of plugins that masquerade at 100.
        draft.chain(
            "postrouting",
            Some(FwBase { kind: FwKind::Nat, hook: FwHook::Postrouting, priority: 99 }),
        );
        let hooks = [
            ("reject-forward", FwHook::Forward),
            ("reject-input", FwHook::Input),
            ("reject-output", FwHook::Output),
        ];
        for (name, hook) in hooks {
            draft.chain(name, Some(FwBase { kind: FwKind::Filter, hook, priority: 0 }));
            draft.rule(
                name,
                "Services without endpoints",
                vec![FwExpr::Verdict(FwVerdict::Jump("unserved".into()))],
            );
        }
        draft
    }

    fn chain(&mut self, name: &str, base: Option<FwBase>) {
        self.chains.push(FwObject::Chain(FwChain { table: self.table.clone(), name: name.to_owned(), base }));
    }

    fn rule(&mut self, chain: &str, comment: &str, exprs: Vec<FwExpr>) {
        let (table, chain, comment) = (self.table.clone(), chain.to_owned(), comment.to_owned());
        self.rules.push(FwObject::Rule(FwRule { table, chain, position: FwPosition::Last, exprs, comment }));
    }

    /// The pods' networks of all nodes, in this family.
    fn pods(&self) -> IpNet {
        if self.v4 { IpNet::V4(self.config.pods.v4) } else { IpNet::V6(self.config.pods.v6) }
    }

    fn is_ours(&self, ip: &IpAddr) -> bool {
        is_v4(ip) == self.v4
    }

    fn service(&mut self, service: &Service, slices: &[EndpointSlice]) {
        let Some(spec) = &service.spec else { return };
        let all = spec.cluster_ips.iter().flatten().chain(spec.external_ips.iter().flatten());
        let ips: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).filter(|ip| self.is_ours(ip)).collect();
        for port in spec.ports.iter().flatten() {
            let (Some(protocol), Ok(number)) = (protocol(port), u16::try_from(port.port)) else { continue };
            let endpoints = self.endpoints_of(service, port, slices);
            let front = Front { service, spec, port, protocol, number, endpoints };
            if !ips.is_empty() {
                self.front(&front, &ips);
            }
        }
    }

    /// Where packets to a port go: ready pods, and whether they are on this node. If none is ready, those that still serve while they end.
    fn endpoints_of(
        &self,
        service: &Service,
        port: &ServicePort,
        slices: &[EndpointSlice],
    ) -> Vec<(SocketAddr, bool)> {
        let own = slices.iter().filter(|slice| {
            slice.namespace() == service.namespace()
                && slice.labels().get(SERVICE_LABEL) == Some(&service.name_any())
        });
        let (mut ready, mut serving) = (Vec::new(), Vec::new());
        for slice in own {
            let Some(number) = port_in(slice, port) else { continue };
            for endpoint in &slice.endpoints {
                let addresses =
                    endpoint.addresses.iter().filter_map(|ip| ip.parse().ok()).filter(|ip| self.is_ours(ip));
                let local = endpoint.node_name.as_deref() == Some(&self.config.node);
                let list = match state(endpoint) {
                    (true, _) => &mut ready,
                    (false, true) => &mut serving,
                    _ => continue,
                };
                list.extend(addresses.map(|ip| (SocketAddr::new(ip, number), local)));
            }
        }
        let mut chosen = if ready.is_empty() { serving } else { ready };
        chosen.sort();
        chosen.dedup();
        chosen
    }

    fn front(&mut self, front: &Front<'_>, ips: &[IpAddr]) {
        let label = front.label();
        if front.endpoints.is_empty() {
            for ip in ips {
                let mut exprs = front.wants(IpNet::from(*ip));
                exprs.push(FwExpr::Reject);
                self.rule("unserved", &label, exprs);
            }
            return;
        }
        let chain = front.chain("svc");
        self.chain(&chain, None);
        for ip in ips {
            let mut exprs = front.wants(IpNet::from(*ip));
            exprs.push(FwExpr::Verdict(FwVerdict::Goto(chain.clone())));
            self.rule("services", &label, exprs);
        }
        self.node_port(front, &chain);
        let foreign = FwExpr::Src { net: self.pods(), not: true };
        self.rule(&chain, &label, vec![foreign, mark()]);
        let all: Vec<SocketAddr> = front.endpoints.iter().map(|(address, _)| *address).collect();
        self.spread(&chain, front.protocol, &all);
        self.endpoints.extend(all.iter().map(SocketAddr::ip));
    }

    /// A port on all addresses of the node. Unless clients are to be seen, packets leave with the node's address, so that answers come back here.
    fn node_port(&mut self, front: &Front<'_>, chain: &str) {
        let Some(number) = front.node_port() else { return };
        let loopback = if self.v4 { "127.0.0.0/8" } else { "::1/128" };
        let Ok(loopback) = loopback.parse() else { return };
        let mut exprs = vec![
            FwExpr::Dst { net: loopback, not: true },
            FwExpr::DstIsLocal,
            FwExpr::Protocol(front.protocol),
            FwExpr::DstPort(number),
        ];
        if !front.keeps_clients() {
            exprs.extend([mark(), FwExpr::Verdict(FwVerdict::Goto(chain.to_owned()))]);
            return self.rule("services", &front.label(), exprs);
        }
        let local: Vec<SocketAddr> =
            front.endpoints.iter().filter(|(_, local)| *local).map(|(address, _)| *address).collect();
        if local.is_empty() {
            return;
        }
        let own = front.chain("own");
        self.chain(&own, None);
        self.spread(&own, front.protocol, &local);
        exprs.push(FwExpr::Verdict(FwVerdict::Goto(own)));
        self.rule("services", &front.label(), exprs);
    }

    /// The first of n is taken by one packet in n, the next by one in n - 1 of the rest, and the last by all that are left.
    fn spread(&mut self, chain: &str, protocol: u8, endpoints: &[SocketAddr]) {
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        for (endpoint, left) in endpoints.iter().zip((1..=count).rev()) {
            let exprs = vec![FwExpr::Protocol(protocol), FwExpr::OneIn(left), FwExpr::Dnat(*endpoint)];
            self.rule(chain, &endpoint.to_string(), exprs);
        }
    }

    /// The default network's agent does this, not kube-proxy: Calico's pools have `natOutgoing` unless they are told otherwise.
    fn outgoing(&self) -> Vec<FwExpr> {
        let net = self.pods();
        vec![FwExpr::Src { net, not: false }, FwExpr::Dst { net, not: true }, FwExpr::Masquerade]
    }

    fn finish(mut self) -> Vec<FwObject> {
        let clear = FwExpr::SetMark { value: 0, mask: MASQUERADE };
        let marked = FwExpr::Mark { value: MASQUERADE, mask: MASQUERADE };
        self.rule("postrouting", "from outside", vec![marked, clear, FwExpr::Masquerade]);
        let mut endpoints = std::mem::take(&mut self.endpoints);
        endpoints.sort();
        endpoints.dedup();
        for ip in endpoints.into_iter().map(IpNet::from) {
            let (from, to) = (FwExpr::Src { net: ip, not: false }, FwExpr::Dst { net: ip, not: false });
            self.rule("postrouting", "to itself", vec![from, to, FwExpr::Masquerade]);
        }
        self.rule("postrouting", "out of the pods' networks", self.outgoing());
        let mut all = vec![FwObject::Table(self.table)];
        all.append(&mut self.chains);
        all.append(&mut self.rules);
        all
    }
}

fn mark() -> FwExpr {
    FwExpr::SetMark { value: MASQUERADE, mask: MASQUERADE }
}

/// IANA numbers of the protocols that Services have.
fn protocol(port: &ServicePort) -> Option<u8> {
    match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        _ => None,
    }
}

/// A Service's port as the endpoints of a slice have it.
fn port_in(slice: &EndpointSlice, port: &ServicePort) -> Option<u16> {
    let wanted = port.name.as_deref().unwrap_or_default();
    let found = slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == wanted)?;
    u16::try_from(found.port?).ok()
}

/// Whether an endpoint is ready, and whether it still serves while it ends.
fn state(endpoint: &Endpoint) -> (bool, bool) {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let ending = conditions.and_then(|c| c.terminating).unwrap_or(false)
        && conditions.and_then(|c| c.serving).unwrap_or(false);
    (ready, ending)
}

#[cfg(test)]
pub mod tests;
