//! The patches a client may send, applied to one JSON object. Pure: no storage, no HTTP, no kinds beyond merge keys.

mod json_patch;
mod merge;
mod merge_keys;
mod strategic;

#[cfg(test)]
mod tests;

use serde_json::Value;

/// Why a patch was not applied; the object is unchanged then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed (HTTP 400).
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object (HTTP 422).
    #[error("{0}")]
    Unfit(String),
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

/// Applies `patch` to `object` of `kind` (which decides the keys of lists for a strategic patch).
pub fn apply(patch_type: PatchType, kind: &str, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    match patch_type {
        PatchType::Json => json_patch::apply(object, patch),
        PatchType::Merge => merge::apply(object, patch),
        PatchType::Strategic => strategic::apply(kind, object, patch),
        PatchType::Apply => Err(PatchError::Unfit("server-side apply is not implemented".into())),
    }
}
