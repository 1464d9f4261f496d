//! JSON patch, RFC 6902: a list of operations on JSON pointers (RFC 6901), all or none.

use serde_json::Value;

use super::PatchError;

/// Operations that one patch may have, as in the real server.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes that `copy` operations of one patch may make, as in the real server; they could double the object each.
const MAX_COPIED: usize = 3 << 20;
/// Nesting that an operation may create. Recursive code follows values down; clients cannot send deeper ones than 128.
const MAX_DEPTH: usize = 200;

pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(malformed("a JSON patch must be an array of operations"));
    };
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(PatchError::TooLong(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let mut target = object.clone();
    let mut copied = 0;
    for operation in operations {
        step(&mut target, operation, &mut copied)?;
    }
    Ok(target)
}

fn step(target: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let path = Pointer::parse(text(operation, "path")?)?;
    match text(operation, "op")? {
        "add" => path.add(target, value(operation)),
        "remove" => path.remove(target).map(drop),
        "replace" => path.replace(target, value(operation)),
        "test" => path.test(target, operation.get("value").unwrap_or(&Value::Null)),
        "move" => {
            let from = Pointer::parse(text(operation, "from")?)?;
            if path.is_below(&from) {
                return Err(unfit("a value cannot be moved into itself", &path));
            }
            let moved = from.remove(target)?;
            path.add(target, moved)
        }
        "copy" => {
            let from = Pointer::parse(text(operation, "from")?)?;
            let copy = from.get(target)?.clone();
            *copied += size(&copy);
            if *copied > MAX_COPIED {
                return Err(unfit("the copies of this patch are too large", &path));
            }
            path.add(target, copy)
        }
        other => Err(PatchError::Unfit(format!("Unexpected kind: {other}"))),
    }
}

fn text<'a>(operation: &'a Value, key: &str) -> Result<&'a str, PatchError> {
    let found = operation.get(key).and_then(Value::as_str);
    found.ok_or_else(|| malformed(&format!("each operation of a JSON patch needs a string {key:?}")))
}

/// A value that is not given is null, as in the library that the real server uses.
fn value(operation: &Value) -> Value {
    operation.get("value").cloned().unwrap_or_default()
}

fn malformed(message: &str) -> PatchError {
    PatchError::Malformed(message.into())
}

fn unfit(message: &str, path: &Pointer) -> PatchError {
    PatchError::Unfit(format!("{message}: /{}", path.0.join("/")))
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(k, v)| k.len() + 3 + size(v)).sum::<usize>(),
        _ => 4,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A parsed JSON pointer: unescaped tokens, none for the whole document.
struct Pointer(Vec<String>);

impl Pointer {
    fn parse(text: &str) -> Result<Self, PatchError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return Err(malformed(&format!("a JSON pointer starts with a slash: {text:?}")));
        };
        Ok(Self(tokens.split('/').map(|t| t.replace("~1", "/").replace("~0", "~")).collect()))
    }

    fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    fn get<'v>(&self, root: &'v Value) -> Result<&'v Value, PatchError> {
        let found = self.0.iter().try_fold(root, |at, token| match at {
            Value::Object(map) => map.get(token),
            Value::Array(items) => items.get(index(token)?),
            _ => None,
        });
        found.ok_or_else(|| self.missing("copy"))
    }

    /// The container that holds the last token, and that token; `None` for the whole document.
    fn parent<'v>(
        &self,
        root: &'v mut Value,
        operation: &str,
    ) -> Result<Option<(&'v mut Value, &str)>, PatchError> {
        let Some((last, way)) = self.0.split_last() else { return Ok(None) };
        let found = way.iter().try_fold(root, |at, token| match at {
            Value::Object(map) => map.get_mut(token),
            Value::Array(items) => items.get_mut(index(token)?),
            _ => None,
        });
        Ok(Some((found.ok_or_else(|| self.missing(operation))?, last)))
    }

    fn add(&self, root: &mut Value, value: Value) -> Result<(), PatchError> {
        if self.0.len() + depth(&value) > MAX_DEPTH {
            return Err(unfit("the result would be nested too deeply", self));
        }
        let Some((parent, last)) = self.parent(root, "add")? else {
            *root = value;
            return Ok(());
        };
        match parent {
            Value::Object(map) => drop(map.insert(last.into(), value)),
            Value::Array(items) if last == "-" => items.push(value),
            Value::Array(items) => {
                let at = index(last).filter(|at| *at <= items.len()).ok_or_else(|| self.missing("add"))?;
                items.insert(at, value);
            }
            _ => return Err(self.missing("add")),
        }
        Ok(())
    }

    fn remove(&self, root: &mut Value) -> Result<Value, PatchError> {
        let Some((parent, last)) = self.parent(root, "remove")? else {
            return Err(unfit("the whole document cannot be removed", self));
        };
        let removed = match parent {
            Value::Object(map) => map.remove(last),
            Value::Array(items) => index(last).filter(|at| *at < items.len()).map(|at| items.remove(at)),
            _ => None,
        };
        removed.ok_or_else(|| {
            PatchError::Unfit(format!(
                "error in remove for path: '/{}': Unable to remove nonexistent key: {last}: missing value",
                self.0.join("/")
            ))
        })
    }

    fn replace(&self, root: &mut Value, value: Value) -> Result<(), PatchError> {
        let Some((parent, last)) = self.parent(root, "replace")? else {
            *root = value;
            return Ok(());
        };
        let slot = match parent {
            // A field that is not there is set, as by the library that the real server uses.
            Value::Object(map) => Some(map.entry(last).or_insert(Value::Null)),
            Value::Array(items) => index(last).and_then(|at| items.get_mut(at)),
            _ => None,
        };
        *slot.ok_or_else(|| self.missing("replace"))? = value;
        Ok(())
    }

    /// A missing value equals null, as in the library that the real server uses.
    fn test(&self, root: &Value, expected: &Value) -> Result<(), PatchError> {
        if self.get(root).unwrap_or(&Value::Null) == expected {
            return Ok(());
        }
        Err(PatchError::Unfit(format!("testing value /{} failed: test failed", self.0.join("/"))))
    }

    /// In the words of the library that the real server uses: what a webhook's patch could not do is shown.
    fn missing(&self, operation: &str) -> PatchError {
        let path = format!("/{}", self.0.join("/"));
        PatchError::Unfit(format!(
            "{operation} operation does not apply: doc is missing path: {path:?}: missing value"
        ))
    }
}

/// An array index: digits without leading zeros.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}
