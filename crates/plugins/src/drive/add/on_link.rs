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
    /// The lock of shared objects is not held while the IPAM plugin works: without a server that takes long. What is shared is
    /// done before, and stays whatever comes of it, because others may have built on it by then.
    pub(super) fn reserve_on_link(&mut self) -> Result<Success, Error> {
        let entropy = Entropy::new((self.job.context.seed)());
        let (facts, bare, shared) = self.plan_bare(&entropy)?;
        let record = self.record(&bare)?;
        self.slot.intend(&record).map_err(|e| self.call().error(describe(&e)))?;
        let applied = transaction::apply_from(self.kernel, &bare.plan, &facts);
        let mut applied = applied.map_err(|e| self.refused(&bare, &e))?;
        applied.keep_shared(&bare.plan);
        drop(shared);
        let outcome = self.address(&facts, entropy, &bare.plan);
        outcome.inspect_err(|_| {
            // As long as the interface is there; whether it worked is found out when it is done once more, as after every failure.
            let _ = self.job.ipam(Verb::Del);
            let remains = applied.undo(self.kernel, &bare.plan);
            self.note_remains(&remains);
        })
    }

    /// The plan for the interface alone.
    fn plan_bare(&mut self, entropy: &Entropy) -> Result<(Facts, Planned, Option<SharedLock>), Error> {
        let nothing_yet = Success::default();
        let plan = |attempt: &mut Self| -> Result<_, Error> {
            // The addresses are not known, but of which family they will be.
            let facts = attempt.observe(Some(&one_address()))?;
            let (call, entropy) = (attempt.call(), &mut entropy.clone());
            let bare = attempt.job.attachment.plan(call, &facts, Some(&nothing_yet), entropy)?;
            Ok((facts, bare))
        };
        let mut shared = self.take_shared()?;
        let (mut facts, mut bare) = plan(self)?;
        if let Some(lock) = shared.as_mut().filter(|_| changes_shared(&bare.plan, &facts)) {
            lock.make_exclusive().map_err(|e| self.call().error(e))?;
            (facts, bare) = plan(self)?;
        }
        Ok((facts, bare, shared))
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
        let _shared = self.lock_for(&rest.plan, facts)?;
        let applied = transaction::apply_from(self.kernel, &rest.plan, facts);
        let applied = applied.map_err(|e| self.refused(&rest, &e))?;
        match self.finish(facts, &rest.result) {
            Ok(()) => Ok(rest.result),
            Err(error) => {
                let remains = applied.undo(self.kernel, &rest.plan);
                self.note_remains(&remains);
                Err(error)
            }
        }
    }

    /// The lock under which a plan from `facts` can be applied: what they do not show may be there by now, and is then not made.
    fn lock_for(&self, plan: &Plan, facts: &Facts) -> Result<Option<SharedLock>, Error> {
        if changes_shared(plan, facts) { self.alone() } else { self.take_shared() }
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
