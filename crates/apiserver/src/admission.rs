//! Admission: what others have to say about a write before it happens. Mutating webhooks change the object, validating
//! webhooks accept or refuse it. Decides who is asked and what an answer means; `api` decides when. Knows no store
//! transaction: a webhook may take seconds and may ask this very server, so nothing is held while it is called.

mod call;
mod conditions;
mod dispatch;
mod hook;
mod hooks;
mod matching;
mod resolve;
mod review;

use std::sync::Arc;

use serde_json::Value;

use crate::resource::Resource;

pub use self::resolve::{ResolveError, ServiceResolver};

pub(crate) use self::conditions::compile as compile_condition;
pub(crate) use self::dispatch::{Admission, World};
pub(crate) use self::hooks::{Hooks, PREFIXES};

/// What a request does, in the words of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Where a request goes: the part that decides whether any rule can match at all.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) operation: Operation,
    pub(crate) resource: Arc<Resource>,
    /// Empty for the object itself.
    pub(crate) subresource: &'static str,
}

/// A request as admission sees it. Objects are in the version of `place.resource`.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) place: Place,
    /// For namespaces their own name, empty for other cluster-wide kinds.
    pub(crate) namespace: String,
    /// Empty for a create whose name is to be generated.
    pub(crate) name: String,
    /// Null for a deletion.
    pub(crate) object: Value,
    /// Null for a creation.
    pub(crate) old: Value,
    /// CreateOptions, UpdateOptions, ...
    pub(crate) options: Value,
    pub(crate) dry_run: bool,
    /// Who asks, as `userInfo`.
    pub(crate) user: Value,
}
