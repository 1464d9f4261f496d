//! NetworkAttachmentDefinition (spec/multus.md 3).

use std::collections::BTreeMap;

use polynic_cni::json::{self, JsonError};
use serde::{Deserialize, Serialize};

use crate::annotation;

/// The manifest of the custom resource definition, as users apply it.
pub const CRD: &str = include_str!("../crds/k8s.cni.cncf.io_network-attachment-definitions.yaml");

/// API group of [`NetworkAttachmentDefinition`].
pub const GROUP: &str = "k8s.cni.cncf.io";
/// API version of [`NetworkAttachmentDefinition`].
pub const VERSION: &str = "v1";
/// Name of the resource in request paths.
pub const PLURAL: &str = "network-attachment-definitions";
/// Kind of [`NetworkAttachmentDefinition`].
pub const KIND: &str = "NetworkAttachmentDefinition";

/// A network that pods can be attached to, reduced to what attaching needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachmentDefinition {
    /// Name, namespace and annotations.
    pub metadata: Metadata,
    /// The network's configuration.
    pub spec: Spec,
}

/// The part of the object's metadata that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How a pod is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// JSON of a CNI configuration or list; empty when the node's configuration directory has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config: String,
}

impl NetworkAttachmentDefinition {
    /// Reads an object as the API server sends it; unknown fields are ignored.
    pub fn parse(bytes: &[u8]) -> Result<NetworkAttachmentDefinition, JsonError> {
        json::from_slice(bytes)
    }

    /// The device resource that attachments consume, if any.
    pub fn resource_name(&self) -> Option<&str> {
        let name = self.metadata.annotations.get(annotation::RESOURCE_NAME)?;
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// `namespace/name`: how status rows and Events call the network.
    pub fn display_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn crd() -> Value {
        serde_saphyr::from_str(CRD).unwrap()
    }

    #[test]
    fn the_crd_is_the_one_of_the_contract() {
        let crd = crd();
        assert_eq!(crd["metadata"]["name"], json!(format!("{PLURAL}.{GROUP}")));
        assert_eq!(crd["spec"]["group"], GROUP);
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(
            crd["spec"]["names"],
            json!({"kind": KIND, "plural": PLURAL, "singular": "network-attachment-definition",
                   "shortNames": ["net-attach-def", "nad"]})
        );
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        let mut version = versions[0].clone();
        version["schema"] = Value::Null;
        assert_eq!(version, json!({"name": VERSION, "served": true, "storage": true, "schema": null}));
    }

    /// Every field that the type writes is in the schema, and the schema has no others.
    #[test]
    fn the_crd_schema_and_the_type_do_not_drift() {
        let schema = &crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let full = NetworkAttachmentDefinition {
            spec: Spec { config: "{}".to_owned() },
            ..NetworkAttachmentDefinition::default()
        };
        let written = serde_json::to_value(&full).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let mut expected = keys(&written);
        expected.extend(["apiVersion".to_owned(), "kind".to_owned()]);
        expected.sort();
        assert_eq!(keys(&schema["properties"]), expected);
        assert_eq!(keys(&schema["properties"]["spec"]["properties"]), keys(&written["spec"]));
        assert_eq!(schema["properties"]["spec"]["properties"]["config"]["type"], "string");
        assert!(!CRD.contains("required"), "nothing is required (spec/multus.md 3)");
    }

    #[test]
    fn an_object_may_lack_its_spec_and_its_annotations() {
        let nad = br#"{"apiVersion":"k8s.cni.cncf.io/v1","kind":"x","metadata":{"name":"a","namespace":"b","uid":"u"}}"#;
        let nad = NetworkAttachmentDefinition::parse(nad).unwrap();
        assert_eq!((nad.spec.config.as_str(), nad.resource_name()), ("", None));
        assert_eq!(nad.display_name(), "b/a");
    }

    #[test]
    fn the_resource_name_is_an_annotation() {
        let nad = json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/resourceName": "vendor/vf"}}});
        let nad = NetworkAttachmentDefinition::parse(nad.to_string().as_bytes()).unwrap();
        assert_eq!(nad.resource_name(), Some("vendor/vf"));
    }
}
