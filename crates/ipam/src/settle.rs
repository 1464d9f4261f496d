//! What becomes of all waiting requests of one pool at once: records in, records out, and an outcome for each
//! (spec/spiderpool.md 7.5). Pure; nothing of it counts before the new records are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::{Family, IntervalSet};

use crate::{PodKey, Pool, Record, Records};

/// One wish of one interface of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Whom the record is to name: the pod, or the virtual machine.
    pub pod: PodKey,
    /// The pod's UID.
    pub uid: String,
    /// The interface; `None` for one that a later ADD will take.
    pub nic: Option<String>,
    /// What is wanted.
    pub ask: Ask,
}

/// What may be wanted of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// An address: the recorded one of this interface, or a new one.
    Allocate(Arc<Claims>),
    /// This very address, which the pod's endpoint names (7.6).
    Keep(IpAddr, Arc<Claims>),
    /// That records of this pod and UID go: that of one address, or all.
    Release(Option<IpAddr>),
}

/// What is known about the pod's other records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Addresses that the endpoint names for other interfaces: a record without an interface is not ours then.
    pub others: BTreeSet<IpAddr>,
    /// UIDs of earlier pods of this name, seen in records before the pod was read: these pods are gone for certain.
    pub stale: BTreeSet<String>,
}

/// What becomes of a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this address.
    Has {
        /// The address.
        ip: IpAddr,
        /// It was not recorded for this pod and interface before.
        fresh: bool,
    },
    /// What was to go is not there (any more).
    Released,
    /// There is nothing free.
    UsedOut,
    /// No new address comes from this pool, and why.
    Closed(&'static str),
    /// The address to keep is not the pool's to give any more: another one has to be found.
    Lost(IpAddr),
    /// The address to keep is recorded for somebody else.
    Taken {
        /// The address.
        ip: IpAddr,
        /// Whose it is.
        by: PodKey,
    },
}

/// Addresses that are not handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avoid {
    /// Reserved ones: never.
    pub reserved: IntervalSet,
    /// Ones that lately answered somebody else's probe: only if nothing else is left.
    pub suspect: BTreeSet<IpAddr>,
}

impl Avoid {
    /// Nothing is reserved or suspect.
    pub fn nothing(family: Family) -> Self {
        Self { reserved: IntervalSet::empty(family), suspect: BTreeSet::new() }
    }
}

/// The outcomes of a batch, in the order of its wants, and the records that make them true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The records to write.
    pub records: Records,
    /// Whether they differ from what the pool has.
    pub changed: bool,
    /// One for each want.
    pub outcomes: Vec<Outcome>,
}

impl Settlement {
    /// Makes an unchanged settlement one that has to be written ([`Records::confirm`]), if somebody gets an address by it.
    pub fn confirm(&mut self, mark: &str) -> bool {
        let has = |outcome: &Outcome| match outcome {
            Outcome::Has { ip, .. } => Some(*ip),
            _ => None,
        };
        let granted: Vec<IpAddr> = self.outcomes.iter().filter_map(has).collect();
        for ip in &granted {
            self.records.confirm(*ip, mark);
        }
        self.changed |= !granted.is_empty();
        !granted.is_empty()
    }
}

/// Decides a batch: releases first, so that their addresses serve the same batch, then what is to be kept, so that
/// nobody else gets it, then the others in order.
pub fn settle(pool: &Pool, wants: &[&Want], avoid: &Avoid, max_records: usize) -> Settlement {
    let mut batch = Batch {
        pool,
        avoid,
        max_records,
        records: pool.records.clone(),
        changed: false,
        given: BTreeMap::new(),
        used: BTreeSet::new(),
        free: None,
    };
    let mut outcomes: Vec<Outcome> = vec![Outcome::Released; wants.len()];
    for want in wants {
        if let Ask::Release(ip) = want.ask {
            batch.release(want, ip);
        }
    }
    for (want, outcome) in wants.iter().zip(&mut outcomes) {
        if let Ask::Keep(ip, claims) = &want.ask {
            *outcome = batch.keep(want, *ip, claims);
        }
    }
    for (want, outcome) in wants.iter().zip(&mut outcomes) {
        if let Ask::Allocate(claims) = &want.ask {
            *outcome = batch.allocate(want, claims);
        }
    }
    Settlement { records: batch.records, changed: batch.changed, outcomes }
}

struct Batch<'a> {
    pool: &'a Pool,
    avoid: &'a Avoid,
    max_records: usize,
    records: Records,
    changed: bool,
    /// Addresses that this batch has given, by UID.
    given: BTreeMap<String, BTreeSet<IpAddr>>,
    /// All of them.
    used: BTreeSet<IpAddr>,
    /// What can still be handed out, made when first needed.
    free: Option<Vec<IntervalSet>>,
}

