//! One pool's actor: gathers wants, settles them together, writes once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Allocator, Effect};
use crate::pacing::Pace;
use crate::settle::{Ask, Avoid, Outcome, Want, settle};
use crate::{Millis, Pool, PoolWrite, ReadError, RequestId, Settings, WriteError, reserved};

/// Whose want it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) request: RequestId,
    /// How often the request had looked at its pod by then: a later look makes other parts.
    pub(super) look: u32,
    /// Which of its parts.
    pub(super) index: usize,
}

/// `None` for clean-up that nobody waits for.
pub(super) type Ticket = Option<Part>;

/// A want in a queue.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    pub(super) want: Want,
    /// When it came, until its turn comes.
    since: Option<Millis>,
}

impl Waiting {
    pub(super) fn new(ticket: Ticket, want: Want) -> Self {
        Self { ticket, want, since: None }
    }
}

/// What a pool says to a want.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It is settled, and durable; with the pool as it is now.
    Settled(Outcome, Arc<Pool>),
    /// There is no such pool.
    Gone,
    /// The pool could not be written, and why.
    Refused(String),
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Nothing is done before then; a snapshot must be other than this version to be of use.
    Resting(Millis),
    Reading,
    Writing {
        batch: Vec<(Waiting, Outcome)>,
        after: Arc<Pool>,
    },
}

/// Whether there may be a write that was sent, and neither done nor refused yet. Reading does not help against it: what is
/// read may be overwritten the next moment, on the condition that nobody else writes before. So what is there already is
/// only handed out when a straggler is impossible, or after a write that puts it out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Straggler {
    /// There is none.
    None,
    /// One based on this version.
    At(String),
    /// One based on any version: an agent that has just started does not know what the last one sent.
    Any,
}

/// The actor.
#[derive(Debug)]
pub(super) struct PoolActor {
    phase: Phase,
    waiting: Vec<Waiting>,
    /// The newest state that we know.
    snapshot: Option<Arc<Pool>>,
    /// The version that a write found outdated.
    outdated: Option<String>,
    /// A write of this agent, or of one before it on this node, may still be on its way, based on this version (or on any).
    straggler: Straggler,
    pace: Pace,
}

impl PoolActor {
    fn new(settings: &Settings) -> Self {
        let pace = Pace::new(settings.pacing);
        Self {
            phase: Phase::Idle,
            waiting: Vec::new(),
            snapshot: None,
            outdated: None,
            straggler: Straggler::Any,
            pace,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !matches!(self.phase, Phase::Writing { .. } | Phase::Reading)
    }

    pub(super) fn wakes_by(&self, now: Millis) -> bool {
        matches!(self.phase, Phase::Resting(until) if until <= now)
    }

    pub(super) fn snapshot(&self) -> Option<&Pool> {
        self.snapshot.as_deref()
    }

    /// Takes a state that may be newer than the known one.
    fn learn(&mut self, pool: Arc<Pool>) -> bool {
        let newer = self
            .snapshot
            .as_ref()
            .is_none_or(|known| is_newer(&pool.resource_version, &known.resource_version));
        let useful = newer && self.outdated.as_ref().is_none_or(|old| is_newer(&pool.resource_version, old));
        if useful {
            self.snapshot = Some(pool);
            self.outdated = None;
        }
        useful
    }

    /// A state that a write may be based on.
    fn base(&self) -> Option<Arc<Pool>> {
        self.snapshot.clone().filter(|_| self.outdated.is_none())
    }

    /// A state that was read: what was based on an older one cannot be done any more.
    fn outdates_straggler(&mut self, version: &str) {
        if matches!(&self.straggler, Straggler::At(base) if is_newer(version, base)) {
            self.straggler = Straggler::None;
        }
    }

    fn forget(&mut self) {
        self.outdated = self.snapshot.take().map(|pool| pool.resource_version.clone());
    }

    /// A write based on this version did not work. If a watch was faster than the answer, there is a newer one already.
    fn outdate(&mut self, version: &str) {
        if self.snapshot.as_ref().is_none_or(|known| !is_newer(&known.resource_version, version)) {
            self.snapshot = None;
            self.outdated = Some(version.to_owned());
        }
    }
}

/// Versions are opaque; where both are numbers, the larger is newer, and otherwise the one that was read later is.
fn is_newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}

