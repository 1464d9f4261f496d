//! ADD with an IPAM plugin that works on the interface itself, as `dhcp` does: the interface is made first, and gets what the IPAM
//! plugin answers afterwards.
//!
//! The planner is asked twice from the same facts and entropy: without addresses, and with them. What the second plan has beyond the
//! first is what is left to do.

use polynic_cni::{Error, Success, Verb};
use polynic_kernel::{ApplyError, transaction};
use polynic_net::{Entropy, Facts, Plan, Step};

use super::{Attempt, changes_shared, describe};
use crate::Planned;
use crate::drive::lock::SharedLock;

impl Attempt<'_> {
    /// The lock of shared objects is kept while the IPAM plugin works only if this attempt makes some: then nobody may build on them
    /// before it is known that they stay.
    pub(super) fn reserve_on_link(&mut self, shared: Option<SharedLock>) -> Result<Success, Error> {
        let entropy = Entropy::new((self.job.context.seed)());
        let (facts, bare, _shared) = self.plan_bare(&entropy, shared)?;
        let record = self.record(&bare)?;
        self.slot.intend(&record).map_err(|e| self.call().error(describe(&e)))?;
        let applied = transaction::apply(self.kernel, &bare.plan).map_err(|e| self.refused(&bare, &e))?;
        let outcome = self.address(&facts, entropy, &bare.plan);
        outcome.inspect_err(|_| {
            // As long as the interface is there; whether it worked is found out when it is done once more, as after every failure.
            let _ = self.job.ipam(Verb::Del);
            let remains = applied.undo(self.kernel, &bare.plan);
            self.note_remains(&remains);
        })
    }

    /// The plan for the interface alone.
    fn plan_bare(
        &mut self,
        entropy: &Entropy,
        shared: Option<SharedLock>,
    ) -> Result<(Facts, Planned, Option<SharedLock>), Error> {
        let nothing_yet = Success::default();
        let plan = |attempt: &mut Self| -> Result<_, Error> {
            // The addresses are not known, but of which family they will be.
            let facts = attempt.observe(Some(&one_address()))?;
            let (call, entropy) = (attempt.call(), &mut entropy.clone());
            let bare = attempt.job.attachment.plan(call, &facts, Some(&nothing_yet), entropy)?;
            Ok((facts, bare))
        };
        let (facts, bare) = plan(self)?;
        match shared {
            Some(mut lock) if changes_shared(&bare.plan, &facts) => {
                lock.make_exclusive().map_err(|e| self.call().error(e))?;
                let (facts, bare) = plan(self)?;
                Ok((facts, bare, Some(lock)))
            }
            _ => Ok((facts, bare, None)),
        }
    }

    /// Gets the addresses and applies the rest of the plan.
    fn address(&mut self, facts: &Facts, mut entropy: Entropy, bare: &Plan) -> Result<Success, Error> {
        let ipam = self.job.ipam(Verb::Add)?;
        let planned = self.job.attachment.plan(self.call(), facts, ipam.as_ref(), &mut entropy)?;
        planned.result.check_convertible(self.call().conf.cni_version)?;
        let rest = Planned { plan: beyond(bare, &planned.plan), result: planned.result };
        let steps: Vec<Step> = bare.steps.iter().chain(&rest.plan.steps).cloned().collect();
        let whole = Planned { plan: Plan { steps, ..bare.clone() }, result: rest.result.clone() };
        let record = self.record(&whole)?;
        self.slot.intend(&record).map_err(|e| self.call().error(describe(&e)))?;
        let applied = transaction::apply(self.kernel, &rest.plan).map_err(|e| self.refused(&rest, &e))?;
        match self.finish(facts, &rest.result) {
            Ok(()) => Ok(rest.result),
            Err(error) => {
                let remains = applied.undo(self.kernel, &rest.plan);
                self.note_remains(&remains);
                Err(error)
            }
        }
    }

    fn refused(&mut self, planned: &Planned, error: &ApplyError) -> Error {
        self.note_remains(&error.undo);
        self.explain(planned, error)
    }
}

/// What such an IPAM plugin will answer, as far as it decides what has to be observed.
fn one_address() -> Success {
    let address = polynic_net::IpNet::V4(polynic_net::Ipv4Net::default());
    Success { ips: vec![polynic_cni::Ip::new(address)], ..Success::default() }
}

/// The steps of `whole` that are not in `bare`, each counted once.
fn beyond(bare: &Plan, whole: &Plan) -> Plan {
    let mut done: Vec<&Step> = bare.steps.iter().collect();
    let is_new = |step: &&Step| match done.iter().position(|known| known == step) {
        Some(at) => {
            done.swap_remove(at);
            false
        }
        None => true,
    };
    Plan { steps: whole.steps.iter().filter(is_new).cloned().collect(), ..whole.clone() }
}
