//! Ways in a pod that several of its interfaces rely on: routes, rules and neighbours. One interface makes them, others promise them; they stay as
//! long as one record has them, and go with the last.

use polynic_net::{Change, Object, Place, Plan, Route, Stake, Step};

use crate::record::Record;

/// The steps that leave a way in the pod, or leave one given up: those that a later step takes back are not among them.
pub(super) fn of(plan: &Plan) -> Vec<&Step> {
    let mut ways: Vec<&Step> = Vec::new();
    for step in plan.steps.iter().filter(|s| is_way(&s.change)) {
        let before = step.change.clone().inverse();
        ways.retain(|old| before.as_ref().is_none_or(|before| !is_same(&old.change, before)));
        ways.push(step);
    }
    ways
}

/// Whether a change makes a way in the pod, or gives one up.
pub(super) fn is_way(change: &Change) -> bool {
    let is_way = matches!(change.object, Object::Route(_) | Object::Rule(_) | Object::Neighbour(_));
    change.place == Place::Pod && is_way && (change.is_creation() || change.is_deletion())
}

/// Whether two changes do the same. One may leave the metric open that the other has seen.
pub(super) fn is_same(one: &Change, other: &Change) -> bool {
    let plain = |route: &Option<Route>| {
        route.clone().map(|route| Route { priority: route.effective_priority(), ..route })
    };
    match (&one.object, &other.object) {
        (Object::Route(a), Object::Route(b)) => {
            one.place == other.place
                && plain(&a.before) == plain(&b.before)
                && plain(&a.after) == plain(&b.after)
        }
        _ => one == other,
    }
}

/// The ways that records have, made or promised.
pub(super) fn of_records(records: &[Record]) -> Vec<&Change> {
    records.iter().flat_map(|record| of(&record.plan)).map(|step| &step.change).collect()
}

/// The records of the pod's other attachments, of all that a container has.
pub(super) fn others(record: &Record, all: Vec<Record>) -> Vec<Record> {
    let is_other = |other: &Record| other.netns == record.netns && other.position != record.position;
    all.into_iter().filter(is_other).collect()
}

/// Takes out of a plan the promises of ways that none of the records has: what a pod or somebody else made is theirs, and neither missed by CHECK
/// nor taken away by DEL.
pub(super) fn promise_only_ours(plan: &mut Plan, records: impl FnOnce() -> Vec<Record>) {
    let is_promise = |step: &Step| step.stake == Stake::Ensured && is_way(&step.change);
    if !plan.steps.iter().any(is_promise) {
        return;
    }
    let records = records();
    let ours = of_records(&records);
    plan.steps.retain(|step| !is_promise(step) || ours.iter().any(|way| is_same(way, &step.change)));
}
