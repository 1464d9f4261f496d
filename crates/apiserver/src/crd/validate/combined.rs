//! `allOf`, `anyOf`, `oneOf` and `not`: which failures of the alternatives are worth showing.

use serde_json::Value;

use super::{Complaint, Outcome, Place};
use crate::go;
use crate::schema::Node;

impl Place<'_> {
    pub(super) fn combined(&self, value: &Value) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(rules) = self.node.rules() {
            self.any_of(&rules.any_of, value, &mut outcome);
            self.one_of(&rules.one_of, value, &mut outcome);
            self.all_of(&rules.all_of, value, &mut outcome);
            if rules.not.as_ref().is_some_and(|not| self.alternative(not, value).is_valid()) {
                outcome.add(self.failed("must not validate the schema (not)"));
            }
        }
        outcome.count();
        outcome
    }

    fn alternative(&self, node: &Node, value: &Value) -> Outcome {
        Place { node, old: self.old, path: self.path.clone() }.judged(value)
    }

    fn failed(&self, what: &str) -> Complaint {
        Complaint::combined(format!("{} {what}", go::quote(&self.path)))
    }

    fn any_of(&self, alternatives: &[Node], value: &Value, outcome: &mut Outcome) {
        let mut best: Option<Outcome> = None;
        for alternative in alternatives {
            let result = self.alternative(alternative, value);
            if result.is_valid() {
                outcome.merge(result);
                return;
            }
            if best.as_ref().is_none_or(|best| result.matches > best.matches) {
                best = Some(result);
            }
        }
        if let Some(best) = best {
            outcome.add(self.failed("must validate at least one schema (anyOf)"));
            outcome.merge(best);
        }
    }

    fn one_of(&self, alternatives: &[Node], value: &Value, outcome: &mut Outcome) {
        if alternatives.is_empty() {
            return;
        }
        let results: Vec<Outcome> = alternatives.iter().map(|node| self.alternative(node, value)).collect();
        let valid = results.iter().filter(|result| result.is_valid()).count();
        if valid == 1 {
            results.into_iter().filter(Outcome::is_valid).for_each(|result| outcome.merge(result));
            return;
        }
        let found = if valid == 0 {
            "Found none valid".to_owned()
        } else {
            format!("Found {valid} valid alternatives")
        };
        outcome.add(self.failed(&format!("must validate one and only one schema (oneOf). {found}")));
        if valid == 0 {
            let most = results.iter().map(|result| result.matches).max();
            outcome.merge(results.into_iter().find(|r| Some(r.matches) == most).unwrap_or_default());
        }
    }

    fn all_of(&self, parts: &[Node], value: &Value, outcome: &mut Outcome) {
        let results: Vec<Outcome> = parts.iter().map(|node| self.alternative(node, value)).collect();
        let valid = results.iter().filter(|result| result.is_valid()).count();
        let total = results.len();
        results.into_iter().for_each(|result| outcome.merge(result));
        if valid < total {
            let none = if valid == 0 { ". None validated" } else { "" };
            outcome.add(self.failed(&format!("must validate all the schemas (allOf){none}")));
        }
    }
}
