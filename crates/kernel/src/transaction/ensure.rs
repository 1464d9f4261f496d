//! Steps that are satisfied by what is there already.

use polynic_net::{
    Attr, AttrChange, Change, Diff, Facts, FwObject, LinkKind, LinkNeed, Needs, NsFacts, Object, Place, Plan,
    Stake, Step, Sysctl, check,
};

use super::take_back::take_back;
use super::{ApplyError, batches, describe, is_firewall};
use crate::{Errno, Kernel, KernelError};

/// Applies the steps of `plan` whose effect is missing, in order: a repeated ADD. What exists already is fine, settings
/// and attributes that somebody changed go back to what the plan wants.
///
/// A step that a later step supersedes, of the same plan or of one that was applied `after` it, is left out, and so are
/// probes and announcements: the addresses are in use by now. If a step fails, what was missing and this call made is taken back:
/// the plan stays on record, as incomplete as it was, and what worked goes on working.
///
/// # Errors
/// [`ApplyError`] names the step that failed, its cause and what could not be taken back.
pub fn converge(kernel: &mut dyn Kernel, plan: &Plan, after: &[&Plan]) -> Result<(), ApplyError> {
    let promises = check::promises_of(std::iter::once(plan).chain(after.iter().copied()), |at| at == 0);
    let mut made = Vec::new();
    let before = observe_plan(kernel, plan)?;
    for range in batches(&plan.steps) {
        let steps = &plan.steps[range.clone()];
        match converge_batch(kernel, steps, &promises) {
            Ok(changes) => made.extend(changes.into_iter().filter(|change| !stood(change, &before))),
            Err(cause) => {
                let inverse = made.into_iter().rev().filter_map(Change::inverse).collect();
                let undo = take_back(kernel, inverse);
                return Err(ApplyError { step: range.start, change: describe(steps), cause, undo });
            }
        }
    }
    Ok(())
}

/// What there is of all that the plan leaves.
pub(super) fn observe_plan(kernel: &mut dyn Kernel, plan: &Plan) -> Result<Facts, ApplyError> {
    let changes: Vec<Change> = plan.steps.iter().map(|step| step.change.clone()).collect();
    let failed = |cause| ApplyError { step: 0, change: describe(&plan.steps), cause, undo: Vec::new() };
    kernel.observe(&check::needs(&changes)).map_err(failed)
}

/// Whether a change had nothing to do. That the kernel took it says little: it sets a link up that is up, and puts a port into a VLAN
/// in which it is.
fn stood(change: &Change, before: &Facts) -> bool {
    check::holds(change, before)
}

/// Answers what it changed, or what the kernel says it did.
fn converge_batch(
    kernel: &mut dyn Kernel,
    steps: &[Step],
    promises: &[Change],
) -> Result<Vec<Change>, KernelError> {
    let talks =
        |s: &Step| matches!(s.change.object, Object::Probe(_) | Object::Announce(_) | Object::Forget(_));
    let stands = |s: &&Step| {
        !talks(s) && s.stake != Stake::Once && (!is_promise(&s.change) || promises.contains(&s.change))
    };
    let current: Vec<Step> = steps.iter().filter(stands).cloned().collect();
    match current.as_slice() {
        [] => Ok(Vec::new()),
        [step] if !is_firewall(step) => Ok(restore(kernel, &step.change)?.into_iter().collect()),
        steps => {
            let made = ensure_firewall(kernel, steps)?;
            let changes = steps.iter().map(|step| step.change.clone());
            Ok(changes.zip(made).filter(|(_, made)| *made).map(|(change, _)| change).collect())
        }
    }
}

/// Whether a change leaves something behind that a later one may supersede.
fn is_promise(change: &Change) -> bool {
    let passing =
        matches!(change.object, Object::Wait(_) | Object::Probe(_) | Object::Announce(_) | Object::Forget(_));
    !change.is_deletion() && !passing
}

