//! Whole plans: applied step by step, taken back when a step fails, removed later, or completed again.
//!
//! [`apply`] leaves the kernel as it was if any step fails. [`remove`] takes back what an applied plan left, at any
//! later time and however little of it is still there. [`converge`] makes what is missing of an applied plan.

mod ensure;
mod take_back;
#[cfg(test)]
mod tests;

use std::ops::Range;

use polynic_net::{Change, Facts, IfName, LinkKind, Object, Place, Plan, Probe, Stake, Step, check};

use crate::{Kernel, KernelError};

pub use ensure::converge;
pub use take_back::remove;

/// What [`apply`] did. It is needed to take the plan back as long as the attempt may still fail.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// For each step that was done, whether this attempt changed anything by it.
    made: Vec<bool>,
    links: Vec<(Place, IfName)>,
}

impl Applied {
    /// The links that this attempt created, in order; of a veth pair first the link, then its peer. Shared links that
    /// were there already are not among them.
    pub fn created_links(&self) -> &[(Place, IfName)] {
        &self.links
    }

    /// Takes the whole plan back because a later step of the attempt failed: owned steps, and those shared ones that
    /// this attempt made. Goes on after errors and returns them; what is gone already is no error.
    pub fn undo(self, kernel: &mut dyn Kernel, plan: &Plan) -> Vec<KernelError> {
        let made = |step: usize| self.made.get(step).copied().unwrap_or_default();
        take_back::take_back(kernel, plan.undo(self.made.len(), made))
    }

    /// From here on the shared things of the node that this attempt made are everybody's: [`Applied::undo`] leaves them. A link that
    /// the plan takes from the node is nobody else's.
    pub fn keep_shared(&mut self, plan: &Plan) {
        let lent: Vec<&IfName> = plan.steps.iter().filter_map(lent_by_node).collect();
        for (made, step) in self.made.iter_mut().zip(&plan.steps) {
            let is_shared = step.stake != Stake::Owned && step.change.place == Place::Host;
            *made &= !is_shared || lent.iter().any(|link| is_attribute_of(&step.change, link));
        }
    }

    fn note(&mut self, steps: &[Step], made: Vec<bool>) {
        for (step, made) in steps.iter().zip(&made) {
            if *made {
                self.links.extend(links_of(&step.change));
            }
        }
        self.made.extend(made);
    }
}

/// A step that failed, after everything before it was taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {}{}: {cause}{}", .step + 1, unsaid(.change, .cause), undo_text(.undo))]
pub struct ApplyError {
    /// The step, counted from 0; of a batch its first.
    pub step: usize,
    /// What it was to do.
    pub change: String,
    /// Why it failed. Part of the message, hence no `source`.
    pub cause: KernelError,
    /// What could not be taken back. Empty: the kernel is as it was.
    pub undo: Vec<KernelError>,
}

impl ApplyError {
    /// Whether planning again with fresh facts may help: see [`KernelError::is_stale`].
    pub fn is_stale(&self) -> bool {
        self.cause.is_stale()
    }
}

/// The change in brackets, unless the cause begins with it.
fn unsaid(change: &str, cause: &KernelError) -> String {
    if cause.to_string().starts_with(change) { String::new() } else { format!(" ({change})") }
}

fn undo_text(errors: &[KernelError]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
    format!("; not taken back: {}", list.join("; "))
}

/// Applies `plan` step by step. If a step fails, takes back what was done, in reverse and tolerant of what is gone.
///
/// Owned steps apply exactly: what exists already is somebody else's and an error. Ensured steps are satisfied by what
/// exists; those of others are also by their being gone, or changed. Neighbouring firewall steps of one place and stake go as one batch, neighbouring probes are asked at the same time.
///
/// # Errors
/// [`ApplyError`] names the step, its cause and what could not be taken back.
pub fn apply(kernel: &mut dyn Kernel, plan: &Plan) -> Result<Applied, ApplyError> {
    apply_from(kernel, plan, &Facts::default())
}

