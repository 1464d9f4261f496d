//! The protobuf messages of the types: numbers, names and types of fields, from `generated.proto` files. Reads them line by line;
//! knows no more of the language than what stands there.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Adds the messages of all `generated.proto` at `<directory>/<package>/<version>/`, by the full names that OpenAPI gives the types. A
/// message is `NUMBER:NAME:TYPE,...`, where a type is a word of protobuf or a message, with `*` before it if it is
/// repeated, and `map ` if it is the value of a map.
pub(super) fn read(directory: &Path, messages: &mut BTreeMap<String, String>) -> Result<()> {
    for package in super::declarations::entries(directory)?.iter().filter(|path| path.is_dir()) {
        for version in super::declarations::entries(package)?.iter().filter(|path| path.is_dir()) {
            let file = version.join("generated.proto");
            if file.is_file() {
                let text =
                    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
                messages.extend(messages_in(&text));
            }
        }
    }
    Ok(())
}

fn messages_in(text: &str) -> BTreeMap<String, String> {
    let (mut found, mut package, mut current) = (BTreeMap::new(), String::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("package ") {
            package = openapi_name(name.trim_end_matches(';'));
        } else if let Some(name) = line.strip_prefix("message ").and_then(|rest| rest.strip_suffix(" {")) {
            current = Some((format!("{package}.{name}"), Vec::new()));
        } else if line == "}" {
            found
                .extend(current.take().map(|(name, fields): (String, Vec<String>)| (name, fields.join(","))));
        } else if let (Some((_, fields)), Some(field)) = (&mut current, field(line)) {
            fields.push(field);
        }
    }
    found
}

/// `k8s.io.api.core.v1` as OpenAPI has it: `io.k8s.api.core.v1`.
fn openapi_name(name: &str) -> String {
    name.trim_start_matches('.').replacen("k8s.io", "io.k8s", 1).replace('_', "-")
}

fn field(line: &str) -> Option<String> {
    let (declared, number) = line.strip_suffix(';')?.split_once(" = ")?;
    let (kind, name) = declared.rsplit_once(' ')?;
    let kind = if let Some(value) = kind.strip_prefix("map<string, ").and_then(|rest| rest.strip_suffix('>'))
    {
        format!("map {}", openapi_name(value))
    } else if let Some(kind) = kind.strip_prefix("repeated ") {
        format!("*{}", openapi_name(kind))
    } else {
        openapi_name(kind.strip_prefix("optional ")?)
    };
    Some(format!("{number}:{name}:{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_their_fields() {
        let text = "package k8s.io.api.core.v1;\nmessage A {\n  // comment = 1;\n  optional string a = 1;\n\
                    repeated B bs = 2;\n  map<string, .k8s.io.apimachinery.pkg.api.resource.Quantity> c = 3;\n}\n";
        let found = messages_in(text);
        let wanted = "1:a:string,2:bs:*B,3:c:map io.k8s.apimachinery.pkg.api.resource.Quantity";
        assert_eq!(found["io.k8s.api.core.v1.A"], wanted);
    }
}
