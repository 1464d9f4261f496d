//! What an attempt is to replace, kept so that it can be put back if the attempt fails.

use polynic_kernel::{ApplyError, Kernel, KernelError, transaction};
use polynic_net::check::{holds, needs};
use polynic_net::{Change, Facts, Plan, Step};

use crate::record::Record;

/// The part of an applied plan that stood when the attempt began, and what came after it.
pub(super) struct Replaced {
    plan: Plan,
    later: Vec<Record>,
}

impl Replaced {
    /// Looks what of `plan` stands. What somebody has taken away meanwhile is not to come back by a failure.
    pub(super) fn observe(
        kernel: &mut dyn Kernel,
        plan: &Plan,
        later: Vec<Record>,
    ) -> Result<Self, KernelError> {
        let shown: Vec<Change> = plan.steps.iter().map(shown_by).collect();
        let facts = kernel.observe(&needs(&shown))?;
        let steps = plan.steps.iter().zip(&shown).filter(|(step, shown)| stands(step, shown, &facts));
        let steps = steps.map(|(step, _)| step.clone()).collect();
        Ok(Self { plan: Plan { steps, ..plan.clone() }, later })
    }

    /// Makes what stood again, as far as it is gone.
    pub(super) fn put_back(&self, kernel: &mut dyn Kernel) -> Result<(), ApplyError> {
        let later: Vec<&Plan> = self.later.iter().map(|r| &r.plan).collect();
        transaction::converge(kernel, &self.plan, &later)
    }
}

/// The change whose effect can be looked for: of a deletion what it deleted.
fn shown_by(step: &Step) -> Change {
    let inverse = step.change.clone().inverse().filter(|_| step.change.is_deletion());
    inverse.unwrap_or_else(|| step.change.clone())
}

fn stands(step: &Step, shown: &Change, facts: &Facts) -> bool {
    holds(shown, facts) != step.change.is_deletion()
}
