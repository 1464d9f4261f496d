//! What the Go types say that OpenAPI does not: which fields are pointers (their zero differs from their absence, so it is kept), and
//! which are written even if they are empty. Reads declarations line by line; knows no more of the language than that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The fields of one type, by their JSON names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) pointers: Vec<String>,
    pub(super) always: Vec<String>,
    /// Types of the same package whose fields count as this type's own.
    inlined: Vec<String>,
}

/// Types by `package.version.Type`.
pub(super) type Types = BTreeMap<String, Fields>;

/// The key under which [`read`] files the type that the schema `name` describes.
pub(super) fn key(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.rsplitn(4, '.').collect();
    match parts.as_slice() {
        [kind, version, package, _] => Some(format!("{package}.{version}.{kind}")),
        _ => None,
    }
}

/// Adds the types of all `types*.go` at `<directory>/<package>/<version>/`.
pub(super) fn read(directory: &Path, types: &mut Types) -> Result<()> {
    for package in entries(directory)?.iter().filter(|path| path.is_dir()) {
        for version in entries(package)?.iter().filter(|path| path.is_dir()) {
            let mut found = Types::new();
            for file in entries(version)?.iter().filter(|file| is_types(file)) {
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
                found.extend(types_in(&text));
            }
            let place = format!("{}.{}", last(package), last(version));
            types.extend(found.keys().map(|name| (format!("{place}.{name}"), whole(name, &found))));
        }
    }
    Ok(())
}

pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
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

/// A type with the fields of those it inlines.
fn whole(name: &str, found: &Types) -> Fields {
    let mut fields = found.get(name).cloned().unwrap_or_default();
    for inlined in std::mem::take(&mut fields.inlined) {
        let inner = whole(&inlined, found);
        fields.pointers.extend(inner.pointers);
        fields.always.extend(inner.always);
    }
    fields
}

fn types_in(text: &str) -> Types {
    let (mut found, mut current) = (Types::new(), String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("type ").and_then(|rest| rest.strip_suffix(" struct {")) {
            current = name.to_owned();
        } else if line == "}" {
            current.clear();
        } else if !current.is_empty() && !line.trim_start().starts_with("//") {
            field(line, found.entry(current.clone()).or_default());
        }
    }
    found
}

fn field(line: &str, fields: &mut Fields) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((_, tag)) = line.split_once("json:\"") else { return };
    let tag = tag.split('"').next().unwrap_or_default();
    let (name, options) = tag.split_once(',').unwrap_or((tag, ""));
    if options.contains("inline") || name.is_empty() {
        fields.inlined.push(words[0].to_owned());
        return;
    }
    // `omitzero` leaves out what has no value, as a pointer does.
    if words.get(1).is_some_and(|kind| kind.starts_with('*')) || options.contains("omitzero") {
        fields.pointers.push(name.to_owned());
    }
    if !options.contains("omitempty") {
        fields.always.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_what_is_always_written_are_found() {
        let text = "type Inner struct {\n\tA *bool `json:\"a,omitempty\"`\n}\n\
                    type Spec struct {\n\tInner `json:\",inline\"`\n\tName string `json:\"name\"`\n\t// B *bool `json:\"b\"`\n\
                    \tC string `json:\"c,omitempty\" protobuf:\"x\"`\n\tD Time `json:\"d,omitempty,omitzero\"`\n}\n";
        let found = types_in(text);
        let spec = whole("Spec", &found);
        assert_eq!((spec.pointers, spec.always), (vec!["d".into(), "a".into()], vec!["name".to_owned()]));
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
