//! Requests, in bytes (include/uapi/linux/pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h).

use polynic_net::{
    IpNet, Qdisc, TokenBucket, TrafficAction, TrafficFilter, TrafficHook, TrafficMatch, TrafficObject,
};

use super::{AT_INGRESS, AT_ROOT, INGRESS, ROOT, handle, rtm};
use crate::netlink::raw::{Raw, attribute, nested};

/// Attributes of every message.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// Protocols of filters (include/uapi/linux/if_ether.h).
const ALL: u16 = 3;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// The handle of the queue behind a bucket, of which a link has one.
const QUEUE: u32 = 0x0002_0000;
/// How many packets may wait that no class holds back. The kernel's default is the length of the link's queue, which an ifb of
/// ours has set to 0.
const DIRECT_PACKETS: u32 = 1000;

/// `struct tcmsg`.
pub(super) fn header(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [libc::AF_UNSPEC as u32, index, handle, parent, info].iter().flat_map(|n| n.to_ne_bytes()).collect()
}

/// The request that makes a part on the link with an index; a redirection goes to `target`.
pub(super) fn create(object: &TrafficObject, index: u32, target: u32) -> Raw {
    let (kind, options) = match object {
        TrafficObject::Qdisc(Qdisc::Tbf(bucket)) => ("tbf", tbf(bucket)),
        TrafficObject::Qdisc(Qdisc::Htb { default }) => ("htb", htb(*default)),
        TrafficObject::Qdisc(Qdisc::Ingress) => ("ingress", Vec::new()),
        TrafficObject::Class { bucket, .. } => ("htb", class(bucket)),
        TrafficObject::Filter(filter) => ("u32", u32_filter(filter, target)),
    };
    let mut attributes = attribute(TCA_KIND, &[kind.as_bytes(), &[0]].concat());
    if !options.is_empty() {
        attributes.extend(nested(TCA_OPTIONS, &options));
    }
    let kind = match object {
        TrafficObject::Qdisc(_) => rtm::NEW_QDISC,
        TrafficObject::Class { .. } => rtm::NEW_CLASS,
        TrafficObject::Filter(_) => rtm::NEW_FILTER,
    };
    Raw::new(kind, &place(object, index)).with_attributes(&attributes)
}

/// The request that removes it.
pub(super) fn delete(object: &TrafficObject, index: u32) -> Raw {
    let kind = match object {
        TrafficObject::Qdisc(_) => rtm::DEL_QDISC,
        TrafficObject::Class { .. } => rtm::DEL_CLASS,
        TrafficObject::Filter(_) => rtm::DEL_FILTER,
    };
    Raw::new(kind, &place(object, index))
}

/// The request that gives a class a queue of so many bytes.
pub(super) fn plain_queue(index: u32, class: u16, bucket: &TokenBucket) -> Raw {
    // `struct tc_fifo_qopt`, which is not nested.
    let options = attribute(TCA_OPTIONS, &words(&[bucket.limit]));
    let attributes = [attribute(TCA_KIND, b"bfifo\0"), options].concat();
    Raw::new(rtm::NEW_QDISC, &header(index, 0, ROOT | u32::from(class), 0)).with_attributes(&attributes)
}

/// The request that gives a class a queue that controls its delay, with a turn for each flow.
pub(super) fn fair_queue(index: u32, class: u16, bucket: &TokenBucket) -> Raw {
    const TARGET: u16 = 1;
    const LIMIT: u16 = 2;
    const INTERVAL: u16 = 3;
    const MEMORY_LIMIT: u16 = 9;
    let delay = Delay::at(bucket);
    let options = [
        attribute(TARGET, &words(&[delay.target])),
        attribute(LIMIT, &words(&[packets(bucket)])),
        attribute(INTERVAL, &words(&[delay.interval])),
        attribute(MEMORY_LIMIT, &words(&[memory(bucket)])),
    ];
    let options = nested(TCA_OPTIONS, &options.concat());
    let attributes = [attribute(TCA_KIND, b"fq_codel\0"), options].concat();
    Raw::new(rtm::NEW_QDISC, &header(index, QUEUE, ROOT | u32::from(class), 0)).with_attributes(&attributes)
}

