//! The little that matters of a pod, from its whole.

use std::collections::BTreeMap;

use polynic_attach::PodInfo;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

/// Reads a pod; an error if it is none.
pub(crate) fn pod_info(pod: &Value) -> Result<PodInfo, serde_json::Error> {
    let Pod { metadata, spec } = Pod::deserialize(pod)?;
    Ok(PodInfo {
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        annotations: metadata.annotations.unwrap_or_default(),
        node: spec.node_name.unwrap_or_default(),
    })
}

/// Sets annotations and leaves everything else as it is.
pub(crate) fn annotate(pod: &mut Value, annotations: &[(&str, &str)]) {
    let metadata = object(pod.as_object_mut(), "metadata");
    if let Some(map) = object(metadata, "annotations") {
        map.extend(annotations.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
    }
}

fn object<'m>(map: Option<&'m mut Map<String, Value>>, key: &str) -> Option<&'m mut Map<String, Value>> {
    let slot = map?.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_reduced_to_what_matters() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": null, "x": 1},
                         "spec": {"nodeName": "node-1", "containers": []}});
        let info = pod_info(&pod).unwrap();
        assert_eq!((info.name.as_str(), info.uid.as_str(), info.node.as_str()), ("p", "u", "node-1"));
        assert!(info.annotations.is_empty());
        assert!(pod_info(&json!({"metadata": 7})).is_err());
    }

    #[test]
    fn annotating_keeps_everything_else() {
        let mut pod = json!({"metadata": {"name": "p", "annotations": {"a": "1"}}, "spec": {"unknown": [1]}});
        annotate(&mut pod, &[("a", "2"), ("b", "3")]);
        let wanted =
            json!({"metadata": {"name": "p", "annotations": {"a": "2", "b": "3"}}, "spec": {"unknown": [1]}});
        assert_eq!(pod, wanted);
        let mut bare = json!({"metadata": {}});
        annotate(&mut bare, &[("a", "1")]);
        assert_eq!(bare, json!({"metadata": {"annotations": {"a": "1"}}}));
    }
}
