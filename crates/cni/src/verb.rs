//! What a runtime may ask of a plugin (spec/cni.md 2).

use std::fmt;

/// The value of `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Attach an interface and answer with the result.
    Add,
    /// Undo an attachment; best effort, repeatable.
    Del,
    /// Compare an attachment with what ADD promised. Since 0.4.0.
    Check,
    /// Drop what belongs to no valid attachment. Since 1.1.0.
    Gc,
    /// Say whether ADD can be served now. Since 1.1.0.
    Status,
    /// Say which protocol versions are spoken.
    Version,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 6] = [Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status, Verb::Version];

    /// The word as it stands in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Del => "DEL",
            Verb::Check => "CHECK",
            Verb::Gc => "GC",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
        }
    }

    /// The verb of an exact, upper-case word.
    pub fn from_word(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_exact_and_upper_case() {
        for verb in Verb::ALL {
            assert_eq!(Verb::from_word(verb.as_str()), Some(verb));
            assert_eq!(Verb::from_word(&verb.as_str().to_lowercase()), None);
        }
    }
}
