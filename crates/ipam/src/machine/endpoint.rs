//! The writer of one endpoint: one change at a time, repeated until it is done.

use super::{Allocator, Effect};
use crate::decide::Identity;
use crate::{Endpoint, EndpointInterface, EndpointWrite, Millis, PodKey, ReadError, RequestId, WriteError};

/// What an endpoint is to be.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// That of this pod, with these interfaces.
    Put(Box<Identity>, Vec<EndpointInterface>),
    /// Gone, if it is that of this pod's UID.
    Remove(String),
}

/// A change under way.
#[derive(Debug)]
pub(super) struct EndpointWriter {
    change: Change,
    phase: Phase,
    /// The request that waits for it, if one does.
    request: Option<RequestId>,
    /// The pod whose gate opens when it is done.
    pod: PodKey,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Writing,
    /// The old one is being deleted, to make room for another.
    Deleting,
    Resting(Millis),
}

impl Change {
    /// The write that brings it about, from what is there. `None`: it is so already.
    fn step(&self, key: &PodKey, current: Option<&Endpoint>) -> Option<EndpointWrite> {
        let delete = |endpoint: &Endpoint| EndpointWrite::Delete {
            key: key.clone(),
            object_uid: endpoint.object_uid.clone(),
        };
        match (self, current) {
            (Self::Put(identity, interfaces), None) => {
                Some(EndpointWrite::Create(endpoint(identity, interfaces)))
            }
            (Self::Put(identity, interfaces), Some(current)) => {
                let foreign = current.uid != identity.uid && identity.fixed.is_none();
                if foreign || current.terminating {
                    return Some(delete(current));
                }
                let wanted = Endpoint {
                    object_uid: current.object_uid.clone(),
                    resource_version: current.resource_version.clone(),
                    owned_by_pod: current.owned_by_pod,
                    ..endpoint(identity, interfaces)
                };
                (wanted != *current).then_some(EndpointWrite::Update(wanted))
            }
            (Self::Remove(uid), Some(current)) => (current.uid == *uid).then(|| delete(current)),
            (Self::Remove(_), None) => None,
        }
    }
}

fn endpoint(identity: &Identity, interfaces: &[EndpointInterface]) -> Endpoint {
    Endpoint {
        key: identity.key.clone(),
        object_uid: String::new(),
        resource_version: String::new(),
        terminating: false,
        uid: identity.uid.clone(),
        node: identity.node.clone(),
        interfaces: interfaces.to_vec(),
        owner_kind: identity.owner_kind.clone(),
        owner_name: identity.owner_name.clone(),
        owned_by_pod: identity.fixed.is_none(),
    }
}

/// A change of an endpoint, and who is concerned.
#[derive(Clone, Debug)]
pub(super) struct EndpointJob {
    pub(super) key: PodKey,
    pub(super) pod: PodKey,
    pub(super) change: Change,
    pub(super) request: Option<RequestId>,
}

impl Allocator {
    /// Begins a change, from what the observation showed. Its end is [`Self::endpoint_done`].
    pub(super) fn change_endpoint(&mut self, job: EndpointJob, seen: Option<&Endpoint>) {
        let EndpointJob { key, pod, change, request } = job;
        let writer = EndpointWriter { change, phase: Phase::Reading, request, pod, tries: 0 };
        self.endpoints.insert(key.clone(), writer);
        self.go_on(&key, seen);
    }

    fn go_on(&mut self, key: &PodKey, current: Option<&Endpoint>) {
        let Some(writer) = self.endpoints.get_mut(key) else { return };
        match writer.change.step(key, current) {
            None => self.endpoint_done(key, Ok(())),
            Some(write) => {
                let makes_room =
                    matches!((&writer.change, &write), (Change::Put(..), EndpointWrite::Delete { .. }));
                writer.phase = if makes_room { Phase::Deleting } else { Phase::Writing };
                self.emit(Effect::WriteEndpoint(write));
            }
        }
    }

    pub(super) fn endpoint_read(&mut self, key: &PodKey, read: Result<Option<Endpoint>, ReadError>) {
        let reading = self.endpoints.get(key).is_some_and(|writer| writer.phase == Phase::Reading);
        match read {
            _ if !reading => {}
            Ok(current) => self.go_on(key, current.as_ref()),
            Err(why) => self.try_later(key, &format!("reading SpiderEndpoint {key}: {why}")),
        }
    }

    pub(super) fn endpoint_written(&mut self, key: &PodKey, outcome: Result<(), WriteError>) {
        let Some(phase) = self.endpoints.get(key).map(|writer| writer.phase) else { return };
        match outcome {
            _ if !matches!(phase, Phase::Writing | Phase::Deleting) => {}
            Ok(()) if phase == Phase::Deleting => self.go_on(key, None),
            Ok(()) => self.endpoint_done(key, Ok(())),
            Err(WriteError::Conflict | WriteError::Gone) => self.read_endpoint(key),
            Err(WriteError::Refused(why)) => self.endpoint_done(key, Err(why)),
            Err(WriteError::Unknown(why)) => {
                self.try_later(key, &format!("writing SpiderEndpoint {key}: {why}"))
            }
        }
    }

    fn read_endpoint(&mut self, key: &PodKey) {
        if let Some(writer) = self.endpoints.get_mut(key) {
            writer.phase = Phase::Reading;
            self.emit(Effect::ReadEndpoint(key.clone()));
        }
    }

    fn try_later(&mut self, key: &PodKey, why: &str) {
        let bits = self.entropy.bits();
        let Some(writer) = self.endpoints.get_mut(key) else { return };
        writer.tries = writer.tries.saturating_add(1);
        let pause = (50_u64 << writer.tries.min(7)).min(5000);
        let until = self.now.plus(pause / 2 + bits % (pause / 2));
        writer.phase = Phase::Resting(until);
        if let Some(request) = writer.request.and_then(|id| self.requests.get_mut(&id)) {
            request.obstacle = why.to_owned();
        }
        self.emit(Effect::WakeAt(until));
    }

    pub(super) fn wake_endpoints(&mut self) {
        let now = self.now;
        let due = |writer: &EndpointWriter| matches!(writer.phase, Phase::Resting(until) if until <= now);
        let keys: Vec<PodKey> =
            self.endpoints.iter().filter(|(_, w)| due(w)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.read_endpoint(&key);
        }
    }

    fn endpoint_done(&mut self, key: &PodKey, outcome: Result<(), String>) {
        let Some(writer) = self.endpoints.remove(key) else { return };
        match (writer.request, outcome) {
            (Some(id), Ok(())) => self.endpoint_ready(id),
            (Some(id), Err(why)) => {
                self.endpoint_refused(id, &format!("SpiderEndpoint {key} was refused: {why}"))
            }
            (None, outcome) => {
                if let Err(why) = outcome {
                    self.emit(Effect::Warn(format!("SpiderEndpoint {key} was refused: {why}")));
                }
                self.leave(&writer.pod);
            }
        }
    }

    /// Nobody waits for this request's endpoint any more; the change goes on, and opens the gate when it is done.
    pub(super) fn detach_endpoint(&mut self, id: RequestId) -> bool {
        let own = self.endpoints.values_mut().find(|writer| writer.request == Some(id));
        own.map(|writer| writer.request = None).is_some()
    }
}
