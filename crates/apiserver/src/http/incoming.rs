//! Bodies that are objects, by their media type: decoded against the kind's type, with warnings for what is odd.

use serde_json::Value;

use super::JSON;
use crate::decode::{self, FieldValidation};
use crate::protobuf;
use crate::resource::Resource;
use crate::status::Status;

pub(super) const YAML: &str = "application/yaml";
/// Media types of bodies.
pub(super) const BODIES: [&str; 3] = [JSON, YAML, protobuf::MEDIA_TYPE];

/// Reads YAML. JSON is YAML, and most of it comes as JSON.
pub(super) fn yaml(text: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    serde_saphyr::from_slice(text).map_err(|e| Status::bad_request(format!("error decoding YAML: {e}")))
}

/// The object in `body`.
pub(super) fn object(
    resource: &Resource,
    media_type: &str,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Value, Status> {
    let decoded = match media_type.split(';').next().unwrap_or_default().trim() {
        "" | JSON => decode::text(resource, body)?,
        YAML => decode::value(resource, &yaml(body)?)?,
        protobuf::MEDIA_TYPE => {
            let object = protobuf::decode(body).ok_or_else(|| Status::unsupported_media_type(&BODIES))?;
            decode::value(resource, &object)?
        }
        _ => return Err(Status::unsupported_media_type(&BODIES)),
    };
    decoded.passed(validation, resource)
}
