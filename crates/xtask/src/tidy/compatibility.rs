//! `docs/compatibility.md` promises nothing that no test shows.
//!
//! A row is `| id | feature | state | test |`. The state is `works`, `partly: what is missing` or `not yet`; a row that claims
//! something names its tests in backquotes: `room::any::path::test_name`, or the path of a file.

use std::collections::BTreeSet;

use super::tree::{File, Tree};

const STATES: [&str; 3] = ["works", "partly", "not yet"];

struct Row<'a> {
    line: usize,
    id: &'a str,
    state: &'a str,
    tests: &'a str,
}

pub(super) fn problems(tree: &Tree) -> Vec<String> {
    let Some(page) = &tree.compatibility else {
        return vec!["docs/compatibility.md: does not exist".to_owned()];
    };
    let rows = rows(&page.text);
    let mut problems = repeated_ids(&rows);
    problems.extend(rows.iter().flat_map(|row| row_problems(tree, row)));
    problems.into_iter().map(|problem| format!("{}:{problem}", page.path)).collect()
}

/// All rows of all tables headed `id` and `feature`. A cell that is not there is empty, so a row of another width
/// does not slip through: its state is wrong.
fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let cell = |number: usize| cells.get(number).copied().unwrap_or_default();
        if !line.starts_with('|') {
            in_table = false;
        } else if (cell(1), cell(2)) == ("id", "feature") {
            in_table = true;
        } else if in_table && !cell(1).starts_with("--") {
            rows.push(Row { line: index + 1, id: cell(1), state: cell(3), tests: cell(4) });
        }
    }
    rows
}

fn repeated_ids(rows: &[Row<'_>]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let repeated = rows.iter().filter(|row| !seen.insert(row.id));
    repeated.map(|row| format!("{}: {} is the id of another row", row.line, row.id)).collect()
}

fn row_problems(tree: &Tree, row: &Row<'_>) -> Vec<String> {
    let (state, missing) = row.state.split_once(':').unwrap_or((row.state, ""));
    let tests: Vec<&str> = row.tests.split('`').skip(1).step_by(2).collect();
    let mut problems = Vec::new();
    if !STATES.contains(&state) {
        problems.push(format!("the state is one of {}, not \"{state}\"", STATES.join(", ")));
    }
    if state == "partly" && missing.trim().is_empty() {
        problems.push("say what is missing: \"partly: ...\"".to_owned());
    }
    if state != "not yet" && tests.is_empty() {
        problems.push(format!("\"{state}\" names no test in backquotes"));
    }
    problems.extend(tests.iter().filter(|test| !exists(tree, test)).map(|test| format!("no test `{test}`")));
    problems.into_iter().map(|problem| format!("{}: {}: {problem}", row.line, row.id)).collect()
}

fn exists(tree: &Tree, test: &str) -> bool {
    match (test.split_once("::"), test.rsplit_once("::")) {
        (Some((room, _)), Some((_, name))) => {
            tree.sources.iter().filter(|file| file.room() == room).any(|file| defines(file, name))
        }
        _ => tree.paths.contains(test),
    }
}

fn defines(file: &File, name: &str) -> bool {
    let function = format!("fn {name}(");
    !name.is_empty() && file.text.lines().any(|line| line.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| id | feature | state | test |\n| --- | --- | --- | --- |\n";

    fn found(rows: &str) -> Vec<String> {
        let file = |path: &str, text: String| File { path: path.into(), text, is_test: false };
        problems(&Tree {
            sources: vec![file("crates/cni/src/gate.rs", "    fn check_needs_a_version() {\n".into())],
            compatibility: Some(file("docs/compatibility.md", format!("{HEAD}{rows}\n"))),
            paths: BTreeSet::from(["scenarios/a/expect.md".to_owned()]),
            ..Tree::default()
        })
    }

    #[test]
    fn a_claim_with_a_test_that_exists_passes() {
        assert_eq!(found("| c1 | a | works | `cni::gate::check_needs_a_version` |"), Vec::<String>::new());
        assert_eq!(found("| c1 | a | partly: no b | `scenarios/a/expect.md` |"), Vec::<String>::new());
        assert_eq!(found("| c1 | a | not yet | |"), Vec::<String>::new());
    }

    #[test]
    fn a_claim_without_a_test_is_refused() {
        assert!(found("| c1 | a | works | |")[0].contains("names no test"));
        assert!(found("| c1 | a | works | check_needs_a_version |")[0].contains("names no test"));
    }

    #[test]
    fn a_test_that_does_not_exist_is_refused() {
        for test in ["cni::gate::check_needs", "net::check_needs_a_version", "scenarios/b", "cni::"] {
            let found = found(&format!("| c1 | a | works | `{test}` |"));
            assert!(found.len() == 1 && found[0].contains("no test"), "{test}: {found:?}");
        }
    }

    #[test]
    fn every_named_test_must_exist() {
        let tests = "`cni::check_needs_a_version`, `cni::gone`";
        assert_eq!(
            found(&format!("| c1 | a | works | {tests} |")),
            ["docs/compatibility.md:3: c1: no test `cni::gone`"]
        );
    }

    #[test]
    fn states_are_three_words_and_partly_says_what_is_missing() {
        assert!(found("| c1 | a | done | `cni::check_needs_a_version` |")[0].contains("not \"done\""));
        assert!(
            found("| c1 | a | partly | `cni::check_needs_a_version` |")[0].contains("say what is missing")
        );
    }

    #[test]
    fn a_row_of_another_width_does_not_slip_through() {
        assert!(!found("| c1 | a | works |").is_empty());
        assert!(!found("| c1 | a | b | works | `cni::check_needs_a_version` |").is_empty());
    }

    #[test]
    fn ids_are_unique() {
        assert!(found("| c1 | a | not yet | |\n| c1 | b | not yet | |")[0].contains("another row"));
    }

    #[test]
    fn other_tables_are_left_alone() {
        let text = format!(
            "| word | a | b | meaning |\n| --- | --- | --- | --- |\n| id | a | b | c |\n\n{HEAD}| y | a | works | |\n"
        );
        assert_eq!(rows(&text).len(), 1);
    }

    #[test]
    fn a_missing_page_is_a_problem() {
        assert_eq!(problems(&Tree::default()).len(), 1);
    }
}
