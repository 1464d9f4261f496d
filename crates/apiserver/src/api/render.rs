//! Objects in the form a client asked for: whole, metadata only, or as rows of a table.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::resource::Resource;
use crate::status::Status;
use crate::table::{self, Include};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object itself.
    Object,
    /// `PartialObjectMetadata`.
    Metadata,
    /// A `Table` whose rows carry this much.
    Table(Include),
}

pub(super) fn text_of(value: &Value) -> Result<Bytes, Status> {
    serde_json::to_vec(value).map(Bytes::from).map_err(Status::internal)
}

/// One object, already in its served version.
pub(super) fn one(form: Form, resource: &Resource, object: &Value) -> Result<Bytes, Status> {
    match form {
        Form::Object => text_of(object),
        Form::Metadata => text_of(&table::metadata_only(object)),
        Form::Table(include) => {
            let row = table::row(&resource.columns, object, include, Timestamp::now());
            let version = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            text_of(&table::table(Some(&resource.columns), version, vec![row]))
        }
    }
}

/// A list whose items are JSON texts in their served version, `metadata` being that of the list.
pub(super) fn list(
    form: Form,
    resource: &Resource,
    metadata: &Value,
    items: &[Bytes],
) -> Result<Bytes, Status> {
    match form {
        Form::Object if resource.custom => {
            Ok(spliced(&resource.list_kind, &resource.api_version(), metadata, items))
        }
        Form::Object => {
            let items = items.iter().map(untyped).collect::<Result<Vec<_>, _>>()?;
            Ok(spliced(&resource.list_kind, &resource.api_version(), metadata, &items))
        }
        Form::Metadata => {
            let items = each(items, table::metadata_only)?;
            text_of(&json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
            }))
        }
        Form::Table(include) => {
            let now = Timestamp::now();
            let rows = each(items, |object| table::row(&resource.columns, object, include, now))?;
            text_of(&table::table(Some(&resource.columns), metadata.clone(), rows))
        }
    }
}

fn each(items: &[Bytes], form: impl Fn(&Value) -> Value) -> Result<Vec<Value>, Status> {
    let parsed = items.iter().map(|body| serde_json::from_slice(body).map_err(Status::internal));
    parsed.map(|object: Result<Value, Status>| Ok(form(&object?))).collect()
}

/// The text of an object without its type, which items of the server's own kinds do not repeat. Its fields are not parsed.
fn untyped(item: &Bytes) -> Result<Bytes, Status> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(item).map_err(Status::internal)?;
    fields.remove("apiVersion");
    fields.remove("kind");
    serde_json::to_vec(&fields).map(Bytes::from).map_err(Status::internal)
}

/// Lists of whole objects are put together from their texts: parsing 5,000 pods to print them again would dominate.
fn spliced(kind: &str, api_version: &str, metadata: &Value, items: &[Bytes]) -> Bytes {
    let size: usize = items.iter().map(|body| body.len() + 1).sum();
    let mut text = Vec::with_capacity(size + 256);
    let (kind, api_version) = (json!(kind), json!(api_version));
    let head = format!("{{\"kind\":{kind},\"apiVersion\":{api_version},\"metadata\":{metadata},\"items\":[");
    text.extend_from_slice(head.as_bytes());
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        text.extend_from_slice(item);
    }
    text.extend_from_slice(b"]}");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_does_not_repeat_its_type() {
        let item = Bytes::from_static(br#"{"apiVersion":"v1","kind":"Pod","spec":{"kind":"x"}}"#);
        assert_eq!(untyped(&item).unwrap(), br#"{"spec":{"kind":"x"}}"#.as_slice());
    }

    #[test]
    fn a_spliced_list_is_the_list() {
        let items = [Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{}")];
        for metadata in [json!({}), json!({"resourceVersion": "5"})] {
            let list: Value = serde_json::from_slice(&spliced("PodList", "v1", &metadata, &items)).unwrap();
            assert_eq!(
                list,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": [{"a": 1}, {}]})
            );
        }
    }
}
