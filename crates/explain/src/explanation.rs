//! The whole answer: the way of a packet, the way of its reply, whether both use the same links, and what to do where they fail.

mod text;

use std::net::IpAddr;

use serde::Serialize;

use crate::flow::Flow;
use crate::lookup::{Verdict, lookup};
use crate::scene::{Scene, Spot};
use crate::walk::{End, Step, Walker, Way};
use crate::wire;

/// Who sends the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A namespace of the scene.
    Site(usize),
    /// Somebody whom nobody looked at.
    Beyond,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who sends.
    pub asker: Asker,
    /// To whom.
    pub to: IpAddr,
    /// To which TCP port; an echo request without.
    pub port: Option<u16>,
    /// From which address; the kernel's choice without. Needed if the asker is beyond.
    pub from: Option<IpAddr>,
    /// By which link the sender insists that it leaves.
    pub link: Option<u32>,
}

/// Whether it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Works {
    /// Request and reply arrive.
    Yes,
    /// As far as anybody looked.
    AsFarAsSeen,
    /// Request or reply are lost.
    No,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Who asked whom.
    pub question: String,
    /// Whether it works.
    pub works: Works,
    /// Whether the reply takes the links of the request; none if there is no reply.
    pub symmetric: Option<bool>,
    /// The way of the request.
    pub request: Leg,
    /// The way of the reply; none if the request is lost.
    pub reply: Option<Leg>,
    /// What is wrong, and what helps.
    pub findings: Vec<Finding>,
    /// What could not be judged.
    pub doubts: Vec<String>,
}

/// One direction.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leg {
    /// The links by which it leaves namespaces, in order.
    pub left_by: Vec<LinkOf>,
    /// The links by which it comes into namespaces, in order.
    pub came_by: Vec<LinkOf>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// A link of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkOf {
    /// The namespace.
    pub site: String,
    /// The link.
    pub link: String,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What helps.
    pub remedy: String,
}

/// Answers a question.
pub fn explain(scene: &Scene, question: &Question) -> Explanation {
    let mut walker = Walker::new(scene);
    let request = first(scene, &mut walker, question);
    walker.turn();
    let reply = second(scene, &mut walker, &request);
    let mut findings = Vec::new();
    findings.extend(lost(scene, &request));
    findings.extend(reply.as_ref().and_then(|reply| lost(scene, reply)));
    findings.extend(reply.as_ref().and_then(|reply| astray(scene, question, reply)));
    let works = works(question, &request, reply.as_ref(), findings.is_empty());
    let crooked = reply.as_ref().map(|reply| crooked(scene, question, &request, reply));
    let symmetric = crooked.as_ref().map(Vec::is_empty);
    findings.extend(crooked.into_iter().flatten());
    let mut doubts = request.doubts.clone();
    doubts.extend(reply.iter().flat_map(|reply| reply.doubts.iter().cloned()));
    doubts.extend(unread(scene, &request, reply.as_ref()));
    doubts.sort();
    doubts.dedup();
    Explanation {
        question: words(scene, question, &request),
        works,
        symmetric,
        request: leg(scene, &request),
        reply: reply.as_ref().map(|reply| leg(scene, reply)),
        findings,
        doubts,
    }
}

fn words(scene: &Scene, question: &Question, request: &Way) -> String {
    let who = match question.asker {
        Asker::Site(site) => scene.sites[site].name.clone(),
        Asker::Beyond => "somebody".to_owned(),
    };
    let from = question.from.or_else(|| request.steps.iter().find_map(source_of));
    let from = from.map(|ip| format!(" from {ip}")).unwrap_or_default();
    match question.port {
        Some(port) => format!("{who}{from} to {} (TCP)", std::net::SocketAddr::new(question.to, port)),
        None => format!("{who}{from} to {} (ping)", question.to),
    }
}

fn source_of(step: &Step) -> Option<IpAddr> {
    match &step.what {
        crate::walk::What::Route { source, .. } => *source,
        _ => None,
    }
}

/// The way of the first packet.
fn first(scene: &Scene, walker: &mut Walker<'_>, question: &Question) -> Way {
    let mut flow = Flow::to(question.to, question.port);
    flow.src = question.from;
    flow.oif = question.link;
    match question.asker {
        Asker::Site(site) => walker.sent_from(site, flow),
        Asker::Beyond => match entry(scene, question.to, question.from) {
            Some(spot) => walker.come_to(spot, flow),
            None => walker.sent_from(0, flow),
        },
    }
}

/// By which link a packet from beyond comes in: straight to who has the address if that one is on a wire that leads out, otherwise to
/// where the next namespace on the way would send to the sender.
fn entry(scene: &Scene, to: IpAddr, from: Option<IpAddr>) -> Option<Spot> {
    let owner = owner(scene, to)?;
    let segment = wire::sent_by(scene, owner);
    if !segment.open.is_empty() || segment.ends.is_empty() {
        return Some(owner);
    }
    let near = segment.ends.first()?.site;
    let back = Flow { iif: Some(crate::lookup::LOOPBACK), ..Flow::to(from?, None) };
    match lookup(scene.stack(near), &back).verdict {
        Verdict::Route(chosen) => {
            chosen.hops.first().and_then(|hop| hop.link).map(|link| Spot { site: near, link })
        }
        _ => Some(owner),
    }
}

fn owner(scene: &Scene, ip: IpAddr) -> Option<Spot> {
    let of = |site: usize| scene.stack(site).owner(ip).map(|link| Spot { site, link });
    (0..scene.sites.len()).find_map(of)
}

