//! The names of custom kinds: a name belongs to the definition that had it first. What the real server's controllers decide a
//! moment after a definition was written is decided here in the same step, as a change of its own.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::PREFIX;
use crate::json::{child, items, text};
use crate::status::Status;
use crate::store::Txn;
use crate::strategy::moment;

const ESTABLISHED: &str = "Established";

/// True once the kinds of a definition are served.
pub(super) fn is_established(definition: &Value) -> bool {
    let conditions = items(definition, "status.conditions");
    conditions.iter().any(|c| c["type"] == ESTABLISHED && c["status"] == "True")
}

/// Decides which names the definition at `key` gets, and writes it down. Does nothing to other objects.
pub(crate) fn accept(txn: &mut Txn<'_, '_>, key: &str) -> Result<(), Status> {
    if !key.starts_with(PREFIX) {
        return Ok(());
    }
    let Some(definition) = txn.get(key)? else { return Ok(()) };
    let others = others(txn, key, &definition)?;
    let decided = decide(&definition, &others, Timestamp::now());
    if decided != definition {
        txn.put(key, decided)?;
    }
    Ok(())
}

/// After the definition at `key` has gone: others may get the names that it had.
pub(crate) fn release(txn: &mut Txn<'_, '_>, key: &str) -> Result<(), Status> {
    if !key.starts_with(PREFIX) {
        return Ok(());
    }
    for (waiting, _) in txn.scan(PREFIX)? {
        accept(txn, &waiting)?;
    }
    Ok(())
}

fn others(txn: &Txn<'_, '_>, key: &str, definition: &Value) -> Result<Vec<Value>, Status> {
    let group = text(definition, "spec.group");
    let all = txn.scan(PREFIX)?.into_iter();
    let others = all.filter(|(other, object)| other != key && text(object, "spec.group") == group);
    Ok(others.map(|(_, object)| object).collect())
}

/// The definition with the names that it gets where `others` have theirs.
fn decide(definition: &Value, others: &[Value], now: Timestamp) -> Value {
    let mut decided = definition.clone();
    let wanted = definition["spec"]["names"].clone();
    let mut accepted = definition["status"]["acceptedNames"].clone();
    let mut conflict = None;
    for (key, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
        ("shortNames", "ShortNamesConflict"),
        ("kind", "KindConflict"),
        ("listKind", "ListKindConflict"),
    ] {
        match taken(&wanted[key], key, others) {
            Some(name) => conflict = Some((reason, format!("{name:?} is already in use"))),
            None => set(&mut accepted, key, &wanted[key]),
        }
    }
    set(&mut accepted, "categories", &wanted["categories"]);
    let status = child(&mut decided, "status");
    status["acceptedNames"] = accepted;
    let (is_accepted, reason, message) = match conflict {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some((reason, message)) => ("False", reason, message),
    };
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment(now)});
    set_condition(status, condition("NamesAccepted", is_accepted, reason, &message));
    if !is_established(definition) {
        set_condition(
            status,
            match is_accepted {
                "True" => condition(
                    ESTABLISHED,
                    "True",
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                ),
                _ => condition(ESTABLISHED, "False", "NotAccepted", "not all names are accepted"),
            },
        );
    }
    decided
}

/// One of the names that is somebody else's. Resource names share one space, kinds another.
fn taken(wanted: &Value, key: &str, others: &[Value]) -> Option<String> {
    let space: &[&str] = if ["kind", "listKind"].contains(&key) {
        &["kind", "listKind"]
    } else {
        &["plural", "singular", "shortNames"]
    };
    let listed = |value: &Value| -> Vec<String> {
        let many = value.as_array().into_iter().flatten();
        many.chain(value.is_string().then_some(value)).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let theirs: Vec<String> = others
        .iter()
        .flat_map(|other| space.iter().flat_map(|k| listed(&other["status"]["acceptedNames"][*k])))
        .collect();
    listed(wanted).into_iter().find(|name| !name.is_empty() && theirs.contains(name))
}

fn set(names: &mut Value, key: &str, value: &Value) {
    let Some(names) = names.as_object_mut() else { return };
    if value.is_null() {
        names.remove(key);
    } else {
        names.insert(key.into(), value.clone());
    }
}

/// Sets a condition; the moment of the last transition stays if the status does.
fn set_condition(status: &mut Value, mut condition: Value) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(there) => {
            if there["status"] == condition["status"] {
                condition["lastTransitionTime"] = there["lastTransitionTime"].clone();
            }
            *there = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str) -> Value {
        let names = json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")});
        json!({"spec": {"group": "a.b", "names": names}, "status": {"acceptedNames": {"plural": "", "kind": ""}, "conditions": null}})
    }

    #[test]
    fn free_names_are_accepted_and_served() {
        let decided = decide(&definition("things", "Thing"), &[], Timestamp::UNIX_EPOCH);
        assert!(is_established(&decided));
        assert_eq!(decided["status"]["acceptedNames"], decided["spec"]["names"]);
        assert_eq!(decided["status"]["conditions"][0]["reason"], "NoConflicts");
        assert_eq!(decide(&decided, &[], Timestamp::now()), decided, "once");
    }

    #[test]
    fn a_kind_that_another_definition_has_is_not_served() {
        let first = decide(&definition("things", "Thing"), &[], Timestamp::UNIX_EPOCH);
        let second = decide(&definition("others", "Thing"), &[first], Timestamp::UNIX_EPOCH);
        assert!(!is_established(&second));
        let conditions = &second["status"]["conditions"];
        assert_eq!(
            (&conditions[0]["status"], &conditions[0]["message"]),
            (&json!("False"), &json!("\"ThingList\" is already in use"))
        );
        assert_eq!(
            (&conditions[1]["reason"], &second["status"]["acceptedNames"]["plural"]),
            (&json!("NotAccepted"), &json!("others"))
        );
        let later = decide(&second, &[], Timestamp::UNIX_EPOCH);
        assert!(is_established(&later));
    }
}
