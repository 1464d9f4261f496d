//! The cases of one pod: who asks whom, how, and by which NIC of the pod that has to go.

use std::net::IpAddr;

use polynic_explain::{LinkOf, Works};
use polynic_net::Family;

use super::super::probe::{self, By, PORT, Probe, Seen};
use super::super::world::{Place, World};
use super::super::{Finding, explained};
use super::kinds::{Kind, Party};
use super::{parties, services};

/// The pod comes behind the parties among the namespaces.
const POD: usize = Party::ALL.len();

/// One case.
struct Case<'a> {
    what: String,
    place: Place<'a>,
    probe: Probe,
    /// The NIC that has to carry the requests, and the one that has to carry the answers.
    nics: [&'static str; 2],
}

/// All cases of a pod: each of its addresses and its Service asked by everybody, and everybody and his Service asked by it.
pub fn of(world: &World, kind: &Kind) -> Finding {
    let node = world.sandbox(kind.pod)?.node;
    let places = parties::places(&node);
    let cases = cases(world, kind, &places)?;
    let mut spaces = places.iter().map(|place| world.network(*place)).collect::<Result<Vec<_>, _>>()?;
    spaces.push(world.network(Place::Pod(kind.pod))?);
    let probes: Vec<Probe> = cases.iter().map(|case| case.probe.clone()).collect();
    let seen = probe::run(&spaces, POD, &probes)?;
    let wrong: Vec<(&Case<'_>, String)> =
        cases.iter().zip(&seen).filter_map(|(case, seen)| Some((case, wrong(case, seen)?))).collect();
    if let Some((first, _)) = wrong.first() {
        let all: Vec<&str> = wrong.iter().map(|(_, why)| why.as_str()).collect();
        let said = said(world, first);
        return Err(format!("{} of {} cases are wrong: {}; {said}", all.len(), cases.len(), all.join("; ")));
    }
    explain_agrees(world, kind, &cases)?;
    Ok(format!("{} cases", cases.len()))
}

fn cases<'a>(world: &World, kind: &Kind, places: &[Place<'a>]) -> Result<Vec<Case<'a>>, String> {
    let mut cases = Vec::new();
    let own = addresses(world, kind.pod)?;
    for (at, party) in Party::ALL.into_iter().enumerate() {
        let place = places[at];
        for to in parties::addresses(world, party, place)? {
            for by in [By::Ping, By::Tcp(PORT)] {
                let probe = Probe { from: POD, source: None, to, by };
                let what = format!("{} -> {party:?} {to} by {by:?}", kind.pod);
                cases.push(Case {
                    what,
                    place: Place::Pod(kind.pod),
                    probe,
                    nics: [kind.asks(party), kind.hears(party)],
                });
            }
        }
        for (nic, to) in own.iter().copied() {
            for by in [By::Ping, By::Tcp(PORT)] {
                let what = format!("{party:?} -> {nic} {to} of {} by {by:?}", kind.pod);
                let probe = Probe { from: at, source: None, to, by };
                cases.push(Case { what, place, probe, nics: [kind.answers(party, nic); 2] });
            }
        }
        for to in services::addresses(world, kind.pod)? {
            let what = format!("{party:?} -> Service {to} of {}", kind.pod);
            let probe = Probe { from: at, source: None, to, by: By::Tcp(services::PORT) };
            cases.push(Case { what, place, probe, nics: [kind.serves(party); 2] });
        }
        for to in services::addresses(world, parties::service(party))? {
            let what = format!("{} -> Service {to} of {party:?}", kind.pod);
            let probe = Probe { from: POD, source: None, to, by: By::Tcp(services::PORT) };
            cases.push(Case { what, place: Place::Pod(kind.pod), probe, nics: [kind.inner; 2] });
        }
    }
    Ok(cases)
}

/// The NICs that pods of all kinds have; what only serves the plugins is none of them.
const NICS: [&str; 2] = ["eth0", "net1"];

/// The pod's addresses with their NICs.
fn addresses(world: &World, pod: &str) -> Result<Vec<(&'static str, IpAddr)>, String> {
    let view = world.look(Place::Pod(pod))?;
    let of = |nic: &'static str| {
        let both = [Family::V4, Family::V6].into_iter().flat_map(|family| view.addresses(nic, family));
        both.map(|address| (nic, address.net.addr())).collect::<Vec<_>>()
    };
    Ok(NICS.into_iter().flat_map(of).collect())
}

/// What is wrong with a case, if anything: packets of each direction have to pass by the right NIC, and by no other link.
fn wrong(case: &Case<'_>, seen: &Seen) -> Option<String> {
    let links = [&seen.links.asked, &seen.links.answered];
    let right = links.iter().zip(case.nics).all(|(links, nic)| links.iter().map(String::as_str).eq([nic]));
    let why = match &seen.answer {
        Ok(()) if right => return None,
        Ok(()) => "answered",
        Err(why) => why.as_str(),
    };
    let [asked, answered] = links;
    let wanted = case.nics.join(" and ");
    Some(format!("{}: {why}; requests by {asked:?}, answers by {answered:?}, not {wanted}", case.what))
}

fn port(case: &Case<'_>) -> Option<u16> {
    match case.probe.by {
        By::Ping => None,
        By::Tcp(port) => Some(port),
    }
}

fn said(world: &World, case: &Case<'_>) -> String {
    match explained::ask(world, case.place, None, case.probe.to, port(case)) {
        Ok(answer) => format!("of the first one explain says:\n{answer}"),
        Err(why) => format!("of the first one explain cannot say anything: {why}"),
    }
}

/// What was seen is what `explain` says, in every case. What it looked at may have changed since: then it looks again.
fn explain_agrees(world: &World, kind: &Kind, cases: &[Case<'_>]) -> Result<(), String> {
    for case in cases {
        let agreed = agrees(world, kind, case);
        if agreed.is_err() {
            world.forget();
            agrees(world, kind, case)?;
        }
    }
    Ok(())
}

fn agrees(world: &World, kind: &Kind, case: &Case<'_>) -> Result<(), String> {
    let site = World::site_name(Place::Pod(kind.pod));
    let answer = explained::ask(world, case.place, None, case.probe.to, port(case))?;
    let by = |links: &[LinkOf], nic: &str| links.iter().any(|one| one.site == site && one.link == nic);
    let [there, back] = case.nics;
    let legs = answer.reply.as_ref().map(|reply| match case.probe.from {
        POD => by(&answer.request.left_by, there) && by(&reply.came_by, back),
        _ => by(&answer.request.came_by, there) && by(&reply.left_by, back),
    });
    match answer.works == Works::Yes && legs == Some(true) {
        true => Ok(()),
        false => {
            Err(format!("{}: seen to work by {there} and {back}, and explain says:\n{answer}", case.what))
        }
    }
}
