//! Files are named for what they hold, open with a paragraph that says so, and every crate takes the workspace's lints.

use super::tree::File;

/// Names that say nothing about what is inside.
const EMPTY_WORDS: [&str; 5] = ["utils", "util", "common", "helpers", "manager"];

pub(super) fn source_problem(file: &File) -> Option<String> {
    let path = &file.path;
    let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if name == "mod" {
        return Some(format!("{path}: a module foo lives in foo.rs beside foo/, not in mod.rs"));
    }
    if EMPTY_WORDS.contains(&name) {
        return Some(format!("{path}: \"{name}\" says nothing; name the file for the concept it holds"));
    }
    let opens_with_docs = file.text.lines().next().is_some_and(|line| line.starts_with("//!"));
    (!file.is_test && !opens_with_docs).then(|| {
        format!(
            "{path}: the first line must be a //! paragraph: what this is, and what it deliberately is not"
        )
    })
}

pub(super) fn manifest_problem(file: &File) -> Option<String> {
    let lints = section(&file.text, "[lints]").any(|line| line == "workspace = true");
    (!lints).then(|| format!("{}: add [lints] workspace = true", file.path))
}

/// The trimmed lines of a TOML table up to the next header.
fn section<'a>(text: &'a str, header: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().map(str::trim);
    lines.skip_while(move |line| *line != header).skip(1).take_while(|line| !line.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Option<String> {
        source_problem(&File { path: path.into(), text: text.into(), is_test: path.ends_with("tests.rs") })
    }

    fn manifest(text: &str) -> Option<String> {
        manifest_problem(&File { path: "crates/net/Cargo.toml".into(), text: text.into(), is_test: false })
    }

    #[test]
    fn a_documented_file_passes() {
        assert_eq!(source("crates/net/src/route.rs", "//! Routes.\n"), None);
    }

    #[test]
    fn mod_rs_and_empty_words_are_refused_by_name() {
        assert!(source("crates/net/src/a/mod.rs", "//! A.\n").unwrap().contains("mod.rs"));
        assert!(source("crates/net/src/utils.rs", "//! A.\n").unwrap().contains("\"utils\""));
    }

    #[test]
    fn a_file_without_a_paragraph_is_refused_unless_it_holds_tests() {
        assert!(source("crates/net/src/route.rs", "use std::fs;\n").is_some());
        assert!(source("crates/net/src/route.rs", "").is_some());
        assert_eq!(source("crates/net/src/route/tests.rs", "use super::*;\n"), None);
    }

    #[test]
    fn the_lints_of_the_workspace_are_taken_in_their_own_table() {
        assert_eq!(manifest("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"), None);
        assert!(manifest("[lints.rust]\nworkspace = true\n").is_some());
        assert!(manifest("[lints]\n[dependencies]\nworkspace = true\n").is_some());
    }
}
