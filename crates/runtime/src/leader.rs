//! Leader election by a Lease (spec/spiderpool.md 13.2).
//!
//! What to do about a Lease is decided by [`Candidate::decide`], which sees a clock of its own and never compares clocks of two machines: a
//! leader is gone if its Lease has not changed for as long as it promised to be there.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::Shutdown;

/// The Lease, and how it is used.
#[derive(Clone, Debug)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who we are: the pod's name.
    pub identity: String,
    /// How long a leader is trusted after its last sign of life.
    pub duration: Duration,
    /// After how long without a renewal a leader stops to lead; less than `duration`.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Whether it is us.
    pub is_ours: bool,
    /// The leader's identity, if there is one.
    pub leader: Option<String>,
}

/// What a candidate has seen.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    duration: Duration,
    /// Version of the Lease, and since when it is that one.
    seen: Option<(String, Instant)>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Somebody else leads.
    Wait,
    /// Take the Lease: nobody holds it, or its holder is gone.
    Take,
    /// Renew our own.
    Renew,
}

impl Candidate {
    /// One that has seen nothing yet.
    pub fn new(identity: &str, duration: Duration) -> Self {
        Self { identity: identity.to_owned(), duration, seen: None }
    }

    /// What to do about a Lease that was just read.
    pub fn decide(&mut self, lease: &Lease, now: Instant) -> Decision {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => now,
        };
        self.seen = Some((version, since));
        match holder(lease) {
            None => Decision::Take,
            Some(holder) if holder == self.identity => Decision::Renew,
            Some(_) if now.duration_since(since) >= self.promised(lease) => Decision::Take,
            Some(_) => Decision::Wait,
        }
    }

    /// How long the holder wants to be trusted; ours if it does not say.
    fn promised(&self, lease: &Lease) -> Duration {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        seconds.and_then(|n| u64::try_from(n).ok()).map_or(self.duration, Duration::from_secs)
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

impl Election {
    /// Takes part until the end, and gives the Lease back then. The receiver always has the latest word.
    pub fn start(
        self,
        client: Client,
        shutdown: Shutdown,
    ) -> (watch::Receiver<Leadership>, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = watch::channel(Leadership::default());
        let task = tokio::spawn(async move {
            let api = Api::namespaced(client, &self.namespace);
            let mut round = Round {
                candidate: Candidate::new(&self.identity, self.duration),
                renewed: None,
                api,
                election: self,
            };
            round.run(&sender, &shutdown).await;
        });
        (receiver, task)
    }
}

/// The state of one candidate.
struct Round {
    election: Election,
    candidate: Candidate,
    api: Api<Lease>,
    /// When we last wrote the Lease as its holder.
    renewed: Option<Instant>,
}

impl Round {
    async fn run(&mut self, sender: &watch::Sender<Leadership>, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            let seen = timeout(self.election.renew_deadline, self.attempt()).await;
            let leader = match seen {
                Ok(Ok(leader)) => Some(leader),
                Ok(Err(error)) => {
                    tracing::warn!(%error, lease = self.election.name, "the leader's lease cannot be used");
                    None
                }
                Err(_) => None,
            };
            self.publish(sender, leader);
            tokio::select! {
                () = sleep(self.election.retry) => {}
                () = shutdown.triggered() => {}
            }
        }
        sender.send_replace(Leadership::default());
        self.release().await;
    }

    /// Without an answer we lead on until the deadline, because nobody else may lead before our promise is over.
    fn publish(&mut self, sender: &watch::Sender<Leadership>, leader: Option<Option<String>>) {
        let ours = self.election.identity.as_str();
        let is_fresh = self.renewed.is_some_and(|at| at.elapsed() < self.election.renew_deadline);
        let leader =
            leader.unwrap_or_else(|| sender.borrow().leader.clone().filter(|name| name != ours || is_fresh));
        let is_ours = is_fresh && leader.as_deref() == Some(ours);
        let new = Leadership { is_ours, leader };
        sender.send_if_modified(|old| {
            let is_new = *old != new;
            if is_new {
                tracing::info!(leader = new.leader.as_deref().unwrap_or("none"), ours = is_ours, "who leads");
                *old = new.clone();
            }
            is_new
        });
    }

    /// Reads the Lease, takes or renews it where we may, and says who leads. A conflict means that somebody else was faster.
    async fn attempt(&mut self) -> Result<Option<String>, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.election.name).await? else {
            let lease = Lease { metadata: self.metadata(), spec: Some(self.spec(0, None)) };
            let created = self.api.create(&PostParams::default(), &lease).await;
            return self.written(created);
        };
        let now = Instant::now();
        let decision = self.candidate.decide(&lease, now);
        if decision == Decision::Wait {
            self.renewed = None;
            return Ok(holder(&lease).map(str::to_owned));
        }
        let old = lease.spec.clone().unwrap_or_default();
        let spec = match decision {
            Decision::Renew => self.spec(old.lease_transitions.unwrap_or(0), old.acquire_time),
            _ => self.spec(old.lease_transitions.unwrap_or(0).saturating_add(1), None),
        };
        let lease = Lease { spec: Some(spec), ..lease };
        let written = self.api.replace(&self.election.name, &PostParams::default(), &lease).await;
        self.written(written)
    }

    fn written(&mut self, written: Result<Lease, kube::Error>) -> Result<Option<String>, kube::Error> {
        match written {
            Ok(lease) => {
                self.renewed = Some(Instant::now());
                Ok(holder(&lease).map(str::to_owned))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.renewed = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta { name: Some(self.election.name.clone()), ..ObjectMeta::default() }
    }

    fn spec(&self, transitions: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.election.duration.as_secs().max(1)).unwrap_or(i32::MAX),
            ),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Gives the Lease back, so that others need not wait. Best effort: it runs out by itself.
    async fn release(&mut self) {
        if self.renewed.is_none() {
            return;
        }
        let release = async {
            let Some(lease) = self.api.get_opt(&self.election.name).await? else { return Ok(()) };
            if holder(&lease) != Some(&self.election.identity) {
                return Ok(());
            }
            let old = lease.spec.clone().unwrap_or_default();
            let spec =
                LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..old };
            let lease = Lease { spec: Some(spec), ..lease };
            self.api.replace(&self.election.name, &PostParams::default(), &lease).await.map(drop)
        };
        let released: Result<Result<(), kube::Error>, _> =
            timeout(self.election.renew_deadline, release).await;
        if let Ok(Err(error)) = released {
            tracing::debug!(%error, "the lease was not given back");
        }
    }
}

