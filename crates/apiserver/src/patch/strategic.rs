//! Strategic merge patch: merge patch plus lists that merge by key, and directives in the patch:
//! `$patch: delete|replace`, `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`. Which lists merge,
//! and by which key, the kind's type says.
//!
//! Rules: the strategic-merge-patch page of the Kubernetes community; where it is silent, the outcomes of
//! `k8s.io/apimachinery/pkg/util/strategicpatch`.

use serde_json::{Map, Value};

use super::PatchError;
use super::directives::{
    DELETE_VALUES, ORDER, PATCH, RETAIN, go_map, is_directive, plain, without_directive,
};
use super::order::{Identity, check_order, normalized};
use crate::schema::{Field, Node};

type Object = Map<String, Value>;
type Done = Result<(), PatchError>;

pub(super) fn apply(model: Option<&Node>, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::Malformed("a strategic merge patch must be a JSON object".into()));
    };
    map(model, object.clone(), patch).map(Value::Object)
}

fn map(node: Option<&Node>, mut target: Object, patch: &Object) -> Result<Object, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(directive) if directive == "replace" => return Ok(without_directive(patch)),
        Some(directive) if directive == "delete" => return Ok(Object::new()),
        Some(other) => return Err(bad_type(other, patch)),
    }
    retain_keys(&mut target, patch)?;
    let ordered = patch.iter().filter_map(|(key, order)| Some((key.strip_prefix(ORDER)?, order)));
    for (key, order) in ordered {
        ordered_list(below(node, key), key, &mut target, (patch.get(key), order))?;
    }
    for (key, doomed) in
        patch.iter().filter_map(|(key, value)| Some((key.strip_prefix(DELETE_VALUES)?, value)))
    {
        if let (Some(Value::Array(values)), Value::Array(doomed)) = (target.get_mut(key), doomed) {
            values.retain(|value| !doomed.contains(value));
        }
    }
    let is_ordered = |key: &str| patch.contains_key(&format!("{ORDER}{key}"));
    for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key) && !is_ordered(key)) {
        field(below(node, key), key, &mut target, value)?;
    }
    Ok(target)
}

fn below<'n>(node: Option<&'n Node>, key: &str) -> Option<&'n Node> {
    match node?.field(key) {
        Field::Known(node) => Some(node),
        Field::Free | Field::Unknown => None,
    }
}

/// `$retainKeys` says which fields stay; the patch may set no others.
fn retain_keys(target: &mut Object, patch: &Object) -> Done {
    let Some(retain) = patch.get(RETAIN) else { return Ok(()) };
    let bad = || PatchError::Malformed("invalid patch format of retainKeys".into());
    let keep = retain.as_array().ok_or_else(bad)?;
    let is_kept = |key: &String| keep.iter().any(|kept| kept == key);
    let set = patch.iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
    if set.into_iter().any(|(key, _)| !is_kept(key)) {
        return Err(bad());
    }
    target.retain(|key, _| is_kept(key));
    Ok(())
}

fn field(node: Option<&Node>, key: &str, target: &mut Object, value: &Value) -> Done {
    let merged = match (value, target.remove(key)) {
        (Value::Null, _) => None,
        (Value::Object(patch), Some(Value::Object(old))) => Some(Value::Object(map(node, old, patch)?)),
        (Value::Array(patch), Some(Value::Array(old))) if merges(node) => {
            Some(Value::Array(list(node, key, &old, patch)?))
        }
        // A list that does not merge, a value of another type, or one that was not there.
        (value, _) => plain(value),
    };
    target.extend(merged.map(|value| (key.to_owned(), value)));
    Ok(())
}

fn merges(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.patch_strategy().merge)
}

/// A list whose elements merge, in the order that the patch names them in.
fn list(node: Option<&Node>, key: &str, old: &[Value], patch: &[Value]) -> Result<Vec<Value>, PatchError> {
    if old.is_empty() && patch.is_empty() {
        return Ok(Vec::new());
    }
    let identity = identity_of(node, key, old, patch)?;
    let (merged, wanted, before) = match identity {
        Identity::Value => (union(old, patch), patch.to_vec(), old.to_vec()),
        Identity::Key(id) => keyed(node, id, old.to_vec(), patch)?,
    };
    normalized(identity, merged, &wanted, &before)
}

