//! What becomes of a dependent, by what has become of its owners. Pure.

use serde_json::Value;

use crate::api::delete::Propagation;
use crate::json::{items, text};

/// What has become of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It exists.
    There,
    /// It exists, and is deleted after its dependents.
    Waiting,
    /// It does not exist, or another has its name.
    Gone,
    /// Nobody knows its kind, or it cannot be in reach: it counts as existing.
    Unknown,
}

/// What becomes of a dependent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, without the references to these uids.
    Release(Vec<String>),
    /// It goes; its own dependents as said, or as its finalizers say.
    Delete(Option<Propagation>),
}

/// Judges `object`, whose owner references have come to `owners`, in their order.
pub(super) fn judge(object: &Value, owners: &[Owner], has_dependents: bool) -> Verdict {
    let is_going = object["metadata"]["deletionTimestamp"].is_string();
    if owners.is_empty() || is_going {
        return Verdict::Keep;
    }
    let lost = |owner: &Owner| matches!(owner, Owner::Gone | Owner::Waiting);
    if !owners.iter().all(lost) {
        let references = items(object, "metadata.ownerReferences").iter().zip(owners);
        let lost: Vec<String> =
            references.filter(|(_, owner)| lost(owner)).map(|(r, _)| text(r, "uid").to_owned()).collect();
        return if lost.is_empty() { Verdict::Keep } else { Verdict::Release(lost) };
    }
    let waits = owners.contains(&Owner::Waiting) && has_dependents;
    Verdict::Delete(waits.then_some(Propagation::Foreground))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dependent_goes_with_its_last_owner() {
        let object = json!({"metadata": {"ownerReferences": [{"uid": "a"}, {"uid": "b"}]}});
        let verdict = |owners: &[Owner]| judge(&object, owners, false);
        assert_eq!(verdict(&[Owner::There, Owner::There]), Verdict::Keep);
        assert_eq!(verdict(&[Owner::There, Owner::Gone]), Verdict::Release(vec!["b".into()]));
        assert_eq!(verdict(&[Owner::Gone, Owner::Gone]), Verdict::Delete(None));
        assert_eq!(verdict(&[Owner::Unknown, Owner::Unknown]), Verdict::Keep);
        assert_eq!(
            judge(&object, &[Owner::Waiting, Owner::Gone], true),
            Verdict::Delete(Some(Propagation::Foreground))
        );
    }

    #[test]
    fn what_is_going_already_is_left_alone() {
        let object = json!({"metadata": {"deletionTimestamp": "x", "ownerReferences": [{"uid": "a"}]}});
        assert_eq!(judge(&object, &[Owner::Gone], false), Verdict::Keep);
    }
}