impl Batch<'_> {
    fn release(&mut self, want: &Want, ip: Option<IpAddr>) {
        let own = |record: &Record| record.uid == want.uid && record.pod == want.pod;
        let gone: Vec<IpAddr> = match ip {
            Some(ip) => self.records.get(ip).filter(|record| own(record)).map(|_| ip).into_iter().collect(),
            None => self.of_uid(&want.uid).filter(|(_, record)| own(record)).map(|(ip, _)| ip).collect(),
        };
        self.changed |= !gone.is_empty();
        for ip in gone {
            self.records.remove(ip);
        }
    }

    fn keep(&mut self, want: &Want, ip: IpAddr, claims: &Claims) -> Outcome {
        let earlier = |record: &Record| record.uid == want.uid || claims.stale.contains(&record.uid);
        match self.records.get(ip) {
            Some(record) if record.pod != want.pod => Outcome::Taken { ip, by: record.pod.clone() },
            Some(record) if !earlier(record) => Outcome::Closed("a later pod of this name has its address"),
            Some(record) => {
                let fresh = record.uid != want.uid;
                self.give(want, ip, fresh)
            }
            // Another pool may have it now.
            None if !self.pool.spec.addresses().contains(ip) => Outcome::Lost(ip),
            None => self.give(want, ip, true),
        }
    }

    fn allocate(&mut self, want: &Want, claims: &Claims) -> Outcome {
        if let Some(ip) = self.recorded(want, claims) {
            return self.give(want, ip, false);
        }
        match () {
            () if self.pool.terminating => return Outcome::Closed("it is being deleted"),
            () if self.pool.spec.disable => return Outcome::Closed("it is disabled"),
            () => {}
        }
        if let Some(ip) = self.of_predecessor(want, claims) {
            return self.give(want, ip, true);
        }
        if self.records.count() >= self.max_records {
            return Outcome::UsedOut;
        }
        match self.take_free().or_else(|| self.of_predecessor(&Want { nic: None, ..want.clone() }, claims)) {
            Some(ip) => self.give(want, ip, true),
            None => Outcome::UsedOut,
        }
    }

    /// The address recorded for this pod and interface; else one recorded for the pod without an interface that
    /// belongs to no other interface.
    fn recorded(&self, want: &Want, claims: &Claims) -> Option<IpAddr> {
        let same = |record: &Record| record.nic.is_some() && record.nic == want.nic;
        let named = self.of_uid(&want.uid).find(|(_, record)| same(record));
        let free = |ip: &IpAddr, record: &Record| {
            record.nic.is_none() && !claims.others.contains(ip) && !self.used.contains(ip)
        };
        let unnamed = || self.of_uid(&want.uid).find(|(ip, record)| free(ip, record));
        named.or_else(unnamed).map(|(ip, _)| ip)
    }

    /// The records of a UID as they are by now, in ascending order of addresses.
    fn of_uid<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (IpAddr, &'a Record)> {
        let before = self.pool.records.of_uid(uid).map(|(ip, _)| ip);
        let addresses: BTreeSet<IpAddr> =
            before.chain(self.given.get(uid).into_iter().flatten().copied()).collect();
        let now = addresses.into_iter().filter_map(|ip| self.records.get(ip).map(|record| (ip, record)));
        now.filter(move |(_, record)| record.uid == uid)
    }

    /// A record of an earlier pod of the same name, preferably of the same interface.
    fn of_predecessor(&self, want: &Want, claims: &Claims) -> Option<IpAddr> {
        if claims.stale.is_empty() {
            return None;
        }
        let fits = |record: &Record| match (&want.nic, &record.nic) {
            (Some(wanted), Some(recorded)) => wanted == recorded,
            _ => true,
        };
        let stale = |record: &Record| record.pod == want.pod && claims.stale.contains(&record.uid);
        // What this batch has given is in use, so what was there before is all there is to look at.
        let before = self.pool.records.of_pod(&want.pod).map(|(ip, _)| ip);
        let mut unused = before.filter(|ip| !self.used.contains(ip));
        unused.find(|ip| self.records.get(*ip).is_some_and(|record| stale(record) && fits(record)))
    }

    fn give(&mut self, want: &Want, ip: IpAddr, fresh: bool) -> Outcome {
        let before = self.records.get(ip);
        let nic = want.nic.clone().or_else(|| before.and_then(|record| record.nic.clone()));
        let same = before.is_some_and(|old| old.pod == want.pod && old.uid == want.uid && old.nic == nic);
        if !same {
            let mut record = Record::new(want.pod.clone(), want.uid.as_str(), "");
            record.nic = nic;
            self.records.hand_over(ip, record);
            self.changed = true;
        }
        self.used.insert(ip);
        self.given.entry(want.uid.clone()).or_default().insert(ip);
        Outcome::Has { ip, fresh }
    }

    /// The lowest free address of the first range in the list that has one.
    fn take_free(&mut self) -> Option<IpAddr> {
        if self.free.is_none() {
            self.free = Some(self.free_ranges());
        }
        let free = self.free.as_mut()?;
        loop {
            let ip = free.iter_mut().find_map(IntervalSet::pop_first)?;
            // A want to keep its address may have taken it since the list was made.
            if self.records.get(ip).is_none() {
                return Some(ip);
            }
        }
    }

    /// What is free, each range of the spec by itself in its order; at the end what is suspect.
    fn free_ranges(&self) -> Vec<IntervalSet> {
        let spec = &self.pool.spec;
        let family = spec.family();
        let set = |addresses: Vec<IpAddr>| IntervalSet::of_addresses(family, addresses);
        let recorded = set(self.records.iter().map(|(ip, _)| ip).collect());
        let excluded = IntervalSet::of_ranges(family, &spec.exclude_ips);
        let mut taken = recorded.union(&excluded).union(&self.avoid.reserved);
        let suspect = set(self.avoid.suspect.iter().copied().collect());
        let last = suspect.intersection(&IntervalSet::of_ranges(family, &spec.ips)).difference(&taken);
        taken = taken.union(&suspect);
        let mut free = Vec::with_capacity(spec.ips.len() + 1);
        for range in &spec.ips {
            let own = IntervalSet::of_ranges(family, [range]);
            free.push(own.difference(&taken));
            taken = taken.union(&own);
        }
        free.push(last);
        free
    }
}

#[cfg(test)]
mod tests;
