//! Who holds which addresses of a pool. Every request asks for the records of one pod, and pools have thousands: without this each
//! request would look at all of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::Record;
use crate::PodKey;

/// Addresses by holder. Different holders may share an entry, so what is found has to be looked at.
#[derive(Debug)]
pub(super) struct Holders {
    uids: Entries,
    pods: Entries,
}

/// Hash of a holder and address, sorted.
type Entries = Box<[(u32, IpAddr)]>;

impl Holders {
    pub(super) fn of<'a>(records: impl Iterator<Item = (IpAddr, &'a Record)>) -> Self {
        let hashes = |(ip, record): (IpAddr, &Record)| ((hash(&record.uid), ip), (hash(&record.pod), ip));
        let (mut uids, mut pods): (Vec<_>, Vec<_>) = records.map(hashes).unzip();
        uids.sort_unstable();
        pods.sort_unstable();
        Self { uids: uids.into(), pods: pods.into() }
    }

    /// Addresses that a UID may hold, in ascending order.
    pub(super) fn of_uid(&self, uid: &str) -> impl Iterator<Item = IpAddr> {
        of(&self.uids, hash(&uid))
    }

    /// Addresses that may be recorded for a pod, in ascending order.
    pub(super) fn of_pod(&self, pod: &PodKey) -> impl Iterator<Item = IpAddr> {
        of(&self.pods, hash(pod))
    }
}

fn of(entries: &Entries, wanted: u32) -> impl Iterator<Item = IpAddr> {
    let first = entries.partition_point(|(hash, _)| *hash < wanted);
    entries[first..].iter().take_while(move |(hash, _)| *hash == wanted).map(|(_, ip)| *ip)
}

/// Half of the hash is enough: collisions cost a look.
fn hash(holder: &impl Hash) -> u32 {
    let mut hasher = DefaultHasher::new();
    holder.hash(&mut hasher);
    hasher.finish() as u32
}
