//! Regular expressions of definitions, compiled once. The dialect is RE2's, which this crate's regular expressions share
//! but for corners; one that does not compile matches nothing, as in the real server.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

/// Compiled expressions that are kept.
const KEPT: usize = 512;
/// Bytes that one compiled expression may take.
const SIZE_LIMIT: usize = 4 << 20;

static COMPILED: LazyLock<Mutex<HashMap<String, Option<Arc<Regex>>>>> = LazyLock::new(Mutex::default);

/// True if `pattern` matches somewhere in `text`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    compiled(pattern).is_some_and(|regex| regex.is_match(text))
}

/// `pattern`, compiled; `None` if it is none.
pub(crate) fn compiled(pattern: &str) -> Option<Arc<Regex>> {
    let mut kept = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(pattern) {
        return known.clone();
    }
    if kept.len() >= KEPT {
        kept.clear();
    }
    let regex = compile(pattern).ok().map(Arc::new);
    kept.insert(pattern.to_owned(), regex.clone());
    regex
}

/// Says what is wrong with `pattern`, in the words of Go's regular expressions where the mistake is a usual one.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    let Err(error) = compile(pattern) else { return Ok(()) };
    let says = |what: &str| error.contains(what);
    let after = |start: &str| pattern.find(start).map_or("", |at| &pattern[at..]);
    Err(match () {
        () if says("look-around") => format!("invalid or unsupported Perl syntax: `{}`", &after("(?")[..3]),
        () if says("backreferences") => "invalid escape sequence: `\\1`".into(),
        () if says("unclosed group") => format!("missing closing ): `{pattern}`"),
        () if says("unopened group") => format!("unexpected ): `{pattern}`"),
        () if says("unclosed character class") => format!("missing closing ]: `{}`", after("[")),
        () if says("repetition operator missing expression") => {
            let operator = pattern.find(['*', '+', '?']).map_or("", |at| &pattern[at..=at]);
            format!("missing argument to repetition operator: `{operator}`")
        }
        () => error.trim_start_matches("error: ").to_owned(),
    })
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = pattern.replace("\\z", "$");
    let regex = RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).build();
    regex.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_anywhere_and_nonsense_nowhere() {
        assert!(matches("b+", "abbc") && !matches("^b", "ab"));
        assert!(!matches("(", "("));
        assert!(matches(r"^\d+$", "12"));
    }
}