/// Makes what is missing; answers the change that did it, if there was one.
fn restore(kernel: &mut dyn Kernel, change: &Change) -> Result<Option<Change>, KernelError> {
    // A link that has arrived is not where it came from. The way to a gateway may have been deleted by a later step: then
    // the kernel refuses a route that it has.
    let may_be_there = matches!(change.object, Object::Move(_))
        || matches!(change.object, Object::Route(_)) && change.is_creation();
    match ensure(kernel, change) {
        Ok(made) => Ok(made.then(|| change.clone())),
        Err(stale @ KernelError::Stale { .. }) => match from_present(kernel, change)? {
            Some(change) => kernel.apply(&change).map(|()| Some(change)),
            None => Err(stale),
        },
        Err(e) if may_be_there => {
            if holds(kernel, change)? {
                Ok(None)
            } else {
                Err(e)
            }
        }
        Err(e) => Err(e),
    }
}

/// Applies a change unless its effect is there; answers whether it was missing.
pub(super) fn ensure(kernel: &mut dyn Kernel, change: &Change) -> Result<bool, KernelError> {
    match kernel.apply(change) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == Some(Errno::EEXIST) && change.is_creation() => Ok(false),
        Err(e) if e.errno().is_some() && e.is_absent() && change.is_deletion() => Ok(false),
        Err(e @ KernelError::Stale { .. }) => {
            if holds(kernel, change)? {
                Ok(false)
            } else {
                Err(e)
            }
        }
        Err(e) => Err(e),
    }
}

/// As [`ensure`], for what is somebody else's: that may have gone, or have been changed, since it was seen.
pub(super) fn do_once(kernel: &mut dyn Kernel, change: &Change) -> Result<bool, KernelError> {
    match ensure(kernel, change) {
        Err(KernelError::Stale { .. }) => Ok(false),
        Err(e) if e.is_absent() => Ok(false),
        outcome => outcome,
    }
}

/// As [`ensure`], for a plan that was just made. An end of a shared cable has a name chosen at random: where only one of the
/// ends is there, it is another cable's, and the plan has to be made anew with other names.
pub(super) fn ensure_new(kernel: &mut dyn Kernel, change: &Change) -> Result<bool, KernelError> {
    let made = ensure(kernel, change)?;
    if !made && is_half_there(kernel, change)? {
        return Err(KernelError::Stale { what: change.to_string(), found: "an end of another cable".into() });
    }
    Ok(made)
}

/// Whether a change makes a cable of which one end is there and one is not.
fn is_half_there(kernel: &mut dyn Kernel, change: &Change) -> Result<bool, KernelError> {
    let Object::Link(Diff { before: None, after: Some(link) }) = &change.object else { return Ok(false) };
    let LinkKind::Veth(peer) = &link.kind else { return Ok(false) };
    let mut needs = Needs::default();
    needs.at_mut(change.place).link(&link.name);
    needs.at_mut(peer.place).link(&peer.name);
    let facts = kernel.observe(&needs)?;
    Ok(facts.link(change.place, &link.name).is_some() != facts.link(peer.place, &peer.name).is_some())
}

fn holds(kernel: &mut dyn Kernel, change: &Change) -> Result<bool, KernelError> {
    let promise = std::slice::from_ref(change);
    let facts = kernel.observe(&check::needs(promise))?;
    Ok(check::violations(promise, &facts).is_empty())
}

/// The same change starting from what is there now; none if there is no such setting or link.
fn from_present(kernel: &mut dyn Kernel, change: &Change) -> Result<Option<Change>, KernelError> {
    let mut needs = check::needs(std::slice::from_ref(change));
    if matches!(change.object, Object::Attr(_)) {
        // A master is shown by its index, so its name is only found among all links.
        needs.at_mut(change.place).links = LinkNeed::All;
    }
    let facts = kernel.observe(&needs)?;
    Ok(facts.at(change.place).and_then(|ns| rebased(change, ns)))
}

