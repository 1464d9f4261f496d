//! One type: an object with properties, a list, a map, or a plain value, and what Kubernetes says about how it merges.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Definition, Rules};

/// What JSON a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Not said: anything, or what [`Node::is_int_or_string`] says.
    #[default]
    Any,
    /// An object: properties, or a map, or free.
    Object,
    /// A list.
    Array,
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A truth value.
    Boolean,
}

/// `x-kubernetes-list-type`: how server-side apply sees a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// One value.
    Atomic,
    /// Plain values, each there once.
    Set,
    /// Objects, told apart by these fields.
    Map(Vec<String>),
}

/// `x-kubernetes-map-type`: how server-side apply sees an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// Field by field.
    Granular,
    /// One value.
    Atomic,
}

/// `x-kubernetes-patch-strategy`: how a strategic merge patch sees a list or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    /// Elements or fields are merged.
    pub merge: bool,
    /// The patch may say which fields stay (`$retainKeys`).
    pub retain_keys: bool,
}

/// What an object may have besides its properties.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Additional {
    /// `false`, or nothing said.
    #[default]
    None,
    /// `true`: anything.
    Anything,
    /// Values of this type: the object is a map.
    Of(Box<Node>),
}

/// What a key of an object leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'n> {
    /// A value of this type.
    Known(&'n Node),
    /// Anything: the key is allowed, its value is not described.
    Free,
    /// Nothing: the type has no such field.
    Unknown,
}

/// A type. Accessors follow the reference to a built-in definition, if the node is one; only [`Node::default_value`],
/// [`Node::is_nullable`], [`Node::is_pointer`] and the merge rules may stand beside a reference and then count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub(super) reference: Option<&'static Definition>,
    pub(super) kind: Kind,
    pub(super) properties: BTreeMap<Box<str>, Node>,
    pub(super) items: Option<Box<Node>>,
    pub(super) additional: Additional,
    pub(super) required: Vec<Box<str>>,
    pub(super) default: Option<Box<Value>>,
    pub(super) nullable: bool,
    pub(super) pointer: bool,
    pub(super) always: bool,
    pub(super) int_or_string: bool,
    pub(super) preserve_unknown: bool,
    pub(super) embedded_resource: bool,
    pub(super) format: Box<str>,
    pub(super) list_type: Option<ListType>,
    pub(super) map_type: Option<MapType>,
    pub(super) patch_strategy: PatchStrategy,
    pub(super) patch_merge_key: Box<str>,
    pub(super) rules: Option<Box<Rules>>,
}

impl Node {
    /// The type itself: what the reference leads to, or this node.
    pub fn target(&self) -> &Self {
        self.reference.map_or(self, Definition::node)
    }

    /// The built-in definition that this node refers to.
    pub fn reference(&self) -> Option<&'static Definition> {
        self.reference
    }

    /// What JSON a value is.
    pub fn kind(&self) -> Kind {
        self.target().kind
    }

    /// The named fields, in alphabetical order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.target().properties.iter().map(|(name, node)| (&**name, node))
    }

    /// The type of one named field.
    pub fn property(&self, name: &str) -> Option<&Self> {
        self.target().properties.get(name)
    }

    /// The type of a list's elements.
    pub fn items(&self) -> Option<&Self> {
        self.target().items.as_deref()
    }

    /// What an object may have besides its properties.
    pub fn additional(&self) -> &Additional {
        &self.target().additional
    }

    /// The type of a map's values; `None` if this is no map.
    pub fn values(&self) -> Option<&Self> {
        match self.additional() {
            Additional::Of(node) => Some(node),
            _ => None,
        }
    }

    /// What the key `name` of an object of this type leads to.
    pub fn field(&self, name: &str) -> Field<'_> {
        let target = self.target();
        if let Some(node) = target.properties.get(name) {
            return Field::Known(node);
        }
        match &target.additional {
            Additional::Of(node) => Field::Known(node),
            Additional::Anything => Field::Free,
            Additional::None if target.preserve_unknown || target.is_free() => Field::Free,
            Additional::None => Field::Unknown,
        }
    }

    /// True if nothing is said about the content: a raw extension, arbitrary JSON, or an untyped value.
    pub fn is_free(&self) -> bool {
        let target = self.target();
        matches!(target.kind, Kind::Any | Kind::Object)
            && target.properties.is_empty()
            && target.additional == Additional::None
            && target.items.is_none()
    }

    /// Fields that an object must have.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.target().required.iter().map(|name| &**name)
    }

    /// True if objects of this type must have `name`.
    pub fn requires(&self, name: &str) -> bool {
        self.required().any(|required| required == name)
    }

    /// The value that stands in for an absent one.
    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_deref().or(self.target().default.as_deref())
    }

    /// True if `null` is a value of this type.
    pub fn is_nullable(&self) -> bool {
        self.nullable || self.target().nullable
    }

    /// True for a field of a built-in type whose zero differs from its absence, so that it is kept.
    pub fn is_pointer(&self) -> bool {
        self.pointer
    }

    /// True for a field of a built-in type that is written even if it is empty.
    pub fn is_always_written(&self) -> bool {
        self.always
    }

    /// True for `x-kubernetes-int-or-string`, and for the built-in type of that name.
    pub fn is_int_or_string(&self) -> bool {
        self.target().int_or_string
    }

    /// True if fields that are not described are kept, not pruned.
    pub fn preserves_unknown_fields(&self) -> bool {
        self.target().preserve_unknown
    }

    /// True if the value is a whole Kubernetes object; its `apiVersion`, `kind` and `metadata` are among the properties.
    pub fn is_embedded_resource(&self) -> bool {
        self.target().embedded_resource
    }

    /// `format`, such as `date-time` or `int32`; empty if none is given.
    pub fn format(&self) -> &str {
        &self.target().format
    }

    /// How server-side apply sees the list; `None` if not said, which means atomic.
    pub fn list_type(&self) -> Option<&ListType> {
        self.list_type.as_ref().or(self.target().list_type.as_ref())
    }

    /// The fields that tell the elements of a list apart; empty unless its type is `map`.
    pub fn list_map_keys(&self) -> &[String] {
        match self.list_type() {
            Some(ListType::Map(keys)) => keys,
            _ => &[],
        }
    }

    /// How server-side apply sees the object; `None` if not said, which means granular.
    pub fn map_type(&self) -> Option<MapType> {
        self.map_type.or(self.target().map_type)
    }

    /// How a strategic merge patch sees the list or object; nothing set means replaced whole.
    pub fn patch_strategy(&self) -> PatchStrategy {
        self.patch_strategy
    }

    /// The field by which a strategic merge patch tells a list's elements apart; empty if there is none.
    pub fn patch_merge_key(&self) -> &str {
        &self.patch_merge_key
    }

    /// Bounds on values, for custom kinds.
    pub fn rules(&self) -> Option<&Rules> {
        self.target().rules.as_deref()
    }
}
