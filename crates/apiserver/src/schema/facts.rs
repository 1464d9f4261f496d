//! The built-in kinds as the real server describes them: `data/builtin-kinds.txt`, which `cargo xtask openapi-facts` makes.
//! The text is in the program; its lines are found at first use, and each definition is read when it is first followed.
//!
//! Lines: `kind JSON` (a row of discovery, with `schema` naming its type), `schema NAME JSON` (OpenAPI v3 without
//! descriptions), `pointers NAME FIELD,...` (fields of that type whose zero differs from their absence), `always NAME FIELD,...`
//! (fields that are written even if they are empty), `message NAME
//! NUMBER:FIELD:TYPE,...` (the type in protobuf).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

use super::Node;
use crate::json::{at, items, text};

const TEXT: &str = include_str!("../../data/builtin-kinds.txt");

static FACTS: LazyLock<Facts> = LazyLock::new(|| Facts::read(TEXT));

/// One built-in kind, as discovery shows it.
#[derive(Debug)]
pub struct BuiltinKind {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind of the objects.
    pub kind: String,
    /// Name in paths.
    pub plural: String,
    /// Name of one.
    pub singular: String,
    /// True if the objects live in namespaces.
    pub namespaced: bool,
    /// Abbreviations.
    pub short_names: Vec<String>,
    /// Groups of resources that kubectl lists together.
    pub categories: Vec<String>,
    /// What can be done with the objects.
    pub verbs: Vec<String>,
    /// Changes with the way in which the real server stores the kind; empty if it stores none.
    pub storage_version_hash: String,
    /// What there is below an object.
    pub subresources: Vec<Below>,
    /// Name of the definition of its type.
    pub schema: Option<String>,
}

/// A resource below the objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Last segment of its path.
    pub name: String,
    /// Kind that it speaks.
    pub kind: String,
    /// Group and version of that kind, where it is not that of the objects.
    pub group_version: Option<(String, String)>,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// A type that other types refer to.
pub struct Definition {
    /// Its full name, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: &'static str,
    /// Its OpenAPI v3 schema, as JSON.
    pub text: &'static str,
    pointers: &'static str,
    always: &'static str,
    node: OnceLock<Node>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Definition {
    /// The last part of its name, such as `PodSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// The last two parts of its name, such as `v1.PodSpec`.
    pub fn go_name(&self) -> &'static str {
        self.last_parts(2)
    }

    /// The last three parts of its name, such as `core.v1.PodSpec`.
    pub fn go_path(&self) -> &'static str {
        self.last_parts(3)
    }

    fn last_parts(&self, count: usize) -> &'static str {
        let mut dots = self.name.rmatch_indices('.').map(|(at, _)| at);
        dots.nth(count - 1).map_or(self.name, |at| &self.name[at + 1..])
    }

    /// The type, read at the first call.
    pub fn node(&self) -> &Node {
        self.node.get_or_init(|| {
            let mut node = Node::parse(&parsed(self.text));
            for (name, property) in &mut node.properties {
                property.pointer = self.pointers.split(',').any(|field| field == &**name);
                property.always = self.always.split(',').any(|field| field == &**name);
            }
            node
        })
    }
}

struct Facts {
    kinds: Vec<BuiltinKind>,
    definitions: BTreeMap<&'static str, Definition>,
    messages: BTreeMap<&'static str, &'static str>,
}

impl Facts {
    fn read(text: &'static str) -> Self {
        let mut facts = Self { kinds: Vec::new(), definitions: BTreeMap::new(), messages: BTreeMap::new() };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("kind", row)) => facts.kinds.push(kind_of(&parsed(row))),
                Some(("schema", rest)) => facts.define(rest),
                Some(("pointers", rest)) => {
                    facts.amend(rest, |definition, fields| definition.pointers = fields)
                }
                Some(("message", rest)) => facts.messages.extend(rest.split_once(' ')),
                Some(("always", rest)) => facts.amend(rest, |definition, fields| definition.always = fields),
                _ => {}
            }
        }
        facts
    }

    fn define(&mut self, line: &'static str) {
        let Some((name, text)) = line.split_once(' ') else { return };
        self.definitions
            .insert(name, Definition { name, text, pointers: "", always: "", node: OnceLock::new() });
    }

    fn amend(&mut self, line: &'static str, set: impl FnOnce(&mut Definition, &'static str)) {
        let Some((name, fields)) = line.split_once(' ') else { return };
        if let Some(definition) = self.definitions.get_mut(name) {
            set(definition, fields);
        }
    }
}