fn rebased(change: &Change, ns: &NsFacts) -> Option<Change> {
    let object = match &change.object {
        Object::Attr(a) => Object::Attr(AttrChange { before: present_attr(a, ns)?, ..a.clone() }),
        Object::Sysctl(Diff { after: Some(after), .. }) => {
            let before = Sysctl { key: after.key.clone(), value: ns.sysctl(&after.key)?.to_owned() };
            Object::Sysctl(Diff::replace(before, after.clone()))
        }
        _ => return None,
    };
    Some(Change { place: change.place, object })
}

fn present_attr(wanted: &AttrChange, ns: &NsFacts) -> Option<Attr> {
    let link = ns.link(&wanted.link)?;
    Some(match &wanted.after {
        Attr::Up(_) => Attr::Up(link.up),
        Attr::Mtu(_) => Attr::Mtu(link.mtu),
        Attr::Mac(_) => Attr::Mac(link.mac?),
        Attr::Master(_) => {
            Attr::Master(link.master.and_then(|i| ns.link_by_index(i)).map(|l| l.name.clone()))
        }
        Attr::Promisc(_) => Attr::Promisc(link.promisc),
        Attr::AllMulti(_) => Attr::AllMulti(link.all_multicast),
        Attr::TxQueueLen(_) => Attr::TxQueueLen(link.tx_queue_len),
        Attr::Hairpin(_) => Attr::Hairpin(link.hairpin.unwrap_or_default()),
        Attr::Isolated(_) => Attr::Isolated(link.isolated.unwrap_or_default()),
        Attr::Alias(_) => Attr::Alias(link.alias.clone().unwrap_or_default()),
        Attr::Vf { index, attr } => {
            let now = ns.vf(&wanted.link, *index)?.setting(attr);
            Attr::Vf { index: *index, attr: now.unwrap_or_else(|| attr.clone()) }
        }
    })
}

/// Applies those of several firewall steps of one place whose effect is missing, as one batch; answers which were.
pub(super) fn ensure_firewall(kernel: &mut dyn Kernel, steps: &[Step]) -> Result<Vec<bool>, KernelError> {
    let Some(place) = steps.first().map(|s| s.change.place) else { return Ok(Vec::new()) };
    let present = observe_firewall(kernel, place, steps)?;
    let mut batch: Vec<Change> = Vec::new();
    let mut made = Vec::new();
    for step in steps {
        let missing = is_missing(&step.change, &present) && !repeats(&step.change, &batch);
        if missing {
            batch.push(step.change.clone());
        }
        made.push(missing);
    }
    if !batch.is_empty() {
        kernel.apply_firewall(&batch)?;
    }
    Ok(made)
}

fn observe_firewall(
    kernel: &mut dyn Kernel,
    place: Place,
    steps: &[Step],
) -> Result<Vec<FwObject>, KernelError> {
    let mut needs = Needs::default();
    let tables = &mut needs.at_mut(place).firewall;
    for object in steps.iter().filter_map(|s| object_of(&s.change)) {
        if !tables.contains(object.table()) {
            tables.push(object.table().clone());
        }
    }
    let facts = kernel.observe(&needs)?;
    Ok(facts.at(place).map(|ns| ns.firewall.clone()).unwrap_or_default())
}

fn object_of(change: &Change) -> Option<&FwObject> {
    match &change.object {
        Object::Firewall(diff) => diff.after.as_ref().or(diff.before.as_ref()),
        _ => None,
    }
}

fn is_missing(change: &Change, present: &[FwObject]) -> bool {
    let there = object_of(change).is_some_and(|o| present.iter().any(|p| p.same_identity(o)));
    there == change.is_deletion()
}

/// Whether a table or chain is in the batch already. Rules repeat: several may share a comment.
fn repeats(change: &Change, batch: &[Change]) -> bool {
    let Some(object) = object_of(change) else { return false };
    !matches!(object, FwObject::Rule(_))
        && batch.iter().filter_map(object_of).any(|other| other.same_identity(object))
}
