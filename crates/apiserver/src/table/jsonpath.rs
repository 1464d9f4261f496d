//! The subset of JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[*]`, `.*`, `[?(@.type=="Ready")]`, and `\.` in names.

use serde_json::Value;

/// Why a path was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsupported JSONPath {path:?} at {rest:?}")]
pub struct JsonPathError {
    /// The whole path.
    pub path: String,
    /// What was left when parsing stopped.
    pub rest: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter { path: Vec<String>, equal: bool, value: String },
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Parses `path`; it may or may not start with a dot.
    pub fn parse(path: &str) -> Result<Self, JsonPathError> {
        let mut rest = path.trim().trim_start_matches('$');
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let parsed = if rest.starts_with('[') { bracket(rest) } else { field(rest) };
            let (step, after) =
                parsed.ok_or_else(|| JsonPathError { path: path.into(), rest: rest.into() })?;
            steps.push(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// All values the path leads to.
    pub fn find<'v>(&self, object: &'v Value) -> Vec<&'v Value> {
        let start = vec![object];
        self.0.iter().fold(start, |values, step| values.into_iter().flat_map(|v| step.follow(v)).collect())
    }

    /// The first of them.
    pub fn first<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        self.find(object).into_iter().next()
    }
}

impl Step {
    fn follow<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Field(name) => value.get(name).filter(|v| !v.is_null()).into_iter().collect(),
            Self::Index(index) => element(value, *index).into_iter().collect(),
            Self::All => children(value),
            Self::Filter { path, equal, value: wanted } => {
                let holds = |child: &&Value| (leaf(child, path).as_deref() == Some(wanted)) == *equal;
                children(value).into_iter().filter(holds).collect()
            }
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn element(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let from_end = i64::try_from(items.len()).ok()? + index;
    items.get(usize::try_from(if index < 0 { from_end } else { index }).ok()?)
}

fn leaf(value: &Value, path: &[String]) -> Option<String> {
    let found = path.iter().try_fold(value, |at, key| at.get(key))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// `.name`, `name` or `.*`.
fn field(text: &str) -> Option<(Step, &str)> {
    let text = text.strip_prefix('.').unwrap_or(text);
    let (name, rest) = name(text);
    match name.as_str() {
        "" => None,
        "*" => Some((Step::All, rest)),
        _ => Some((Step::Field(name), rest)),
    }
}

/// A name up to the next dot or bracket; a backslash makes the next character part of the name.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, &text[at..]),
            other => name.push(other),
        }
    }
    (name, "")
}

/// `[0]`, `[*]`, `['name']` or a filter.
fn bracket(text: &str) -> Option<(Step, &str)> {
    let inner = text.strip_prefix('[')?;
    if let Some(condition) = inner.strip_prefix("?(") {
        let (condition, rest) = condition.split_once(")]")?;
        return Some((filter(condition)?, rest));
    }
    if let Some(quote @ ('\'' | '"')) = inner.chars().next() {
        let (name, rest) = inner[1..].split_once(quote)?;
        return Some((Step::Field(name.into()), rest.strip_prefix(']')?));
    }
    let (index, rest) = inner.split_once(']')?;
    if index == "*" {
        return Some((Step::All, rest));
    }
    Some((Step::Index(index.trim().parse().ok()?), rest))
}

/// `@.a.b == "c"`, with `!=` too.
fn filter(condition: &str) -> Option<Step> {
    let (equal, operator) = if condition.contains("!=") { (false, "!=") } else { (true, "==") };
    let (path, value) = condition.split_once(operator)?;
    let path = path.trim().strip_prefix("@.")?;
    let value = value.trim().trim_matches(['"', '\'']);
    Some(Step::Filter { path: path.split('.').map(str::to_owned).collect(), equal, value: value.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn find(path: &str) -> Value {
        let object = json!({
            "spec": {"ips": ["1", "2"], "dotted.key": 7, "none": null},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        json!(JsonPath::parse(path).unwrap().find(&object))
    }

    #[test]
    fn paths_lead_where_kubectl_says() {
        assert_eq!(find(".spec.ips[0]"), json!(["1"]));
        assert_eq!(find("spec.ips[-1]"), json!(["2"]));
        assert_eq!(find(".spec.ips[*]"), json!(["1", "2"]));
        assert_eq!(find(r".spec.dotted\.key"), json!([7]));
        assert_eq!(find(".spec['dotted.key']"), json!([7]));
        assert_eq!(find(r#".status.conditions[?(@.type=="Ready")].status"#), json!(["True"]));
        assert_eq!(find(".status.conditions[?(@.type!='Ready')].status"), json!(["False"]));
        assert_eq!(find(".spec.missing.deep"), json!([]));
        assert_eq!(find(".spec.none"), json!([]));
    }

    #[test]
    fn nonsense_is_refused() {
        for path in ["..a", ".a[", ".a[x]", ".a[?(type)]", ".a['b'"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(path in ".{0,40}") {
            let _ = JsonPath::parse(&path);
        }
    }
}
