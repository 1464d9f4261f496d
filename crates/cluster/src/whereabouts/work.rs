//! One write of a pool for everybody who waits for it.
//!
//! An address is decided on from the pool as it was read, its reservation is created, and then the pool is written in that version. If
//! somebody else wrote it meanwhile everything is decided again; reservations that are not needed after all go back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use polynic_ipam::whereabouts::{Holder, Holders, Range, choose, reservation_name};
use tokio::time::sleep;

use super::lane::Job;
use super::objects::{Objects, ReadPool, Reserved};
use crate::retry::Problem;

/// How often a pool is read anew because others wrote it (spec/whereabouts.md 4).
const TRIES: u32 = 100;
/// The longest pause before the second try; it grows with each.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A pool, and how it is used.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) network: String,
    /// The range by which the pool is known: a whole one or a slice.
    pub(super) range: Range,
    pub(super) overlapping: bool,
}

/// What is wanted of a pool.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// An address out of this range, whose exclusions may differ from those of others.
    Take(Holder, Range),
    /// The address of this container's interface back.
    Give(Holder),
}

/// The address that is now somebody's, and whether it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) ip: IpAddr,
    pub(super) was_known: bool,
}

pub(super) type Answer = Result<Option<Taken>, String>;

/// A write under way.
pub(super) struct Work<'a> {
    pub(super) objects: &'a Objects,
    pub(super) of: &'a Use,
    pub(super) seed: u64,
    /// Reservations that this work made.
    made: BTreeMap<IpAddr, Holder>,
}

impl<'a> Work<'a> {
    pub(super) fn new(objects: &'a Objects, of: &'a Use, seed: u64) -> Self {
        Self { objects, of, seed, made: BTreeMap::new() }
    }

    /// Does all jobs and answers them.
    pub(super) async fn run(mut self, jobs: Vec<Job<Wish, Answer>>) {
        let wishes: Vec<&Wish> = jobs.iter().map(|(wish, _)| wish).collect();
        let outcome = self.write(&wishes).await;
        let answers = match outcome {
            Ok(answers) => answers,
            Err(problem) => wishes.iter().map(|_| Err(problem.to_string())).collect(),
        };
        self.unmake(&answers).await;
        for ((_, reply), answer) in jobs.into_iter().zip(answers) {
            // Whoever does not wait any more is found by its DEL.
            let _ = reply.send(answer);
        }
    }

    async fn write(&mut self, wishes: &[&Wish]) -> Result<Vec<Answer>, Problem> {
        let mut pause = PAUSE;
        for _ in 0..TRIES {
            let Some(pool) = self.read(wishes).await? else {
                return Ok(wishes.iter().map(|_| Ok(None)).collect());
            };
            let mut holders = pool.holders.clone();
            let mut answers = Vec::new();
            let mut freed = Vec::new();
            for wish in wishes {
                answers.push(match wish {
                    Wish::Take(who, range) => self.take(range, &mut holders, who).await?.map(Some),
                    Wish::Give(who) => {
                        let given = give(&mut holders, who);
                        freed.extend(
                            given
                                .into_iter()
                                .filter_map(|(key, who)| Some((self.of.range.address(&key)?, who))),
                        );
                        Ok(None)
                    }
                });
            }
            let written = match holders == pool.holders {
                true => Ok(()),
                false => self.objects.write(&pool, &holders).await,
            };
            match written {
                Ok(()) => {
                    self.unreserve(&freed).await?;
                    return Ok(answers);
                }
                Err(Problem::Conflict(_)) => {}
                Err(problem) => return Err(problem),
            }
            sleep(self.jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Problem::Other(format!("the pool {} was written by others {TRIES} times in a row", self.of.name)))
    }

    /// The pool. Who gives back makes none.
    async fn read(&self, wishes: &[&Wish]) -> Result<Option<ReadPool>, Problem> {
        if wishes.iter().any(|wish| matches!(wish, Wish::Take(..))) {
            let range = self.of.range.net.to_string();
            return self.objects.pool(&self.of.name, &range).await.map(Some);
        }
        self.objects.find_pool(&self.of.name).await
    }

    /// An address and its reservation. The outer error is the API server's, the inner one says that there is none left.
    async fn take(
        &mut self,
        range: &Range,
        holders: &mut Holders,
        who: &Holder,
    ) -> Result<Result<Taken, String>, Problem> {
        let mut elsewhere = Vec::new();
        loop {
            let Some(chosen) = choose(range, holders, &elsewhere, who) else {
                let (net, free) = (range.net, range.free().to_texts().join(", "));
                return Ok(Err(format!(
                    "could not allocate IP in range {net}: every address is in use or excluded (to hand out: {free})"
                )));
            };
            if self.is_reserved_elsewhere(chosen.ip, who).await? {
                elsewhere.push(chosen.ip);
                continue;
            }
            holders.retain(|key, holder| {
                let same = holder.podref == who.podref && holder.ifname == who.ifname;
                !same || range.address(key).is_none()
            });
            holders.insert(self.of.range.offset(chosen.ip), who.clone());
            return Ok(Ok(Taken { ip: chosen.ip, was_known: chosen.is_known }));
        }
    }

    async fn is_reserved_elsewhere(&mut self, ip: IpAddr, who: &Holder) -> Result<bool, Problem> {
        if !self.of.overlapping {
            return Ok(false);
        }
        if let Some(holder) = self.made.get(&ip) {
            return Ok(holder != who);
        }
        let name = reservation_name(&self.of.network, ip);
        match self.objects.reserve(&name, who).await? {
            None => {
                self.made.insert(ip, who.clone());
                Ok(false)
            }
            Some(reserved) => Ok(!reserved.is_of(who)),
        }
    }

    /// Takes back reservations for addresses that nobody got after all. What stays is found by the collector.
    async fn unmake(&self, answers: &[Answer]) {
        let given: Vec<IpAddr> = answers.iter().filter_map(|a| Some(a.as_ref().ok()?.as_ref()?.ip)).collect();
        for (ip, who) in self.made.iter().filter(|(ip, _)| !given.contains(ip)) {
            if let Err(problem) = self.unreserve(&[(*ip, who.clone())]).await {
                tracing::warn!(%ip, %problem, "a reservation that is not needed stays until it is collected");
            }
        }
    }

    async fn unreserve(&self, freed: &[(IpAddr, Holder)]) -> Result<(), Problem> {
        for (ip, who) in freed.iter().filter(|_| self.of.overlapping) {
            let name = reservation_name(&self.of.network, *ip);
            let reserved = self.objects.reserved(&name).await?;
            if let Some(reserved) = reserved.filter(|reserved: &Reserved| reserved.is_of(who)) {
                self.objects.unreserve(&name, &reserved).await?;
            }
        }
        Ok(())
    }

    fn jitter(&mut self, pause: Duration) -> Duration {
        let mut entropy = polynic_net::Entropy::new(self.seed);
        self.seed = entropy.bits();
        pause.mul_f64((self.seed % 1000) as f64 / 1000.0)
    }
}

/// Removes what the container's interface has; the addresses, as far as their keys are any.
fn give(holders: &mut Holders, who: &Holder) -> Vec<(String, Holder)> {
    let own = |holder: &Holder| holder.id == who.id && holder.ifname == who.ifname;
    let given: Vec<(String, Holder)> = holders
        .iter()
        .filter(|(_, holder)| own(holder))
        .map(|(key, holder)| (key.clone(), holder.clone()))
        .collect();
    holders.retain(|_, holder| !own(holder));
    given
}
