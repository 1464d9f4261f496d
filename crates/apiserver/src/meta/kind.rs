//! The kind and version that an object says it has, against those of the path it came by.

use serde_json::{Map, Value, json};

use crate::json::text;
use crate::resource::Resource;
use crate::schema;
use crate::status::{Cause, Status, Subject};

/// Checks `apiVersion` and `kind` of `object`, and fills them in where they are missing.
pub(super) fn check(resource: &Resource, object: &mut Map<String, Value>) -> Result<(), Status> {
    let version = said(object, "apiVersion", &resource.api_version());
    let kind = said(object, "kind", &resource.kind);
    if resource.custom {
        check_version(resource, &version)?;
        check_custom(resource, &kind, object)?;
    } else {
        check_builtin(resource, &version, &kind)?;
    }
    object.insert("apiVersion".into(), json!(version));
    object.insert("kind".into(), json!(kind));
    Ok(())
}

fn said(object: &Map<String, Value>, key: &str, otherwise: &str) -> String {
    let said = object.get(key).and_then(Value::as_str).filter(|said| !said.is_empty());
    said.unwrap_or(otherwise).to_owned()
}

fn check_version(resource: &Resource, found: &str) -> Result<(), Status> {
    let wanted = resource.api_version();
    if found == wanted {
        return Ok(());
    }
    let message =
        format!("the API version in the data ({found}) does not match the expected API version ({wanted})");
    Err(Status::bad_request(message))
}

/// Of custom objects a wrong kind is a wrong field.
fn check_custom(resource: &Resource, found: &str, object: &Map<String, Value>) -> Result<(), Status> {
    if found == resource.kind {
        return Ok(());
    }
    let name = object.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default();
    let subject = Subject { group: resource.group.clone(), kind: found.into(), name: name.into() };
    let detail = format!("must be {}", resource.kind);
    Err(Status::invalid(subject, vec![Cause::invalid("kind", found, &detail)]))
}

/// Of the server's own kinds an object of another is one that cannot be converted, or one that nobody knows.
fn check_builtin(resource: &Resource, version: &str, kind: &str) -> Result<(), Status> {
    if version == resource.api_version() && kind == resource.kind {
        return Ok(());
    }
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    let is_known = schema::builtin_definition(group, short, kind).is_some();
    if is_known && kind == resource.kind {
        return check_version(resource, version);
    }
    let why = match is_known {
        true => format!(
            "converting ({short}.{kind}) to ({}.{}): unknown conversion",
            package(&resource.group),
            resource.kind
        ),
        false => format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
        ),
    };
    let message = format!("{kind} in version {short:?} cannot be handled as a {}: {why}", resource.kind);
    Err(Status::bad_request(message))
}

/// The package of the real server that holds a group's internal types.
fn package(group: &str) -> &str {
    match group.split('.').next() {
        Some("" | "events") | None => "core",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn why(version: &str, kind: &str) -> String {
        let kinds = Registry::default().snapshot();
        let mut object =
            Map::from_iter([("apiVersion".into(), json!(version)), ("kind".into(), json!(kind))]);
        check(kinds.find("apps", "v1", "deployments").unwrap(), &mut object).unwrap_err().message
    }

    #[test]
    fn another_kind_cannot_be_converted_and_an_unknown_one_is_unknown() {
        assert_eq!(
            why("v1", "Pod"),
            "Pod in version \"v1\" cannot be handled as a Deployment: converting (v1.Pod) to (apps.Deployment): unknown conversion"
        );
        assert!(
            why("apps/v7", "Deployment")
                .contains("no kind \"Deployment\" is registered for version \"apps/v7\"")
        );
    }
}
