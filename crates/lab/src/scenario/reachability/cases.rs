//! The cases of one pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_explain::Works;
use polynic_kernel::netns::{Netns, Pod as PodSpace};
use polynic_net::Family;

use super::super::world::Place::{self, Host, Pod};
use super::super::{Finding, explained, packet, reach, world::World};
use super::{HOSTS, OTHER, PLAIN};

/// Packets of a burst.
const BURST: u64 = 6;
/// Packets that others may send meanwhile: neighbour discovery, mostly.
const NOISE: u64 = 4;

/// Somebody who asks, and at which address he can be asked.
struct Asker<'a> {
    name: &'a str,
    place: Place<'a>,
    address: IpAddr,
}

/// What was seen of one case.
pub struct Seen {
    /// Who asked.
    pub asker: String,
    /// By which link requests came, and answers left; none if nothing got through.
    pub links: Option<(String, String)>,
    /// What it was about.
    what: String,
}

/// All cases of a pod: each of its addresses asked by everybody, and everybody asked by it.
pub fn of(world: &World, pod: &str) -> Finding {
    let node = world.sandbox(pod)?.node;
    let askers = askers(world, &node)?;
    let (mut count, mut odd) = (0, Vec::new());
    for (nic, address) in addresses(world, pod)? {
        for asker in askers.iter().filter(|asker| Family::of(asker.address) == Family::of(address)) {
            let seen = asked(world, asker, pod, &nic, address)?;
            count += 1;
            match &seen.links {
                Some((came, left)) if came == left => {}
                _ if super::is_expected(&seen) => odd.push(seen.what),
                Some((came, left)) => {
                    return Err(format!("{}: asked by {came}, answered by {left}", seen.what));
                }
                None => return Err(format!("{}: no answer", seen.what)),
            }
        }
    }
    for asker in &askers {
        asks(world, pod, asker)?;
        count += 1;
    }
    let odd = if odd.is_empty() { String::new() } else { format!("; not by one link: {}", odd.join(", ")) };
    Ok(format!("{count} cases{odd}"))
}

fn askers<'a>(world: &World, node: &'a str) -> Result<Vec<Asker<'a>>, String> {
    let mut askers = Vec::new();
    let mut add = |name: &'a str, place: Place<'a>, addresses: [IpAddr; 2]| {
        askers.extend(addresses.map(|address| Asker { name, place, address }));
    };
    add("node", Host(node), world.node_addresses(node)?);
    for host in HOSTS {
        add(host, Host(host), world.host_addresses(host)?);
    }
    for (pod, nic) in [(PLAIN, "eth0"), (OTHER, "net1")] {
        let view = world.look(Pod(pod))?;
        add(pod, Pod(pod), [view.address(nic, Family::V4)?, view.address(nic, Family::V6)?]);
    }
    Ok(askers)
}

/// The pod's addresses with their links; what only serves the plugins is none of them.
fn addresses(world: &World, pod: &str) -> Result<Vec<(String, IpAddr)>, String> {
    let view = world.look(Pod(pod))?;
    let nics = view.link_names().into_iter().filter(|name| name == "eth0" || name.starts_with("net"));
    Ok(nics
        .flat_map(|nic| {
            let of =
                |family| view.addresses(&nic, family).into_iter().map(|a| a.net.addr()).collect::<Vec<_>>();
            let all: Vec<IpAddr> = [Family::V4, Family::V6].into_iter().flat_map(of).collect();
            all.into_iter().map(|ip| (nic.clone(), ip)).collect::<Vec<_>>()
        })
        .collect())
}

/// Asks the pod at an address: what is seen must be what explain says.
fn asked(world: &World, asker: &Asker<'_>, pod: &str, nic: &str, to: IpAddr) -> Result<Seen, String> {
    let what = format!("{} -> {to} ({nic} of {pod})", asker.name);
    let (there, here) = (world.network(asker.place)?, world.network(Pod(pod))?);
    let answer = explained::ask(world, asker.place, None, to, None)?;
    let burst = burst(&there, &here, to)?;
    let said = (|| {
        let came = answer.request.came_by.last()?.link.clone();
        Some((came, answer.reply.as_ref()?.left_by.first()?.link.clone()))
    })();
    let agree = match (&burst, answer.works) {
        (Some(seen), Works::Yes) => said.as_ref() == Some(seen),
        (None, Works::No) => true,
        _ => false,
    };
    if !agree {
        return Err(format!("{what}: seen {burst:?}, and explain says:\n{answer}"));
    }
    Ok(Seen { asker: asker.name.to_owned(), links: burst, what })
}

/// By which links a burst came and was answered; none if nobody answers.
fn burst(
    there: &Netns<PodSpace>,
    here: &Netns<PodSpace>,
    to: IpAddr,
) -> Result<Option<(String, String)>, String> {
    if packet::ping(there, None, to).is_err() {
        return Ok(None);
    }
    let before = reach::counters(here)?;
    (0..BURST).try_for_each(|_| packet::ping(there, None, to).map(drop))?;
    let after = reach::counters(here)?;
    let busiest = |count: fn(&(u64, u64)) -> u64| -> Option<String> {
        let grown: BTreeMap<u64, &String> = after
            .iter()
            .filter(|(name, _)| name.as_str() != "lo")
            .map(|(name, now)| (count(now) - before.get(name).map_or(0, count), name))
            .collect();
        let mut most = grown.into_iter().rev();
        let (packets, name) = most.next()?;
        let second = most.next().map_or(0, |(packets, _)| packets);
        (packets >= BURST && second < BURST.max(NOISE)).then(|| name.clone())
    };
    match (busiest(|c| c.0), busiest(|c| c.1)) {
        (Some(came), Some(left)) => Ok(Some((came, left))),
        _ => Err(format!("{to} answers, and no link of the pod carries that: {before:?} {after:?}")),
    }
}

/// The pod asks somebody: it must get an answer, by the link that explain names.
fn asks(world: &World, pod: &str, asker: &Asker<'_>) -> Finding {
    let to = asker.address;
    let here = world.network(Pod(pod))?;
    let answer = explained::ask(world, Pod(pod), None, to, None)?;
    let what = || format!("{pod} -> {} {to}", asker.name);
    packet::ping(&here, None, to).map_err(|why| format!("{}: {why}; explain says:\n{answer}", what()))?;
    let before = reach::counters(&here)?;
    (0..BURST).try_for_each(|_| packet::ping(&here, None, to).map(drop))?;
    let after = reach::counters(&here)?;
    let said = answer.request.left_by.first().map(|l| l.link.clone()).unwrap_or_default();
    let sent = after.get(&said).map_or(0, |c| c.1) - before.get(&said).map_or(0, |c| c.1);
    match sent >= BURST && answer.works != Works::No {
        true => Ok(said),
        false => Err(format!(
            "{}: {sent} packets left by {said}, by which explain sees them go:\n{answer}",
            what()
        )),
    }
}
