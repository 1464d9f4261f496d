//! What a deletion does to an object: whether it goes at once, or is marked and waits for its grace period, its finalizers
//! or its dependents. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::delete::{DeleteOptions, Propagation};
use crate::json::{at, child, integer, items, text};
use crate::meta;
use crate::resource::Resource;
use crate::strategy::moment;

/// The longest grace that is taken literally, seconds: a year. More would leave the calendar.
const LONGEST_GRACE: i64 = 366 * 86_400;
/// Finalizers that stand for what is to become of dependents.
pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of an object that is deleted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// It goes now, as it is.
    Remove,
    /// It is marked, and goes now.
    MarkAndRemove(Value),
    /// It stays, changed like this, until finalizers and grace are over.
    Mark(Value),
    /// It was marked before; nothing changes.
    Keep,
}

/// Decides about `object`.
pub(super) fn fate(resource: &Resource, object: &Value, options: &DeleteOptions, now: Timestamp) -> Fate {
    let mut after = object.clone();
    set_finalizers(resource, &mut after, options.propagation);
    let is_held = !items(&after, "metadata.finalizers").is_empty();
    match grace(resource, object, options, now) {
        Grace::Pending => Fate::Keep,
        Grace::Given { seconds, end } => {
            mark(resource, &mut after, seconds, end);
            if is_held || seconds > 0 { Fate::Mark(after) } else { Fate::MarkAndRemove(after) }
        }
        Grace::None if !is_held => Fate::Remove,
        Grace::None => {
            let end = marked_end(object).filter(|end| *end <= now).unwrap_or(now);
            mark(resource, &mut after, 0, end);
            if after == *object { Fate::Keep } else { Fate::Mark(after) }
        }
    }
}

enum Grace {
    /// The kind has no grace, or it is used up.
    None,
    /// It is given this long, counted from now.
    Given { seconds: i64, end: Timestamp },
    /// An earlier deletion gave no more than this one asks for.
    Pending,
}

fn grace(resource: &Resource, object: &Value, options: &DeleteOptions, now: Timestamp) -> Grace {
    if !resource.strategy.ends_gracefully() {
        return Grace::None;
    }
    let asked = options.grace_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let later = |from: Timestamp, seconds: i64| {
        from.checked_add(SignedDuration::from_secs(seconds.min(LONGEST_GRACE))).unwrap_or(from)
    };
    let Some(end) = marked_end(object) else {
        let seconds = resource.strategy.grace_seconds(object, asked).min(LONGEST_GRACE);
        return Grace::Given { seconds, end: later(now, seconds) };
    };
    let given = integer(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
    match asked {
        _ if given == 0 => Grace::None,
        Some(seconds) if seconds < given => {
            let end = later(later(end, -given), seconds);
            // What is over already is over now; a moment is left unless none was asked for.
            if end < now {
                Grace::Given { seconds: seconds.min(1), end: now }
            } else {
                Grace::Given { seconds, end }
            }
        }
        _ => Grace::Pending,
    }
}

fn marked_end(object: &Value) -> Option<Timestamp> {
    text(object, "metadata.deletionTimestamp").parse().ok()
}

/// Marks `object`, whose deletion begins or goes on.
pub(super) fn mark(resource: &Resource, object: &mut Value, seconds: i64, end: Timestamp) {
    let begins = !meta::is_ending(object);
    let metadata = child(object, "metadata");
    metadata["deletionTimestamp"] = moment(end);
    metadata["deletionGracePeriodSeconds"] = json!(seconds);
    if !begins {
        return;
    }
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation > 0) {
        metadata["generation"] = json!(generation + 1);
    }
    resource.strategy.begin_deletion(object);
}

