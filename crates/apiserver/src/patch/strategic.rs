//! Strategic merge patch: merge patch plus lists that merge by key, and directives in the patch:
//! `$patch: delete|replace|merge`, `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.
//! Rules: `k8s.io/apimachinery/pkg/util/strategicpatch` and the community's strategic-merge-patch page.

use serde_json::{Map, Value};

use super::PatchError;
use super::merge_keys::{ListRule, rule};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

pub(super) fn apply(kind: &str, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::Malformed("a strategic merge patch must be a JSON object".into()));
    };
    let merged = Walk { kind }.map("", object.clone(), patch)?;
    Ok(Value::Object(merged))
}

/// Carries the kind down the object; paths are field names joined by dots.
struct Walk<'a> {
    kind: &'a str,
}

impl Walk<'_> {
    fn map(&self, path: &str, mut target: Map<String, Value>, patch: &Map<String, Value>) -> Merged {
        match directive(patch)? {
            Some("replace") => return Ok(without_directive(patch)),
            Some("delete") => return Ok(Map::new()),
            _ => {}
        }
        if let Some(retain) = patch.get(RETAIN) {
            let keep = list(RETAIN, retain)?;
            target.retain(|key, _| keep.iter().any(|k| k == key));
        }
        for (key, value) in patch {
            if !key.starts_with('$') {
                self.field(path, key, &mut target, value)?;
            }
        }
        self.list_directives(path, &mut target, patch)?;
        Ok(target)
    }

    fn field(&self, path: &str, key: &str, target: &mut Map<String, Value>, value: &Value) -> Done {
        let below = join(path, key);
        let merged = match (value, target.remove(key)) {
            (Value::Null, _) => return Ok(()),
            (Value::Object(patch), Some(Value::Object(old))) => Value::Object(self.map(&below, old, patch)?),
            (Value::Object(patch), _) if directive(patch)? == Some("delete") => return Ok(()),
            (Value::Object(patch), _) => Value::Object(self.map(&below, Map::new(), patch)?),
            (Value::Array(patch), Some(Value::Array(old))) => Value::Array(self.list(&below, old, patch)?),
            (Value::Array(patch), _) => Value::Array(self.list(&below, Vec::new(), patch)?),
            (plain, _) => plain.clone(),
        };
        target.insert(key.into(), merged);
        Ok(())
    }

    fn list(&self, path: &str, old: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, PatchError> {
        match rule(self.kind, path) {
            ListRule::Atomic => Ok(patch.to_vec()),
            ListRule::Set => Ok(union(old, patch)),
            ListRule::ByKey(key) => self.keyed_list(path, key, old, patch),
        }
    }

    fn keyed_list(
        &self,
        path: &str,
        key: &str,
        mut old: Vec<Value>,
        patch: &[Value],
    ) -> Result<Vec<Value>, PatchError> {
        if patch.iter().any(|element| element.get(PATCH).is_some_and(|d| d == "replace")) {
            let rest = patch.iter().filter(|element| element.get(PATCH).is_none());
            return Ok(rest.cloned().collect());
        }
        for element in patch {
            self.element(path, key, &mut old, element)?;
        }
        Ok(old)
    }

    fn element(&self, path: &str, key: &str, old: &mut Vec<Value>, element: &Value) -> Done {
        let fields = element.as_object().ok_or_else(|| no_key(path, key))?;
        let id = fields.get(key).ok_or_else(|| no_key(path, key))?;
        let at = old.iter().position(|candidate| candidate.get(key) == Some(id));
        if directive(fields)? == Some("delete") {
            old.retain(|candidate| candidate.get(key) != Some(id));
            return Ok(());
        }
        match at {
            Some(at) => {
                let previous = old[at].as_object().cloned().unwrap_or_default();
                old[at] = Value::Object(self.map(path, previous, fields)?);
            }
            None => old.push(Value::Object(self.map(path, Map::new(), fields)?)),
        }
        Ok(())
    }

    fn list_directives(
        &self,
        path: &str,
        target: &mut Map<String, Value>,
        patch: &Map<String, Value>,
    ) -> Done {
        for (key, value) in patch {
            if let Some(field) = key.strip_prefix(DELETE_VALUES) {
                let doomed = list(key, value)?;
                if let Some(Value::Array(values)) = target.get_mut(field) {
                    values.retain(|v| !doomed.contains(v));
                }
            }
        }
        for (key, value) in patch {
            if let Some(field) = key.strip_prefix(ORDER) {
                let order = list(key, value)?;
                let rule = rule(self.kind, &join(path, field));
                if let Some(Value::Array(values)) = target.get_mut(field) {
                    *values = reorder(rule, std::mem::take(values), order);
                }
            }
        }
        Ok(())
    }
}

type Merged = Result<Map<String, Value>, PatchError>;
type Done = Result<(), PatchError>;

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

fn no_key(path: &str, key: &str) -> PatchError {
    PatchError::Unfit(format!("an element of {path} does not contain declared merge key: {key}"))
}

fn list<'a>(key: &str, value: &'a Value) -> Result<&'a Vec<Value>, PatchError> {
    value.as_array().ok_or_else(|| PatchError::Malformed(format!("{key} must be a list")))
}

fn directive(patch: &Map<String, Value>) -> Result<Option<&str>, PatchError> {
    match patch.get(PATCH) {
        None => Ok(None),
        Some(Value::String(text)) if ["merge", "replace", "delete"].contains(&text.as_str()) => {
            Ok(Some(text))
        }
        Some(other) => Err(PatchError::Malformed(format!("Unknown patch type found: {other}"))),
    }
}

fn without_directive(patch: &Map<String, Value>) -> Map<String, Value> {
    patch.iter().filter(|(key, _)| *key != PATCH).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn union(mut old: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    for value in patch {
        if !old.contains(value) {
            old.push(value.clone());
        }
    }
    old
}

/// Puts the elements that `order` names into that order. The others keep their place relative to them as far as that is
/// possible: before the first named element that they preceded.
fn reorder(rule: ListRule, values: Vec<Value>, order: &[Value]) -> Vec<Value> {
    let id = |value: &Value| match rule {
        ListRule::ByKey(key) => value.get(key).cloned().unwrap_or(Value::Null),
        _ => value.clone(),
    };
    let wanted: Vec<Value> = order.iter().map(id).collect();
    let rank = |value: &Value| wanted.iter().position(|w| *w == id(value));
    let (mut named, others): (Vec<_>, Vec<_>) =
        values.into_iter().enumerate().partition(|(_, value)| rank(value).is_some());
    named.sort_by_key(|(_, value)| rank(value));
    interleave(others, named)
}

/// Merges two lists whose elements carry their former position: an element of `left` goes first if it was in front.
fn interleave(left: Vec<(usize, Value)>, right: Vec<(usize, Value)>) -> Vec<Value> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut left = left.into_iter().peekable();
    for (place, value) in right {
        while let Some((_, other)) = left.next_if(|(former, _)| *former < place) {
            merged.push(other);
        }
        merged.push(value);
    }
    merged.extend(left.map(|(_, value)| value));
    merged
}
