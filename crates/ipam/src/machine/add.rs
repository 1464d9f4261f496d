//! Carries out an ADD: its searches go from pool to pool until all have an address, or one has nowhere left to go.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::Family;

use super::Allocator;
use super::endpoint::{Change, EndpointJob};
use super::pool::{self, Ticket, Verdict, Waiting};
use super::request::{Request, Stage};
use crate::decide::{Allocation, Decision, Dropped, bind_unnamed, decide_add, grant, routes_of};
use crate::settle::{Ask, Claims, Outcome, Want};
use crate::{
    AddRequest, Answer, Assigned, Endpoint, EndpointInterface, FailureReason, Grant, Observed, Pool,
    RequestId,
};

/// An ADD in the hands of the pools.
#[derive(Debug)]
pub(super) struct AddWork {
    allocation: Allocation,
    claims: Arc<Claims>,
    endpoint: Option<Endpoint>,
    parts: Vec<Part>,
    /// Parts in writes whose outcome is not known; only after the request was answered.
    writing: BTreeSet<usize>,
    /// The answer, while the endpoint is being written.
    grant: Option<Grant>,
}

#[derive(Debug)]
struct Part {
    goal: Goal,
    /// How many pools have been tried.
    tried: usize,
    reasons: Vec<String>,
    /// Every pool so far was full.
    used_out: bool,
    found: Option<Found>,
}

/// An index into the allocation.
#[derive(Clone, Copy, Debug)]
enum Goal {
    Search(usize),
    Keep(usize),
}

#[derive(Clone, Debug)]
struct Found {
    pool: Arc<Pool>,
    ip: IpAddr,
    fresh: bool,
}

impl Allocator {
    pub(super) fn observed_for_add(&mut self, id: RequestId, request: &AddRequest, mut seen: Observed) {
        self.reserved = seen.reserved.clone();
        for pool in &mut seen.pools {
            self.prefer_own_state(pool);
        }
        if let (Some(own), Some(endpoint)) = (self.requests.get(&id), &mut seen.endpoint) {
            endpoint.interfaces.retain(|entry| !own.lost.contains(&entry.nic));
        }
        match decide_add(&self.settings, request, &seen) {
            Err(why) => self.fail(id, why),
            Ok(Decision::Answer(grant)) => self.done(id, Answer::Granted(grant)),
            Ok(Decision::Bind(identity)) => self.bind(id, (seen.endpoint, request), identity),
            Ok(Decision::Allocate(allocation)) => self.allocate(id, *allocation, seen),
        }
    }

    /// Answers and opens the gate.
    pub(super) fn done(&mut self, id: RequestId, answer: Answer) {
        self.answer(id, answer);
        if let Some(request) = self.requests.remove(&id) {
            self.leave(request.pod());
        }
    }

    fn bind(
        &mut self,
        id: RequestId,
        (endpoint, request): (Option<Endpoint>, &AddRequest),
        identity: Box<crate::decide::Identity>,
    ) {
        let mut interfaces =
            endpoint.as_ref().map(|endpoint| endpoint.interfaces.clone()).unwrap_or_default();
        bind_unnamed(&mut interfaces, &request.nic);
        self.answer(id, Answer::Granted(grant(&interfaces)));
        self.requests.remove(&id);
        let key = identity.key.clone();
        let change = Change::Put(identity, interfaces);
        let job = EndpointJob { key, pod: request.pod.clone(), change, request: None };
        self.change_endpoint(job, endpoint.as_ref());
    }

    fn allocate(&mut self, id: RequestId, allocation: Allocation, seen: Observed) {
        let Some(request) = self.requests.get(&id) else { return };
        if let Some(why) = &allocation.not_ready {
            if request.looks <= self.settings.auto_pool_tries {
                let why = format!("waiting for {why}");
                return self.rest(id, why, self.settings.auto_pool_wait_millis);
            }
            if allocation.searches.is_empty() && allocation.kept.is_empty() {
                return self.fail(id, FailureReason::NoPool(format!("there is not {why}")));
            }
        }
        let named = |name: &String| seen.pools.iter().find(|pool| pool.name == *name);
        let kept = allocation.kept.iter().map(|kept| &kept.pool);
        self.learn_pools(
            kept.chain(allocation.dropped.iter().map(|dropped| &dropped.pool)).filter_map(named),
        );
        self.learn_pools(allocation.searches.iter().flat_map(|search| &search.pools));
        for dropped in &allocation.dropped {
            self.clean_up(&allocation, dropped);
        }
        let others = allocation.staying.iter().flat_map(EndpointInterface::all_assigned);
        let others = others.map(|assigned| assigned.address.addr()).collect();
        let claims = Arc::new(Claims { others, stale: allocation.stale.clone() });
        let goals = (0..allocation.searches.len())
            .map(Goal::Search)
            .chain((0..allocation.kept.len()).map(Goal::Keep));
        let part = |goal| Part { goal, tried: 0, reasons: Vec::new(), used_out: true, found: None };
        let parts: Vec<Part> = goals.map(part).collect();
        let count = parts.len();
        let endpoint = seen.endpoint;
        let work = AddWork { allocation, claims, endpoint, parts, writing: BTreeSet::new(), grant: None };
        if let Some(request) = self.requests.get_mut(&id) {
            request.obstacle = "the pools are being written".to_owned();
            request.stage = Stage::Allocating(Box::new(work));
        }
        for part in 0..count {
            self.try_next(id, part);
        }
        self.finish_if_found(id);
    }

