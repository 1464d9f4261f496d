//! Label selectors: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`.

mod lexer;
mod parser;

use serde_json::Value;

use super::SelectorError;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

/// Conditions that must all hold on `metadata.labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<(String, Test)>);

impl LabelSelector {
    /// Parses the value of the `labelSelector` query parameter.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parser::parse(text).map(Self)
    }

    /// From a LabelSelector object (`matchLabels`, `matchExpressions`) that was validated; operators that do not exist
    /// match nothing.
    pub(crate) fn from_object(selector: &Value) -> Self {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let mut requirements: Vec<(String, Test)> = labels
            .map(|(key, value)| (key.clone(), Test::In(strings(std::slice::from_ref(value)))))
            .collect();
        for expression in crate::json::items(selector, "matchExpressions") {
            let values = strings(crate::json::items(expression, "values"));
            let test = match crate::json::text(expression, "operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                _ => Test::In(Vec::new()),
            };
            requirements.push((crate::json::text(expression, "key").into(), test));
        }
        Self(requirements)
    }

    /// True without conditions.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if all conditions hold on the labels of `object`.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|(key, test)| test.holds(labels.get(key).and_then(Value::as_str)))
    }
}

fn strings(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(allowed) => value.is_some_and(|v| allowed.iter().any(|a| a == v)),
            Self::NotIn(refused) => value.is_none_or(|v| refused.iter().all(|r| r != v)),
            Self::Greater(bound) => number().is_some_and(|n| n > *bound),
            Self::Less(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

/// A label key: an optional DNS prefix and a slash, then a name as in [`is_value`], not empty.
pub(crate) fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("x", key));
    let prefix_ok = !prefix.is_empty() && prefix.len() <= 253;
    prefix_ok && !name.is_empty() && !name.contains('/') && is_value(name)
}

/// A label value: up to 63 of `[A-Za-z0-9_.-]`, alphanumeric at both ends; may be empty.
pub(crate) fn is_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(|b| inner(*b)) && edge(bytes.first()) && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn matches(selector: &str) -> bool {
        let object =
            json!({"metadata": {"labels": {"app": "web", "tier": "front", "n": "5", "k8s.io/x": ""}}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn equality_sets_and_existence_hold_as_documented() {
        for selector in [
            "",
            "app=web",
            "app==web,tier!=back",
            "app in (web, db)",
            "app notin (db)",
            "app",
            "!missing",
            "missing!=x",
            "missing notin (x)",
            "n>4",
            "n<6",
            "k8s.io/x",
            "k8s.io/x=",
            " app = web , tier ",
            "app in (web,)",
        ] {
            assert!(matches(selector), "{selector}");
        }
        for selector in
            ["app=db", "app!=web", "app in (db)", "app notin (web,db)", "missing", "!app", "n>5", "app>1"]
        {
            assert!(!matches(selector), "{selector}");
        }
    }

    #[test]
    fn selector_objects_mean_the_same() {
        let labelled = |labels: Value| json!({"metadata": {"labels": labels}});
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "NotIn", "values": ["d"]}, {"key": "e", "operator": "Exists"}]});
        let selector = LabelSelector::from_object(&selector);
        assert!(selector.matches(&labelled(json!({"a": "b", "e": ""}))));
        assert!(!selector.matches(&labelled(json!({"a": "b", "c": "d", "e": ""}))));
        assert!(LabelSelector::from_object(&json!({})).is_empty());
        let unknown = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        assert!(!LabelSelector::from_object(&unknown).matches(&labelled(json!({"a": "b"}))));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["=", "a=b,", "a in b", "a in (b", "a ? b", "a=b=c", "-a", "a=-b", "a b", ",a", "a>x", "/a"]
        {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn in_and_notin_are_opposites(value in "[a-z]{1,3}", set in prop::collection::vec("[a-z]{1,3}", 1..4)) {
            let object = json!({"metadata": {"labels": {"k": value}}});
            let parse = |op: &str| LabelSelector::parse(&format!("k {op} ({})", set.join(","))).unwrap();
            prop_assert_ne!(parse("in").matches(&object), parse("notin").matches(&object));
        }
    }
}
