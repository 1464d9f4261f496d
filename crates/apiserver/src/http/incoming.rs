//! Bodies that are objects, by their media type: decoded against the kind's type, with warnings for what is odd.

use serde_json::Value;

use super::JSON;
use crate::decode::{self, FieldValidation};
use crate::protobuf;
use crate::resource::Resource;
use crate::status::Status;

/// The object in `body`.
pub(super) fn object(
    resource: &Resource,
    media_type: &str,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Value, Status> {
    let decoded = match media_type.split(';').next().unwrap_or_default().trim() {
        "" | JSON => decode::text(resource, body)?,
        protobuf::MEDIA_TYPE => {
            let object = protobuf::decode(body).ok_or_else(|| Status::unsupported_media_type(&[JSON]))?;
            decode::value(resource, &object)?
        }
        _ => return Err(Status::unsupported_media_type(&[JSON])),
    };
    decoded.passed(validation, resource)
}
