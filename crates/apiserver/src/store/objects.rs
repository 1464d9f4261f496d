//! The objects in memory: what every read is answered from, and what decisions look at. The file behind them is only
//! written, and read once at the start; so no reader waits for the disk, and none notices that it is full.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use super::Stored;

/// Objects by key; the value is the JSON text that clients get.
pub(super) type Objects = BTreeMap<String, Bytes>;
/// What keys hold instead; `None` for an object that is not there.
pub(super) type Overlay = BTreeMap<String, Option<Bytes>>;

type Base<'a> = Peekable<btree_map::Range<'a, String, Bytes>>;
type Over<'a> = Peekable<btree_map::Range<'a, String, Option<Bytes>>>;

/// The entries of `base` from `start` on whose keys start with `prefix`, with what `over` says instead.
pub(super) struct Scan<'a> {
    prefix: &'a str,
    base: Base<'a>,
    over: Over<'a>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(base: &'a Objects, over: &'a Overlay, prefix: &'a str, start: &'a str) -> Self {
        let start = if start > prefix { start } else { prefix };
        let from = (Bound::Included(start), Bound::Unbounded);
        Self {
            prefix,
            base: base.range::<str, _>(from).peekable(),
            over: over.range::<str, _>(from).peekable(),
        }
    }

    /// Up to `limit` objects (0: all), and how many more there are.
    pub(super) fn page(mut self, limit: usize) -> (Vec<Stored>, usize) {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let stored = |(key, body): (&String, &Bytes)| Stored { key: key.clone(), body: body.clone() };
        let items = self.by_ref().take(limit).map(stored).collect();
        (items, self.count())
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = (&'a String, &'a Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match (self.base.peek(), self.over.peek()) {
                (Some((base, _)), Some((over, _))) if base == over => {
                    self.base.next();
                    continue;
                }
                (Some((base, _)), Some((over, _))) if base < over => self.base.next(),
                (Some(_), None) => self.base.next(),
                (_, Some(_)) => match self.over.next() {
                    Some((key, Some(body))) => Some((key, body)),
                    _ => continue,
                },
                (None, None) => None,
            };
            return entry.filter(|(key, _)| key.starts_with(self.prefix));
        }
    }
}
