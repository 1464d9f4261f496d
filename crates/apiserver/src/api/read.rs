//! get and list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::render::{self, Form};
use super::{Api, Target};
use crate::selector::Selector;
use crate::status::Status;
use crate::store::{Listing, Stored};

/// What a list may ask for.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which objects.
    pub selector: Selector,
    /// How many at most; 0 for all.
    pub limit: usize,
    /// Where to go on; empty from the start.
    pub continue_token: String,
}

/// Where a cut list goes on. The list keeps the revision of its first page: later pages may hold newer objects, and a
/// watch from that revision brings all that changed meanwhile, so nothing is missed.
struct Cursor {
    revision: u64,
    after: String,
}

impl Cursor {
    fn parse(token: &str) -> Result<Self, Status> {
        let bad = || Status::bad_request("continue key is not valid");
        let raw = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let value: Value = serde_json::from_slice(&raw).map_err(|_| bad())?;
        let (revision, after) = (value["rv"].as_u64(), value["start"].as_str());
        Ok(Self { revision: revision.ok_or_else(bad)?, after: after.ok_or_else(bad)?.into() })
    }

    fn token(&self) -> String {
        URL_SAFE_NO_PAD
            .encode(json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.after}).to_string())
    }
}

impl Api {
    /// The object, as JSON text in the form asked for.
    pub fn get(&self, target: &Target, form: Form) -> Result<Bytes, Status> {
        let stored = self.store.get(&target.key())?.ok_or_else(|| target.not_found())?;
        let text = target.resource.present_text(&stored.body)?;
        if form == Form::Object {
            return Ok(text);
        }
        self.render(target, &serde_json::from_slice(&text).map_err(Status::internal)?, form)
    }

    /// One object, already in its served version, as JSON text in the form asked for.
    pub fn render(&self, target: &Target, object: &Value, form: Form) -> Result<Bytes, Status> {
        render::one(form, &target.resource, object)
    }

    /// The list, as JSON text in the form asked for.
    pub fn list(&self, target: &Target, options: &ListOptions, form: Form) -> Result<Bytes, Status> {
        let cursor = Some(&options.continue_token).filter(|token| !token.is_empty());
        let cursor = cursor.map(|token| Cursor::parse(token)).transpose()?;
        let after = cursor.as_ref().map(|cursor| cursor.after.as_str());
        // With a selector the limit counts what matches.
        let cut = if options.selector.is_empty() { options.limit } else { 0 };
        let mut listing = self.store.list(&target.prefix(), after, cut)?;
        select(options, &mut listing)?;
        if let Some(cursor) = cursor {
            listing.revision = cursor.revision;
        }
        let mut metadata = list_metadata(&listing);
        if target.resource.custom && metadata.get("continue").is_none() {
            metadata["continue"] = json!("");
        }
        let present = |stored: &Stored| target.resource.present_text(&stored.body);
        let items = listing.items.iter().map(present).collect::<Result<Vec<_>, _>>()?;
        render::list(form, &target.resource, &metadata, &items)
    }
}

fn select(options: &ListOptions, listing: &mut Listing) -> Result<(), Status> {
    if options.selector.is_empty() {
        return Ok(());
    }
    let mut chosen = Vec::new();
    for stored in std::mem::take(&mut listing.items) {
        if !matches(&options.selector, &stored.body)? {
            continue;
        }
        if options.limit > 0 && chosen.len() == options.limit {
            listing.more = true;
            break;
        }
        chosen.push(stored);
    }
    listing.items = chosen;
    Ok(())
}

/// True if the selector matches the stored object. Field selectors see its stored form, which both event groups share.
pub(super) fn matches(selector: &Selector, body: &[u8]) -> Result<bool, Status> {
    if selector.is_empty() {
        return Ok(true);
    }
    let object: Value = serde_json::from_slice(body).map_err(Status::internal)?;
    Ok(selector.matches(&object))
}

fn list_metadata(listing: &Listing) -> Value {
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(last) = listing.items.last().filter(|_| listing.more) {
        let cursor = Cursor { revision: listing.revision, after: last.key.clone() };
        metadata["continue"] = json!(cursor.token());
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_token_and_nonsense_does_not_parse() {
        let cursor = Cursor { revision: 7, after: "core/pods/a/b".into() };
        let back = Cursor::parse(&cursor.token()).unwrap();
        assert_eq!((back.revision, back.after.as_str()), (7, "core/pods/a/b"));
        for token in ["x", "e30", "!!"] {
            assert_eq!(Cursor::parse(token).err().map(|s| s.code), Some(400));
        }
    }
}
