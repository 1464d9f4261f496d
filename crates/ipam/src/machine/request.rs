//! The life of a request: start, observation, deadline, answer.

use std::collections::BTreeSet;

use super::add::AddWork;
use super::release::ReleaseWork;
use super::{Allocator, Effect};
use crate::{
    AddRequest, Answer, Failure, FailureReason, Millis, Observed, PodKey, ReadError, ReleaseRequest,
    RequestId,
};

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) what: What,
    pub(super) stage: Stage,
    pub(super) deadline: Millis,
    /// When it came.
    came: Millis,
    /// Milliseconds before other requests of its pod were done.
    queued_at_pod: u64,
    /// The longest that one of its parts waited for its turn at a pool, in milliseconds.
    pub(super) queued_at_pools: u64,
    /// How often its pod was observed.
    pub(super) looks: u32,
    /// Interfaces whose fixed addresses turned out to be somebody else's.
    pub(super) lost: BTreeSet<String>,
    /// The last thing that kept it from being done, for the error at its deadline.
    pub(super) obstacle: String,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum What {
    Add(AddRequest),
    Release(ReleaseRequest),
}

/// How far a request has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Another request of the pod is inside.
    Waiting,
    /// The pod is being read.
    Observing,
    /// It will be read again then.
    Resting(Millis),
    /// Pools are at work.
    Allocating(Box<AddWork>),
    /// Endpoint or pools are at work.
    Releasing(Box<ReleaseWork>),
    /// It is answered; some of its wants are in writes whose outcome is not known yet.
    Answered(Box<AddWork>),
}

impl Request {
    pub(super) fn add(request: AddRequest) -> Self {
        Self::new(request.deadline, What::Add(request))
    }

    pub(super) fn release(request: ReleaseRequest) -> Self {
        Self::new(request.deadline, What::Release(request))
    }

    fn new(deadline: Millis, what: What) -> Self {
        let obstacle = "an earlier request of the pod is not done".to_owned();
        Self {
            what,
            stage: Stage::Waiting,
            deadline,
            came: Millis::default(),
            queued_at_pod: 0,
            queued_at_pools: 0,
            looks: 0,
            lost: BTreeSet::new(),
            obstacle,
        }
    }

    pub(super) fn pod(&self) -> &PodKey {
        match &self.what {
            What::Add(request) => &request.pod,
            What::Release(request) => &request.pod,
        }
    }

    /// How long it waited for its turns, in milliseconds.
    fn queued(&self, now: Millis) -> u64 {
        match self.looks {
            0 => now.since(self.came),
            _ => self.queued_at_pod.saturating_add(self.queued_at_pools),
        }
    }

    fn subject(&self) -> String {
        let (pod, nic) = match &self.what {
            What::Add(request) => (&request.pod, &request.nic),
            What::Release(request) => (&request.pod, &request.nic),
        };
        match nic.as_str() {
            "" => format!("pod {pod}"),
            nic => format!("pod {pod}, interface {nic}"),
        }
    }

    /// What a cached pod must have as UID to do. A release is decided on what the API server says now.
    fn uid_of_cached(&self) -> String {
        match &self.what {
            What::Add(request) => request.uid.clone(),
            What::Release(_) => String::new(),
        }
    }
}

impl Allocator {
    pub(super) fn start(&mut self, id: RequestId, request: Request) {
        let pod = request.pod().clone();
        self.emit(Effect::WakeAt(request.deadline));
        self.requests.insert(id, Request { came: self.now, ..request });
        if self.enter(&pod, id) {
            self.begin(id);
        }
    }

    /// Reads what there is to know about the pod.
    pub(super) fn begin(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.stage = Stage::Observing;
        if request.looks == 0 {
            request.queued_at_pod = self.now.since(request.came);
        }
        request.looks += 1;
        let effect = Effect::Observe { id, pod: request.pod().clone(), uid: request.uid_of_cached() };
        self.emit(effect);
    }

    pub(super) fn observed(&mut self, id: RequestId, seen: Result<Observed, ReadError>) {
        let Some(request) =
            self.requests.get(&id).filter(|request| matches!(request.stage, Stage::Observing))
        else {
            return;
        };
        let what = request.what.clone();
        match (seen, what) {
            (Err(why), _) => self.rest(id, why.to_string(), 200),
            (Ok(seen), What::Add(add)) => self.observed_for_add(id, &add, seen),
            (Ok(seen), What::Release(release)) => self.observed_for_release(id, &release, &seen),
        }
    }

    /// Looks again after about that many milliseconds.
    pub(super) fn rest(&mut self, id: RequestId, why: String, millis: u64) {
        let until = self.now.plus(millis + self.entropy.bits() % (millis / 4 + 1));
        if let Some(request) = self.requests.get_mut(&id) {
            request.obstacle = why;
            request.stage = Stage::Resting(until);
        }
        self.emit(Effect::WakeAt(until));
    }

    pub(super) fn look_again(&mut self) {
        let now = self.now;
        let rested = |request: &Request| matches!(request.stage, Stage::Resting(until) if until <= now);
        let due: Vec<RequestId> =
            self.requests.iter().filter(|(_, r)| rested(r)).map(|(id, _)| *id).collect();
        for id in due {
            self.begin(id);
        }
    }

    /// Answers all whose time is up.
    pub(super) fn expire(&mut self) {
        let now = self.now;
        let late =
            |request: &Request| request.deadline <= now && !matches!(request.stage, Stage::Answered(_));
        let due: Vec<RequestId> = self.requests.iter().filter(|(_, r)| late(r)).map(|(id, _)| *id).collect();
        for id in due {
            let obstacle = self.requests.get(&id).map(|request| request.obstacle.clone()).unwrap_or_default();
            self.fail(id, FailureReason::OutOfTime(format!("not done within the time: {obstacle}")));
        }
    }

    /// Answers with a failure and takes back what was done.
    pub(super) fn fail(&mut self, id: RequestId, why: FailureReason) {
        let Some(request) = self.requests.remove(&id) else { return };
        let answer = Answer::Failed(Failure { subject: request.subject(), why });
        self.emit(Effect::Answer(id, answer, request.queued(self.now)));
        match request.stage {
            Stage::Waiting => {}
            Stage::Observing | Stage::Resting(_) => self.leave(request.pod()),
            Stage::Releasing(_) => self.abandon_release(id, request.pod()),
            Stage::Allocating(_) => self.abandon_add(id, request),
            Stage::Answered(_) => drop(self.requests.insert(id, request)),
        }
    }

    pub(super) fn answer(&mut self, id: RequestId, answer: Answer) {
        let queued = self.requests.get(&id).map_or(0, |request| request.queued(self.now));
        self.emit(Effect::Answer(id, answer, queued));
    }
}
