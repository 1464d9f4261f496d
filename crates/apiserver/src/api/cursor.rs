//! Where a list that was cut goes on: a token that names a revision and a key, in the form of the real server's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::go;
use crate::status::Status;

/// The place after which a list goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The revision of the first page; `None` once the client has settled for whatever there is now.
    pub(super) revision: Option<u64>,
    /// The first key that may come.
    pub(super) start: String,
}

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Cursor {
    pub(super) fn after(key: &str, revision: u64) -> Self {
        Self { revision: Some(revision), start: format!("{key}\0") }
    }

    pub(super) fn parse(token: &str, prefix: &str) -> Result<Self, Status> {
        let bad = |why: String| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let raw = URL_SAFE_NO_PAD.decode(token).map_err(|error| bad(base64_error(token, error)))?;
        let value: Value = serde_json::from_slice(&raw).map_err(|error| bad(go::json_error(&raw, &error)))?;
        let version = value["v"].as_str().unwrap_or_default();
        if version != "meta.k8s.io/v1" {
            return Err(bad(format!("server does not recognize this encoded version {version}")));
        }
        let revision = value["rv"]
            .as_i64()
            .filter(|revision| *revision != 0)
            .ok_or_else(|| bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into()))?;
        let start = value["start"].as_str().filter(|start| !start.is_empty());
        let start = start.ok_or_else(|| bad("encoded start key empty (version meta.k8s.io/v1)".into()))?;
        let start = start.strip_prefix('/').unwrap_or(start);
        if start.split('/').any(|segment| ["", ".", ".."].contains(&segment)) {
            return Err(bad(start.into()));
        }
        Ok(Self { revision: u64::try_from(revision).ok(), start: format!("{prefix}{start}") })
    }

    pub(super) fn token(&self, prefix: &str) -> String {
        let start = self.start.strip_prefix(prefix).unwrap_or(&self.start);
        let revision = self.revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(-1);
        URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
    }

    /// 410 for a revision that is not held any more, with a token to go on in the present.
    pub(super) fn expired(&self, prefix: &str) -> Status {
        let mut status = Status::expired(TOO_OLD);
        let fresh = Self { revision: None, start: self.start.clone() };
        let mut body = status.to_json();
        body["metadata"] = json!({"continue": fresh.token(prefix)});
        status.verbatim = Some(Box::new(body));
        status
    }
}

/// The real server's words; it counts from the first byte that is none of the alphabet.
fn base64_error(token: &str, error: base64::DecodeError) -> String {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match token.bytes().position(|b| !allowed(b)) {
        Some(at) => format!("illegal base64 data at input byte {at}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_token_and_nonsense_does_not_parse() {
        let cursor = Cursor::after("core/pods/a/b", 7);
        assert_eq!(Cursor::parse(&cursor.token("core/pods/"), "core/pods/").unwrap(), cursor);
        for token in ["x", "e30", "!!"] {
            assert_eq!(Cursor::parse(token, "p/").err().map(|s| s.code), Some(400));
        }
    }

    #[test]
    fn an_expired_cursor_offers_one_without_revision() {
        let body = Cursor::after("p/a", 7).expired("p/").to_json();
        let fresh = Cursor::parse(body["metadata"]["continue"].as_str().unwrap(), "p/").unwrap();
        assert_eq!((fresh.revision, fresh.start.as_str()), (None, "p/a\0"));
        assert_eq!((body["code"].as_u64(), body["reason"].as_str()), (Some(410), Some("Expired")));
    }
}