/// How long packets may wait in a queue that stands, in microseconds (RFC 8289, 4.3 and 4.4).
struct Delay {
    target: u32,
    interval: u32,
}

impl Delay {
    /// The usual 5 ms in 100 ms, unless a packet takes longer by itself: then two packets.
    fn at(bucket: &TokenBucket) -> Self {
        const USUAL: u64 = 5_000;
        const INTERVAL: u64 = 100_000;
        const TWO_PACKETS: u64 = 2 * 1514;
        let target =
            (TWO_PACKETS * 1_000_000).checked_div(bucket.rate).unwrap_or_default().clamp(USUAL, 1_000_000);
        let micros = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self { target: micros(target), interval: micros(INTERVAL + 2 * (target - USUAL)) }
    }
}

/// What may wait, as the kernel counts it: with all that it keeps about a packet, which is about as much again. Never so little that
/// a packet does not fit, never more than it would be by default.
fn memory(bucket: &TokenBucket) -> u32 {
    bucket.limit.saturating_mul(2).clamp(16 << 10, 32 << 20)
}

/// How many packets may wait. What the kernel counts of memory can be much less than a packet's length where it came in on another link; with this,
/// a stream of packets of 512 bytes and more waits no longer than in a plain queue, twice over at most.
fn packets(bucket: &TokenBucket) -> u32 {
    const SMALL: u32 = 512;
    const USUAL: u32 = 10_240;
    (bucket.limit / SMALL).clamp(16, USUAL)
}

fn place(object: &TrafficObject, index: u32) -> Vec<u8> {
    match object {
        TrafficObject::Qdisc(qdisc) => match qdisc.hook() {
            TrafficHook::Root => header(index, ROOT, AT_ROOT, 0),
            TrafficHook::Ingress => header(index, INGRESS, AT_INGRESS, 0),
        },
        TrafficObject::Class { id, .. } => header(index, ROOT | u32::from(*id), ROOT, 0),
        TrafficObject::Filter(filter) => {
            let protocol = protocol(&filter.matches).to_be();
            let info = u32::from(filter.priority) << 16 | u32::from(protocol);
            header(index, 0, handle(filter.hook), info)
        }
    }
}

fn protocol(matches: &TrafficMatch) -> u16 {
    match matches {
        TrafficMatch::All => ALL,
        TrafficMatch::From(IpNet::V4(_)) | TrafficMatch::To(IpNet::V4(_)) => IPV4,
        TrafficMatch::From(IpNet::V6(_)) | TrafficMatch::To(IpNet::V6(_)) => IPV6,
    }
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
}

/// `struct tc_ratespec`: only its last word counts, the rate, which is all ones if it takes 64 bits.
fn rate_spec(rate: u64) -> [u32; 3] {
    [0, 0, u32::try_from(rate).unwrap_or(u32::MAX)]
}

fn wide_rate(kind: u16, rate: u64) -> Vec<u8> {
    match u32::try_from(rate) {
        Ok(_) => Vec::new(),
        Err(_) => attribute(kind, &rate.to_ne_bytes()),
    }
}

/// `struct tc_tbf_qopt`: rate, peak rate, limit, buffer, mtu.
fn tbf(bucket: &TokenBucket) -> Vec<u8> {
    const PARMS: u16 = 1;
    const RATE64: u16 = 4;
    let no_peak = [0; 3];
    let numbers = [&rate_spec(bucket.rate)[..], &no_peak, &[bucket.limit, bucket.buffer, 0]].concat();
    [attribute(PARMS, &words(&numbers)), wide_rate(RATE64, bucket.rate)].concat()
}

/// `struct tc_htb_glob`: version, rate to quantum, default class, debug, direct packets.
fn htb(default: u16) -> Vec<u8> {
    const INIT: u16 = 2;
    const DIRECT_QLEN: u16 = 5;
    let init = attribute(INIT, &words(&[3, 10, u32::from(default), 0, 0]));
    [init, attribute(DIRECT_QLEN, &words(&[DIRECT_PACKETS]))].concat()
}

