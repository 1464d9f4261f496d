//! What objects look like: one tree of [`Node`]s for built-in kinds and custom ones alike. Whoever walks objects by their
//! type takes it from here: strict decoding and defaulting, strategic merge (keys of lists), server-side apply (list and map
//! types), validation of custom objects, OpenAPI documents. It says what a type is and decides nothing about objects.
//!
//! A built-in kind's tree comes from facts in the program, read when it is first asked for; references between those are followed by the
//! accessors, so a walker never meets one. A custom kind's tree comes from its definition.

mod facts;
mod node;
mod parse;
mod rules;

pub(crate) use self::facts::message;
pub use self::facts::{Below, BuiltinKind, Definition, definition, definitions, kind, kinds};
pub use self::node::{Additional, Field, Kind, ListType, MapType, Node, PatchStrategy};
pub use self::rules::{Bound, Rules};

/// The definition of a built-in kind.
pub fn builtin_definition(group: &str, version: &str, kind: &str) -> Option<&'static Definition> {
    let found = kinds().iter().find(|k| k.group == group && k.version == version && k.kind == kind)?;
    definition(found.schema.as_deref()?)
}

/// The type of a built-in kind; `None` for kinds that are not built in, and for built-in ones that have no objects.
pub fn builtin(group: &str, version: &str, kind: &str) -> Option<&'static Node> {
    builtin_definition(group, version, kind).map(Definition::node)
}
