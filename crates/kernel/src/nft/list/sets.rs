//! Sets and maps with their elements.

use polynic_net::FwTable;
use polynic_net::stack::{Element, SeenSet};

use super::{GET_ELEMENTS, GET_SET, HEADER, LIST_ELEMENT, big, ops, table};
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;
use crate::netlink::{Fault, Socket};

/// Attributes of sets.
const NAME: u16 = 2;
const FLAGS: u16 = 3;
const KEY_LEN: u16 = 5;
const DESCRIPTION: u16 = 9;
const DESCRIPTION_PARTS: u16 = 2;
const PART_LEN: u16 = 1;
/// Elements stand for ranges.
const INTERVAL: u32 = 4;
/// Attributes of elements.
const ELEMENTS: u16 = 3;
const KEY: u16 = 1;
const DATA: u16 = 2;
const ELEMENT_FLAGS: u16 = 3;
const KEY_END: u16 = 10;
const INTERVAL_END: u32 = 1;
const CATCHALL: u32 = 2;

pub(super) fn list(socket: &mut Socket) -> Result<Vec<SeenSet>, Fault> {
    let heads = socket.dump(Raw::new(GET_SET, &[0; HEADER]), head)?;
    let mut sets = Vec::new();
    for head in heads {
        let ask = Raw::new(GET_ELEMENTS, &[head.family, 0, 0, 0])
            .with(1, &terminated(&head.set.table.name))
            .with(NAME, &terminated(&head.set.name));
        let found: Vec<RawElement> = socket.dump(ask, elements)?.into_iter().flatten().collect();
        let elements = if head.intervals { ranges(found, head.set.key_len) } else { points(found) };
        sets.push(SeenSet { elements, ..head.set });
    }
    Ok(sets)
}

/// A set before its elements are read.
struct Head {
    set: SeenSet,
    family: u8,
    intervals: bool,
}

fn head(payload: &[u8]) -> Option<Head> {
    let list = Attrs::after(payload, HEADER);
    let table: FwTable = table(payload, list)?;
    let number = |kind| list.get(kind).and_then(big).unwrap_or_default();
    let parts = list.nested(DESCRIPTION).nested(DESCRIPTION_PARTS);
    let parts = parts.filter_map(|(_, part)| Attrs::new(part).get(PART_LEN).and_then(big));
    let parts: Vec<usize> = parts.map(|len| len as usize).collect();
    let set = SeenSet {
        table,
        name: list.get(NAME).and_then(attrs::text)?.to_owned(),
        key_len: number(KEY_LEN) as usize,
        parts: if parts.len() > 1 { parts } else { Vec::new() },
        elements: Vec::new(),
    };
    // With several parts, an element says both ends itself.
    let intervals = number(FLAGS) & INTERVAL != 0 && set.parts.is_empty();
    Some(Head { set, family: *payload.first()?, intervals })
}

struct RawElement {
    element: Element,
    ends: bool,
}

fn elements(payload: &[u8]) -> Option<Vec<RawElement>> {
    let list = Attrs::after(payload, HEADER).nested(ELEMENTS);
    Some(list.filter(|(kind, _)| *kind == LIST_ELEMENT).filter_map(|(_, v)| element(Attrs::new(v))).collect())
}

fn element(list: Attrs<'_>) -> Option<RawElement> {
    let flags = list.get(ELEMENT_FLAGS).and_then(big).unwrap_or_default();
    let key = |kind| list.nested(kind).get(1).map(<[u8]>::to_vec);
    let first = if flags & CATCHALL == 0 { key(KEY)? } else { Vec::new() };
    let last = key(KEY_END).unwrap_or_else(|| first.clone());
    let data = list.nested(DATA);
    let element = Element {
        first,
        last,
        data: data.get(1).map(<[u8]>::to_vec).unwrap_or_default(),
        verdict: ops::verdict(data),
    };
    Some(RawElement { element, ends: flags & INTERVAL_END != 0 })
}

fn points(found: Vec<RawElement>) -> Vec<Element> {
    found.into_iter().map(|raw| raw.element).collect()
}

/// Ends of ranges are elements of their own, one behind the last key. The kernel lists them in no order that one could rely on.
fn ranges(mut found: Vec<RawElement>, key_len: usize) -> Vec<Element> {
    let (all, mut bounds): (Vec<_>, Vec<_>) = {
        let bounds = found.split_off(0);
        bounds.into_iter().partition(|raw| raw.element.first.is_empty())
    };
    // Where one range ends and the next begins, the end comes first.
    bounds.sort_by(|a, b| (&a.element.first, !a.ends).cmp(&(&b.element.first, !b.ends)));
    let mut ranges = points(all);
    let mut open: Option<Element> = None;
    for raw in bounds {
        if let Some(range) = open.take() {
            ranges.push(Element { last: before(&raw.element.first), ..range });
        }
        open = (!raw.ends).then_some(raw.element);
    }
    // A range up to the highest key has no end.
    ranges.extend(open.map(|range| Element { last: vec![0xff; key_len], ..range }));
    ranges
}

/// The key before this one.
fn before(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    key
}

fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(key: u8, ends: bool) -> RawElement {
        let element = Element { first: vec![0, key], last: vec![0, key], data: Vec::new(), verdict: None };
        RawElement { element, ends }
    }

    #[test]
    fn ranges_are_made_of_beginnings_and_ends() {
        let found = vec![bound(9, false), bound(5, true), bound(3, false), bound(5, false), bound(8, true)];
        let ranges: Vec<_> = ranges(found, 2).into_iter().map(|e| (e.first[1], e.last)).collect();
        assert_eq!(ranges, [(3, vec![0, 4]), (5, vec![0, 7]), (9, vec![0xff, 0xff])]);
        assert_eq!(before(&[1, 0]), [0, 255]);
    }
}
