//! Sets of paths as a tree: which fields somebody owns. FieldsV1 is their JSON form.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::Element;

/// A set of paths. A path in it says nothing about longer or shorter ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    members: BTreeSet<Element>,
    /// Never holds an empty set.
    children: BTreeMap<Element, Set>,
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path; the empty one is not a member of any set.
    pub(crate) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => drop(self.members.insert(last.clone())),
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// The set of these field paths, each written with dots.
    pub(crate) fn of(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let elements: Vec<Element> = path.split('.').map(Element::field).collect();
            set.insert(&elements);
        }
        set
    }

    pub(crate) fn has_member(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    pub(crate) fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|child| child.has(rest)),
        }
    }

    /// What is below `element`.
    pub(crate) fn below(&self, element: &Element) -> Option<&Self> {
        self.children.get(element)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&Element, &Self)> {
        self.children.iter()
    }

    pub(super) fn add_member(&mut self, element: Element) {
        self.members.insert(element);
    }

    pub(super) fn set_below(&mut self, element: Element, set: Self) {
        if !set.is_empty() {
            self.children.insert(element, set);
        }
    }

    pub(super) fn members_only(&self) -> Self {
        Self { members: self.members.clone(), children: BTreeMap::new() }
    }

    pub(crate) fn union(mut self, other: &Self) -> Self {
        self.extend(other);
        self
    }

    fn extend(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, set) in &other.children {
            match self.children.entry(element.clone()) {
                Entry::Occupied(mut slot) => slot.get_mut().extend(set),
                Entry::Vacant(slot) => drop(slot.insert(set.clone())),
            }
        }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut result = Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, set) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                result.set_below(element.clone(), set.intersection(theirs));
            }
        }
        result
    }

    /// What is in `self` and not in `other`.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut result = Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, set) in &self.children {
            let left =
                other.children.get(element).map_or_else(|| set.clone(), |theirs| set.difference(theirs));
            result.set_below(element.clone(), left);
        }
        result
    }

    /// What is in `self` and neither in `other` nor below a path in it.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut result = Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, set) in self.children.iter().filter(|(element, _)| !other.members.contains(*element)) {
            let left = other.children.get(element).map_or_else(|| set.clone(), |theirs| set.without(theirs));
            result.set_below(element.clone(), left);
        }
        result
    }

    /// All paths: members first, then what is below each child.
    pub(crate) fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        for member in &self.members {
            let mut path = prefix.clone();
            path.push(member.clone());
            paths.push(path);
        }
        for (element, set) in &self.children {
            prefix.push(element.clone());
            set.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// As FieldsV1. A path that has others below it is marked by a `.` there.
    pub(crate) fn to_fields(&self) -> Value {
        let mut map = Map::new();
        for member in &self.members {
            let below = self.children.get(member).map_or_else(
                || Value::Object(Map::new()),
                |set| {
                    let mut fields = set.to_fields();
                    fields["."] = Value::Object(Map::new());
                    fields
                },
            );
            map.insert(member.to_key(), below);
        }
        for (element, set) in self.children.iter().filter(|(element, _)| !self.members.contains(*element)) {
            map.insert(element.to_key(), set.to_fields());
        }
        Value::Object(map)
    }

    /// From FieldsV1; `None` where a member is malformed. Members of kinds that are not known are left out.
    pub(crate) fn from_fields(fields: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, below) in fields.as_object()?.iter().filter(|(key, _)| *key != ".") {
            if key.len() < 2 || key.as_bytes()[1] != b':' {
                return None;
            }
            let Some(element) = Element::from_key(key) else { continue };
            let child = Self::from_fields(below)?;
            if child.is_empty() || below.get(".").is_some() {
                set.members.insert(element.clone());
            }
            set.set_below(element, child);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sets() -> impl Strategy<Value = Set> {
        let path = prop::collection::vec("[a-c]", 1..4);
        prop::collection::vec(path, 0..12).prop_map(|paths| {
            let mut set = Set::default();
            for path in paths {
                let path: Vec<Element> = path.iter().map(|name| Element::field(name)).collect();
                set.insert(&path);
            }
            set
        })
    }

    #[test]
    fn fields_have_the_form_that_clients_know() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}, "f:finalizers": {"v:\"x\"": {}}}});
        let set = Set::from_fields(&fields).unwrap();
        assert_eq!(set.to_fields(), fields);
        assert_eq!(set.paths().len(), 5);
    }

    #[test]
    fn malformed_fields_are_refused_and_unknown_ones_left_out() {
        assert_eq!(Set::from_fields(&json!({"nonsense": {}})), None);
        assert_eq!(Set::from_fields(&json!([])), None);
        assert!(Set::from_fields(&json!({"x:1": {}})).unwrap().is_empty());
    }

    #[test]
    fn a_path_takes_what_is_below_it_along_only_if_asked() {
        let set = Set::of(&["spec.a", "spec.b", "status"]);
        assert_eq!(set.without(&Set::of(&["spec"])), Set::of(&["status"]));
        assert_eq!(set.difference(&Set::of(&["spec"])), set);
    }

    proptest! {
        #[test]
        fn sets_survive_their_json(set in sets()) {
            prop_assert_eq!(Set::from_fields(&set.to_fields()).unwrap(), set);
        }

        #[test]
        fn algebra_holds(a in sets(), b in sets()) {
            let both = a.intersection(&b);
            prop_assert_eq!(a.difference(&b).union(&both), a.clone());
            prop_assert!(a.difference(&b).intersection(&b).is_empty());
            prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
            prop_assert!(a.paths().iter().all(|path| a.has(path)));
        }
    }
}
