//! The options of writes, from the query and, for deletions, the body; checked as the real server checks them.

use hyper::HeaderMap;
use hyper::header::USER_AGENT;
use serde_json::{Value, json};

use super::query::Query;
use crate::api::{Asker, DeleteOptions, Propagation, WriteOptions};
use crate::decode::FieldValidation;
use crate::json::{at, integer, items, text};
use crate::patch::PatchType;
use crate::status::{Cause, Status, Subject};

/// Bytes that the name of a field manager may have.
const MANAGER_LENGTH: usize = 128;

/// What a write is, as far as its options depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Create,
    Update,
    Patch(PatchType),
}

impl Write {
    fn kind(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch(_) => "PatchOptions",
        }
    }
}

/// The options of a create, update or patch.
pub(super) fn write(query: &Query, headers: &HeaderMap, write: Write) -> Result<WriteOptions, Status> {
    let manager = query.get("fieldManager");
    let mut causes = Vec::new();
    if let Write::Patch(patch_type) = write {
        if patch_type == PatchType::Apply && manager.is_empty() {
            causes.push(Cause::required("fieldManager", "is required for apply patch"));
        }
        if patch_type != PatchType::Apply && query.has("force") {
            causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
    }
    causes.extend(manager_causes(manager));
    causes.extend(dry_run_cause(&query.all("dryRun")));
    causes.extend(validation_cause(query.get("fieldValidation")));
    refuse(write.kind(), causes)?;
    let manager = if manager.is_empty() { program(headers) } else { manager.to_owned() };
    let validation = match query.get("fieldValidation") {
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        _ => FieldValidation::Warn,
    };
    let asker = Asker { user: Value::Null, options: given(query) };
    Ok(WriteOptions { dry_run: query.has("dryRun"), validation, manager, guard: None, asker })
}

/// What the client said, as webhooks are told.
fn given(query: &Query) -> Value {
    let said = ["fieldManager", "fieldValidation"].into_iter().filter(|key| !query.get(key).is_empty());
    said.map(|key| (key.to_owned(), json!(query.get(key)))).collect::<serde_json::Map<_, _>>().into()
}

fn refuse(kind: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let subject = Subject { group: "meta.k8s.io".into(), kind: kind.into(), name: String::new() };
    Err(Status::invalid(subject, causes))
}

fn manager_causes(manager: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if manager.len() > MANAGER_LENGTH {
        let message = format!("Too long: may not be more than {MANAGER_LENGTH} bytes");
        causes.push(Cause { field: "fieldManager".into(), reason: "FieldValueTooLong", message });
    }
    let odd = manager.char_indices().filter(|(_, c)| c.is_control());
    causes.extend(odd.map(|(at, c)| {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        Cause::invalid("fieldManager", manager, &detail)
    }));
    causes
}

fn dry_run_cause(values: &[&str]) -> Option<Cause> {
    if values.iter().all(|value| *value == "All") {
        return None;
    }
    let message = format!("Unsupported value: {}: supported values: \"All\"", json!(values));
    Some(Cause { field: "dryRun".into(), reason: "FieldValueNotSupported", message })
}

fn validation_cause(value: &str) -> Option<Cause> {
    if ["", "Ignore", "Warn", "Strict"].contains(&value) {
        return None;
    }
    let message =
        format!("Unsupported value: {value:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
    Some(Cause { field: "fieldValidation".into(), reason: "FieldValueNotSupported", message })
}

/// The first word of the user agent, which stands in for a field manager.
fn program(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let agent = agent.as_deref().unwrap_or_default();
    let mut name = String::new();
    for c in agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MANAGER_LENGTH {
            break;
        }
        name.push(c);
    }
    name
}

/// The options of a deletion: from the body, or from the query where there is none.
pub(super) fn delete(query: &Query, body: Option<&Value>) -> Result<DeleteOptions, Status> {
    let from_query = || -> Result<Value, Status> {
        let mut options = json!({"dryRun": query.all("dryRun")});
        if let Some(seconds) = query.number::<i64>("gracePeriodSeconds")? {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        if query.has("propagationPolicy") {
            options["propagationPolicy"] = json!(query.get("propagationPolicy"));
        }
        if query.has("orphanDependents") {
            options["orphanDependents"] = json!(query.flag("orphanDependents"));
        }
        Ok(options)
    };
    match body {
        Some(body) => delete_options(body),
        None => delete_options(&from_query()?),
    }
}

fn delete_options(given: &Value) -> Result<DeleteOptions, Status> {
    let mut causes = Vec::new();
    let orphan = at(given, "orphanDependents").and_then(Value::as_bool);
    let policy = at(given, "propagationPolicy").and_then(Value::as_str);
    if let (Some(_), Some(policy)) = (orphan, policy) {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        causes.push(Cause::invalid("propagationPolicy", policy, detail));
    }
    let known = policy.map(|policy| (policy, Propagation::parse(policy)));
    if let Some((policy, None)) = known {
        let message = format!(
            "Unsupported value: {policy:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
        );
        causes.push(Cause { field: "propagationPolicy".into(), reason: "FieldValueNotSupported", message });
    }
    let dry_run: Vec<&str> = items(given, "dryRun").iter().filter_map(Value::as_str).collect();
    causes.extend(dry_run_cause(&dry_run));
    refuse("DeleteOptions", causes)?;
    let of_orphan = orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background });
    Ok(DeleteOptions {
        grace_seconds: integer(given, "gracePeriodSeconds"),
        uid: text(given, "preconditions.uid").into(),
        resource_version: text(given, "preconditions.resourceVersion").into(),
        propagation: of_orphan.or(known.and_then(|(_, propagation)| propagation)),
        dry_run: !dry_run.is_empty(),
        asker: Asker { user: Value::Null, options: given_deletion(given) },
        in_collection: false,
    })
}