/// As [`apply`], for a plan that was made from `facts`: what they show of the shared things is not made again, and not this
/// attempt's to take back. The kernel alone does not always say: a link that is up can be set up again.
///
/// # Errors
/// As [`apply`].
pub fn apply_from(kernel: &mut dyn Kernel, plan: &Plan, facts: &Facts) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for range in batches(&plan.steps) {
        let steps = &plan.steps[range.clone()];
        match apply_missing(kernel, steps, facts) {
            Ok(made) => applied.note(steps, made),
            Err(cause) => {
                let undo = applied.undo(kernel, plan);
                return Err(ApplyError { step: range.start, change: describe(steps), cause, undo });
            }
        }
    }
    Ok(applied)
}

/// [`apply_batch`], unless all of the steps are shared and stand.
fn apply_missing(kernel: &mut dyn Kernel, steps: &[Step], facts: &Facts) -> Result<Vec<bool>, KernelError> {
    let stands = |step: &Step| step.stake != Stake::Owned && check::is_seen(&step.change, facts);
    if steps.iter().all(stands) { Ok(vec![false; steps.len()]) } else { apply_batch(kernel, steps) }
}

/// Applies steps that belong together; the answer says of each whether it changed anything.
fn apply_batch(kernel: &mut dyn Kernel, steps: &[Step]) -> Result<Vec<bool>, KernelError> {
    match steps {
        [Step { change: Change { place, object: Object::Probe(_) }, .. }, ..] => {
            kernel.probe(*place, &probes_of(steps)).map(|()| vec![true; steps.len()])
        }
        [step] if step.stake == Stake::Owned => kernel.apply(&step.change).map(|()| vec![true]),
        [step] if step.stake == Stake::Once => ensure::do_once(kernel, &step.change).map(|made| vec![made]),
        [step] if !is_firewall(step) => ensure::ensure_new(kernel, &step.change).map(|made| vec![made]),
        [Step { stake: Stake::Ensured | Stake::Once, .. }, ..] => ensure::ensure_firewall(kernel, steps),
        _ => kernel.apply_firewall(&changes_of(steps)).map(|()| vec![true; steps.len()]),
    }
}

fn probes_of(steps: &[Step]) -> Vec<Probe> {
    let probe = |step: &Step| match &step.change.object {
        Object::Probe(probe) => Some(probe.clone()),
        _ => None,
    };
    steps.iter().filter_map(probe).collect()
}

fn changes_of(steps: &[Step]) -> Vec<Change> {
    steps.iter().map(|s| s.change.clone()).collect()
}

/// Ranges of steps that go together: neighbouring firewall steps of one place and stake, every other step alone.
fn batches(steps: &[Step]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match ranges.last_mut() {
            Some(range) if goes_with(&steps[range.start], step) => range.end = at + 1,
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

fn goes_with(first: &Step, step: &Step) -> bool {
    let kind = |s: &Step| (is_firewall(s), matches!(s.change.object, Object::Probe(_)));
    kind(first) != (false, false)
        && kind(first) == kind(step)
        && first.stake == step.stake
        && first.change.place == step.change.place
}

fn is_firewall(step: &Step) -> bool {
    matches!(step.change.object, Object::Firewall(_))
}

fn describe(steps: &[Step]) -> String {
    let first = steps.first().map(|s| s.change.to_string()).unwrap_or_default();
    match steps.len() {
        0 | 1 => first,
        n => format!("{first} and {} more", n - 1),
    }
}

/// The link that a step moves away from the node.
fn lent_by_node(step: &Step) -> Option<&IfName> {
    match &step.change.object {
        Object::Move(moved) if moved.from.place == Place::Host => Some(&moved.from.name),
        _ => None,
    }
}

fn is_attribute_of(change: &Change, link: &IfName) -> bool {
    matches!(&change.object, Object::Attr(attr) if attr.link == *link)
}

/// The links that `change` creates.
fn links_of(change: &Change) -> Vec<(Place, IfName)> {
    let Object::Link(diff) = &change.object else { return Vec::new() };
    let Some(link) = &diff.after else { return Vec::new() };
    let mut links = vec![(change.place, link.name.clone())];
    if let LinkKind::Veth(peer) = &link.kind {
        links.push((peer.place, peer.name.clone()));
    }
    links
}