/// A line of the facts; a test reads them all, so none is broken.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn kind_of(row: &Value) -> BuiltinKind {
    let own = |key: &str| text(row, key).to_owned();
    BuiltinKind {
        group: own("group"),
        version: own("version"),
        kind: own("kind"),
        plural: own("name"),
        singular: own("singularName"),
        namespaced: row["namespaced"] == true,
        short_names: strings(row, "shortNames"),
        categories: strings(row, "categories"),
        verbs: strings(row, "verbs"),
        storage_version_hash: own("storageVersionHash"),
        subresources: items(row, "subresources").iter().map(below).collect(),
        schema: Some(own("schema")).filter(|name| !name.is_empty()),
    }
}

fn below(row: &Value) -> Below {
    let own = |key: &str| text(row, key).to_owned();
    Below {
        name: own("name"),
        kind: own("kind"),
        group_version: at(row, "version").map(|_| (own("group"), own("version"))),
        verbs: strings(row, "verbs"),
    }
}

fn strings(row: &Value, key: &str) -> Vec<String> {
    items(row, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// All built-in kinds, in the order of the real server's discovery.
pub fn kinds() -> &'static [BuiltinKind] {
    &FACTS.kinds
}

/// The built-in kind that the path segments name.
pub fn kind(group: &str, version: &str, plural: &str) -> Option<&'static BuiltinKind> {
    kinds().iter().find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// All definitions, by name.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    FACTS.definitions.values()
}

/// The definition of this full name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    FACTS.definitions.get(name)
}

/// The type of this full name in protobuf: `NUMBER:FIELD:TYPE`, where the type is a word of protobuf or a message (of the same
/// package, if it has no dots), with `*` before it if it is repeated, and `map ` if it is the value of a map.
pub(crate) fn message(name: &str) -> Option<impl Iterator<Item = (u64, &'static str, &'static str)>> {
    let fields = FACTS.messages.get(name)?.split(',');
    Some(fields.filter_map(|field| {
        let mut parts = field.splitn(3, ':');
        Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_facts_is_understood() {
        for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap();
            let json = match word {
                "kind" => rest,
                "schema" => rest.split_once(' ').unwrap().1,
                "pointers" | "always" | "message" => continue,
                other => panic!("{other}"),
            };
            assert!(serde_json::from_str::<Value>(json).unwrap().is_object(), "{line}");
        }
        assert!(kinds().len() > 60 && definitions().count() > 500);
    }

    #[test]
    fn every_stored_kind_has_a_type() {
        for kind in kinds().iter().filter(|kind| kind.verbs.iter().any(|verb| verb == "create")) {
            let schema = kind.schema.as_deref().unwrap_or_else(|| panic!("{kind:?}"));
            assert!(definition(schema).unwrap().node().property("metadata").is_some(), "{kind:?}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for definition in definitions() {
            let refers = definition.text.matches("#/components/schemas/").count();
            fn references(node: &Node) -> usize {
                let own = usize::from(node.reference().is_some());
                let below = node.properties.values().chain(node.items.as_deref());
                let values = match &node.additional {
                    super::super::Additional::Of(node) => references(node),
                    _ => 0,
                };
                let choices =
                    node.rules.iter().flat_map(|r| r.all_of.iter().chain(&r.one_of).chain(&r.any_of));
                own + values + below.chain(choices).map(references).sum::<usize>()
            }
            assert_eq!(references(definition.node()), refers, "{}", definition.name);
        }
    }

    #[test]
    fn pointers_keep_their_zero() {
        let spec = definition("io.k8s.api.core.v1.PodSpec").unwrap().node();
        assert!(spec.property("hostUsers").unwrap().is_pointer());
        assert!(!spec.property("hostNetwork").unwrap().is_pointer());
        assert!(spec.property("containers").unwrap().is_always_written());
        assert!(
            definition("io.k8s.api.core.v1.Probe").unwrap().node().property("httpGet").unwrap().is_pointer()
        );
    }
}
