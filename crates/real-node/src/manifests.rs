//! Manifests as users apply them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::api::Api;

/// The objects of one file, in its order.
#[derive(Clone, Debug)]
pub struct Manifests(Vec<Value>);

impl Manifests {
    /// Reads a file of this repository's `deploy/manifests`.
    ///
    /// # Panics
    /// It is not there, or no YAML.
    pub fn ours(name: &str) -> Self {
        Self::read(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/manifests")).join(name))
    }

    /// Reads a file.
    ///
    /// # Panics
    /// It is not there, or no YAML.
    pub fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let documents = text.split("\n---").map(|document| document.trim_start_matches("---"));
        let documents = documents.filter(|document| {
            document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        });
        Self(documents.map(|document| serde_saphyr::from_str(document).expect(document)).collect())
    }

    /// The object of a kind and name, to be changed before it is applied.
    ///
    /// # Panics
    /// There is none.
    pub fn object(&mut self, kind: &str, name: &str) -> &mut Value {
        let found =
            self.0.iter_mut().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// All of them.
    pub fn objects(&self) -> &[Value] {
        &self.0
    }

    /// All of them, to be changed.
    pub fn objects_mut(&mut self) -> &mut [Value] {
        &mut self.0
    }

    /// As `kubectl apply --server-side`.
    ///
    /// # Panics
    /// The server refuses one.
    pub fn apply(&self, api: &Api) {
        self.0.iter().for_each(|object| api.apply(object));
    }

    /// As `kubectl delete`, without waiting.
    ///
    /// # Panics
    /// The server refuses.
    pub fn delete(&self, api: &Api) {
        for object in self.0.iter().rev() {
            api.delete(&collection(object), name(object));
        }
    }
}

/// The path of the collection to which an object belongs.
pub(crate) fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural = match kind.strip_suffix('y').or_else(|| kind.strip_suffix("ss")) {
        Some(stem) if kind.ends_with('y') => format!("{stem}ies"),
        Some(_) => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{plural}"),
    }
}

/// The object's name.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}