impl Allocator {
    fn actor(&mut self, name: &str) -> &mut PoolActor {
        if !self.pools.contains_key(name) {
            self.pools.insert(name.to_owned(), PoolActor::new(&self.settings));
        }
        // It was put there just now if it was missing.
        #[allow(clippy::expect_used)]
        self.pools.get_mut(name).expect("the actor exists")
    }

    /// Puts a want into the queue of a pool. A want for an address takes back clean-up of the same interface that
    /// has not begun: a retried ADD keeps its address.
    pub(super) fn want(&mut self, pool: &str, waiting: Waiting) {
        let waiting = Waiting { since: Some(self.now), ..waiting };
        let want = &waiting.want;
        let actor = self.actor(pool);
        if !matches!(want.ask, Ask::Release(_)) {
            let same = |other: &Want| other.nic == want.nic || other.ask == Ask::Release(None);
            let superseded =
                |other: &Waiting| other.ticket.is_none() && other.want.uid == want.uid && same(&other.want);
            actor.waiting.retain(|other| !superseded(other));
        }
        actor.waiting.push(waiting);
        self.restless.insert(pool.to_owned());
    }

    /// Withdraws the wants of a request that are not in a write yet; answers which of its parts are.
    pub(super) fn withdraw(&mut self, id: RequestId) -> BTreeSet<usize> {
        let mut writing = BTreeSet::new();
        let of = |waiting: &Waiting| waiting.ticket.filter(|part| part.request == id).map(|part| part.index);
        for actor in self.pools.values_mut() {
            actor.waiting.retain(|waiting| of(waiting).is_none());
            if let Phase::Writing { batch, .. } = &actor.phase {
                writing.extend(batch.iter().filter_map(|(waiting, _)| of(waiting)));
            }
        }
        writing
    }

    pub(super) fn pool_seen(&mut self, pool: Arc<Pool>) {
        let now = self.now;
        let Some(actor) = self.pools.get_mut(&pool.name) else { return };
        if actor.learn(pool) && !matches!(actor.phase, Phase::Writing { .. }) {
            actor.pace.foreign_write(now);
        }
    }

    /// Our last write of a pool may be newer than what a cache shows.
    pub(super) fn prefer_own_state(&self, seen: &mut Arc<Pool>) {
        let own = self.pools.get(&seen.name).and_then(|actor| actor.snapshot.as_ref());
        if let Some(own) = own.filter(|own| is_newer(&own.resource_version, &seen.resource_version)) {
            *seen = own.clone();
        }
    }

