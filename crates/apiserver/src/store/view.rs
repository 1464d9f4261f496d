//! Reading: the objects as of one commit, as often as one likes, whatever is written meanwhile; and, with the help of the
//! events that are still held, as of a revision before it.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::hub::Past;
use super::{OBJECTS, StoreError, Stored, read_error};

type Objects = ReadOnlyTable<&'static str, &'static [u8]>;

/// The objects as of one commit.
pub(super) struct View(Objects);

impl View {
    pub(super) fn open(db: &Database) -> Result<Self, StoreError> {
        let objects = db.begin_read().map_err(read_error)?.open_table(OBJECTS).map_err(read_error)?;
        Ok(Self(objects))
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        let found = self.0.get(key).map_err(read_error)?;
        Ok(found.map(|value| Stored { key: key.into(), body: Bytes::copy_from_slice(value.value()) }))
    }

    /// The objects whose keys start with `prefix`, from `start` on, as they were according to `past`.
    pub(super) fn scan<'a>(
        &self,
        prefix: &'a str,
        start: &'a str,
        past: &'a Past,
    ) -> Result<Scan<'a>, StoreError> {
        let start = if start > prefix { start } else { prefix };
        let present = self.0.range(start..).map_err(read_error)?;
        let present: Box<dyn Iterator<Item = Entry> + 'a> = Box::new(present.map(entry));
        let past = past.range::<str, _>((Bound::Included(start), Bound::Unbounded)).peekable();
        Ok(Scan { prefix, present: present.peekable(), past })
    }
}

/// Text of an object, copied only where it is wanted.
type Entry = Result<(String, redb::AccessGuard<'static, &'static [u8]>), StoreError>;

fn entry(
    entry: Result<
        (redb::AccessGuard<'static, &'static str>, redb::AccessGuard<'static, &'static [u8]>),
        redb::StorageError,
    >,
) -> Entry {
    let (key, value) = entry.map_err(read_error)?;
    Ok((key.value().to_owned(), value))
}

/// Objects in the order of their keys.
pub(super) struct Scan<'a> {
    prefix: &'a str,
    present: Peekable<Box<dyn Iterator<Item = Entry> + 'a>>,
    past: Peekable<btree_map::Range<'a, String, Option<Bytes>>>,
}

impl Scan<'_> {
    /// Up to `limit` objects (0: all), whether there are more, and how many.
    pub(super) fn page(mut self, limit: usize) -> Result<(Vec<Stored>, usize), StoreError> {
        let mut items = Vec::new();
        while limit == 0 || items.len() < limit {
            let Some(stored) = self.step(Bytes::copy_from_slice)? else {
                return Ok((items, 0));
            };
            items.push(Stored { key: stored.0, body: stored.1 });
        }
        let mut rest = 0;
        while self.step(|_| Bytes::new())?.is_some() {
            rest += 1;
        }
        Ok((items, rest))
    }

    /// The next object that was there. What was different then comes from the past, and hides the present of its key.
    fn step(&mut self, take: impl Fn(&[u8]) -> Bytes) -> Result<Option<(String, Bytes)>, StoreError> {
        loop {
            let past_key = self.past.peek().map(|(key, _)| key.as_str());
            let is_past = match (self.present.peek(), past_key) {
                (None, None) => return Ok(None),
                (Some(Ok((key, _))), Some(past)) => {
                    if key == past {
                        self.present.next();
                        continue;
                    }
                    past < key.as_str()
                }
                (None, Some(_)) => true,
                (Some(_), _) => false,
            };
            let (key, body) = if is_past {
                let Some((key, body)) = self.past.next() else { return Ok(None) };
                let Some(body) = body else { continue };
                (key.clone(), take(body))
            } else {
                let Some(entry) = self.present.next() else { return Ok(None) };
                let (key, value) = entry?;
                let body = take(value.value());
                (key, body)
            };
            return Ok(key.starts_with(self.prefix).then_some((key, body)));
        }
    }
}