/// `struct tc_htb_opt`: rate, ceiling, buffer, buffer of the ceiling, quantum, level, priority. The ceiling is the rate.
fn class(bucket: &TokenBucket) -> Vec<u8> {
    const PARMS: u16 = 1;
    const RATE64: u16 = 6;
    const CEIL64: u16 = 7;
    /// Only classes that compete take turns, and there is one: any number that the kernel does not warn of.
    const QUANTUM: u32 = 60_000;
    let rate = rate_spec(bucket.rate);
    let numbers = [&rate[..], &rate, &[bucket.buffer, bucket.buffer, QUANTUM, 0, 0]].concat();
    let parameters = attribute(PARMS, &words(&numbers));
    [parameters, wide_rate(RATE64, bucket.rate), wide_rate(CEIL64, bucket.rate)].concat()
}

fn u32_filter(filter: &TrafficFilter, target: u32) -> Vec<u8> {
    const CLASS: u16 = 1;
    const SELECTOR: u16 = 5;
    const ACTIONS: u16 = 7;
    let selector = attribute(SELECTOR, &selector(&filter.matches));
    match &filter.action {
        TrafficAction::Class(id) => [attribute(CLASS, &words(&[ROOT | u32::from(*id)])), selector].concat(),
        // The class is the replaced plugin's; nobody looks at it.
        TrafficAction::Redirect(_) => {
            let class = attribute(CLASS, &words(&[ROOT | 1]));
            [class, selector, nested(ACTIONS, &redirect(target))].concat()
        }
    }
}

/// The only action: `struct tc_mirred`, which steals the packet and sends it out of another link.
fn redirect(target: u32) -> Vec<u8> {
    const FIRST: u16 = 1;
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    const PARMS: u16 = 2;
    const STOLEN: u32 = 4;
    const EGRESS_REDIRECT: u32 = 1;
    let mirred = words(&[0, 0, STOLEN, 0, 0, EGRESS_REDIRECT, target]);
    let options = nested(OPTIONS, &attribute(PARMS, &mirred));
    nested(FIRST, &[attribute(KIND, b"mirred\0"), options].concat())
}

/// `struct tc_u32_sel` with its keys.
fn selector(matches: &TrafficMatch) -> Vec<u8> {
    const TERMINAL: u8 = 1;
    let keys = keys(matches);
    // At most four keys: one, or the four words of an IPv6 address.
    let mut bytes = vec![TERMINAL, 0, keys.len() as u8];
    bytes.resize(16, 0);
    bytes.extend(keys.concat());
    bytes
}

/// `struct tc_u32_key`: mask and value in network order, offset in the packet, offset's mask. A key without mask matches all.
fn keys(matches: &TrafficMatch) -> Vec<Vec<u8>> {
    let (net, offset) = match matches {
        TrafficMatch::All => return vec![vec![0; 16]],
        TrafficMatch::From(net @ IpNet::V4(_)) => (net, 12),
        TrafficMatch::To(net @ IpNet::V4(_)) => (net, 16),
        TrafficMatch::From(net @ IpNet::V6(_)) => (net, 8),
        TrafficMatch::To(net @ IpNet::V6(_)) => (net, 24),
    };
    let (value, mask) = match net {
        IpNet::V4(net) => (net.network().octets().to_vec(), net.netmask().octets().to_vec()),
        IpNet::V6(net) => (net.network().octets().to_vec(), net.netmask().octets().to_vec()),
    };
    let offsets = (offset..).step_by(4);
    let key = |((mask, value), offset): ((&[u8], &[u8]), u32)| [mask, value, &words(&[offset, 0])].concat();
    let all: Vec<_> = mask.chunks(4).zip(value.chunks(4)).zip(offsets).map(key).collect();
    // The first word alone says "all" of a network that is everything.
    let last = usize::from(net.prefix_len().div_ceil(32)).max(1);
    all.into_iter().take(last).collect()
}

#[cfg(test)]
mod tests;
