//! What values are allowed beyond their type: the validation words of OpenAPI, and CEL expressions as they were written.
//! Built-in kinds have none (their rules are code); definitions of custom kinds bring them.

use serde_json::Value;

use super::Node;

/// A bound of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The bound.
    pub value: f64,
    /// True if the bound itself is not allowed.
    pub exclusive: bool,
}

/// The rules of one node. What is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// The values there are.
    pub enumeration: Vec<Value>,
    /// The lowest number.
    pub minimum: Option<Bound>,
    /// The highest number.
    pub maximum: Option<Bound>,
    /// Numbers are multiples of this.
    pub multiple_of: Option<f64>,
    /// Characters of a string, at least.
    pub min_length: Option<u64>,
    /// Characters of a string, at most.
    pub max_length: Option<u64>,
    /// A regular expression that a string matches somewhere.
    pub pattern: Option<String>,
    /// Elements of a list, at least.
    pub min_items: Option<u64>,
    /// Elements of a list, at most.
    pub max_items: Option<u64>,
    /// True if a list's elements differ.
    pub unique_items: bool,
    /// Fields of an object, at least.
    pub min_properties: Option<u64>,
    /// Fields of an object, at most.
    pub max_properties: Option<u64>,
    /// Types that a value has all of.
    pub all_of: Vec<Node>,
    /// Types that a value has one of, or more.
    pub any_of: Vec<Node>,
    /// Types that a value has exactly one of.
    pub one_of: Vec<Node>,
    /// The type that a value does not have.
    pub not: Option<Node>,
    /// `x-kubernetes-validations`, as written.
    pub validations: Vec<Value>,
}
