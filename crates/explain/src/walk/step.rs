//! Steps of a way, in the words of `ip` and `nft`.

use std::fmt;
use std::net::IpAddr;

use polynic_net::TABLE_MAIN;
use polynic_net::stack::{FibRoute, Hop, Stack};
use serde::Serialize;

use crate::firewall::Effect;
use crate::lookup::{Decision, Verdict};
use crate::reverse_path::ReversePath;

/// Something that happens to a packet in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The namespace.
    pub site: String,
    /// What happens.
    #[serde(flatten)]
    pub what: What,
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// A rule leads to a table, which has a route.
    Route {
        /// The rule.
        rule: String,
        /// The table; none where there is no route.
        #[serde(skip_serializing_if = "Option::is_none")]
        table: Option<u32>,
        /// The route, or why there is none.
        route: String,
        /// The link by which it leaves.
        #[serde(skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// The next hop.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_hop: Option<IpAddr>,
        /// The source address.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
        /// Next hops of which this one is taken for granted: the kernel may take another.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        one_of: Vec<String>,
    },
    /// A connection asks for its way again, now that it knows its source.
    LooksAgain {
        /// The source.
        source: Option<IpAddr>,
    },
    /// The packet comes in.
    Enters {
        /// By this link.
        link: String,
    },
    /// Its source is checked.
    ReversePath {
        /// The link by which it came in.
        link: String,
        /// `rp_filter` as it holds for the link.
        mode: u8,
        /// What the check says.
        verdict: String,
    },
    /// A rule of the firewall changes it.
    Firewall {
        /// The hook.
        hook: &'static str,
        /// What and where.
        #[serde(flatten)]
        effect: Effect,
    },
    /// The next hop's hardware address is looked up.
    Neighbour {
        /// On this link.
        link: String,
        /// The next hop.
        ip: IpAddr,
        /// Its hardware address; none if the kernel will have to ask.
        #[serde(skip_serializing_if = "Option::is_none")]
        mac: Option<String>,
    },
    /// A VXLAN puts it into a packet of UDP.
    Wraps {
        /// The VXLAN.
        link: String,
        /// Its number.
        vni: u32,
        /// The UDP port.
        port: u16,
        /// The outer packet's source.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
        /// The outer packet's destination: who unwraps it.
        to: IpAddr,
        /// The link by which the outer packet leaves.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// The next hop of the outer packet.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_hop: Option<IpAddr>,
    },
    /// It goes over a wire.
    Crosses {
        /// From this link.
        from: String,
        /// To that one.
        to: String,
    },
    /// It leaves what was looked at.
    Leaves {
        /// By this link.
        link: String,
    },
    /// It is where it should go.
    Delivered {
        /// The address.
        to: IpAddr,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { rule, route, source, one_of, .. } => {
                write!(f, "rule {rule}\n    route {route}")?;
                if let Some(source) = source {
                    write!(f, "\n    from {source}")?;
                }
                if !one_of.is_empty() {
                    write!(f, "\n    one of: {}", one_of.join("; "))?;
                }
                Ok(())
            }
            Self::LooksAgain { source: Some(source) } => {
                write!(f, "the connection looks again, now from {source}")
            }
            Self::LooksAgain { source: None } => write!(f, "the connection looks again"),
            Self::Enters { link } => write!(f, "in by {link}"),
            Self::ReversePath { link, mode, verdict } => write!(f, "rp_filter {mode} of {link}: {verdict}"),
            Self::Firewall { hook, effect } => write!(f, "{hook}: {} {}", effect.place, effect.does),
            Self::Neighbour { link, ip, mac: Some(mac) } => write!(f, "{ip} on {link} is at {mac}"),
            Self::Neighbour { link, ip, mac: None } => {
                write!(f, "{ip} on {link}: the kernel asks for its hardware address")
            }
            Self::Wraps { link, vni, port, from, to, by, next_hop } => {
                write!(f, "{link} wraps it: VNI {vni}, UDP port {port}")?;
                if let Some(from) = from {
                    write!(f, ", from {from}")?;
                }
                write!(f, " to {to}")?;
                if let Some(by) = by {
                    write!(f, " by {by}")?;
                }
                next_hop.map_or(Ok(()), |hop| write!(f, " via {hop}"))
            }
            Self::Crosses { from, to } => write!(f, "{from} -> {to}"),
            Self::Leaves { link } => write!(f, "leaves by {link}; beyond that nobody looked"),
            Self::Delivered { to } => write!(f, "{to} is here"),
        }
    }
}

