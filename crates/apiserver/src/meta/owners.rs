//! Owner references: what is wrong with them, in the real server's words (`apimachinery/pkg/api/validation`).

use serde_json::Value;

use crate::go;
use crate::json::{items, text};
use crate::status::Cause;

const FIELD: &str = "metadata.ownerReferences";
/// Fields of a reference that are shown even if they are empty, and those that are not, in the real server's order.
const SHOWN: [&str; 4] = ["apiVersion", "kind", "name", "uid"];
const SHOWN_IF_SET: [&str; 2] = ["controller", "blockOwnerDeletion"];

/// What is wrong with the owner references of `object`.
pub(super) fn causes(object: &Value) -> Vec<Cause> {
    let owners = items(object, FIELD);
    let mut causes = Vec::new();
    let mut controller = None;
    for owner in owners {
        causes.extend(missing(owner));
        causes.extend(banned(owner));
        if owner["controller"] != true {
            continue;
        }
        let name = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        match &controller {
            None => controller = Some(name),
            Some(first) => causes.push(second_controller(owners, first, &name)),
        }
    }
    causes
}

fn missing(owner: &Value) -> impl Iterator<Item = Cause> {
    let rules = [
        ("apiVersion", "version must not be empty"),
        ("kind", "must not be empty"),
        ("name", "must not be empty"),
        ("uid", "must not be empty"),
    ];
    let wrong = rules.into_iter().filter(|(key, _)| text(owner, key).is_empty());
    wrong.map(|(key, detail)| Cause::invalid(format!("{FIELD}.{key}"), "", detail))
}

/// Events own nothing: they go by themselves.
fn banned(owner: &Value) -> Option<Cause> {
    let is_event = text(owner, "apiVersion") == "v1" && text(owner, "kind") == "Event";
    is_event.then(|| invalid(&shown(owner), "/v1, Kind=Event is disallowed from being an owner"))
}

fn second_controller(owners: &[Value], first: &str, second: &str) -> Cause {
    let list: Vec<String> = owners.iter().map(shown).collect();
    let detail = format!(
        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
    );
    invalid(&format!("[{}]", list.join(",")), &detail)
}

fn invalid(shown: &str, detail: &str) -> Cause {
    let message = format!("Invalid value: {shown}: {detail}");
    Cause { field: FIELD.into(), reason: "FieldValueInvalid", message }
}

fn shown(owner: &Value) -> String {
    let pair = |key: &str, value: &str| format!("\"{key}\":{}", go::json(value));
    let always = SHOWN.iter().map(|key| pair(key, &Value::from(text(owner, key)).to_string()));
    let set = SHOWN_IF_SET.iter().filter_map(|key| Some((key, owner.get(*key)?)));
    let pairs: Vec<String> = always.chain(set.map(|(key, value)| pair(key, &value.to_string()))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(owners: &Value) -> Vec<String> {
        let object = json!({"metadata": {"ownerReferences": owners}});
        causes(&object).into_iter().map(|cause| cause.message).collect()
    }

    #[test]
    fn one_controller_is_enough() {
        let owner = |name: &str, controller: bool| json!({"uid": name, "controller": controller, "name": name, "kind": "Pod", "apiVersion": "v1"});
        assert!(messages(&json!([owner("p", true), owner("q", false)])).is_empty());
        let wrong = messages(&json!([owner("p", true), owner("q", true)]));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].ends_with("references for Pod/p and Pod/q"));
        assert!(
            wrong[0].contains(r#"{"apiVersion":"v1","kind":"Pod","name":"q","uid":"q","controller":true}"#)
        );
    }

    #[test]
    fn an_owner_is_named_in_full_and_is_no_event() {
        assert_eq!(messages(&json!([{}])).len(), 4);
        let event = json!([{"apiVersion": "v1", "kind": "Event", "name": "e"}]);
        let shown = r#"Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":""}"#;
        assert!(messages(&event)[1].starts_with(shown));
    }
}
