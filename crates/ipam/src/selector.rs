//! Label selectors with the meaning that Kubernetes gives them.

use crate::Texts;

/// `metav1.LabelSelector`. One without any term selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Labels that must have these values.
    pub match_labels: Texts,
    /// Further terms, all of which must hold.
    pub match_expressions: Vec<Expression>,
}

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The label's key.
    pub key: String,
    /// What must hold for its value.
    pub operator: Operator,
    /// The values that `In` and `NotIn` speak of.
    pub values: Vec<String>,
}

/// What a term asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there, with one of the values.
    In,
    /// The label is absent, or has another value.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Texts) -> bool {
        let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(equal) && self.match_expressions.iter().all(|term| term.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &Texts) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn term(key: &str, operator: Operator, values: &[&str]) -> Selector {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Selector {
            match_expressions: vec![Expression { key: key.to_owned(), operator, values }],
            ..Selector::default()
        }
    }

    #[test]
    fn terms_mean_what_kubernetes_says() {
        let of = labels(&[("rack", "a"), ("ssd", "")]);
        for (selector, expected) in [
            (Selector::default(), true),
            (Selector { match_labels: labels(&[("rack", "a")]), ..Selector::default() }, true),
            (Selector { match_labels: labels(&[("rack", "b")]), ..Selector::default() }, false),
            (term("rack", Operator::In, &["b", "a"]), true),
            (term("room", Operator::In, &["a"]), false),
            (term("rack", Operator::NotIn, &["a"]), false),
            (term("room", Operator::NotIn, &["a"]), true),
            (term("ssd", Operator::Exists, &[]), true),
            (term("ssd", Operator::DoesNotExist, &[]), false),
        ] {
            assert_eq!(selector.matches(&of), expected, "{selector:?}");
        }
    }
}
