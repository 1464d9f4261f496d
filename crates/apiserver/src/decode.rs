//! From what a client sent to an object of its kind: fields that the kind has not are left out and named, as are fields that
//! are there twice; values of a wrong type are refused; what remains has the form in which the real server stores and
//! answers it (quantities, moments, empty fields). Pure. What the values may be is decided elsewhere.

mod form;
mod walk;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use crate::defaults;
use crate::go;
use crate::resource::Resource;
use crate::schema::{self, Node};
use crate::status::Status;
use crate::warning;

use self::walk::Walk;

/// What happens to fields that a kind has not, and to those that are there twice (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are left out in silence.
    Ignore,
    /// They are left out, and the answer warns of each.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

/// An object as it will be taken, and what was odd about it, in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) object: Value,
    pub(crate) complaints: Vec<String>,
}

impl Decoded {
    /// The object, if `validation` lets it pass; with what the answer has to warn of.
    pub(crate) fn accept(
        self,
        validation: FieldValidation,
        resource: &Resource,
    ) -> Result<(Value, Vec<String>), Status> {
        match validation {
            FieldValidation::Ignore => Ok((self.object, Vec::new())),
            FieldValidation::Warn => Ok((self.object, self.complaints)),
            FieldValidation::Strict if self.complaints.is_empty() => Ok((self.object, Vec::new())),
            FieldValidation::Strict => {
                let list = self.complaints.join(", ");
                Err(unfit(resource, &format!("strict decoding error: {list}")))
            }
        }
    }
}

impl Decoded {
    /// The same, with the warnings told to the client.
    pub(crate) fn passed(self, validation: FieldValidation, resource: &Resource) -> Result<Value, Status> {
        let (object, warnings) = self.accept(validation, resource)?;
        warnings.into_iter().for_each(warning::add);
        Ok(object)
    }
}

/// Reads the JSON text of an object of `resource`.
pub(crate) fn text(resource: &Resource, text: &[u8]) -> Result<Decoded, Status> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let walk = Walk::of(resource);
    let object = walk.root(resource).deserialize(&mut deserializer);
    let object = object.and_then(|object| deserializer.end().map(|()| object));
    let object = object.map_err(|error| unrecognised(resource, text, &go::json_error(text, &error)))?;
    match no_object(&object) {
        Some(sort) => Err(unrecognised(
            resource,
            text,
            &format!("json: cannot unmarshal {sort} into Go value of type {TYPE_META}"),
        )),
        None => finish(resource, walk, object),
    }
}

/// The same for an object that is JSON already, such as a patched one.
pub(crate) fn value(resource: &Resource, object: &Value) -> Result<Decoded, Status> {
    let walk = Walk::of(resource);
    let decoded = walk.root(resource).deserialize(object).map_err(Status::internal)?;
    finish(resource, walk, decoded)
}

fn finish(resource: &Resource, walk: Walk, mut object: Value) -> Result<Decoded, Status> {
    let (mut complaints, error) = walk.outcome();
    if let Some(error) = error {
        return Err(unfit(resource, &error));
    }
    complete(resource, &mut object);
    // The walk lets pass what is below a type without fields; a definition that says no more than that allows none.
    complaints.extend(resource.settle(&mut object));
    Ok(Decoded { object, complaints })
}

/// Brings an object whose types are right into the form in which it is stored, with what is filled in for its kind.
pub(crate) fn complete(resource: &Resource, object: &mut Value) {
    if let Some(node) = resource.custom_model.as_deref() {
        return metadata_form(node, object);
    }
    if !resource.custom {
        complete_as(&resource.group, &resource.version, &resource.kind, object);
    }
}

/// An object of `resource` of which nothing is said: what the real server compares a new object with.
pub(crate) fn zero(resource: &Resource) -> Value {
    let mut object = serde_json::json!({"metadata": {}});
    let builtin = Some(resource).filter(|resource| !resource.custom);
    let definition = builtin.and_then(|r| schema::builtin_definition(&r.group, &r.version, &r.kind));
    if let Some(definition) = definition {
        form::object(definition.node(), &mut object);
    }
    object
}

/// The same for a built-in kind, whatever path the object came by.
pub(crate) fn complete_as(group: &str, version: &str, kind: &str, object: &mut Value) {
    if let Some(definition) = schema::builtin_definition(group, version, kind) {
        form::object(definition.node(), object);
        defaults::fill(definition.go_path(), definition.node(), object);
    }
}

/// Of a custom object, metadata alone has the form of the real server's own types.
fn metadata_form(node: &Node, object: &mut Value) {
    if let (Some(metadata), Some(node)) = (object.get_mut("metadata"), node.property("metadata")) {
        form::object(node, metadata);
    }
}

fn unfit(resource: &Resource, why: &str) -> Status {
    let (kind, version) = (&resource.kind, &resource.version);
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// What the real server looks for in a text first, as its messages print it.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
/// Bytes that are shown of a text.
const SHOWN: usize = 30;

/// What `value` is, if it cannot be taken for an object.
fn no_object(value: &Value) -> Option<&'static str> {
    match value {
        Value::Object(_) | Value::Null => None,
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        Value::Number(_) => Some("number"),
        Value::Bool(_) => Some("bool"),
    }
}

/// The start of a text; what does not begin like an object is shown as bytes.
fn summary(text: &[u8]) -> String {
    let start = &text[..text.len().min(SHOWN)];
    let shown = match start.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if text.len() > SHOWN { format!("{shown} ...") } else { shown }
}

/// As the real server says it of text that is no JSON object.
fn unrecognised(resource: &Resource, text: &[u8], error: &str) -> Status {
    let shown = summary(text);
    let kind = &resource.kind;
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error} ({shown})"
    ))
}

#[cfg(test)]
mod tests;