fn identity_of<'n>(
    node: Option<&'n Node>,
    key: &str,
    old: &[Value],
    patch: &[Value],
) -> Result<Identity<'n>, PatchError> {
    let mut all = old.iter().chain(patch);
    if all.clone().any(Value::is_array) {
        return Err(PatchError::Unfit("lists of lists are not supported".into()));
    }
    if all.clone().all(|value| !value.is_object()) {
        return Ok(Identity::Value);
    }
    if !all.all(Value::is_object) {
        return Err(PatchError::Broken("list element types are not identical".into()));
    }
    match node.map(Node::patch_merge_key).filter(|id| !id.is_empty()) {
        Some(id) => Ok(Identity::Key(id)),
        None => Err(PatchError::Broken(format!("cannot merge lists without merge key for {key}"))),
    }
}

/// The merged list, the elements of the patch that are no directives, and the list before (without what is replaced).
type Keyed = (Vec<Value>, Vec<Value>, Vec<Value>);

fn keyed(node: Option<&Node>, id: &str, mut old: Vec<Value>, patch: &[Value]) -> Result<Keyed, PatchError> {
    let mut wanted = Vec::with_capacity(patch.len());
    for element in patch {
        let directive = element.get(PATCH);
        match directive {
            None => wanted.push(element.clone()),
            Some(directive) if directive == "delete" => {
                let doomed = key_of(element, id)?.clone();
                old.retain(|candidate| candidate.get(id) != Some(&doomed));
            }
            Some(directive) if directive == "replace" => {
                let rest: Vec<Value> = patch.iter().filter(|e| e.get(PATCH).is_none()).cloned().collect();
                return Ok((rest, Vec::new(), Vec::new()));
            }
            Some(directive) if directive == "merge" => {
                let why = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Broken(why.into()));
            }
            Some(other) => return Err(bad_type(other, element.as_object().unwrap_or(&Object::new()))),
        }
    }
    let mut merged = old.clone();
    for element in &wanted {
        merge_element(node, id, &mut merged, element)?;
    }
    Ok((merged, wanted, old))
}

fn merge_element(node: Option<&Node>, id: &str, list: &mut Vec<Value>, element: &Value) -> Done {
    let key = key_of(element, id)?;
    let patch = element.as_object().cloned().unwrap_or_default();
    match list.iter_mut().find(|candidate| candidate.get(id) == Some(key)) {
        Some(Value::Object(before)) => {
            *before = map(node.and_then(Node::items), std::mem::take(before), &patch)?;
        }
        _ => list.extend(plain(element)),
    }
    Ok(())
}

fn key_of<'v>(element: &'v Value, id: &str) -> Result<&'v Value, PatchError> {
    element.get(id).ok_or_else(|| {
        let shown = element.as_object().map(go_map).unwrap_or_default();
        PatchError::Broken(format!("map: {shown} does not contain declared merge key: {id}"))
    })
}

/// A list whose order the patch gives besides its elements.
fn ordered_list(
    node: Option<&Node>,
    key: &str,
    target: &mut Object,
    (patch, order): (Option<&Value>, &Value),
) -> Done {
    let bad = || PatchError::Malformed("invalid patch format of setElementOrder list".into());
    let order = order.as_array().ok_or_else(bad)?;
    let list_of = |value: Option<&Value>| match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list.clone())),
        Some(_) => Err(bad()),
    };
    let (old, new) = (list_of(target.get(key))?, list_of(patch)?);
    let id = node.map(Node::patch_merge_key).unwrap_or_default();
    let identity = if id.is_empty() { Identity::Value } else { Identity::Key(id) };
    check_order(identity, new.as_deref().unwrap_or_default(), order)?;
    let before = old.clone().unwrap_or_default();
    let merged = match (old, new) {
        (None, None) => return Ok(()),
        (Some(old), None) => old,
        (None, Some(new)) => new.iter().filter_map(plain).collect(),
        (Some(old), Some(new)) if merges(node) => list(node, key, &old, &new)?,
        (Some(_), Some(new)) => new,
    };
    target.insert(key.into(), Value::Array(normalized(identity, merged, order, &before)?));
    Ok(())
}

fn union(old: &[Value], patch: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::with_capacity(old.len() + patch.len());
    for value in old.iter().chain(patch) {
        if !all.contains(value) {
            all.push(value.clone());
        }
    }
    all
}

fn bad_type(directive: &Value, patch: &Object) -> PatchError {
    let directive = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    PatchError::Broken(format!("unknown patch type: {directive} in map: {}", go_map(patch)))
}