fn given_deletion(given: &Value) -> Value {
    let keys = ["gracePeriodSeconds", "preconditions", "orphanDependents", "propagationPolicy"];
    let said = keys.into_iter().filter_map(|key| Some((key.to_owned(), at(given, key)?.clone())));
    said.collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str, kind: Write) -> Result<WriteOptions, Status> {
        write(&Query::parse(Some(query)), &HeaderMap::new(), kind)
    }

    #[test]
    fn a_dry_run_is_all_or_an_error() {
        assert!(of("dryRun=All", Write::Create).unwrap().dry_run);
        assert!(!of("", Write::Create).unwrap().dry_run);
        let status = of("dryRun=Some", Write::Update).unwrap_err();
        let text = "UpdateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"";
        assert_eq!((status.code, status.message.as_str()), (422, text));
    }

    #[test]
    fn only_an_apply_needs_a_manager_and_may_use_force() {
        assert!(
            of("", Write::Patch(PatchType::Apply))
                .unwrap_err()
                .message
                .contains("is required for apply patch")
        );
        assert!(of("force=true", Write::Patch(PatchType::Merge)).unwrap_err().message.contains("non-apply"));
        assert_eq!(of("fieldManager=m&force=true", Write::Patch(PatchType::Apply)).unwrap().manager, "m");
        assert_eq!(of(&format!("fieldManager={}", "x".repeat(129)), Write::Create).unwrap_err().code, 422);
    }

    #[test]
    fn a_program_is_named_by_its_user_agent() {
        let headers = HeaderMap::from_iter([(USER_AGENT, "kubectl/v1.32 (linux) x".parse().unwrap())]);
        assert_eq!(write(&Query::parse(None), &headers, Write::Create).unwrap().manager, "kubectl");
    }

    #[test]
    fn deletions_are_told_in_the_body_or_the_query() {
        let body = json!({"propagationPolicy": "Orphan", "preconditions": {"uid": "u"}});
        let options = delete(&Query::parse(Some("gracePeriodSeconds=5")), Some(&body)).unwrap();
        assert_eq!(
            (options.propagation, options.grace_seconds, options.uid.as_str()),
            (Some(Propagation::Orphan), None, "u")
        );
        let options =
            delete(&Query::parse(Some("gracePeriodSeconds=5&propagationPolicy=Foreground")), None).unwrap();
        assert_eq!((options.propagation, options.grace_seconds), (Some(Propagation::Foreground), Some(5)));
        for wrong in [
            json!({"propagationPolicy": "x"}),
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            json!({"dryRun": ["x"]}),
        ] {
            assert_eq!(delete(&Query::parse(None), Some(&wrong)).unwrap_err().code, 422);
        }
    }
}