/// A decision as a step.
pub(super) fn route(stack: &Stack, decision: &Decision) -> What {
    let nothing = |rule: String, route: String| What::Route {
        rule,
        table: None,
        route,
        link: None,
        next_hop: None,
        source: None,
        one_of: Vec::new(),
    };
    match &decision.verdict {
        Verdict::Route(chosen) => {
            let hop = chosen.hops.first().cloned().unwrap_or_default();
            let all = chosen.hops.iter().map(|hop| hop_text(stack, hop));
            What::Route {
                rule: chosen.rule.to_string(),
                table: Some(chosen.route.table),
                route: route_text(stack, &chosen.route, &hop),
                link: hop.link.map(|link| stack.name_of(link)),
                next_hop: hop.via,
                source: chosen.source,
                one_of: if chosen.hops.len() > 1 { all.collect() } else { Vec::new() },
            }
        }
        Verdict::AssumedOnLink { link, source } => What::Route {
            rule: "none has a route".to_owned(),
            table: None,
            route: format!("assumed to be on {}, which the sender insists on", stack.name_of(*link)),
            link: Some(stack.name_of(*link)),
            next_hop: None,
            source: *source,
            one_of: Vec::new(),
        },
        Verdict::RefusedByRule(rule) => nothing(rule.to_string(), "refused by the rule".to_owned()),
        Verdict::RefusedByRoute(rule, route) => {
            nothing(rule.to_string(), route_text(stack, route, &Hop::default()))
        }
        Verdict::NoRoute => nothing("none has a route".to_owned(), "none".to_owned()),
        Verdict::StrangeSource(ip) => nothing("not asked".to_owned(), format!("{ip} is not here")),
        Verdict::LinkDown(link) => {
            nothing("not asked".to_owned(), format!("{} is down", stack.name_of(*link)))
        }
    }
}

/// A route as `ip route` prints it, with one of its next hops.
pub(crate) fn route_text(stack: &Stack, route: &FibRoute, hop: &Hop) -> String {
    let mut text = match route.kind {
        polynic_net::stack::FibKind::Unicast => String::new(),
        kind => format!("{} ", kind.word()),
    };
    text += &if route.dst.prefix_len() == 0 { "default".to_owned() } else { host_or_net(route) };
    let by = hop_text(stack, hop);
    if !by.is_empty() {
        text += " ";
        text += &by;
    }
    if route.table != TABLE_MAIN {
        text += &format!(" table {}", table_name(route.table));
    }
    if let Some(source) = route.source {
        text += &format!(" src {source}");
    }
    if route.metric != 0 {
        text += &format!(" metric {}", route.metric);
    }
    text
}

fn host_or_net(route: &FibRoute) -> String {
    if route.dst.prefix_len() == route.family.bits() {
        route.dst.addr().to_string()
    } else {
        route.dst.to_string()
    }
}

fn table_name(table: u32) -> String {
    match table {
        polynic_net::TABLE_LOCAL => "local".to_owned(),
        253 => "default".to_owned(),
        table => table.to_string(),
    }
}

fn hop_text(stack: &Stack, hop: &Hop) -> String {
    let via = hop.via.map(|via| format!("via {via}"));
    let dev = hop.link.map(|link| format!("dev {}", stack.name_of(link)));
    Vec::from_iter(via.into_iter().chain(dev)).join(" ")
}

/// A reverse path check in words.
pub(super) fn reverse_path(stack: &Stack, check: &ReversePath) -> String {
    match check {
        ReversePath::Off => "not checked".to_owned(),
        ReversePath::Passes => "passes".to_owned(),
        ReversePath::OtherLink(links) => {
            let names: Vec<String> = links.iter().map(|link| stack.name_of(*link)).collect();
            format!("drops it, because the way back is by {}", names.join(" or "))
        }
        ReversePath::NoWayBack => "drops it, because there is no way back".to_owned(),
        ReversePath::OwnSource => "drops it, because its source is an address of this host".to_owned(),
    }
}
