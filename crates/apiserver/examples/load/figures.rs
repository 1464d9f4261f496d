//! What was measured, and the two servers beside each other.

use std::fmt::Write as _;
use std::time::Duration;

/// A number with what it counts.
#[derive(Clone, Copy)]
enum Figure {
    Seconds(f64),
    PerSecond(f64),
    Mebibytes(f64),
}

/// The figures of one server, in the order in which they were measured.
#[derive(Default)]
pub struct Figures(Vec<(String, Figure)>);

impl Figures {
    /// How long something took.
    pub fn time(&mut self, what: &str, took: Duration) {
        self.0.push((what.to_owned(), Figure::Seconds(took.as_secs_f64())));
    }

    /// How often something was done in some time.
    pub fn rate(&mut self, what: &str, count: usize, took: Duration) {
        self.0.push((what.to_owned(), Figure::PerSecond(count as f64 / took.as_secs_f64())));
    }

    /// How much memory was resident.
    pub fn memory(&mut self, what: &str, kibibytes: u64) {
        self.0.push((what.to_owned(), Figure::Mebibytes(kibibytes as f64 / 1024.0)));
    }

    fn of(&self, what: &str) -> Option<Figure> {
        self.0.iter().find(|(known, _)| known == what).map(|(_, figure)| *figure)
    }
}

/// A table in Markdown; the ratio says how many times better the embedded server is.
pub fn table(embedded: &Figures, real: Option<&Figures>) -> String {
    let mut text =
        String::from("| | embedded | etcd and kube-apiserver | times better |\n|---|---|---|---|\n");
    for (what, figure) in &embedded.0 {
        let other = real.and_then(|real| real.of(what));
        let (other_text, ratio) = match other {
            Some(other) => (written(other), format!("{:.1}", ratio(*figure, other))),
            None => ("-".to_owned(), "-".to_owned()),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {what} | {} | {other_text} | {ratio} |", written(*figure));
    }
    text
}

fn written(figure: Figure) -> String {
    match figure {
        Figure::Seconds(s) if s < 1.0 => format!("{:.1} ms", s * 1000.0),
        Figure::Seconds(s) => format!("{s:.2} s"),
        Figure::PerSecond(n) => format!("{n:.0}/s"),
        Figure::Mebibytes(n) => format!("{n:.1} MiB"),
    }
}

fn ratio(ours: Figure, theirs: Figure) -> f64 {
    match (ours, theirs) {
        (Figure::PerSecond(ours), Figure::PerSecond(theirs)) => ours / theirs,
        (Figure::Seconds(ours), Figure::Seconds(theirs))
        | (Figure::Mebibytes(ours), Figure::Mebibytes(theirs)) => theirs / ours,
        _ => f64::NAN,
    }
}