    fn work(&mut self, id: RequestId) -> Option<&mut AddWork> {
        match &mut self.requests.get_mut(&id)?.stage {
            Stage::Allocating(work) => Some(work),
            _ => None,
        }
    }

    /// Asks the next pool for a part; without one the request has failed.
    fn try_next(&mut self, id: RequestId, part: usize) {
        let Some(work) = self.work(id) else { return };
        match work.next_pool(part) {
            Some((pool, want)) => {
                let ticket = self.ticket(id, part);
                self.want(&pool, Waiting::new(ticket, want));
            }
            None => {
                let why = work.why_not_found(part);
                self.fail(id, why);
            }
        }
    }

    /// What a pool said to a want of a request.
    pub(super) fn verdict(&mut self, waiting: Waiting, verdict: Verdict) {
        let Some(pool::Part { request: id, look, index: part }) = waiting.ticket else {
            return self.cleaned_up(&verdict);
        };
        // What an earlier look asked for is found again, under UID and interface, if it is still wanted.
        let Some(request) = self.requests.get_mut(&id).filter(|request| request.looks == look) else {
            return;
        };
        match &mut request.stage {
            Stage::Allocating(_) => self.part_verdict(id, part, verdict),
            Stage::Answered(work) => {
                work.writing.remove(&part);
                let over = work.writing.is_empty();
                if let Verdict::Settled(Outcome::Has { ip, fresh: true }, pool) = verdict {
                    self.take_back(&waiting.want, &pool.name, ip);
                }
                if over {
                    self.forget(id);
                }
            }
            Stage::Releasing(_) => self.released_part(id, part, &verdict),
            Stage::Waiting | Stage::Observing | Stage::Resting(_) => {}
        }
    }

    fn cleaned_up(&mut self, verdict: &Verdict) {
        if let Verdict::Refused(why) = verdict {
            self.emit(super::Effect::Warn(format!(
                "records could not be given back and are left to GC: {why}"
            )));
        }
    }

    fn forget(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(&id) {
            self.leave(request.pod());
        }
    }

    pub(super) fn is_abandoned(&self, waiting: &Waiting) -> bool {
        let waits = |request: &Request, part: &pool::Part| {
            request.looks == part.look && !matches!(request.stage, Stage::Answered(_))
        };
        waiting.ticket.is_some_and(|part| {
            !self.requests.get(&part.request).is_some_and(|request| waits(request, &part))
        })
    }

    pub(super) fn ticket(&self, id: RequestId, index: usize) -> Ticket {
        let look = self.requests.get(&id)?.looks;
        Some(pool::Part { request: id, look, index })
    }

    fn part_verdict(&mut self, id: RequestId, part: usize, verdict: Verdict) {
        let Some(work) = self.work(id) else { return };
        match verdict {
            Verdict::Settled(Outcome::Has { ip, fresh }, pool) => {
                work.parts[part].found = Some(Found { pool, ip, fresh });
                self.finish_if_found(id);
            }
            Verdict::Settled(Outcome::Taken { ip, by }, _) => {
                self.lose(id, part, &format!("{ip} is held by {by}"))
            }
            Verdict::Settled(Outcome::Lost(ip), _) => {
                self.lose(id, part, &format!("{ip} is none of the pool's addresses any more"))
            }
            Verdict::Gone if work.kept_nic(part).is_some() => {
                self.lose(id, part, "its pool does not exist any more")
            }
            other => {
                work.not_found(part, &other);
                self.try_next(id, part);
            }
        }
    }