/// Puts the finalizer in that says what is to become of dependents; a deletion without a wish leaves it as it is.
fn set_finalizers(resource: &Resource, object: &mut Value, propagation: Option<Propagation>) {
    let before = items(object, "metadata.finalizers").to_vec();
    let is_event = resource.storage_group.is_empty() && resource.plural == "events";
    let Some(propagation) = propagation.filter(|_| !is_event) else { return };
    let mut finalizers: Vec<Value> =
        before.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    match propagation {
        Propagation::Orphan => finalizers.push(json!(ORPHAN)),
        Propagation::Foreground => finalizers.push(json!(FOREGROUND)),
        Propagation::Background => {}
    }
    let is_same = finalizers.len() == before.len() && finalizers.iter().all(|f| before.contains(f));
    if is_same {
        return;
    }
    let metadata = child(object, "metadata");
    if finalizers.is_empty() {
        metadata.as_object_mut().and_then(|map| map.remove("finalizers"));
    } else {
        metadata["finalizers"] = json!(finalizers);
    }
}

/// True if `object` waits for what `finalizer` stands for.
pub(super) fn waits_for(object: &Value, finalizer: &str) -> bool {
    meta::is_ending(object)
        && at(object, "metadata.finalizers").is_some()
        && items(object, "metadata.finalizers").iter().any(|f| f == finalizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn of(plural: &str, metadata: Value, options: DeleteOptions) -> Fate {
        let kinds = Registry::default().snapshot();
        let spec = json!({"nodeName": "n", "terminationGracePeriodSeconds": 30});
        let object = json!({"metadata": metadata, "spec": spec});
        fate(kinds.find("", "v1", plural).unwrap(), &object, &options, Timestamp::UNIX_EPOCH)
    }

    fn asking(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_seconds: Some(seconds), ..DeleteOptions::default() }
    }

    fn propagating(propagation: Propagation) -> DeleteOptions {
        DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() }
    }

    #[test]
    fn a_running_pod_is_marked_and_goes_when_no_grace_is_left() {
        let Fate::Mark(marked) = of("pods", json!({"generation": 1}), DeleteOptions::default()) else {
            panic!("not marked")
        };
        let wanted = json!({"generation": 2, "deletionTimestamp": "1970-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30});
        assert_eq!(marked["metadata"], wanted);
        assert!(matches!(of("pods", json!({}), asking(0)), Fate::MarkAndRemove(_)));
        assert_eq!(of("configmaps", json!({}), asking(5)), Fate::Remove);
    }

    #[test]
    fn grace_can_be_shortened_and_not_prolonged() {
        let marked = json!({"deletionTimestamp": "1970-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30});
        assert_eq!(of("pods", marked.clone(), asking(60)), Fate::Keep);
        assert_eq!(of("pods", marked.clone(), DeleteOptions::default()), Fate::Keep);
        let Fate::Mark(shorter) = of("pods", marked.clone(), asking(5)) else { panic!("not marked") };
        assert_eq!(shorter["metadata"]["deletionTimestamp"], "1970-01-01T00:00:05Z");
        assert!(matches!(of("pods", marked, asking(0)), Fate::MarkAndRemove(_)));
    }

    #[test]
    fn finalizers_hold_an_object_without_grace() {
        let Fate::Mark(marked) = of("configmaps", json!({"finalizers": ["a/b"]}), asking(0)) else {
            panic!("not marked")
        };
        assert_eq!(of("configmaps", marked["metadata"].clone(), asking(0)), Fate::Keep);
    }

    #[test]
    fn what_becomes_of_dependents_is_a_finalizer() {
        let Fate::Mark(orphaning) = of("configmaps", json!({}), propagating(Propagation::Orphan)) else {
            panic!("not marked")
        };
        assert_eq!(orphaning["metadata"]["finalizers"], json!([ORPHAN]));
        let foreground =
            of("configmaps", orphaning["metadata"].clone(), propagating(Propagation::Foreground));
        assert!(
            matches!(foreground, Fate::Mark(object) if object["metadata"]["finalizers"] == json!([FOREGROUND]))
        );
        let background =
            of("configmaps", orphaning["metadata"].clone(), propagating(Propagation::Background));
        assert_eq!(background, Fate::Remove);
    }

    #[test]
    fn an_absurd_grace_does_not_overflow() {
        assert!(matches!(of("pods", json!({}), asking(i64::MAX)), Fate::Mark(_)));
        assert!(matches!(of("pods", json!({}), asking(i64::MIN)), Fate::Mark(_)));
    }
}
