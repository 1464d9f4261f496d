//! `metadata.managedFields`: who owns what, by which operation, in which version, since when.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::Set;

/// Managers that updated, as opposed to applied, before the oldest are put together.
const MOST_UPDATERS: usize = 10;
/// Who the oldest are put together as.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own fields. The order is that of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries apart. Appliers are the same in all versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) operation: Operation,
    pub(crate) manager: String,
    /// Empty for appliers.
    pub(crate) version: String,
    pub(crate) subresource: String,
}

/// What a manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    /// The API version in which the fields are named.
    pub(crate) version: String,
    /// RFC 3339; missing where the manager never changed anything.
    pub(crate) time: Option<String>,
    pub(crate) fields: Set,
}

/// All managers of an object.
pub(crate) type Managers = BTreeMap<Identity, Owned>;

/// The managers that the list `entries` tells of; `None` if an entry is malformed.
pub(crate) fn decode(entries: &Value) -> Option<Managers> {
    let list = match entries {
        Value::Null => &Vec::new(),
        other => other.as_array()?,
    };
    list.iter().map(entry).collect()
}

fn entry(entry: &Value) -> Option<(Identity, Owned)> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let version = text("apiVersion").to_owned();
    if version.is_empty() || text("fieldsType") != "FieldsV1" {
        return None;
    }
    let identity = Identity {
        operation,
        manager: text("manager").into(),
        version: if operation == Operation::Update { version.clone() } else { String::new() },
        subresource: text("subresource").into(),
    };
    let fields = match entry.get("fieldsV1") {
        None | Some(Value::Null) => Set::default(),
        Some(fields) => Set::from_fields(fields)?,
    };
    let time = Some(text("time").to_owned()).filter(|time| !time.is_empty());
    Some((identity, Owned { version, time, fields }))
}

/// The list that tells of `managers`, appliers first, the oldest first; `None` without any.
pub(crate) fn encode(managers: &Managers) -> Option<Value> {
    let mut sorted: Vec<(&Identity, &Owned)> = managers.iter().collect();
    sorted.sort_by_key(|(identity, owned)| {
        let names = (&identity.manager, &owned.version, &identity.subresource);
        (identity.operation, owned.time.as_ref(), names)
    });
    let entries: Vec<Value> = sorted.into_iter().map(written).collect();
    (!entries.is_empty()).then(|| json!(entries))
}

fn written((identity, owned): (&Identity, &Owned)) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: &str| drop(entry.insert(key.into(), json!(value)));
    if !identity.manager.is_empty() {
        put("manager", &identity.manager);
    }
    put("operation", identity.operation.name());
    put("apiVersion", &owned.version);
    put("fieldsType", "FieldsV1");
    if let Some(time) = &owned.time {
        put("time", time);
    }
    if !identity.subresource.is_empty() {
        put("subresource", &identity.subresource);
    }
    entry.insert("fieldsV1".into(), owned.fields.to_fields());
    Value::Object(entry)
}

/// Puts the oldest updaters of a version together until there are not too many.
pub(super) fn cap(managers: &mut Managers) {
    let mut updaters: Vec<Identity> =
        managers.keys().filter(|id| id.operation == Operation::Update).cloned().collect();
    updaters.sort_by_key(|id| (managers.get(id).and_then(|owned| owned.time.clone()), id.clone()));
    let mut excess = updaters.len().saturating_sub(MOST_UPDATERS);
    let mut first_of: BTreeMap<String, Identity> = BTreeMap::new();
    for updater in updaters {
        if excess == 0 {
            return;
        }
        let Some(first) = first_of.get(&updater.version).cloned() else {
            first_of.insert(updater.version.clone(), updater);
            continue;
        };
        put_together(managers, &first, &updater);
        excess -= 1;
    }
}

fn put_together(managers: &mut Managers, first: &Identity, second: &Identity) {
    let bucket = Identity {
        operation: Operation::Update,
        manager: ANCIENT.into(),
        version: second.version.clone(),
        subresource: String::new(),
    };
    let Some(newer) = managers.remove(second) else { return };
    let older =
        if managers.contains_key(&bucket) { managers.remove(&bucket) } else { managers.remove(first) };
    let fields = older.map(|owned| owned.fields).unwrap_or_default().union(&newer.fields);
    managers.insert(bucket, Owned { fields, ..newer });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str, second: usize) -> Value {
        json!({"manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
               "time": format!("2026-01-01T00:00:{second:02}Z"), "fieldsV1": {"f:data": {format!("f:{name}"): {}}}})
    }

    #[test]
    fn entries_are_read_and_written_alike() {
        let mut status = manager("a", 1);
        status["subresource"] = json!("status");
        let entries = json!([manager("b", 0), status]);
        assert_eq!(encode(&decode(&entries).unwrap()), Some(entries));
        assert_eq!(encode(&Managers::new()), None);
    }

    #[test]
    fn malformed_entries_spoil_the_list() {
        for (key, value) in [("operation", "x"), ("apiVersion", ""), ("fieldsType", "FieldsV2")] {
            let mut entry = manager("a", 1);
            entry[key] = json!(value);
            assert_eq!(decode(&json!([entry])), None, "{key}");
        }
        assert_eq!(decode(&json!({})), None);
    }

    #[test]
    fn more_than_ten_updaters_lose_their_names() {
        let entries: Vec<Value> = (0..12).map(|n| manager(&format!("m{n:02}"), n)).collect();
        let mut managers = decode(&json!(entries)).unwrap();
        cap(&mut managers);
        assert_eq!(managers.len(), 10);
        let capped = encode(&managers).unwrap();
        let ancient = &capped[0];
        assert_eq!(
            (&ancient["manager"], &ancient["time"]),
            (&json!("ancient-changes"), &json!("2026-01-01T00:00:02Z"))
        );
        assert_eq!(ancient["fieldsV1"]["f:data"], json!({"f:m00": {}, "f:m01": {}, "f:m02": {}}));
    }
}