    /// A fixed address is somebody else's, or not the pool's any more, so what names it is of no use: the interface gets another one. (The replaced
    /// program fails here, for ever.) What else was found is found again.
    fn lose(&mut self, id: RequestId, part: usize, why: &str) {
        let Some(work) = self.work(id) else { return };
        let Some(nic) = work.kept_nic(part) else { return };
        let warning = format!(
            "pod {} cannot keep its address on {nic} ({why}) and gets another",
            work.allocation.identity.key
        );
        self.withdraw(id);
        if let Some(request) = self.requests.get_mut(&id) {
            request.lost.insert(nic);
        }
        self.emit(super::Effect::Warn(warning));
        self.rest(id, why.to_owned(), 1);
    }

    fn finish_if_found(&mut self, id: RequestId) {
        let Some(work) = self.work(id) else { return };
        if work.grant.is_some() || work.parts.iter().any(|part| part.found.is_none()) {
            return;
        }
        let Some(nic) = self.requests.get(&id).and_then(Request::nic) else { return };
        let Some(work) = self.work(id) else { return };
        let mut interfaces = work.interfaces();
        bind_unnamed(&mut interfaces, &nic);
        if !interfaces.iter().any(|entry| entry.nic == nic) {
            return self.fail(id, FailureReason::NoPool(format!("no address is for interface {nic}")));
        }
        self.put(id, interfaces);
    }

    /// The records are durable: writes the endpoint, and answers at once unless the addresses are fixed.
    fn put(&mut self, id: RequestId, interfaces: Vec<EndpointInterface>) {
        let Some(work) = self.work(id) else { return };
        let (identity, endpoint) = (work.allocation.identity.clone(), work.endpoint.take());
        let grant = grant(&interfaces);
        let waits = identity.fixed.is_some();
        let change = Change::Put(Box::new(identity.clone()), interfaces);
        let pod = if waits {
            work.grant = Some(grant);
            self.requests.get(&id).map(|request| request.pod().clone())
        } else {
            self.answer(id, Answer::Granted(grant));
            self.requests.remove(&id).map(|request| request.pod().clone())
        };
        let Some(pod) = pod else { return };
        let job = EndpointJob { key: identity.key, pod, change, request: waits.then_some(id) };
        self.change_endpoint(job, endpoint.as_ref());
    }

    /// The endpoint that a request waits for is as it should be.
    pub(super) fn endpoint_ready(&mut self, id: RequestId) {
        match self.work(id).map(|work| work.grant.take()) {
            Some(grant) => self.done(id, Answer::Granted(grant.unwrap_or_default())),
            None => self.release_pools(id),
        }
    }

    pub(super) fn endpoint_refused(&mut self, id: RequestId, why: &str) {
        if let Some(work) = self.work(id) {
            work.grant = None;
        }
        self.fail(id, FailureReason::Internal(why.to_owned()));
    }

    /// An answered failure: what is found so far goes back, what is in a write will when its outcome is known.
    pub(super) fn abandon_add(&mut self, id: RequestId, mut request: Request) {
        let pod = request.pod().clone();
        let Stage::Allocating(mut work) = request.stage else { return };
        // Everything is durable but the endpoint, which is still being tried: a repeated ADD finds all of it.
        if work.grant.is_some() && self.detach_endpoint(id) {
            return;
        }
        work.writing = self.withdraw(id);
        for part in &work.parts {
            if let Some(found) = part.found.as_ref().filter(|found| found.fresh) {
                self.take_back(&work.want(part), &found.pool.name, found.ip);
            }
        }
        if work.writing.is_empty() {
            return self.leave(&pod);
        }
        request.stage = Stage::Answered(work);
        self.requests.insert(id, request);
    }

    /// Gives back a record that an unsuccessful ADD made.
    fn take_back(&mut self, want: &Want, pool: &str, ip: IpAddr) {
        // What was kept for the pod stays the pod's.
        if !matches!(want.ask, Ask::Keep(..)) {
            self.want(pool, Waiting::new(None, Want { ask: Ask::Release(Some(ip)), ..want.clone() }));
        }
    }

    fn clean_up(&mut self, allocation: &Allocation, dropped: &Dropped) {
        let (pod, uid) = (allocation.identity.key.clone(), dropped.uid.clone());
        self.want(
            &dropped.pool,
            Waiting::new(None, Want { pod, uid, nic: None, ask: Ask::Release(dropped.ip) }),
        );
    }
}

impl Request {
    fn nic(&self) -> Option<String> {
        match &self.what {
            super::request::What::Add(request) => Some(request.nic.clone()),
            super::request::What::Release(_) => None,
        }
    }
}

