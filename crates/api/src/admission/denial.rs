//! Why an object is refused, in the words of the Kubernetes API.

use std::fmt;

/// One field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.ips[1]`.
    pub field: String,
    /// The rule.
    pub problem: Problem,
    /// What is wrong, for a person.
    pub detail: String,
}

/// Kinds of problems, as the API reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The value, shown as JSON, is wrong.
    Invalid(String),
    /// There is no value.
    Required,
    /// The value could be right, but not here.
    Forbidden,
}

impl Problem {
    /// The `reason` of a status cause.
    pub fn reason(&self) -> &'static str {
        match self {
            Problem::Invalid(_) => "FieldValueInvalid",
            Problem::Required => "FieldValueRequired",
            Problem::Forbidden => "FieldValueForbidden",
        }
    }
}

impl FieldError {
    /// A wrong value.
    pub fn invalid(
        field: impl Into<String>,
        value: impl serde::Serialize,
        detail: impl Into<String>,
    ) -> Self {
        // Values are texts, numbers and lists of them: they cannot fail to become JSON.
        let value = serde_json::to_string(&value).unwrap_or_default();
        Self { field: field.into(), problem: Problem::Invalid(value), detail: detail.into() }
    }

    /// A missing value.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), problem: Problem::Required, detail: detail.into() }
    }

    /// A value that may not be.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), problem: Problem::Forbidden, detail: detail.into() }
    }

    /// Everything but the path.
    pub fn message(&self) -> String {
        match &self.problem {
            Problem::Invalid(value) => format!("Invalid value: {value}: {}", self.detail),
            Problem::Required => format!("Required value: {}", self.detail),
            Problem::Forbidden => format!("Forbidden: {}", self.detail),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// 422: fields break rules.
    Invalid(Vec<FieldError>),
    /// 409: the name is taken.
    AlreadyExists,
    /// 403: nothing may be done to the object now.
    Forbidden(String),
}

impl Denial {
    /// The HTTP status.
    pub fn code(&self) -> u16 {
        match self {
            Denial::Invalid(_) => 422,
            Denial::AlreadyExists => 409,
            Denial::Forbidden(_) => 403,
        }
    }

    /// The `reason` of the API's status.
    pub fn reason(&self) -> &'static str {
        match self {
            Denial::Invalid(_) => "Invalid",
            Denial::AlreadyExists => "AlreadyExists",
            Denial::Forbidden(_) => "Forbidden",
        }
    }

    /// The message of the API's status for an object: `plural` is that of the resource, `kind` that of the object.
    pub fn message(&self, kind: &str, plural: &str, name: &str) -> String {
        let group = crate::spider::GROUP;
        match self {
            Denial::Invalid(errors) => format!("{kind}.{group} {name:?} is invalid: {}", list(errors)),
            Denial::AlreadyExists => format!("{plural}.{group} {name:?} already exists"),
            Denial::Forbidden(why) => format!("{plural}.{group} {name:?} is forbidden: {why}"),
        }
    }

    /// An error for any refusal of fields, success if there are none.
    pub(super) fn unless_empty(errors: Vec<FieldError>) -> Result<(), Denial> {
        if errors.is_empty() { Ok(()) } else { Err(Denial::Invalid(errors)) }
    }
}

impl From<FieldError> for Denial {
    fn from(error: FieldError) -> Self {
        Denial::Invalid(vec![error])
    }
}

fn list(errors: &[FieldError]) -> String {
    match errors {
        [one] => one.to_string(),
        many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_like_those_of_the_api_server() {
        let one = Denial::from(FieldError::invalid("spec.subnet", "10.0.0.1/24", "has host bits"));
        let text = |denial: &Denial| denial.message("SpiderIPPool", "spiderippools", "p");
        assert_eq!(
            text(&one),
            "SpiderIPPool.spiderpool.spidernet.io \"p\" is invalid: spec.subnet: Invalid value: \"10.0.0.1/24\": has host bits"
        );
        let two = Denial::Invalid(vec![
            FieldError::required("a", "must be"),
            FieldError::forbidden("b", "not now"),
        ]);
        assert!(text(&two).ends_with("is invalid: [a: Required value: must be, b: Forbidden: not now]"));
        assert_eq!(
            text(&Denial::AlreadyExists),
            "spiderippools.spiderpool.spidernet.io \"p\" already exists"
        );
        let deleted = Denial::Forbidden("it is being deleted".to_owned());
        assert_eq!(
            text(&deleted),
            "spiderippools.spiderpool.spidernet.io \"p\" is forbidden: it is being deleted"
        );
        assert_eq!([one.code(), Denial::AlreadyExists.code(), deleted.code()], [422, 409, 403]);
    }
}
