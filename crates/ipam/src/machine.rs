//! The allocator as a step machine: events in, effects out, nothing else (design.md "The address service").
//!
//! One machine serves one node. Its parts:
//!
//! - a *gate* for each pod: its requests come one after the other, so none of them decides on what another is changing;
//! - an *actor* for each pool: all waiting wants of a pool are settled together and written once, on the condition
//!   that the pool still is at the version that was read; while a write is under way the next batch gathers;
//! - a *writer* for each endpoint, which overlaps with everything else.
//!
//! An ADD is answered when its pool records are durable. The endpoint of a pod without fixed addresses may then still
//! be on its way; the pod's gate stays closed until it has arrived. Fixed addresses wait for their endpoint, because
//! it alone says that they are to stay when the pod goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::Entropy;

use crate::{
    AddRequest, Answer, Endpoint, EndpointWrite, Millis, Observed, PodKey, Pool, PoolWrite, ReadError,
    ReleaseRequest, RequestId, ReservedIp, Settings, WriteError,
};

mod add;
mod endpoint;
mod gate;
mod pool;
mod release;
mod request;

use endpoint::EndpointWriter;
use gate::Gate;
use pool::PoolActor;
use request::Request;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody asks for addresses.
    Add(RequestId, AddRequest),
    /// Somebody gives addresses back.
    Release(RequestId, ReleaseRequest),
    /// The answer to [`Effect::Observe`].
    Observed(RequestId, Box<Result<Observed, ReadError>>),
    /// The answer to [`Effect::ReadPool`].
    PoolRead(String, Result<Option<Arc<Pool>>, ReadError>),
    /// The answer to [`Effect::WritePool`]: the new version.
    PoolWritten(String, Result<String, WriteError>),
    /// The answer to [`Effect::ReadEndpoint`].
    EndpointRead(PodKey, Box<Result<Option<Endpoint>, ReadError>>),
    /// The answer to [`Effect::WriteEndpoint`].
    EndpointWritten(PodKey, Result<(), WriteError>),
    /// A watch shows a pool. Optional, and may lag: it saves reads and conflicts.
    PoolSeen(Arc<Pool>),
    /// Time has passed.
    Time,
}

/// What is to be done. Reads and writes are answered by exactly one event each.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Read everything about a request's pod ([`crate::observe`]).
    Observe {
        /// Whose request.
        id: RequestId,
        /// The pod.
        pod: PodKey,
        /// Its UID as far as the request knows; empty if the pod must be read from the API server.
        uid: String,
    },
    /// Read a pool from the API server.
    ReadPool(String),
    /// Write a pool's status.
    WritePool(PoolWrite),
    /// Read an endpoint from the API server.
    ReadEndpoint(PodKey),
    /// Write an endpoint; at most one write of an endpoint is under way.
    WriteEndpoint(EndpointWrite),
    /// Answer a request; each is answered once. With the milliseconds that it waited for its turn, before its pod and before its pools.
    Answer(RequestId, Answer, u64),
    /// Send [`Event::Time`] at that moment, or a little later.
    WakeAt(Millis),
    /// Something went wrong that no caller waits for: for the log and an Event.
    Warn(String),
}

/// Counts for metrics (spec/spiderpool.md 15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pool writes that were started.
    pub pool_writes: u64,
    /// Pool writes that met a conflict.
    pub pool_conflicts: u64,
    /// Those of them by which somebody was to get addresses.
    pub allocation_conflicts: u64,
    /// Those of them by which addresses were to be given back.
    pub release_conflicts: u64,
    /// Live reads of pools.
    pub pool_reads: u64,
    /// Endpoint writes that were started.
    pub endpoint_writes: u64,
}

/// The allocator of one node.
#[derive(Debug)]
pub struct Allocator {
    settings: Settings,
    entropy: Entropy,
    now: Millis,
    requests: BTreeMap<RequestId, Request>,
    gates: BTreeMap<PodKey, Gate>,
    pools: BTreeMap<String, PoolActor>,
    /// Pools that may have something to do.
    restless: BTreeSet<String>,
    endpoints: BTreeMap<PodKey, EndpointWriter>,
    reserved: Arc<[ReservedIp]>,
    /// Addresses that failed a probe, and until when they are avoided.
    suspects: BTreeMap<(String, IpAddr), Millis>,
    effects: Vec<Effect>,
    counters: Counters,
}

impl Allocator {
    /// An allocator that has nothing to do. `entropy` only spreads retries.
    pub fn new(settings: Settings, entropy: Entropy) -> Self {
        Self {
            settings,
            entropy,
            now: Millis::default(),
            requests: BTreeMap::new(),
            gates: BTreeMap::new(),
            pools: BTreeMap::new(),
            restless: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            reserved: Arc::new([]),
            suspects: BTreeMap::new(),
            effects: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one event and says what is to be done.
    pub fn step(&mut self, now: Millis, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Add(id, request) => self.start(id, Request::add(request)),
            Event::Release(id, request) => self.start(id, Request::release(request)),
            Event::Observed(id, seen) => self.observed(id, *seen),
            Event::PoolRead(name, read) => self.pool_read(&name, read),
            Event::PoolWritten(name, outcome) => self.pool_written(&name, outcome),
            Event::EndpointRead(key, read) => self.endpoint_read(&key, *read),
            Event::EndpointWritten(key, outcome) => self.endpoint_written(&key, outcome),
            Event::PoolSeen(pool) => self.pool_seen(pool),
            Event::Time => self.time(),
        }
        self.settle_pools();
        std::mem::take(&mut self.effects)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.endpoints.is_empty() && self.pools.values().all(PoolActor::is_idle)
    }

    /// Pods whose endpoint is still to be written.
    pub fn unwritten_endpoints(&self) -> impl Iterator<Item = &PodKey> {
        self.endpoints.keys()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn emit(&mut self, effect: Effect) {
        match &effect {
            Effect::ReadPool(_) => self.counters.pool_reads += 1,
            Effect::WritePool(_) => self.counters.pool_writes += 1,
            Effect::WriteEndpoint(_) => self.counters.endpoint_writes += 1,
            _ => {}
        }
        self.effects.push(effect);
    }

    fn time(&mut self) {
        self.expire();
        self.look_again();
        self.wake_endpoints();
        let awake = self.pools.iter().filter(|(_, actor)| actor.wakes_by(self.now));
        self.restless.extend(awake.map(|(name, _)| name.clone()));
        let now = self.now;
        self.suspects.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests;
