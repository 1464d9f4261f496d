//! The patches a client may send, applied to one JSON object. Pure: no storage, no HTTP. Server-side apply is in `ownership`.

mod directives;
mod json_patch;
mod merge;
mod order;
mod strategic;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::schema::Node;

/// Why a patch was not applied; the object is unchanged then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed (HTTP 400).
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object (HTTP 422).
    #[error("{0}")]
    Unfit(String),
    /// The patch has more operations than are allowed (HTTP 413).
    #[error("{0}")]
    TooLong(String),
    /// The patch contradicts itself or the type of the object, where the real server has no better answer than HTTP 500.
    #[error("{0}")]
    Broken(String),
}

/// The kinds of patch, by media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which knows the keys of lists.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// Media types of the patches of custom objects, of whose lists no keys are known to a strategic one.
pub(crate) const CUSTOM_MEDIA_TYPES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

impl PatchType {
    /// The type that a `Content-Type` value names, parameters ignored.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        match media_type.split(';').next()?.trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// Applies `patch` to `object`, whose type is `model` (which knows the keys of lists for a strategic patch).
pub fn apply(
    patch_type: PatchType,
    model: Option<&Node>,
    object: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    match patch_type {
        PatchType::Json => json_patch::apply(object, patch),
        PatchType::Merge => merge::apply(object, patch),
        PatchType::Strategic => strategic::apply(model, object, patch),
        PatchType::Apply => Err(PatchError::Broken("an apply is no patch of an object alone".into())),
    }
}
