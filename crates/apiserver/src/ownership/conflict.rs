//! What stands against an apply: fields that others own and that it would change.

use super::entries::{Identity, Operation};
use super::path::{Element, shown};
use super::set::Set;

/// One field that somebody else owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The other manager.
    pub(crate) owner: Identity,
    pub(super) path: Vec<Element>,
}

impl Conflict {
    /// The path of the field, such as `.spec.replicas`.
    pub(crate) fn field(&self) -> String {
        shown(&self.path)
    }

    /// Who owns it, in words.
    pub(crate) fn with(&self) -> String {
        named(&self.owner)
    }
}

fn named(owner: &Identity) -> String {
    let mut text = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        text += &format!(" with subresource {:?}", owner.subresource);
    }
    if owner.operation == Operation::Update {
        text += &format!(" using {}", owner.version);
    }
    text
}

/// All fields of `set`, owned by `owner`.
pub(super) fn conflicts(owner: &Identity, set: &Set) -> Vec<Conflict> {
    set.paths().into_iter().map(|path| Conflict { owner: owner.clone(), path }).collect()
}

/// The sentence that the real server says about `conflicts`.
pub(crate) fn sentence(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.with(), one.field());
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.owner) {
            lines.push(format!("conflicts with {}:", conflict.with()));
        }
        last = Some(&conflict.owner);
        lines.push(format!("- {}", conflict.field()));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
