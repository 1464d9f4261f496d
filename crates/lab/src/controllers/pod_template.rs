//! Pods from templates, and the short names that tell templates apart.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

/// Letters that make no words, as Kubernetes takes them for generated names (`k8s.io/apimachinery/pkg/util/rand`).
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The name of a template's content: the same for the same content, always.
pub fn hash(template: &PodTemplateSpec) -> String {
    hash_of(&serde_json::to_value(template).unwrap_or_default())
}

/// The same for any content.
pub fn hash_of(content: &Value) -> String {
    // FNV-1a. Keys of JSON objects are in order, so equal content has equal text.
    let bytes = content.to_string().into_bytes();
    let mut sum =
        bytes.iter().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let mut name = String::new();
    for _ in 0..10 {
        let (rest, at) = (sum / 27, sum % 27);
        name.push(char::from(LETTERS[at as usize]));
        sum = rest;
        if sum == 0 {
            break;
        }
    }
    name
}

/// A pod as the template says, managed by the owner that `reference` names. Its own name is still to be put in.
pub fn pod(template: &PodTemplateSpec, reference: &Value) -> Value {
    let meta = template.metadata.clone().unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "labels": meta.labels, "annotations": meta.annotations, "finalizers": meta.finalizers, "ownerReferences": [reference],
        },
        "spec": template.spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        serde_json::from_value(json!({"metadata": {"labels": {"a": "b"}}, "spec": spec})).unwrap()
    }

    #[test]
    fn equal_templates_have_equal_names_and_others_others() {
        assert_eq!(hash(&template("x")), hash(&template("x")));
        assert_ne!(hash(&template("x")), hash(&template("y")));
        assert!(hash(&template("x")).bytes().all(|letter| LETTERS.contains(&letter)));
    }

    #[test]
    fn a_pod_has_the_labels_and_the_owner() {
        let pod = pod(&template("x"), &json!({"uid": "u"}));
        assert_eq!(pod["metadata"]["labels"]["a"], "b");
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(pod["spec"]["containers"][0]["image"], "x");
    }
}
