//! Many probes at once: echo requests and TCP connections between namespaces, and by which links of one of them their packets passed.
//!
//! Every probe has a number of its own, which is its identifier in ICMP and its client's port in TCP. So each captured frame ([`frame`]) tells
//! which probe it belongs to, whatever else is on the wire, and in which direction it goes. Sockets stay in the namespace in which they
//! were made, so that plain threads can wait for all of them; [`ping`] and [`tcp`] know the protocols, [`watch`] the links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use polynic_kernel::netns::{Netns, Pod};

mod frame;
mod ping;
mod tcp;
mod watch;

pub use tcp::PORT;
use watch::{Passed, Watch};

/// How long an answer may take. Only what fails takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a probe is repeated whose answer came, but whose packets were not all seen: a socket that hears a busy link may lose some.
const ROUNDS: usize = 4;
/// The first number. Below the ports that the kernel chooses, and that Services have on nodes.
const FIRST: u16 = 10_000;

/// How somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// An echo request.
    Ping,
    /// A connection to a port, and a few bytes both ways.
    Tcp(u16),
}

/// One question.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Who asks: an index into the namespaces.
    pub from: usize,
    /// With which address of its own; the kernel's choice if absent. Only for [`By::Ping`].
    pub source: Option<IpAddr>,
    /// Which address.
    pub to: IpAddr,
    /// How.
    pub by: By,
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it was answered, and if not, why not.
    pub answer: Result<(), String>,
    /// The links of the watched namespace by which packets of the asker passed, or the asked one's.
    pub links: Passed,
}

/// A numbered probe.
struct Numbered<'a> {
    number: u16,
    probe: &'a Probe,
}

/// Asks all at once. Each namespace answers connections to [`PORT`] meanwhile. `watched` is the index of the one whose links are listened to.
///
/// # Errors
/// A namespace cannot be entered, or a socket not be made.
pub fn run(spaces: &[Netns<Pod>], watched: usize, probes: &[Probe]) -> Result<Vec<Seen>, String> {
    let space = spaces.get(watched).ok_or("no such namespace")?;
    let _servers: Vec<tcp::Server> = spaces.iter().map(tcp::Server::start).collect::<Result<_, _>>()?;
    let mut seen: Vec<Option<Seen>> = vec![None; probes.len()];
    for _ in 0..ROUNDS {
        let open = seen.iter().enumerate().filter(|(_, seen)| !seen.as_ref().is_some_and(is_complete));
        let open: Vec<usize> = open.map(|(at, _)| at).collect();
        if open.is_empty() {
            break;
        }
        let again: Vec<&Probe> = open.iter().map(|at| &probes[*at]).collect();
        for (at, found) in open.into_iter().zip(round(spaces, space, &again)?) {
            seen[at] = Some(found);
        }
    }
    seen.into_iter().map(|seen| seen.ok_or_else(|| "a probe was not sent".to_owned())).collect()
}

/// Nothing more is to be learnt by asking again: no answer within all that time is an answer.
fn is_complete(seen: &Seen) -> bool {
    seen.answer.is_err() || !(seen.links.asked.is_empty() || seen.links.answered.is_empty())
}

fn round(spaces: &[Netns<Pod>], watched: &Netns<Pod>, probes: &[&Probe]) -> Result<Vec<Seen>, String> {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST);
    let numbered: Vec<Numbered<'_>> =
        probes.iter().map(|probe| Numbered { number: NEXT.fetch_add(1, Ordering::Relaxed), probe }).collect();
    let numbers: BTreeSet<u16> = numbered.iter().map(|one| one.number).collect();
    let watch = Watch::start(watched, numbers)?;
    let mut answers = BTreeMap::new();
    let waiting =
        (0..spaces.len()).map(|at| start(&spaces[at], numbered.iter().filter(|one| one.probe.from == at)));
    for thread in waiting.collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        answers.extend(thread.join().map_err(|_| "a thread failed")?);
    }
    let mut links = watch.stop()?;
    let outcome = |one: &Numbered<'_>| Seen {
        answer: answers.remove(&one.number).unwrap_or_else(|| Err("not asked".to_owned())),
        links: links.remove(&one.number).unwrap_or_default(),
    };
    Ok(numbered.iter().map(outcome).collect())
}

/// The answers to some probes, by number.
type Answers = Vec<(u16, Result<(), String>)>;
type Waiting = std::thread::JoinHandle<Answers>;

/// Sends what one namespace asks; the threads wait for the answers.
fn start<'a>(
    space: &Netns<Pod>,
    probes: impl Iterator<Item = &'a Numbered<'a>>,
) -> Result<Vec<Waiting>, String> {
    let (mut pings, mut calls) = (Vec::new(), Vec::new());
    for Numbered { number, probe } in probes {
        match probe.by {
            By::Ping => pings.push((*number, (probe.source, probe.to))),
            By::Tcp(port) => calls.push((*number, (probe.to, port).into())),
        }
    }
    let mut waiting = ping::start(space, &pings)?;
    waiting.extend(tcp::start(space, &calls)?);
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(answer: Result<(), String>, asked: &[&str], answered: &[&str]) -> Seen {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Seen { answer, links: Passed { asked: set(asked), answered: set(answered) } }
    }

    #[test]
    fn an_answer_whose_packets_were_not_heard_is_asked_for_again() {
        assert!(is_complete(&seen(Ok(()), &["eth0"], &["net1"])));
        assert!(!is_complete(&seen(Ok(()), &["eth0"], &[])));
        assert!(!is_complete(&seen(Ok(()), &[], &["eth0"])));
        assert!(is_complete(&seen(Err("no answer".into()), &["eth0"], &[])));
    }
}
