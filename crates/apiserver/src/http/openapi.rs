//! OpenAPI: a document per group and version (v3), and one of everything (v2, as JSON and in the protobuf form that client-go
//! asks for). Types of built-in kinds are the real server's, those of custom kinds their definitions'. Paths follow from
//! what discovery says. kubectl explains, validates and computes patches from these.

mod paths;
mod protobuf;
mod schemas;
mod v2;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use crate::entropy;
use crate::resource::{Resource, Snapshot};

/// Media type of the protobuf form.
pub(super) const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document and the hash of its content.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) text: Bytes,
    pub(super) hash: String,
}

impl Document {
    fn new(value: &Value) -> Self {
        let text = value.to_string();
        let hash = entropy::hex(&Sha512::digest(&text)).to_uppercase();
        Self { text: text.into(), hash }
    }
}

/// The hashes of the v3 documents of one set of kinds: an index needs them all, and clients ask for it often.
#[derive(Default)]
pub(super) struct Hashes(Mutex<Option<Known>>);

/// The kinds that the hashes are of, and the hashes by place.
type Known = (Arc<Snapshot>, BTreeMap<String, String>);

impl Hashes {
    /// The index: one document per group and version; its URL changes with its content.
    pub(super) fn index(&self, kinds: &Arc<Snapshot>) -> Value {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.take();
        let hashes = match before {
            Some((of, hashes)) if Arc::ptr_eq(&of, kinds) => hashes,
            before => renewed(kinds, before.map(|(_, hashes)| hashes).unwrap_or_default()),
        };
        let url = |(place, hash): (&String, &String)| {
            (place.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{place}?hash={hash}")}))
        };
        let paths: Map<String, Value> = hashes.iter().map(url).collect();
        *known = Some((kinds.clone(), hashes));
        json!({"paths": paths})
    }
}

/// Hashes of all documents; those of built-in groups never change.
fn renewed(kinds: &Snapshot, mut before: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for resource in kinds.iter() {
        let place = place(&resource.group, &resource.version);
        if hashes.contains_key(&place) {
            continue;
        }
        let kept = before.remove(&place).filter(|_| !resource.custom);
        let hash = kept.or_else(|| document(kinds, &resource.group, &resource.version).map(|d| d.hash));
        hashes.insert(place, hash.unwrap_or_default());
    }
    hashes
}

/// Where a group and version are below `/`.
fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The v3 document of one group and version.
pub(super) fn document(kinds: &Snapshot, group: &str, version: &str) -> Option<Document> {
    let resources: Vec<&Arc<Resource>> =
        kinds.iter().filter(|r| r.group == group && r.version == version).collect();
    if resources.is_empty() {
        return None;
    }
    let paths = paths::of(resources.iter().map(|resource| &***resource));
    let mut schemas = schemas::custom(resources.iter().map(|resource| &***resource));
    schemas::add_referenced(&paths, &mut schemas);
    let security = json!({"BearerToken": {
        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
    }});
    Some(Document::new(&json!({
        "openapi": "3.0.0", "info": info("v1.35.4"), "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
    })))
}

fn info(version: &str) -> Value {
    json!({"title": "Kubernetes", "version": version})
}

/// The v2 document of everything.
pub(super) fn everything(kinds: &Snapshot) -> Value {
    let paths = paths::of(kinds.iter().map(|resource| &**resource));
    let mut schemas = schemas::custom(kinds.iter().map(|resource| &**resource));
    schemas::add_referenced(&paths, &mut schemas);
    v2::document(info("v1.35.4"), &paths, &schemas)
}

/// The v2 document of everything, as JSON.
pub(super) fn everything_json(kinds: &Snapshot) -> Document {
    Document::new(&everything(kinds))
}

/// The same in protobuf.
pub(super) fn everything_protobuf(kinds: &Snapshot) -> Document {
    let document = everything(kinds);
    let hash = Document::new(&document).hash;
    Document { text: protobuf::encode(&document).into(), hash }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn parsed(document: &Document) -> Value {
        serde_json::from_slice(&document.text).unwrap()
    }

    #[test]
    fn every_index_entry_leads_to_a_document_of_that_hash() {
        let kinds = Registry::default().snapshot();
        let index = Hashes::default().index(&kinds);
        let entries = index["paths"].as_object().unwrap();
        assert!(entries.len() > 20);
        let apps = document(&kinds, "apps", "v1").unwrap();
        let url = entries["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
        assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={}", apps.hash));
        assert!(document(&kinds, "x", "v1").is_none());
    }

    #[test]
    fn no_document_refers_to_what_it_has_not() {
        let kinds = Registry::default().snapshot();
        for place in ["", "apps", "apiextensions.k8s.io", "resource.k8s.io"] {
            let document = parsed(&document(&kinds, place, "v1").unwrap());
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let text = document.to_string();
            for reference in text.split("\"#/components/schemas/").skip(1) {
                let name = reference.split('"').next().unwrap();
                assert!(schemas.contains_key(name), "{place}: {name}");
            }
        }
    }

    #[test]
    fn writes_validate_fields_and_patches_of_built_in_kinds_may_be_strategic() {
        let kinds = Registry::default().snapshot();
        let core = parsed(&document(&kinds, "", "v1").unwrap());
        let patch = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
        assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
        assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
        let containers =
            &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    }

    #[test]
    fn the_old_document_has_the_same_types_in_its_own_words() {
        let document = everything(&Registry::default().snapshot());
        let spec = &document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["affinity"], json!({"$ref": "#/definitions/io.k8s.api.core.v1.Affinity"}));
        let any = &document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
        assert_eq!(*any, json!({"type": "string", "format": "int-or-string"}));
        let put = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["put"];
        assert_eq!(put["parameters"][0]["in"], "body");
        assert_eq!(put["responses"]["200"]["schema"]["$ref"], "#/definitions/io.k8s.api.apps.v1.Deployment");
    }
}
