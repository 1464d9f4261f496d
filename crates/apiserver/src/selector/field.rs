//! Field selectors: `spec.nodeName=a,status.phase!=Running`, with `\` before a literal comma, equals sign or backslash.

use serde_json::Value;

use super::SelectorError;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    path: String,
    value: String,
    equal: bool,
}

/// Conditions that must all hold on fields of an object. A missing field counts as the empty string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Requirement>);

impl FieldSelector {
    /// Parses the value of the `fieldSelector` query parameter.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let terms = split(text).into_iter().filter(|term| !term.is_empty());
        terms.map(|term| requirement(text, term)).collect::<Result<_, _>>().map(Self)
    }

    /// True without conditions.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths it looks at, so that a kind can refuse those it does not support.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.path.as_str())
    }

    /// The value that `path` must have, if one condition demands exactly one.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|r| r.equal && r.path == path).map(|r| r.value.as_str())
    }

    /// True if all conditions hold on `object`.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|r| (field(object, &r.path) == r.value) == r.equal)
    }
}

fn field(object: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(object, |at, key| at.get(key));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        // The one boolean label there is (`spec.unschedulable`) reads as false when it is absent.
        _ if path == "spec.unschedulable" => "false".into(),
        _ => String::new(),
    }
}

/// Splits at commas that are not escaped; escapes stay in.
fn split(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.push(&text[start..at]);
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&text[start..]);
    terms
}

fn requirement(whole: &str, term: &str) -> Result<Requirement, SelectorError> {
    let operators = [("!=", false), ("==", true), ("=", true)];
    let split = |(at, _)| {
        let (path, rest) = term.split_at(at);
        operators.iter().find_map(|(op, equal)| Some((path, rest.strip_prefix(op)?, *equal)))
    };
    let Some((path, value, equal)) = term.char_indices().find_map(split) else {
        return Err(SelectorError(format!("invalid selector: '{whole}'; can't understand '{term}'")));
    };
    Ok(Requirement { path: path.trim().into(), value: unescape(value)?, equal })
}

/// Takes the escapes out. Refuses others than those of `\`, `,` and `=`, and a bare equals sign.
fn unescape(value: &str) -> Result<String, SelectorError> {
    let bad = |why: String| SelectorError(format!("invalid field selector: {why}"));
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some(next)) if ['\\', ',', '='].contains(&next) => plain.extend(chars.next()),
            ('\\', next) => {
                let next = next.map(String::from).unwrap_or_default();
                return Err(bad(format!("invalid escape sequence: \\{next}")));
            }
            // The real server names the character by its number.
            ('=', _) => return Err(bad(format!("unescaped character in value: {}", u32::from(c)))),
            (other, _) => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn matches(selector: &str, object: &Value) -> bool {
        FieldSelector::parse(selector).unwrap().matches(object)
    }

    #[test]
    fn fields_compare_as_strings_and_missing_is_empty() {
        let pod = json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        assert!(matches("spec.nodeName=n1,status.phase!=Pending", &pod));
        assert!(matches("spec.nodeName==n1", &pod));
        assert!(!matches("spec.nodeName=", &pod));
        assert!(matches("metadata.name=", &pod));
        assert!(matches("", &pod));
        assert!(matches("spec.unschedulable=false", &pod));
    }

    #[test]
    fn escapes_are_taken_out() {
        let object = json!({"a": "x,y=z\\"});
        assert!(matches(r"a=x\,y\=z\\", &object));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "a=b=c", r"a=\x", "a!b", r"a=\"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_the_real_server_says_it() {
        let why = |text: &str| FieldSelector::parse(text).unwrap_err().0;
        assert_eq!(why("a=b,nope"), "invalid selector: 'a=b,nope'; can't understand 'nope'");
        assert_eq!(why(r"a=\x"), r"invalid field selector: invalid escape sequence: \x");
        assert_eq!(why("a=b=c"), "invalid field selector: unescaped character in value: 61");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
