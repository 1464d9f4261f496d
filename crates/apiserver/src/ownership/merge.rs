//! Puts what somebody applies into what is there: maps and lists with identities merge, everything else is replaced.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::{Element, shown};
use super::shape::{List, Shape};

/// `live` with `config` in it. The error lists what in `config` cannot be told apart.
pub(super) fn merge(live: &Value, config: &Value, shape: Shape<'_>) -> Result<Value, String> {
    let merged = Walk { path: Vec::new() }.value(Some(live), Some(config), shape)?;
    Ok(merged.unwrap_or_else(|| Value::Object(Map::new())))
}

type Side<'v> = Option<&'v Value>;

struct Walk {
    path: Vec<Element>,
}

impl Walk {
    /// Nothing comes out where maps or lists merge to nothing.
    fn value(&mut self, live: Side<'_>, config: Side<'_>, shape: Shape<'_>) -> Result<Option<Value>, String> {
        let either = |is: fn(&Value) -> bool| live.is_some_and(is) || config.is_some_and(is);
        if either(Value::is_object) {
            return self.maps(live, config, shape);
        }
        if either(Value::is_array) {
            return self.lists(live, config, shape);
        }
        Ok(config.or(live).cloned())
    }

    fn maps(&mut self, live: Side<'_>, config: Side<'_>, shape: Shape<'_>) -> Result<Option<Value>, String> {
        let none = Map::new();
        let ours = live.and_then(Value::as_object).unwrap_or(&none);
        let theirs = config.and_then(Value::as_object).unwrap_or(&none);
        if shape.is_atomic() || (ours.is_empty() && theirs.is_empty()) {
            return Ok(config.or(live).cloned());
        }
        let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let mut merged = Map::new();
        for key in keys {
            self.path.push(Element::field(key));
            if let Some(value) = self.value(ours.get(key), theirs.get(key), shape.field(key))? {
                merged.insert(key.clone(), value);
            }
            self.path.pop();
        }
        Ok(Some(Value::Object(merged)).filter(|value| value.as_object().is_some_and(|map| !map.is_empty())))
    }

    fn lists(&mut self, live: Side<'_>, config: Side<'_>, shape: Shape<'_>) -> Result<Option<Value>, String> {
        let items = |side: Side<'_>| side.and_then(Value::as_array).cloned().unwrap_or_default();
        let (ours, theirs) = (items(live), items(config));
        if shape.list() == List::Atomic || (ours.is_empty() && theirs.is_empty()) {
            return Ok(config.or(live).cloned());
        }
        let ours = Indexed::new(ours, shape)?;
        let theirs = Indexed::new(theirs, shape)?;
        if let Some(repeated) = theirs.repeated() {
            let at = shown(&self.path);
            return Err(format!("{at}: duplicate entries for key {repeated}"));
        }
        let mut merged = Vec::new();
        for (element, live) in interleaved(&ours, &theirs) {
            self.path.push(element.clone());
            merged.extend(self.value(live, theirs.get(&element), shape.items())?);
            self.path.pop();
        }
        Ok(Some(Value::Array(merged)).filter(|value| value.as_array().is_some_and(|list| !list.is_empty())))
    }
}

/// A list with the identities of its elements.
struct Indexed {
    items: Vec<(Element, Value)>,
    /// The place of each identity; `None` for one that several share.
    places: BTreeMap<Element, Option<usize>>,
}

impl Indexed {
    fn new(items: Vec<Value>, shape: Shape<'_>) -> Result<Self, String> {
        let (mut indexed, mut places) = (Vec::with_capacity(items.len()), BTreeMap::new());
        for (place, item) in items.into_iter().enumerate() {
            let element = shape.element(&item)?;
            places.entry(element.clone()).and_modify(|slot| *slot = None).or_insert(Some(place));
            indexed.push((element, item));
        }
        Ok(Self { items: indexed, places })
    }

    fn repeated(&self) -> Option<&Element> {
        self.places.iter().find(|(_, place)| place.is_none()).map(|(element, _)| element)
    }

    fn has(&self, element: &Element) -> bool {
        self.places.contains_key(element)
    }

    fn get(&self, element: &Element) -> Option<&Value> {
        self.places.get(element).copied().flatten().map(|place| &self.items[place].1)
    }
}

/// The elements in the order of the result, each with what is there. Common elements and those that are only applied come
/// as they are applied; the others stay as close as that allows to where they were.
fn interleaved<'v>(ours: &'v Indexed, theirs: &Indexed) -> Vec<(Element, Side<'v>)> {
    let mut common = theirs.items.iter().map(|(element, _)| element).filter(|element| ours.has(element));
    let mut next = common.next();
    let (mut o, mut t, mut done, mut order) = (0, 0, BTreeSet::new(), Vec::new());
    while o < ours.items.len() || t < theirs.items.len() {
        let our = ours.items.get(o);
        let their = theirs.items.get(t).map(|(element, _)| element);
        if let (Some((element, _)), Some(their)) = (our, their) {
            if element == their {
                done.insert(element);
                order.push((element.clone(), ours.get(element)));
                (o, t, next) = (o + 1, t + 1, common.next());
                continue;
            }
            // Another common element is due before this one.
            if theirs.has(element) && next.is_some_and(|next| next != element) {
                o += 1;
                continue;
            }
        }
        if let Some((element, item)) = our {
            if !theirs.has(element) {
                order.push((element.clone(), Some(item)));
                o += 1;
                continue;
            }
            o += usize::from(done.contains(element));
        }
        if let Some(their) = their {
            done.insert(their);
            order.push((their.clone(), ours.get(their)));
            t += 1;
            if next == Some(their) {
                next = common.next();
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Node;

    fn set() -> Node {
        Node::parse(&json!({"properties": {"l": {"x-kubernetes-list-type": "set"}}}))
    }

    fn order(live: &[&str], config: &[&str]) -> Vec<String> {
        let merged = merge(&json!({"l": live}), &json!({"l": config}), Shape::of(Some(&set()))).unwrap();
        merged["l"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn applied_elements_keep_their_order_and_others_their_neighbourhood() {
        assert_eq!(order(&["a", "b", "c"], &["c", "d", "a"]), ["b", "c", "d", "a"]);
        assert_eq!(order(&["a", "b", "c"], &["d"]), ["a", "b", "c", "d"]);
        assert_eq!(order(&["a", "b", "c"], &["c", "a"]), ["b", "c", "a"]);
        assert_eq!(order(&[], &["x", "y"]), ["x", "y"]);
        assert_eq!(order(&["x"], &[]), ["x"]);
    }

    #[test]
    fn an_identity_may_be_applied_once() {
        let error = merge(&json!({}), &json!({"l": ["a", "a"]}), Shape::of(Some(&set()))).unwrap_err();
        assert_eq!(error, ".l: duplicate entries for key [=\"a\"]");
    }

    #[test]
    fn lists_without_identities_are_replaced() {
        let merged =
            merge(&json!({"l": [1, 2], "m": {"a": 1}}), &json!({"l": [3], "m": {"b": 2}}), Shape::of(None));
        assert_eq!(merged.unwrap(), json!({"l": [3], "m": {"a": 1, "b": 2}}));
    }
}
