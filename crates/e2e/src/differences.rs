//! The list of differences from the reference plugins that are meant: `docs/differences.md`.

use std::path::Path;

/// One row: where the difference shows, and what it looks like. `*` stands for any text, `?` for any character.
#[derive(Debug)]
pub struct Row {
    scenario: String,
    difference: String,
}

/// The rows of the tables in a text: scenario, difference, reason. A row without reason does not count.
pub fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?.to_owned();
        let cells: Vec<String> = inner.split(" | ").map(|c| c.trim().trim_matches('`').to_owned()).collect();
        (cells.len() == 3 && !cells[2].is_empty()).then_some(cells)
    };
    let rows = text.lines().filter_map(cells).filter(|c| c[0] != "scenario" && !c[0].starts_with("--"));
    rows.map(|mut c| Row { difference: c.swap_remove(1), scenario: c.swap_remove(0) }).collect()
}

/// The rows of `docs/differences.md`.
///
/// # Panics
/// The file is not there.
pub fn documented() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/differences.md");
    rows(&std::fs::read_to_string(path).unwrap())
}

impl Row {
    /// Whether the row is about scenarios whose names begin so.
    pub fn is_about(&self, scenarios: &str) -> bool {
        self.scenario.starts_with(scenarios)
    }

    /// Whether the row is about this difference.
    pub fn covers(&self, scenario: &str, difference: &str) -> bool {
        matches(&self.scenario, scenario) && matches(&self.difference, difference)
    }
}

/// Whether `text` is what `pattern` says, with `*` for any text and `?` for any character.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            text.char_indices().any(|(at, _)| matches(rest.as_str(), &text[at..]))
                || matches(rest.as_str(), "")
        }
        Some(wanted) => {
            let mut tail = text.chars();
            tail.next().is_some_and(|c| wanted == '?' || c == wanted) && matches(rest.as_str(), tail.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "abd", false),
            ("*", "", true),
            ("x", "y", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn rows_have_three_cells_and_a_reason() {
        let text = "| scenario | difference | reason |\n|---|---|---|\n| `a*` | `ADD: x` | because |\n| b | y |  |\n";
        let rows = rows(text);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(rows[0].covers("abc", "ADD: x") && !rows[0].covers("abc", "ADD: y"));
    }
}