/// The way of the reply.
fn second(scene: &Scene, walker: &mut Walker<'_>, request: &Way) -> Option<Way> {
    let back = Flow {
        dst: request.flow.src?,
        src: Some(request.flow.dst),
        iif: None,
        oif: None,
        mark: 0,
        source_port: request.flow.port,
        port: request.flow.source_port,
        protocol: request.flow.protocol,
    };
    match &request.end {
        End::Arrived(site) => Some(walker.sent_from(*site, back)),
        End::Left(open) => {
            let spot = comes_back_by(scene, *open, back.dst);
            Some(walker.come_to(spot, back))
        }
        End::Lost(_) => None,
    }
}

/// Where a reply comes in that was sent to the link by which the request left: at who has the address on that wire, otherwise at the link
/// itself. Whoever is beyond is taken to send back to where the request came from.
fn comes_back_by(scene: &Scene, open: Spot, to: IpAddr) -> Spot {
    let segment = wire::received_at(scene, open);
    let has = |spot: &Spot| scene.stack(spot.site).owner(to) == Some(spot.link);
    // Somebody answers for an address of another link of his only to those who take it to be on their wire.
    let near = |spot: &Spot| scene.stack(spot.site).addresses_on(spot.link).any(|a| a.fact.net.contains(&to));
    let has_any = |spot: &Spot| scene.stack(spot.site).owns(to) && near(spot);
    let ends = || segment.ends.iter().copied();
    let itself = || ends().find(|spot| spot.site == open.site);
    ends().find(|s| has(s)).or_else(|| ends().find(|s| has_any(s))).or_else(itself).unwrap_or(open)
}

fn lost(scene: &Scene, way: &Way) -> Option<Finding> {
    match &way.end {
        End::Lost(loss) => Some(Finding { what: loss.what(scene), remedy: loss.remedy(scene) }),
        _ => None,
    }
}

/// A reply that ends somewhere else than where the request began.
fn astray(scene: &Scene, question: &Question, reply: &Way) -> Option<Finding> {
    let asker = match question.asker {
        Asker::Site(site) => Some(site),
        Asker::Beyond => None,
    };
    match (&reply.end, asker) {
        (End::Arrived(site), asker) if asker != Some(*site) => Some(Finding {
            what: format!(
                "the reply ends at {}, which has the address {} too",
                scene.sites[*site].name, reply.flow.dst
            ),
            remedy: "give one of both another address".to_owned(),
        }),
        _ => None,
    }
}

fn works(question: &Question, request: &Way, reply: Option<&Way>, well: bool) -> Works {
    let seen = matches!(request.end, End::Arrived(_))
        && question.asker != Asker::Beyond
        && reply.is_some_and(|reply| matches!(reply.end, End::Arrived(_)));
    match (well, seen) {
        (false, _) => Works::No,
        (true, true) => Works::Yes,
        (true, false) => Works::AsFarAsSeen,
    }
}

/// Places where request and reply use different links.
fn crooked(scene: &Scene, question: &Question, request: &Way, reply: &Way) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (End::Arrived(site), Some(came), Some(left)) =
        (&request.end, request.came_by.last(), reply.left_by.first())
        && came.site == *site
        && left.site == *site
        && came != left
    {
        findings.push(answers_elsewhere(scene, *came, *left, reply.flow.src.unwrap_or(question.to)));
    }
    if let (Asker::Site(site), Some(left), Some(came)) =
        (question.asker, request.left_by.first(), reply.came_by.last())
        && left.site == site
        && came.site == site
        && left != came
    {
        findings.push(sends_elsewhere(scene, *left, *came, reply.flow.dst));
    }
    findings
}

fn answers_elsewhere(scene: &Scene, came: Spot, left: Spot, ip: IpAddr) -> Finding {
    let stack = scene.stack(came.site);
    let (site, came, left) =
        (&scene.sites[came.site].name, stack.name_of(came.link), stack.name_of(left.link));
    Finding {
        what: format!("the request comes to {site} by {came}, the reply leaves by {left}"),
        remedy: format!(
            "give packets from {ip} a table with {came}'s routes (ip rule add from {ip} table N), as router and coordinator do"
        ),
    }
}

fn sends_elsewhere(scene: &Scene, left: Spot, came: Spot, ip: IpAddr) -> Finding {
    let stack = scene.stack(left.site);
    let (site, came, left) =
        (&scene.sites[left.site].name, stack.name_of(came.link), stack.name_of(left.link));
    Finding {
        what: format!("{site} sends by {left} with the address {ip}, to which replies come by {came}"),
        remedy: format!(
            "send from an address of {left}, or give packets from {ip} a table with {came}'s routes (ip rule add from {ip} table N)"
        ),
    }
}

fn leg(scene: &Scene, way: &Way) -> Leg {
    let link_of = |spot: &Spot| LinkOf {
        site: scene.sites[spot.site].name.clone(),
        link: scene.stack(spot.site).name_of(spot.link),
    };
    Leg {
        left_by: way.left_by.iter().map(link_of).collect(),
        came_by: way.came_by.iter().map(link_of).collect(),
        steps: way.steps.clone(),
    }
}

/// What could not be read in namespaces on the way.
fn unread<'a>(
    scene: &'a Scene,
    request: &'a Way,
    reply: Option<&'a Way>,
) -> impl Iterator<Item = String> + 'a {
    let on_way = move |name: &str| {
        let steps = request.steps.iter().chain(reply.iter().flat_map(|reply| &reply.steps));
        steps.into_iter().any(|step| step.site == name)
    };
    let passed = scene.sites.iter().filter(move |site| on_way(&site.name));
    passed.flat_map(|site| site.stack.unread.iter().map(|what| format!("{}: not judged: {what}", site.name)))
}
