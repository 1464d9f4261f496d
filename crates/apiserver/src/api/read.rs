//! get and list.

use bytes::Bytes;
use serde_json::{Value, json};

use super::cursor::Cursor;
use super::render::{self, Form};
use super::{Api, Target};
use crate::selector::Selector;
use crate::status::Status;
use crate::store::{Listing, Range, StoreError, Stored};

/// Which state of the store a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Revision {
    /// The present one.
    #[default]
    Now,
    /// One that is at least this new: the present one, unless that is older.
    NotOlderThan(u64),
    /// That of this revision.
    Exact(u64),
}

/// What a list may ask for.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which objects.
    pub selector: Selector,
    /// How many at most; 0 for all.
    pub limit: usize,
    /// Where to go on; empty from the start.
    pub continue_token: String,
    /// As of when; a continued list is as of its first page.
    pub revision: Revision,
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
        let prefix = target.prefix();
        let cursor = Some(options.continue_token.as_str()).filter(|token| !token.is_empty());
        let cursor = cursor.map(|token| Cursor::parse(token, &prefix)).transpose()?;
        let mut listing = match &cursor {
            Some(cursor) => self.page(&prefix, options, cursor)?,
            None => self.first_page(&prefix, options)?,
        };
        select(options, &mut listing)?;
        let mut metadata = list_metadata(&prefix, options, &listing);
        if target.resource.custom && metadata.get("continue").is_none() {
            metadata["continue"] = json!("");
        }
        let present = |stored: &Stored| target.resource.present_text(&stored.body);
        let items = listing.items.iter().map(present).collect::<Result<Vec<_>, _>>()?;
        render::list(form, &target.resource, &metadata, &items)
    }

    fn first_page(&self, prefix: &str, options: &ListOptions) -> Result<Listing, Status> {
        let range = Range { limit: cut(options), ..Range::under(prefix) };
        match options.revision {
            Revision::Now => Ok(self.store.list(range)?),
            Revision::Exact(revision) => self.store.list_at(range, revision).map_err(|error| match error {
                StoreError::Compacted { .. } => {
                    Status::expired("The resourceVersion for the provided list is too old.")
                }
                other => other.into(),
            }),
            Revision::NotOlderThan(revision) => {
                let listing = self.store.list(range)?;
                if listing.revision < revision {
                    let current = listing.revision;
                    return Err(StoreError::Future { asked: revision, current }.into());
                }
                Ok(listing)
            }
        }
    }

    fn page(&self, prefix: &str, options: &ListOptions, cursor: &Cursor) -> Result<Listing, Status> {
        let range = Range { start: &cursor.start, limit: cut(options), ..Range::under(prefix) };
        let Some(revision) = cursor.revision else { return Ok(self.store.list(range)?) };
        self.store.list_at(range, revision).map_err(|error| match error {
            StoreError::Compacted { .. } => cursor.expired(prefix),
            other => other.into(),
        })
    }
}

/// With a selector the limit counts what matches.
fn cut(options: &ListOptions) -> usize {
    if options.selector.is_empty() { options.limit } else { 0 }
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
            listing.rest += 1;
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

/// How many there are beyond the page is told where it is known without looking at them.
fn list_metadata(prefix: &str, options: &ListOptions, listing: &Listing) -> Value {
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(last) = listing.items.last().filter(|_| listing.rest > 0) {
        metadata["continue"] = json!(Cursor::after(&last.key, listing.revision).token(prefix));
        if options.selector.is_empty() {
            metadata["remainingItemCount"] = json!(listing.rest);
        }
    }
    metadata
}
