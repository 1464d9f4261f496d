//! Traffic control.

mod message;
mod read;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use polynic_net::{
    Diff, IfName, Qdisc, TokenBucket, Traffic, TrafficAction, TrafficFact, TrafficHook, TrafficKey,
    TrafficObject,
};

use super::space::Space;
use super::{Wanted, wanted};
use crate::Errno;
use crate::netlink::raw::Raw;
use crate::netlink::{Fault, Socket};

/// Messages of include/uapi/linux/rtnetlink.h.
mod rtm {
    pub const NEW_QDISC: u16 = 36;
    pub const DEL_QDISC: u16 = 37;
    pub const GET_QDISC: u16 = 38;
    pub const NEW_CLASS: u16 = 40;
    pub const DEL_CLASS: u16 = 41;
    pub const GET_CLASS: u16 = 42;
    pub const NEW_FILTER: u16 = 44;
    pub const DEL_FILTER: u16 = 45;
    pub const GET_FILTER: u16 = 46;
}

/// Handles: of the root discipline that is ours, and of the one for what comes in.
const ROOT: u32 = 0x0001_0000;
const INGRESS: u32 = 0xffff_0000;
/// Parents of disciplines (include/uapi/linux/pkt_sched.h, `TC_H_ROOT` and `TC_H_INGRESS`).
const AT_ROOT: u32 = 0xffff_ffff;
const AT_INGRESS: u32 = 0xffff_fff1;

fn handle(hook: TrafficHook) -> u32 {
    match hook {
        TrafficHook::Root => ROOT,
        TrafficHook::Ingress => INGRESS,
    }
}

impl Space {
    pub(super) fn change_traffic(&mut self, diff: &Diff<Traffic>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(traffic)) => self.create_traffic(traffic),
            Some(Wanted::Delete(traffic)) => self.delete_traffic(traffic),
            Some(Wanted::Replace(..)) => {
                Err(Fault::refused(Errno::EOPNOTSUPP, "traffic control is made and removed, not changed"))
            }
            None => Ok(()),
        }
    }

    /// The kernel adds a second filter of a priority to the first, and takes a default discipline for none: so what is there is
    /// looked at first.
    fn create_traffic(&mut self, traffic: &Traffic) -> Result<(), Fault> {
        if self.has_traffic(&traffic.link, traffic.object.key())? {
            return Err(Fault::refused(Errno::EEXIST, "it is there already"));
        }
        let target = match &traffic.object {
            TrafficObject::Filter(filter) => match &filter.action {
                TrafficAction::Redirect(to) => self.link(to)?.index,
                TrafficAction::Class(_) => 0,
            },
            _ => 0,
        };
        self.on_link(&traffic.link, |socket, index| {
            socket.change(message::create(&traffic.object, index, target), NLM_F_CREATE | NLM_F_EXCL)?;
            let given = match &traffic.object {
                TrafficObject::Class { id, bucket } => give_queue(socket, index, *id, bucket),
                // It has a plain queue already.
                TrafficObject::Qdisc(Qdisc::Tbf(bucket)) => {
                    give_fair_queue(socket, index, 1, bucket).map(drop)
                }
                _ => Ok(()),
            };
            if given.is_err() {
                // The first failure is the one to report.
                let _ = socket.change(message::delete(&traffic.object, index), 0);
            }
            given
        })
    }

    fn delete_traffic(&mut self, traffic: &Traffic) -> Result<(), Fault> {
        if !self.has_traffic(&traffic.link, traffic.object.key())? {
            return Err(Fault::refused(Errno::ENOENT, "it is not there"));
        }
        self.on_link(&traffic.link, |socket, index| socket.change(message::delete(&traffic.object, index), 0))
    }

    fn has_traffic(&mut self, link: &IfName, key: TrafficKey) -> Result<bool, Fault> {
        let seen = self.on_link(link, |socket, index| match key {
            TrafficKey::Qdisc(_) => qdiscs(socket, index),
            TrafficKey::Class(_) => classes(socket, index),
            TrafficKey::Filter(hook, _) => filters(socket, index, hook),
        })?;
        Ok(seen.iter().any(|seen| seen.key == key))
    }

    /// The parts of a link's traffic control that could be ours; none if there is no such link.
    pub(super) fn traffic(&mut self, link: &IfName) -> Result<Vec<TrafficFact>, Fault> {
        let seen = self.on_link(link, |socket, index| {
            let mut seen = qdiscs(socket, index)?;
            let at: Vec<TrafficHook> = seen.iter().filter_map(read::Seen::hook).collect();
            for hook in at {
                seen.extend(filters(socket, index, hook)?);
            }
            seen.extend(classes(socket, index)?);
            Ok(seen)
        });
        match seen {
            Ok(seen) => Ok(seen.into_iter().map(|s| s.on(link)).collect()),
            Err(fault) if fault.is(Errno::ENODEV) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }
}

/// A class queues as many packets as its link does, which may be none at all. So it gets a queue of its own.
fn give_queue(socket: &mut Socket, index: u32, id: u16, bucket: &TokenBucket) -> Result<(), Fault> {
    match give_fair_queue(socket, index, id, bucket)? {
        true => Ok(()),
        false => socket.change(message::plain_queue(index, id, bucket), NLM_F_CREATE | NLM_F_EXCL),
    }
}

/// What a bucket holds back waits in a queue that stays short and lets nobody wait for others (RFC 8290): a plain one lets as much wait as
/// fits into the burst, which can be minutes. False if the kernel has no such queue.
fn give_fair_queue(socket: &mut Socket, index: u32, class: u16, bucket: &TokenBucket) -> Result<bool, Fault> {
    match socket.change(message::fair_queue(index, class, bucket), NLM_F_CREATE | NLM_F_EXCL) {
        Err(fault) if [Errno::ENOENT, Errno::EOPNOTSUPP, Errno::EINVAL].iter().any(|e| fault.is(*e)) => {
            Ok(false)
        }
        given => given.map(|()| true),
    }
}

fn qdiscs(socket: &mut Socket, index: u32) -> Result<Vec<read::Seen>, Fault> {
    let ask = Raw::new(rtm::GET_QDISC, &message::header(index, 0, 0, 0));
    socket.dump(ask, |payload| read::qdisc(payload, index))
}

fn classes(socket: &mut Socket, index: u32) -> Result<Vec<read::Seen>, Fault> {
    let ask = Raw::new(rtm::GET_CLASS, &message::header(index, 0, 0, 0));
    socket.dump(ask, |payload| read::class(payload, index))
}

/// None if there is no discipline to ask.
fn filters(socket: &mut Socket, index: u32, hook: TrafficHook) -> Result<Vec<read::Seen>, Fault> {
    let ask = Raw::new(rtm::GET_FILTER, &message::header(index, 0, handle(hook), 0));
    socket.dump(ask, |payload| read::filter(payload, index, hook))
}