impl AddWork {
    /// The next pool to ask for a part, and for what.
    fn next_pool(&mut self, part: usize) -> Option<(String, Want)> {
        let want = self.want(&self.parts[part]);
        let own = &mut self.parts[part];
        let pool = match own.goal {
            Goal::Search(at) => {
                self.allocation.searches[at].pools.get(own.tried).map(|pool| pool.name.clone())
            }
            Goal::Keep(at) => (own.tried == 0).then(|| self.allocation.kept[at].pool.clone()),
        };
        own.tried += 1;
        pool.map(|pool| (pool, want))
    }

    fn want(&self, part: &Part) -> Want {
        let (nic, ask) = match part.goal {
            Goal::Search(at) => {
                let demand = &self.allocation.demands[self.allocation.searches[at].demand];
                (&demand.nic, Ask::Allocate(self.claims.clone()))
            }
            Goal::Keep(at) => {
                (&self.allocation.kept[at].nic, Ask::Keep(self.allocation.kept[at].ip, self.claims.clone()))
            }
        };
        let identity = &self.allocation.identity;
        let nic = Some(nic.clone()).filter(|nic| !nic.is_empty());
        Want { pod: identity.key.clone(), uid: identity.uid.clone(), nic, ask }
    }

    fn kept_nic(&self, part: usize) -> Option<String> {
        match self.parts[part].goal {
            Goal::Keep(at) => Some(self.allocation.kept[at].nic.clone()),
            Goal::Search(_) => None,
        }
    }

    fn not_found(&mut self, part: usize, verdict: &Verdict) {
        let own = &mut self.parts[part];
        let name = match own.goal {
            Goal::Search(at) => &self.allocation.searches[at].pools[own.tried - 1].name,
            Goal::Keep(at) => &self.allocation.kept[at].pool,
        };
        let why = match verdict {
            Verdict::Settled(Outcome::UsedOut, _) => "all IP addresses used out".to_owned(),
            Verdict::Settled(Outcome::Closed(why), _) => (*why).to_owned(),
            Verdict::Settled(Outcome::Taken { ip, by }, _) => {
                format!("{ip}, which the endpoint names, is held by {by}")
            }
            Verdict::Settled(Outcome::Lost(ip), _) => format!("{ip} is none of its addresses any more"),
            Verdict::Settled(Outcome::Released | Outcome::Has { .. }, _) => "it gave no answer".to_owned(),
            Verdict::Gone => "it does not exist any more".to_owned(),
            Verdict::Refused(why) => why.clone(),
        };
        own.used_out &= matches!(verdict, Verdict::Settled(Outcome::UsedOut, _));
        own.reasons.push(format!("IPPool {name}: {why}"));
    }

    fn why_not_found(&self, part: usize) -> FailureReason {
        let own = &self.parts[part];
        let reasons = own.reasons.join("; ");
        match own.goal {
            Goal::Keep(_) => FailureReason::Internal(format!("the fixed address cannot be kept: {reasons}")),
            Goal::Search(_) if own.used_out => FailureReason::UsedOut(reasons),
            Goal::Search(_) => FailureReason::NoPool(reasons),
        }
    }

    /// The endpoint's interfaces: those that stay, and those found.
    fn interfaces(&self) -> Vec<EndpointInterface> {
        let mut interfaces = self.allocation.staying.clone();
        for (index, demand) in self.allocation.demands.iter().enumerate() {
            let mut entry = EndpointInterface { nic: demand.nic.clone(), ..EndpointInterface::default() };
            let mut pools: Vec<&Pool> = Vec::new();
            for (family, found) in self.found_for(index) {
                pools.push(&found.pool);
                let assigned = Assigned {
                    address: found.pool.spec.with_prefix(found.ip),
                    pool: found.pool.name.clone(),
                    gateway: found.pool.spec.gateway,
                };
                match family {
                    Family::V4 => entry.ipv4 = Some(assigned),
                    Family::V6 => entry.ipv6 = Some(assigned),
                }
            }
            let gateway = entry.all_assigned().any(|assigned| assigned.gateway.is_some());
            entry.clean_gateway = gateway.then_some(demand.clean_gateway);
            entry.routes = routes_of(&entry, &pools, &self.allocation.routes);
            interfaces.push(entry);
        }
        interfaces
    }

    fn found_for(&self, demand: usize) -> impl Iterator<Item = (Family, &Found)> {
        self.parts.iter().filter_map(move |part| match part.goal {
            Goal::Search(at) if self.allocation.searches[at].demand == demand => {
                part.found.as_ref().map(|found| (self.allocation.searches[at].family, found))
            }
            _ => None,
        })
    }
}
