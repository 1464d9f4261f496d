//! Calls on their way to the API server and back, with what goes wrong there.

use std::sync::Arc;

use super::World;
use super::world::Occurrence;
use crate::{
    Effect, EndpointWrite, Event, Observed, PodKey, Pool, PoolWrite, ReadError, RequestId, WriteError,
};

/// A call at the API server.
#[derive(Clone, Debug)]
pub(super) enum Call {
    /// The first part of an observation: endpoint, and pools from the cache.
    Observe {
        id: RequestId,
        pod: PodKey,
    },
    /// The second: the pod, read after that.
    ObservePod {
        id: RequestId,
        pod: PodKey,
        seen: Box<Observed>,
    },
    ReadPool(String),
    WritePool(PoolWrite, Fortune),
    ReadEndpoint(PodKey),
    WriteEndpoint(EndpointWrite, Fortune),
}

/// What becomes of a write and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fortune {
    Good,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is lost.
    Lost,
    /// It was answered as unknown; this is it, late.
    Late,
}

impl World {
    /// An agent's call sets out.
    pub(super) fn send(&mut self, node: usize, effect: Effect) {
        self.tally.calls += 1;
        let fortune = self.fortune();
        let call = match effect {
            Effect::Observe { id, pod, .. } => Call::Observe { id, pod },
            Effect::ReadPool(name) => Call::ReadPool(name),
            Effect::WritePool(write) => Call::WritePool(write, fortune),
            Effect::ReadEndpoint(key) => Call::ReadEndpoint(key),
            Effect::WriteEndpoint(write) => Call::WriteEndpoint(write, fortune),
            Effect::Answer(..) | Effect::WakeAt(_) | Effect::Warn(_) => return,
        };
        let life = self.nodes[node].life;
        let travel = 1 + self.below(8);
        self.after(travel, Occurrence::Arrives { node, life, call });
    }

    fn fortune(&mut self) -> Fortune {
        let faults = self.options.faults;
        match self.below(1000) {
            _ if !self.lively => Fortune::Good,
            n if n < faults.lost_answers => Fortune::AnswerLost,
            n if n < faults.lost_answers + faults.lost_writes => Fortune::Lost,
            n if n < faults.lost_answers + faults.lost_writes + faults.late_writes => Fortune::Late,
            _ => Fortune::Good,
        }
    }

    pub(super) fn arrives(&mut self, node: usize, life: u32, call: Call) {
        match call {
            Call::Observe { id, pod } => self.observe(node, life, id, pod),
            Call::ObservePod { id, pod, seen } => {
                let live = self.api.observe(&self.settings, &pod, Vec::new());
                let seen = Observed { pod: live.pod, ..*seen };
                self.reply(node, life, Event::Observed(id, Box::new(Ok(seen))));
            }
            Call::ReadPool(name) => {
                let read = self.read(self.api.pools.get(&name).cloned());
                self.reply(node, life, Event::PoolRead(name, read));
            }
            Call::ReadEndpoint(key) => {
                let read = self.read(self.api.endpoints.get(&key).cloned());
                self.reply(node, life, Event::EndpointRead(key, Box::new(read)));
            }
            Call::WritePool(write, fortune) => self.write_pool(node, life, write, fortune),
            Call::WriteEndpoint(write, fortune) => self.write_endpoint(node, life, write, fortune),
        }
    }

    fn read<T>(&mut self, found: Option<T>) -> Result<Option<T>, ReadError> {
        match self.lively && self.one_in_thousand(self.options.faults.failed_reads) {
            true => Err(ReadError("the simulated API server is busy".to_owned())),
            false => Ok(found),
        }
    }

    fn observe(&mut self, node: usize, life: u32, id: RequestId, pod: PodKey) {
        if let Err(why) = self.read(Some(())) {
            return self.reply(node, life, Event::Observed(id, Box::new(Err(why))));
        }
        let pools = self.nodes[node].cache.values().cloned().collect();
        let seen = Box::new(self.api.observe(&self.settings, &pod, pools));
        let travel = 1 + self.below(5);
        self.after(travel, Occurrence::Arrives { node, life, call: Call::ObservePod { id, pod, seen } });
    }

    fn reply(&mut self, node: usize, life: u32, event: Event) {
        let travel = 1 + self.below(5);
        self.after(travel, Occurrence::Agent { node, life, event });
    }

    fn write_pool(&mut self, node: usize, life: u32, write: PoolWrite, fortune: Fortune) {
        let name = write.pool.clone();
        if let Some(late) =
            self.goes_astray(fortune, Call::WritePool(write.clone(), Fortune::AnswerLost), (node, life))
        {
            return self.reply(node, life, Event::PoolWritten(name, Err(late)));
        }
        let written = self.api.write_pool(&write);
        self.tally.conflicts += u64::from(written == Err(WriteError::Conflict));
        if written.is_ok() {
            self.pool_changed(&name);
        }
        let answer = if fortune == Fortune::Good { written } else { Err(unknown()) };
        self.reply(node, life, Event::PoolWritten(name, answer));
    }

    fn write_endpoint(&mut self, node: usize, life: u32, write: EndpointWrite, fortune: Fortune) {
        let key = write.key().clone();
        let again = Call::WriteEndpoint(write.clone(), Fortune::AnswerLost);
        if let Some(late) = self.goes_astray(fortune, again, (node, life)) {
            return self.reply(node, life, Event::EndpointWritten(key, Err(late)));
        }
        let written = self.api.write_endpoint(&write);
        self.dirty = true;
        let answer = if fortune == Fortune::Good { written } else { Err(unknown()) };
        self.reply(node, life, Event::EndpointWritten(key, answer));
    }

    /// A write that is lost, or comes late: its answer for now.
    fn goes_astray(
        &mut self,
        fortune: Fortune,
        again: Call,
        (node, life): (usize, u32),
    ) -> Option<WriteError> {
        if fortune == Fortune::Late {
            let delay = self.below(400);
            self.after(delay, Occurrence::Arrives { node, life: life.wrapping_sub(1), call: again });
        }
        matches!(fortune, Fortune::Late | Fortune::Lost).then(unknown)
    }

    /// The watches of all nodes will show it, each in its time.
    pub(super) fn pool_changed(&mut self, name: &str) {
        self.dirty = true;
        let Some(pool) = self.api.pools.get(name).cloned() else { return };
        for node in 0..self.nodes.len() {
            let lag = 1 + self.below(self.options.faults.lag);
            self.after(lag, Occurrence::CacheSees { node, pool: pool.clone() });
        }
    }

    pub(super) fn cache_sees(&mut self, node: usize, pool: Arc<Pool>) {
        // A watch shows versions in order; late ones are skipped, as if several had come at once.
        let version = |pool: &Pool| pool.resource_version.parse::<u64>().unwrap_or_default();
        let known = self.nodes[node].cache.get(&pool.name).map_or(0, |known| version(known));
        if version(&pool) > known {
            self.nodes[node].cache.insert(pool.name.clone(), pool.clone());
            let life = self.nodes[node].life;
            self.inform(node, life, Event::PoolSeen(pool));
        }
    }
}

fn unknown() -> WriteError {
    WriteError::Unknown("the simulated answer is lost".to_owned())
}