    /// Learns what an observation says about the pools that it needs.
    pub(super) fn learn_pools<'a>(&mut self, pools: impl Iterator<Item = &'a Arc<Pool>>) {
        for pool in pools {
            self.actor(&pool.name).learn(pool.clone());
        }
    }

    /// Lets every pool that may have something to do go on, until none has.
    pub(super) fn settle_pools(&mut self) {
        while let Some(name) = self.restless.pop_first() {
            self.advance(&name);
        }
    }

    fn advance(&mut self, name: &str) {
        let now = self.now;
        let Some(actor) = self.pools.get_mut(name) else { return };
        if matches!(actor.phase, Phase::Resting(until) if until <= now) {
            actor.phase = Phase::Idle;
        }
        if !matches!(actor.phase, Phase::Idle) || actor.waiting.is_empty() {
            return;
        }
        if let Some(millis) = actor.pace.before_write(now, self.entropy.bits()) {
            return self.rest_pool(name, millis);
        }
        self.begin_turn(name);
        let Some(actor) = self.pools.get(name) else { return };
        let contended = actor.pace.is_contended();
        match actor.base().filter(|_| !contended) {
            Some(base) => self.write_batch(name, &base, Certainty::Cached),
            None => self.read_pool(name),
        }
    }

    /// The turn of all that waits has come: notes with their requests how long that took. Parts of a request wait side by side.
    fn begin_turn(&mut self, name: &str) {
        let now = self.now;
        let Some(actor) = self.pools.get_mut(name) else { return };
        let begun = actor.waiting.iter_mut().filter_map(|waiting| {
            let since = waiting.since.take()?;
            Some((waiting.ticket?.request, now.since(since)))
        });
        for (id, millis) in begun {
            if let Some(request) = self.requests.get_mut(&id) {
                request.queued_at_pools = request.queued_at_pools.max(millis);
            }
        }
    }

    fn read_pool(&mut self, name: &str) {
        self.actor(name).phase = Phase::Reading;
        self.emit(Effect::ReadPool(name.to_owned()));
    }

    fn rest_pool(&mut self, name: &str, millis: u64) {
        let until = self.now.plus(millis);
        self.actor(name).phase = Phase::Resting(until);
        self.emit(Effect::WakeAt(until));
    }

    /// Settles what waits. A changed state is written, and the write's success proves that it was right to decide on
    /// it; an unchanged one is only believed if it was read just now.
    fn write_batch(&mut self, name: &str, base: &Arc<Pool>, certainty: Certainty) {
        self.begin_turn(name);
        let avoid = self.avoid(base);
        let max_records = self.settings.max_records;
        let actor = self.actor(name);
        let wants: Vec<&Want> = actor.waiting.iter().map(|waiting| &waiting.want).collect();
        let mut settlement = settle(base, &wants, &avoid, max_records);
        if !settlement.changed {
            if certainty == Certainty::Cached {
                return self.read_pool(name);
            }
            actor.outdates_straggler(&base.resource_version);
            if actor.straggler == Straggler::None || !settlement.confirm(&base.resource_version) {
                return self.deliver_unchanged(name, base, settlement.outcomes);
            }
        }
        let write = PoolWrite {
            pool: name.to_owned(),
            resource_version: base.resource_version.clone(),
            records: settlement.records.clone(),
        };
        let after = Arc::new(Pool { records: settlement.records, ..Pool::clone(base) });
        let batch = std::mem::take(&mut actor.waiting).into_iter().zip(settlement.outcomes).collect();
        actor.phase = Phase::Writing { batch, after };
        self.emit(Effect::WritePool(write));
    }

    fn deliver_unchanged(&mut self, name: &str, pool: &Arc<Pool>, outcomes: Vec<Outcome>) {
        let actor = self.actor(name);
        actor.phase = Phase::Idle;
        let batch: Vec<_> = std::mem::take(&mut actor.waiting).into_iter().zip(outcomes).collect();
        self.deliver(batch, pool);
    }

    fn deliver(&mut self, batch: Vec<(Waiting, Outcome)>, pool: &Arc<Pool>) {
        for (waiting, outcome) in batch {
            self.verdict(waiting, Verdict::Settled(outcome, pool.clone()));
        }
    }

    fn avoid(&self, pool: &Pool) -> Avoid {
        let of_pool =
            self.suspects.iter().filter(|((name, _), until)| *name == pool.name && **until > self.now);
        let suspect: BTreeSet<IpAddr> = of_pool.map(|((_, ip), _)| *ip).collect();
        Avoid { reserved: reserved(pool.spec.family(), &self.reserved), suspect }
    }

    pub(super) fn pool_read(&mut self, name: &str, read: Result<Option<Arc<Pool>>, ReadError>) {
        let actor = self.actor(name);
        if !matches!(actor.phase, Phase::Reading) {
            return;
        }
        actor.phase = Phase::Idle;
        match read {
            Err(why) => self.obstacle(name, &format!("reading IPPool {name}: {why}")),
            Ok(None) => self.unusable(name, &Verdict::Gone),
            Ok(Some(pool)) => {
                actor.outdated = None;
                actor.snapshot = Some(pool.clone());
                self.write_batch(name, &pool, Certainty::Live);
            }
        }
    }

    pub(super) fn pool_written(&mut self, name: &str, outcome: Result<String, WriteError>) {
        let actor = self.actor(name);
        let (batch, after) = match std::mem::replace(&mut actor.phase, Phase::Idle) {
            Phase::Writing { batch, after } => (batch, after),
            other => return actor.phase = other,
        };
        self.restless.insert(name.to_owned());
        match outcome {
            Ok(version) => {
                let pool = Arc::new(Pool { resource_version: version, ..Pool::clone(&after) });
                let actor = self.actor(name);
                actor.pace.success();
                actor.straggler = Straggler::None;
                actor.outdated = None;
                actor.snapshot = Some(pool.clone());
                self.deliver(batch, &pool);
            }
            Err(why) => self.not_written((name, &after.resource_version), batch, &why),
        }
    }

    fn not_written(&mut self, (name, base): (&str, &str), batch: Vec<(Waiting, Outcome)>, why: &WriteError) {
        let (now, chance) = (self.now, self.entropy.bits());
        if *why == WriteError::Conflict {
            self.count_conflict(&batch);
        }
        // A want whose request was answered meanwhile has nobody left: the write has not happened, or, if that is not
        // known, its record will be found under the pod's UID when the pod goes.
        let (dead, alive): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|(waiting, _)| self.is_abandoned(waiting));
        for (waiting, _) in dead {
            self.verdict(waiting, Verdict::Refused(why.to_string()));
        }
        let actor = self.actor(name);
        if matches!(why, WriteError::Unknown(_)) && actor.straggler != Straggler::Any {
            actor.straggler = Straggler::At(base.to_owned());
        }
        actor.outdate(base);
        let mut again: Vec<Waiting> = alive.into_iter().map(|(waiting, _)| waiting).collect();
        again.append(&mut actor.waiting);
        actor.waiting = again;
        match why {
            WriteError::Gone => self.unusable(name, &Verdict::Gone),
            WriteError::Refused(why) => self.unusable(name, &Verdict::Refused(why.clone())),
            WriteError::Conflict => {
                let pause = actor.pace.conflict(now, chance);
                self.note(name, &format!("others were faster to write IPPool {name}"));
                self.rest_pool(name, pause);
            }
            WriteError::Unknown(_) => self.obstacle(name, &format!("writing IPPool {name}: {why}")),
        }
    }

    /// Pools are written for allocations and releases together.
    fn count_conflict(&mut self, batch: &[(Waiting, Outcome)]) {
        let is_release = |(waiting, _): &(Waiting, Outcome)| matches!(waiting.want.ask, Ask::Release(_));
        self.counters.pool_conflicts += 1;
        self.counters.release_conflicts += u64::from(batch.iter().any(is_release));
        self.counters.allocation_conflicts += u64::from(!batch.iter().all(is_release));
    }

    /// Something may be different soon: wait a little and read again.
    fn obstacle(&mut self, name: &str, why: &str) {
        let chance = self.entropy.bits();
        let actor = self.actor(name);
        actor.forget();
        let pause = actor.pace.obstacle(chance);
        self.note(name, why);
        self.rest_pool(name, pause);
    }

    /// Notes with all waiting requests what keeps them.
    fn note(&mut self, name: &str, why: &str) {
        let Some(actor) = self.pools.get(name) else { return };
        for part in actor.waiting.iter().filter_map(|waiting| waiting.ticket) {
            if let Some(request) = self.requests.get_mut(&part.request) {
                request.obstacle = why.to_owned();
            }
        }
    }

    /// Nothing that waits for this pool will be had from it.
    fn unusable(&mut self, name: &str, verdict: &Verdict) {
        let actor = self.actor(name);
        actor.snapshot = None;
        actor.outdated = None;
        for waiting in std::mem::take(&mut actor.waiting) {
            self.verdict(waiting, verdict.clone());
        }
    }

    /// Nobody waits for the wants of this request any more, but they are to be done all the same.
    pub(super) fn orphan(&mut self, id: RequestId) {
        for actor in self.pools.values_mut() {
            let writing = match &mut actor.phase {
                Phase::Writing { batch, .. } => batch.as_mut_slice(),
                _ => &mut [],
            };
            let all = actor.waiting.iter_mut().chain(writing.iter_mut().map(|(waiting, _)| waiting));
            for waiting in all.filter(|waiting| waiting.ticket.is_some_and(|part| part.request == id)) {
                waiting.ticket = None;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// From a cache, or from an earlier write.
    Cached,
    /// Read in this very step.
    Live,
}
