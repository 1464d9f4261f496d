//! The order of a merged list: what the patch names comes in the order of the patch; the rest stays where it was relative to
//! that, as far as both were there before.

use serde_json::Value;

use super::PatchError;

/// What makes two elements the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Identity<'k> {
    /// Being equal.
    Value,
    /// Having the same value in this field.
    Key(&'k str),
}

impl Identity<'_> {
    fn of(self, element: &Value) -> Option<&Value> {
        match self {
            Self::Value => Some(element),
            Self::Key(key) => element.get(key),
        }
    }

    fn place(self, list: &[Value], element: &Value) -> Option<usize> {
        let wanted = self.of(element)?;
        list.iter().position(|candidate| self.of(candidate) == Some(wanted))
    }
}

/// The elements of `list`, of which `order` names some, put into order; `before` is the list as it was.
pub(super) fn normalized(
    identity: Identity<'_>,
    list: Vec<Value>,
    order: &[Value],
    before: &[Value],
) -> Result<Vec<Value>, PatchError> {
    if let Identity::Key(key) = identity
        && list.iter().any(|element| element.get(key).is_none())
    {
        return Err(PatchError::Broken(format!("an element does not contain declared merge key: {key}")));
    }
    let (mut named, rest): (Vec<Value>, Vec<Value>) =
        list.into_iter().partition(|element| identity.place(order, element).is_some());
    named.sort_by_key(|element| identity.place(order, element));
    Ok(interleaved(identity, rest, named, before))
}

/// An element of `rest` goes first where both it and the next named one were there, and it was in front.
fn interleaved(identity: Identity<'_>, rest: Vec<Value>, named: Vec<Value>, before: &[Value]) -> Vec<Value> {
    let mut merged = Vec::with_capacity(rest.len() + named.len());
    let mut rest = rest.into_iter().peekable();
    for element in named {
        let place = identity.place(before, &element);
        let is_in_front = |other: &Value| match (identity.place(before, other), place) {
            (Some(other), Some(place)) => other < place,
            _ => false,
        };
        while let Some(other) = rest.next_if(is_in_front) {
            merged.push(other);
        }
        merged.push(element);
    }
    merged.extend(rest);
    merged
}

/// Refuses an order that does not name the elements of `patch` in their order.
pub(super) fn check_order(
    identity: Identity<'_>,
    patch: &[Value],
    order: &[Value],
) -> Result<(), PatchError> {
    let kept = patch.iter().filter(|element| element.get(super::directives::PATCH).is_none());
    let mut order = order.iter();
    let mut kept = kept.peekable();
    if order.len() == 0 || kept.peek().is_none() {
        return Ok(());
    }
    for element in kept {
        let wanted = identity.of(element);
        if wanted.is_none() || !order.any(|next| identity.of(next) == wanted) {
            let why = "The order in patch list doesn't match $setElementOrder list";
            return Err(PatchError::Broken(why.into()));
        }
    }
    Ok(())
}
