//! Probes and announcements on the links of one namespace.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use polynic_net::{Announcement, Family, IfName, Mac, Place, Probe, Seek};

use super::space::Space;
use crate::KernelError;
use crate::netlink::Fault;
use crate::probe::{PacketSocket, Protocol, Question, Source, announcement, ask};

/// Where a probe is sent and by whom.
type Post = (PacketSocket, Mac, IpAddr);

impl Space {
    /// Asks all probes at the same time and judges the answers.
    pub(super) fn probe(&mut self, place: Place, probes: &[Probe]) -> Result<(), KernelError> {
        let what = |probe: &Probe| format!("{probe} in {place}");
        let mut posts: BTreeMap<(IfName, Family), Post> = BTreeMap::new();
        for probe in probes {
            let family = Family::of(probe.ip);
            if let Entry::Vacant(place) = posts.entry((probe.link.clone(), family)) {
                place.insert(self.post(&probe.link, family).map_err(|f| f.about(what(probe)))?);
            }
        }
        let question = |probe: &Probe| {
            let (socket, mac, ip) = posts.get(&(probe.link.clone(), Family::of(probe.ip)))?;
            Some(to_question(probe, socket, *mac, *ip))
        };
        let questions: Vec<Question<'_>> = probes.iter().filter_map(question).collect();
        let talk = |e: io::Error| Fault::io(&e).about(format!("probe in {place}"));
        let answers = ask(&questions).map_err(talk)?;
        judge(probes, &answers)
    }

    /// Tells the network about an address. Nobody waits for it, and a failure is nobody's.
    pub(super) fn announce(&mut self, news: &Announcement) {
        let Ok((socket, _, ip)) = self.post(&news.link, Family::of(news.ip)) else { return };
        for frame in announcement(Source { mac: news.mac, ip }, news.ip) {
            let _ = socket.send(&frame);
        }
    }

    /// A socket on a link, with the link's MAC and the address to ask from: none for IPv4, the link-local one for IPv6.
    fn post(&mut self, link: &IfName, family: Family) -> Result<Post, Fault> {
        let fact = self.link(link)?;
        let protocol = if family == Family::V4 { Protocol::Arp } else { Protocol::Ipv6 };
        let index = fact.index;
        let opened = self.netns.run(move || PacketSocket::open(index, protocol)).flatten();
        let socket = opened.map_err(|e| Fault::io(&e))?;
        let from = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => self.link_local(link)?,
        };
        Ok((socket, fact.mac.unwrap_or(Mac([0; 6])), from))
    }

    /// The link-local address, if there is one that may be used: while it is itself being probed, questions are asked without
    /// a sender, as duplicate address detection asks them.
    fn link_local(&mut self, link: &IfName) -> Result<IpAddr, Fault> {
        let addresses = self.addresses(link)?;
        let usable = addresses.iter().filter(|a| !a.tentative && !a.dad_failed).map(|a| a.net.addr());
        let found = usable.into_iter().find(|ip| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
        Ok(found.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
    }
}

fn to_question<'a>(probe: &Probe, socket: &'a PacketSocket, mac: Mac, ip: IpAddr) -> Question<'a> {
    let sender = match probe.seek {
        Seek::Gateway { from } if from.is_ipv4() => from,
        _ => ip,
    };
    Question {
        socket,
        source: Source { mac, ip: sender },
        target: probe.ip,
        // No time at all would never end in an answer.
        interval: Duration::from_millis(probe.interval_ms.max(1)),
        count: probe.count,
        decisive: probe.seek == Seek::Nobody,
    }
}

/// A conflict weighs more than a missing gateway, which may just not have had its time.
fn judge(probes: &[Probe], answers: &[Option<Mac>]) -> Result<(), KernelError> {
    let conflict = probes.iter().zip(answers).find_map(|(probe, answer)| match (probe.seek, answer) {
        (Seek::Nobody, Some(mac)) => {
            Some(KernelError::Conflict { link: probe.link.clone(), ip: probe.ip, mac: *mac })
        }
        _ => None,
    });
    let silent = |(probe, answer): (&Probe, &Option<Mac>)| match (probe.seek, answer) {
        (Seek::Gateway { .. }, None) => {
            Some(KernelError::GatewaySilent { link: probe.link.clone(), gateway: probe.ip })
        }
        _ => None,
    };
    let error = conflict.or_else(|| probes.iter().zip(answers).find_map(silent));
    error.map_or(Ok(()), Err)
}
