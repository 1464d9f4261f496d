//! `cargo xtask openapi-facts`: what a kube-apiserver says about its built-in kinds, as facts only.
//!
//! It reads discovery and the OpenAPI v3 documents of a running server, leaves every description out, and writes one line per
//! kind and per schema, so that a new release is a readable difference. The embedded API server reads that file
//! (`crates/apiserver/src/schema/facts.rs` has the format). What OpenAPI does not tell, which fields
//! distinguish "zero" from "absent" and which are written even if empty, comes from the declarations of the types.

mod declarations;
mod documents;
mod messages;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Groups and versions that the embedded server serves: those that the real one serves by default.
const SERVED: [(&str, &str); 22] = [
    ("", "v1"),
    ("apiregistration.k8s.io", "v1"),
    ("apps", "v1"),
    ("events.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"),
    ("authorization.k8s.io", "v1"),
    ("autoscaling", "v2"),
    ("autoscaling", "v1"),
    ("batch", "v1"),
    ("certificates.k8s.io", "v1"),
    ("networking.k8s.io", "v1"),
    ("policy", "v1"),
    ("rbac.authorization.k8s.io", "v1"),
    ("storage.k8s.io", "v1"),
    ("admissionregistration.k8s.io", "v1"),
    ("apiextensions.k8s.io", "v1"),
    ("scheduling.k8s.io", "v1"),
    ("coordination.k8s.io", "v1"),
    ("node.k8s.io", "v1"),
    ("discovery.k8s.io", "v1"),
    ("resource.k8s.io", "v1"),
    ("flowcontrol.apiserver.k8s.io", "v1"),
];

/// Writes the facts of the server that `flags` lead kubectl to, and of the Go types below `declarations`.
///
/// # Errors
/// kubectl cannot read a document, or `output` cannot be written.
pub fn write(output: &Path, declarations: &[&Path], flags: &[&str]) -> Result<usize> {
    let mut facts = Facts::default();
    for (group, version) in SERVED {
        let place =
            if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        facts.kinds.extend(documents::kinds(&fetch(&place, flags)?, group, version));
        facts.schemas.extend(documents::schemas(&fetch(&format!("openapi/v3/{place}"), flags)?));
    }
    for directory in declarations {
        declarations::read(directory, &mut facts.types)?;
        messages::read(directory, &mut facts.messages)?;
    }
    let text = facts.text();
    std::fs::write(output, &text).with_context(|| format!("writing {}", output.display()))?;
    Ok(text.len())
}

#[derive(Default)]
struct Facts {
    kinds: Vec<Value>,
    schemas: BTreeMap<String, Value>,
    types: declarations::Types,
    /// Protobuf messages by the names of types.
    messages: BTreeMap<String, String>,
}

impl Facts {
    fn text(&self) -> String {
        let mut text = String::from("# Made by `cargo xtask openapi-facts`; do not edit.\n");
        for kind in &self.kinds {
            let kind = with_schema(kind, &self.schemas);
            // Writing to a String cannot fail; the same below.
            let _ = writeln!(text, "kind {kind}");
        }
        for (name, schema) in &self.schemas {
            let _ = writeln!(text, "schema {name} {schema}");
            if let Some(fields) = declarations::key(name).and_then(|key| self.types.get(&key)) {
                let _ = writeln!(text, "pointers {name} {}", fields.pointers.join(","));
                let _ = writeln!(text, "always {name} {}", fields.always.join(","));
            }
        }
        let packages: std::collections::BTreeSet<&str> = self
            .schemas
            .keys()
            .filter_map(|name| name.rsplit_once('.'))
            .map(|(package, _)| package)
            .collect();
        for (name, fields) in &self.messages {
            let package = name.rsplit_once('.').map_or("", |(package, _)| package);
            if packages.contains(package) && !name.ends_with("List") {
                let _ = writeln!(text, "message {name} {fields}");
            }
        }
        text
    }
}

/// `kind` with the name of the schema that carries its group, version and kind.
fn with_schema(kind: &Value, schemas: &BTreeMap<String, Value>) -> Value {
    let wanted = ["group", "version", "kind"].map(|key| &kind[key]);
    let is_it = |schema: &Value| {
        let names = schema["x-kubernetes-group-version-kind"].as_array();
        names.is_some_and(|list| {
            list.len() == 1 && ["group", "version", "kind"].map(|key| &list[0][key]) == wanted
        })
    };
    let mut kind = kind.clone();
    if let Some((name, _)) = schemas.iter().find(|(_, schema)| is_it(schema)) {
        kind["schema"] = Value::from(name.as_str());
    }
    kind
}

fn fetch(place: &str, flags: &[&str]) -> Result<Value> {
    let mut command = std::process::Command::new("kubectl");
    command.args(["get", "--raw"]).arg(format!("/{place}")).args(flags);
    let output = command.output().context("running kubectl")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "kubectl cannot read /{place}: {errors}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("/{place} is not JSON"))
}
