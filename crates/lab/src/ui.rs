//! Words on a terminal: colours only where somebody sees them.

use std::io::{self, IsTerminal, Write};

/// Text styles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Headings.
    Bold,
    /// What is beside the point.
    Dim,
    /// What is as it should be.
    Good,
    /// What is not.
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
        }
    }
}

/// This program as it was called: what is told to be typed next works where the first command did.
pub fn program() -> String {
    std::env::args().next().filter(|name| name.contains('/')).unwrap_or_else(|| "polynic-lab".to_owned())
}

/// Standard output, perhaps in colour.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    colour: bool,
}

impl Ui {
    /// In colour on a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>) or the terminal is dumb.
    pub fn new() -> Ui {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Ui { colour: io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb }
    }

    /// The text in a style.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }

    /// A line. It is no matter if nobody reads it.
    pub fn line(self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// A heading with a blank line before it.
    pub fn heading(self, text: &str) {
        self.line(&format!("\n{}", self.paint(Style::Bold, text)));
    }
}

/// An error with its remedy, on standard error.
pub fn complain(error: &crate::error::Error) {
    let mut stderr = io::stderr();
    let _ = writeln!(stderr, "polynic-lab: {error}");
    if let Some(remedy) = error.remedy() {
        let _ = writeln!(stderr, "  {remedy}");
    }
}

/// Columns, each as wide as its longest cell.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_codes_around_the_text_or_nothing() {
        assert_eq!(Ui { colour: true }.paint(Style::Good, "ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(Ui { colour: false }.paint(Style::Good, "ok"), "ok");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "b".into()], vec!["long".to_owned(), "c".into(), "d".into()]];
        assert_eq!(table(&rows), ["a     b", "long  c  d"]);
    }
}
