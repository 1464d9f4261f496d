//! The files that the rules look at, read once; and which lines of a source file are only there for tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The workspace as text.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every Rust file below `crates`.
    pub sources: Vec<File>,
    /// Every `Cargo.toml` below `crates`.
    pub manifests: Vec<File>,
    /// `docs/compatibility.md`, if it exists.
    pub compatibility: Option<File>,
    /// Every page of documentation: Markdown anywhere in the repository.
    pub pages: Vec<File>,
    /// Every file of the repository, relative to its root.
    pub paths: BTreeSet<String>,
}

/// A text file and where it is.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the workspace, with slashes.
    pub path: String,
    /// The whole content.
    pub text: String,
    /// Whether the file as a whole is test code.
    pub is_test: bool,
}

/// Directories without anything of ours in them.
const SKIPPED: [&str; 4] = [".git", "target", "corpus", "node_modules"];

/// Reads the workspace at `root`.
///
/// # Errors
/// A directory or a file cannot be read, or a Rust file or manifest is not UTF-8.
pub fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    walk(root, root, &mut tree)?;
    mark_test_modules(&mut tree.sources);
    tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
    tree.pages.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

fn walk(root: &Path, directory: &Path, tree: &mut Tree) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {}", directory.display()))?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                walk(root, &entry.path(), tree)?;
            }
            continue;
        }
        let path = entry.path().strip_prefix(root)?.to_string_lossy().into_owned();
        keep(&entry.path(), path, tree)?;
    }
    Ok(())
}

fn keep(full: &Path, path: String, tree: &mut Tree) -> Result<()> {
    tree.paths.insert(path.clone());
    let in_crates = path.starts_with("crates/");
    let load = || -> Result<File> {
        let text = fs::read_to_string(full).with_context(|| format!("reading {path}"))?;
        Ok(File { is_test: is_test_path(&path), path: path.clone(), text })
    };
    if in_crates && path.ends_with(".rs") {
        tree.sources.push(load()?);
    } else if in_crates && path.ends_with("/Cargo.toml") {
        tree.manifests.push(load()?);
    } else if path.ends_with(".md") {
        let page = load()?;
        tree.compatibility =
            (path == "docs/compatibility.md").then(|| page.clone()).or(tree.compatibility.take());
        tree.pages.push(page);
    }
    Ok(())
}

fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || ["/tests/", "/benches/", "/examples/"].iter().any(|directory| path.contains(directory))
}

/// A file that its parent declares as `#[cfg(test)] mod name;` is test code whatever it is called.
fn mark_test_modules(sources: &mut [File]) {
    let declared: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for file in sources {
        let stem = file.path.trim_end_matches(".rs");
        file.is_test |= declared.iter().any(|module| {
            stem.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }
}

fn test_modules(file: &File) -> Vec<String> {
    let stem = file.path.trim_end_matches(".rs");
    let directory = match stem.rsplit_once('/') {
        Some((directory, "lib" | "main")) => directory,
        _ => stem,
    };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg(test)]"));
    pairs.filter_map(|pair| module_name(pair[1])).map(|name| format!("{directory}/{name}")).collect()
}

fn module_name(line: &str) -> Option<&str> {
    line.strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name)
}

impl File {
    /// The short name of the crate that the file belongs to: `net` for `crates/net/src/lib.rs`.
    pub fn room(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// The lines that are built into the product, with their numbers from 1: everything but items under `#[cfg(test)]`.
    ///
    /// Relies on rustfmt: an item ends with the brace that stands as far left as the item's first line.
    pub fn product_lines(&self) -> Vec<(usize, &str)> {
        if self.is_test {
            return Vec::new();
        }
        let mut lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut kept = Vec::new();
        while let Some((number, line)) = lines.next() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                skip_item(&mut lines);
            } else {
                kept.push((number, line));
            }
        }
        kept
    }
}

fn skip_item<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let Some((_, first)) = lines.find(|(_, line)| !line.trim_start().starts_with("#[")) else { return };
    if first.ends_with(';') || first.ends_with('}') {
        return;
    }
    let indent = first.len() - first.trim_start().len();
    lines.find(|(_, line)| line.starts_with(&" ".repeat(indent)) && line[indent..].starts_with('}'));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned(), is_test: is_test_path(path) }
    }

    #[test]
    fn items_under_cfg_test_are_no_product() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n#[cfg(test)]\nuse d;\nfn e() {}\n";
        let file = file("crates/net/src/a.rs", text);
        let kept: Vec<usize> = file.product_lines().into_iter().map(|(number, _)| number).collect();
        assert_eq!(kept, [1, 8, 11]);
    }

    #[test]
    fn a_whole_test_file_has_no_product_lines() {
        for path in ["crates/net/src/a/tests.rs", "crates/net/tests/a.rs", "crates/cni/examples/b.rs"] {
            assert_eq!(file(path, "fn a() {}\n").product_lines(), []);
        }
    }

    #[test]
    fn modules_declared_for_tests_are_test_code() {
        let mut sources = [
            file("crates/lab/src/lib.rs", "#[cfg(test)]\npub(crate) mod bed;\nmod product;\n"),
            file("crates/lab/src/bed.rs", ""),
            file("crates/lab/src/bed/pods.rs", ""),
            file("crates/lab/src/bedrock.rs", ""),
            file("crates/lab/src/product.rs", "#[cfg(test)]\nmod fixture;\n"),
            file("crates/lab/src/product/fixture.rs", ""),
        ];
        mark_test_modules(&mut sources);
        assert_eq!(sources.map(|file| file.is_test), [false, true, true, false, false, true]);
    }

    #[test]
    fn the_room_is_the_directory_below_crates() {
        assert_eq!(file("crates/net/src/a/b.rs", "").room(), "net");
    }
}
