//! Who reaches whom, and by which interface of a pod the packets go: bursts of echo requests and a TCP connection, with the links'
//! counters before and after.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_kernel::netns::{Netns, Pod};

use super::Finding;
use super::world::{Place, World};
use super::{explained, packet};

/// Packets of a burst.
const BURST: u64 = 8;
/// Packets that others may send by an interface meanwhile: neighbour discovery, mostly.
const NOISE: u64 = 5;

/// Packets sent by each link.
type Sent = BTreeMap<String, u64>;

fn sent(network: &Netns<Pod>) -> Result<Sent, String> {
    Ok(counters(network)?.into_iter().map(|(name, (_, sent))| (name, sent)).collect())
}

/// Packets received and sent by each link.
pub fn counters(network: &Netns<Pod>) -> Result<BTreeMap<String, (u64, u64)>, String> {
    // The calling thread is in the namespace; `/proc/net` would show that of the process.
    let text = network.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).and_then(|text| text);
    let text = text.map_err(|why| format!("read the links' counters: {why}"))?;
    Ok(text.lines().filter_map(line).collect())
}

/// `eth0: bytes packets errs drop fifo frame compressed multicast bytes packets ...`: received, then sent.
fn line(text: &str) -> Option<(String, (u64, u64))> {
    let (name, counters) = text.split_once(':')?;
    let counter = |at: usize| counters.split_whitespace().nth(at)?.parse().ok();
    Some((name.trim().to_owned(), (counter(1)?, counter(9)?)))
}

/// Whether a burst left by `nic` and no other link.
fn left_by(nic: &str, before: &Sent, after: &Sent) -> Finding {
    let grown = |name: &str| {
        let count = |sent: &Sent| sent.get(name).copied().unwrap_or_default();
        count(after).saturating_sub(count(before))
    };
    if grown(nic) < BURST {
        let all: Vec<String> = after.keys().map(|name| format!("{name} {}", grown(name))).collect();
        return Err(format!("only {} packets left by {nic}; sent: {}", grown(nic), all.join(", ")));
    }
    let others = after.keys().filter(|name| name.as_str() != nic && name.as_str() != "lo");
    match others.filter(|name| grown(name) >= NOISE).max_by_key(|name| grown(name)) {
        Some(other) => Err(format!("{} packets left by {other} instead of {nic}", grown(other))),
        None => Ok(format!("{} packets left by {nic}", grown(nic))),
    }
}

fn burst(from: &Netns<Pod>, source: Option<IpAddr>, to: IpAddr) -> Result<(), String> {
    (0..BURST).try_for_each(|_| packet::ping(from, source, to).map(drop))
}

/// `from` reaches an address of a pod by ping and TCP, and what the pod answers leaves by `nic`.
pub fn answered_by(world: &World, from: Place<'_>, pod: &str, to: IpAddr, nic: &str) -> Finding {
    let (there, here) = (world.network(from)?, world.network(Place::Pod(pod))?);
    let whom = || format!("{from:?} -> {to} ({pod})");
    packet::ping(&there, None, to).map_err(|why| format!("{}: {why}", whom()))?;
    let before = sent(&here)?;
    burst(&there, None, to)?;
    packet::tcp(&there, &here, to).map_err(|why| format!("{}: {why}", whom()))?;
    left_by(nic, &before, &sent(&here)?).map_err(|why| format!("{}: {why}", whom()))?;
    explained::says_answered_by(world, from, to, nic)
}

/// A pod reaches an address by ping, and its packets leave by `nic`.
pub fn leaves_by(world: &World, pod: &str, source: Option<IpAddr>, to: IpAddr, nic: &str) -> Finding {
    let here = world.network(Place::Pod(pod))?;
    let whom = || format!("{pod} -> {to}");
    packet::ping(&here, source, to).map_err(|why| format!("{}: {why}", whom()))?;
    let before = sent(&here)?;
    burst(&here, source, to)?;
    left_by(nic, &before, &sent(&here)?).map_err(|why| format!("{}: {why}", whom()))?;
    explained::says_leaves_by(world, pod, source, (to, None), nic)
}

/// A burst of TCP connections of a pod to an address leaves by `nic`.
pub fn connection_leaves_by(world: &World, pod: &str, to: IpAddr, port: u16, nic: &str) -> Finding {
    let here = world.network(Place::Pod(pod))?;
    packet::http(&here, to, port)?;
    let before = sent(&here)?;
    (0..BURST).try_for_each(|_| packet::http(&here, to, port).map(drop))?;
    left_by(nic, &before, &sent(&here)?).map_err(|why| format!("{pod} -> {to}: {why}"))?;
    explained::says_leaves_by(world, pod, None, (to, Some(port)), nic)
}

/// Both directions between a place and an address of a pod work, by whatever way.
pub fn both_ways(world: &World, place: Place<'_>, own: IpAddr, pod: &str, to: IpAddr) -> Finding {
    let (there, here) = (world.network(place)?, world.network(Place::Pod(pod))?);
    let failed = |why: String| format!("{place:?} {own} <-> {pod} {to}: {why}");
    packet::ping(&there, None, to).map_err(failed)?;
    packet::tcp(&there, &here, to).map_err(failed)?;
    packet::ping(&here, None, own).map_err(failed)?;
    packet::tcp(&here, &there, own).map_err(failed)?;
    explained::says_both_ways(world, place, own, pod, to)?;
    Ok(format!("{own} <-> {to}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(pairs: &[(&str, u64)]) -> Sent {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let text = "  eth0: 1016 9 0 0 0 0 0 0 1306 13 0 0 0 0 0 0";
        assert_eq!(line(text), Some(("eth0".to_owned(), (9, 13))));
        assert_eq!(
            line("Inter-|   Receive                                                |  Transmit"),
            None
        );
    }

    #[test]
    fn a_burst_by_another_link_is_told() {
        let before = counters(&[("eth0", 5), ("net1", 5), ("lo", 0)]);
        assert!(left_by("net1", &before, &counters(&[("eth0", 6), ("net1", 20), ("lo", 9)])).is_ok());
        assert!(left_by("net1", &before, &counters(&[("eth0", 20), ("net1", 6), ("lo", 0)])).is_err());
        assert!(left_by("net1", &before, &counters(&[("eth0", 20), ("net1", 20), ("lo", 0)])).is_err());
    }
}
