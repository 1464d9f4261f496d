//! Which optional plain fields of the Go types are pointers: their zero is sent and kept, that of the others is left out.
//! Reads declarations line by line; knows no more of the language than that.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Types of Go that JSON has as string, number or truth value, as they stand in declarations.
const NOT_PLAIN: [&str; 3] = ["[]", "map[", "metav1."];

/// The key under which [`read`] files the type that the schema `name` describes: `package.version.Type`.
pub(super) fn key(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.rsplitn(4, '.').collect();
    match parts.as_slice() {
        [kind, version, package, _] => Some(format!("{package}.{version}.{kind}")),
        _ => None,
    }
}

/// Adds the pointer fields of all `types*.go` at `<directory>/<package>/<version>/`.
pub(super) fn read(directory: &Path, pointers: &mut BTreeMap<String, Vec<String>>) -> Result<()> {
    for package in entries(directory)? {
        if !package.is_dir() {
            continue;
        }
        for version in entries(&package)?.iter().filter(|path| path.is_dir()) {
            for file in entries(version)?.iter().filter(|file| is_types(file)) {
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
                let place = format!("{}.{}", last(&package), last(version));
                pointers
                    .extend(fields(&text).into_iter().map(|(name, list)| (format!("{place}.{name}"), list)));
            }
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let listing = std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    Ok(listing.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?)
}

fn last(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_types(path: &Path) -> bool {
    let name = last(path);
    name.starts_with("types") && name.ends_with(".go") && !name.contains("swagger")
}

/// Type names and their pointer fields, by their JSON names. Whether a named type is plain is not known here: pointers to
/// structs are listed too, and do no harm, because the schema tells what is an object.
fn fields(text: &str) -> BTreeMap<String, Vec<String>> {
    let (mut found, mut current) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("type ").and_then(|rest| rest.strip_suffix(" struct {")) {
            current = name.to_owned();
        } else if line == "}" {
            current.clear();
        } else if let Some(field) = pointer(line).filter(|_| !current.is_empty()) {
            found.entry(current.clone()).or_default().push(field.to_owned());
        }
    }
    found
}

/// The JSON name of the field that `line` declares, if it is a pointer.
fn pointer(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let (_, kind) = (words.next()?, words.next()?.strip_prefix('*')?);
    if line.trim_start().starts_with("//") || NOT_PLAIN.iter().any(|prefix| kind.starts_with(prefix)) {
        return None;
    }
    let (_, tag) = line.split_once("json:\"")?;
    let name = tag.split(['"', ',']).next()?;
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_found_and_comments_are_not() {
        let text = "type PodSpec struct {\n\tNodeName string `json:\"nodeName,omitempty\"`\n\t// A *bool `json:\"no\"`\n\
                    \tHostUsers *bool `json:\"hostUsers,omitempty\" protobuf:\"x\"`\n}\n";
        assert_eq!(fields(text), BTreeMap::from([("PodSpec".into(), vec!["hostUsers".into()])]));
    }

    #[test]
    fn schemas_are_named_by_package_version_and_type() {
        assert_eq!(key("io.k8s.api.core.v1.PodSpec").as_deref(), Some("core.v1.PodSpec"));
        assert_eq!(
            key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").as_deref(),
            Some("meta.v1.ObjectMeta")
        );
    }
}
