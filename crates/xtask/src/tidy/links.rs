//! What the documentation leads to exists: files and headings behind links, files of the repository in backquotes, crates and tests in command lines.
//!
//! Addresses outside of the repository are not asked for: a check must not depend on other people's servers.

use std::collections::BTreeSet;

use super::tree::{File, Tree};

/// Directories whose paths, in backquotes, are meant to be the repository's.
const OURS: [&str; 8] = ["crates/", "docs/", "scripts/", "deploy/", "scenarios/", "golden/", "fuzz/", ".ci/"];
/// Made by tools and not checked in.
const MADE: [&str; 2] = ["fuzz/corpus", "fuzz/artifacts"];

pub(super) fn problems(tree: &Tree) -> Vec<String> {
    tree.pages.iter().flat_map(|page| page_problems(tree, page)).collect()
}

fn page_problems(tree: &Tree, page: &File) -> Vec<String> {
    let mut problems = Vec::new();
    for Line { number, text, is_prose } in lines(&page.text) {
        let mut found = commands(tree, text);
        if is_prose {
            found.extend(line_problems(tree, page, text));
        }
        problems.extend(found.into_iter().map(|problem| format!("{}:{number}: {problem}", page.path)));
    }
    problems
}

/// A line of a page.
struct Line<'a> {
    number: usize,
    text: &'a str,
    /// It is in no block of code.
    is_prose: bool,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut in_code = false;
    text.lines().zip(1..).map(move |(text, number)| {
        let is_fence = text.trim_start().starts_with("```");
        in_code ^= is_fence;
        Line { number, text, is_prose: !in_code && !is_fence }
    })
}

fn line_problems(tree: &Tree, page: &File, line: &str) -> Vec<String> {
    let quoted = line.split('`').skip(1).step_by(2);
    let dead_paths = quoted.filter(|text| is_path(text) && !there(tree, text));
    let paths = dead_paths.map(|path| format!("there is no `{path}`"));
    let bare: String = line.split('`').step_by(2).collect();
    let links = bare.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned());
    let dead_links =
        links.filter(|to| !leads(tree, page, to)).map(|to| format!("the link to {to} leads nowhere"));
    paths.chain(dead_links).collect()
}

/// Whether a text in backquotes is a path of the repository, and not a pattern or a command.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    OURS.iter().any(|directory| text.starts_with(directory)) && text.chars().all(plain)
}

fn there(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = format!("{path}/");
    MADE.contains(&path)
        || tree.paths.contains(path)
        || tree.paths.iter().any(|file| file.starts_with(&below))
}

fn leads(tree: &Tree, page: &File, to: &str) -> bool {
    if to.contains("://") || to.starts_with("mailto:") {
        return true;
    }
    let (path, heading) = to.split_once('#').unwrap_or((to, ""));
    let path = if path.is_empty() { page.path.clone() } else { joined(&page.path, path) };
    let target = tree.pages.iter().find(|other| other.path == path);
    there(tree, &path) && (heading.is_empty() || target.is_none_or(|page| anchors(page).contains(heading)))
}

/// The path of what `to` means on `page`.
fn joined(page: &str, to: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The names of a page's headings, as hosting sites make them.
fn anchors(page: &File) -> BTreeSet<String> {
    let headings =
        lines(&page.text).filter(|line| line.is_prose).filter_map(|line| line.text.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// `-p CRATE` and the `--test NAME` or `--example NAME` after it.
fn commands(tree: &Tree, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || c == '`').collect();
    let mut room = None;
    let mut problems = Vec::new();
    for pair in words.windows(2) {
        match (pair[0], pair[1], room) {
            ("-p", name, _) if name.starts_with("polynic") => {
                let directory = name.strip_prefix("polynic-").unwrap_or(name);
                room = Some(directory);
                if !there(tree, &format!("crates/{directory}")) {
                    problems.push(format!("there is no crate {name}"));
                }
            }
            (kind @ ("--test" | "--example"), name, Some(room)) => {
                let stem = format!("crates/{room}/{}s/{name}", kind.trim_start_matches('-'));
                if !there(tree, &stem) && !there(tree, &format!("{stem}.rs")) {
                    problems.push(format!("{room} has no {} {name}", kind.trim_start_matches('-')));
                }
            }
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let page = |path: &str, text: &str| File { path: path.into(), text: text.into(), is_test: false };
        let paths =
            ["docs/a.md", "docs/b.md", "README.md", "crates/net/src/lib.rs", "crates/net/tests/x/main.rs"];
        problems(&Tree {
            pages: vec![
                page("docs/a.md", text),
                page("docs/b.md", "# Two `words`, here\n```\n# no heading\n```\n"),
            ],
            paths: paths.map(str::to_owned).into(),
            ..Tree::default()
        })
    }

    #[test]
    fn links_lead_to_files_directories_headings_and_other_places() {
        let links = "[a](b.md) [b](../README.md) [c](b.md#two-words-here) [d](../crates/net) [e](https://x.y/z) [f](#g)\n# G\n";
        assert_eq!(found(links), Vec::<String>::new());
    }

    #[test]
    fn a_link_without_an_end_is_named_with_its_place() {
        assert_eq!(found("x\n[a](c.md)\n"), ["docs/a.md:2: the link to c.md leads nowhere"]);
        assert_eq!(found("[a](b.md#no-heading)\n").len(), 1);
        assert_eq!(found("[a](#gone)\n").len(), 1);
    }

    #[test]
    fn paths_in_backquotes_exist() {
        assert_eq!(
            found("`crates/net` `crates/net/src/lib.rs` `fuzz/corpus` `/run/x` `docs/*.md`\n"),
            Vec::<String>::new()
        );
        assert_eq!(found("`scripts/gone.sh`\n"), ["docs/a.md:1: there is no `scripts/gone.sh`"]);
    }

    #[test]
    fn commands_name_crates_and_tests_that_exist_in_blocks_too() {
        assert_eq!(found("```\ncargo test -p polynic-net --test x name\n```\n"), Vec::<String>::new());
        assert_eq!(found("`cargo test -p polynic-gone`\n"), ["docs/a.md:1: there is no crate polynic-gone"]);
        assert_eq!(found("`cargo test -p polynic-net --test y`\n"), ["docs/a.md:1: net has no test y"]);
    }

    #[test]
    fn code_is_no_prose() {
        assert_eq!(found("```\n[a](c.md)\n```\n`[a](c.md)`\n"), Vec::<String>::new());
    }
}
