//! Carries out a release: the endpoint first, so that nobody takes its addresses over any more, then the records.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::endpoint::{Change, EndpointJob};
use super::pool::{Verdict, Waiting};
use super::request::Stage;
use super::{Allocator, Effect};
use crate::release::{EndpointFate, Release, decide_release};
use crate::settle::{Ask, Want};
use crate::{Answer, FailureReason, Observed, PodKey, ReleaseRequest, RequestId};

/// A release under way.
#[derive(Debug)]
pub(super) struct ReleaseWork {
    release: Release,
    /// Pools that have not answered.
    pending: BTreeSet<usize>,
}

impl Allocator {
    pub(super) fn observed_for_release(&mut self, id: RequestId, request: &ReleaseRequest, seen: &Observed) {
        self.reserved = seen.reserved.clone();
        let mut release = match decide_release(&self.settings, request, seen) {
            Err(why) => return self.fail(id, why),
            Ok(None) => return self.done(id, Answer::Released),
            Ok(Some(release)) => release,
        };
        self.add_own_pools(&mut release);
        self.learn_pools(seen.pools.iter().filter(|pool| release.pools.contains(&pool.name)));
        let until = self.now.plus(self.settings.avoid_millis);
        self.suspects.extend(release.suspects.iter().cloned().map(|suspect| (suspect, until)));
        self.carry_out(id, request, release, seen);
    }

    /// Our own last writes may be newer than what the cache shows.
    fn add_own_pools(&mut self, release: &mut Release) {
        let own = |pool: &crate::Pool| pool.records.of_uid(&release.uid).next().is_some();
        let found = self.pools.iter().filter(|(_, actor)| actor.snapshot().is_some_and(own));
        let found: Vec<String> = found.map(|(name, _)| name.clone()).collect();
        release.pools.extend(found);
    }

    fn carry_out(&mut self, id: RequestId, request: &ReleaseRequest, release: Release, seen: &Observed) {
        let change = match &release.endpoint {
            EndpointFate::Remove => Change::Remove(release.uid.clone()),
            EndpointFate::Clear(identity) => Change::Put(identity.clone(), Vec::new()),
            EndpointFate::Reduce(identity, left) => Change::Put(identity.clone(), left.clone()),
        };
        let limit = release.limit_millis.map(|millis| self.now.plus(millis));
        let job =
            EndpointJob { key: release.key.clone(), pod: request.pod.clone(), change, request: Some(id) };
        if let Some(own) = self.requests.get_mut(&id) {
            own.deadline = limit.map_or(own.deadline, |limit| limit.min(own.deadline));
            own.obstacle = "the endpoint is being written".to_owned();
            own.stage = Stage::Releasing(Box::new(ReleaseWork { release, pending: BTreeSet::new() }));
            let deadline = own.deadline;
            self.emit(Effect::WakeAt(deadline));
        }
        self.change_endpoint(job, seen.endpoint.as_ref());
    }

    /// The endpoint is as it should be: now the records.
    pub(super) fn release_pools(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Stage::Releasing(work) = &mut request.stage else { return };
        let Release { key, uid, pools, only, .. } = work.release.clone();
        let parts: Vec<(String, Option<IpAddr>)> = match only {
            Some(only) => only.into_iter().map(|(pool, ip)| (pool, Some(ip))).collect(),
            None => pools.into_iter().map(|pool| (pool, None)).collect(),
        };
        work.pending = (0..parts.len()).collect();
        request.obstacle = "the pools are being written".to_owned();
        for (part, (pool, ip)) in parts.iter().enumerate() {
            let want = Want { pod: key.clone(), uid: uid.clone(), nic: None, ask: Ask::Release(*ip) };
            let ticket = self.ticket(id, part);
            self.want(pool, Waiting::new(ticket, want));
        }
        if parts.is_empty() {
            self.done(id, Answer::Released);
        }
    }

    pub(super) fn released_part(&mut self, id: RequestId, part: usize, verdict: &Verdict) {
        if let Verdict::Refused(why) = verdict {
            return self
                .fail(id, FailureReason::Internal(format!("the records could not be removed: {why}")));
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Stage::Releasing(work) = &mut request.stage else { return };
        work.pending.remove(&part);
        if work.pending.is_empty() {
            self.done(id, Answer::Released);
        }
    }

    /// The caller has gone; what is under way goes on.
    pub(super) fn abandon_release(&mut self, id: RequestId, pod: &PodKey) {
        self.orphan(id);
        if !self.detach_endpoint(id) {
            self.leave(pod);
        }
    }
}