/// Runs `work` whenever we lead, and drops it as soon as we do not, until the end.
pub async fn while_leading<W, F>(mut leadership: watch::Receiver<Leadership>, shutdown: Shutdown, mut work: W)
where
    W: FnMut() -> F,
    F: Future<Output = ()>,
{
    loop {
        tokio::select! {
            led = leadership.wait_for(|leadership| leadership.is_ours) => if led.is_err() { return },
            () = shutdown.triggered() => return,
        }
        tokio::select! {
            () = work() => {}
            _ = leadership.wait_for(|leadership| !leadership.is_ours) => tracing::warn!("no longer the leader"),
            () = shutdown.triggered() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    #[test]
    fn a_silent_leader_is_replaced_after_its_promise_and_a_living_one_never() {
        let mut candidate = Candidate::new("b", Duration::from_secs(15));
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(candidate.decide(&lease("a", "1"), start), Decision::Wait);
        assert_eq!(candidate.decide(&lease("a", "1"), after(14)), Decision::Wait);
        assert_eq!(candidate.decide(&lease("a", "2"), after(15)), Decision::Wait, "it was renewed");
        assert_eq!(candidate.decide(&lease("a", "2"), after(29)), Decision::Wait);
        assert_eq!(candidate.decide(&lease("a", "2"), after(30)), Decision::Take);
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_and_our_own_renewed() {
        let mut candidate = Candidate::new("b", Duration::from_secs(15));
        assert_eq!(candidate.decide(&lease("", "1"), Instant::now()), Decision::Take);
        assert_eq!(candidate.decide(&Lease::default(), Instant::now()), Decision::Take);
        assert_eq!(candidate.decide(&lease("b", "2"), Instant::now()), Decision::Renew);
    }
}
