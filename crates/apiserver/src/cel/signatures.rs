//! Which functions there are, which arguments they take, and what they return.

use cel::common::ast::operators;

use super::types::Type;

/// What is known of a call.
pub(super) enum Call<'n> {
    /// There is no such function.
    Unknown,
    /// There is, but not for these arguments.
    Mismatch,
    Returns(Type<'n>),
}

impl<'n> From<Option<Type<'n>>> for Call<'n> {
    fn from(found: Option<Type<'n>>) -> Self {
        found.map_or(Self::Mismatch, Self::Returns)
    }
}

/// An operator on arguments of these types; `None` if `name` is none.
pub(super) fn operator<'n>(name: &str, arguments: &[Type<'n>]) -> Option<Call<'n>> {
    use Type::{Bool, Dyn, Int};
    let returns = match (name, arguments) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b]) => {
            (a.fits(&Bool) && b.fits(&Bool)).then_some(Bool)
        }
        (operators::LOGICAL_NOT, [a]) => a.fits(&Bool).then_some(Bool),
        (operators::CONDITIONAL, [condition, a, b]) => {
            (condition.fits(&Bool) && a.fits(b)).then(|| a.clone().joined(b))
        }
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => {
            (a.fits(b) || a == &Type::Null || b == &Type::Null).then_some(Bool)
        }
        (
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
            [a, b],
        ) => comparable(a, b).then_some(Bool),
        (operators::NEGATE, [a]) => [Int, Type::Double, Type::Duration, Dyn].contains(a).then(|| a.clone()),
        (operators::ADD, [a, b]) => sum(a, b),
        (operators::SUBSTRACT, [a, b]) => difference(a, b),
        (operators::MULTIPLY | operators::DIVIDE, [a, b]) => same(a, b, &[Int, Type::Uint, Type::Double]),
        (operators::MODULO, [a, b]) => same(a, b, &[Int, Type::Uint]),
        (operators::IN, [item, range]) => member_of(item, range).then_some(Bool),
        (operators::INDEX, [operand, index]) => indexed(operand, index),
        (operators::OPT_INDEX, [operand, index]) => indexed(operand, index).map(|t| match t {
            Type::Optional(_) => t,
            other => Type::optional(other),
        }),
        _ => return None,
    };
    Some(returns.into())
}

fn is_number(kind: &Type<'_>) -> bool {
    matches!(kind, Type::Int | Type::Uint | Type::Double)
}

fn comparable(a: &Type<'_>, b: &Type<'_>) -> bool {
    let ordered = [Type::Bool, Type::Text, Type::Bytes, Type::Duration, Type::Timestamp];
    match (a, b) {
        (Type::Dyn, other) | (other, Type::Dyn) => {
            *other == Type::Dyn || is_number(other) || ordered.contains(other)
        }
        (a, b) if is_number(a) => is_number(b),
        (a, b) => a == b && ordered.contains(a),
    }
}

fn same<'n>(a: &Type<'n>, b: &Type<'n>, allowed: &[Type<'_>]) -> Option<Type<'n>> {
    match (a, b) {
        (Type::Dyn, Type::Dyn) => Some(Type::Dyn),
        (Type::Dyn, other) | (other, Type::Dyn) => allowed.contains(other).then(|| other.clone()),
        (a, b) => (a == b && allowed.contains(a)).then(|| a.clone()),
    }
}

fn sum<'n>(a: &Type<'n>, b: &Type<'n>) -> Option<Type<'n>> {
    match (a, b) {
        (Type::Timestamp, Type::Duration) | (Type::Duration, Type::Timestamp) => Some(Type::Timestamp),
        (Type::List(x), Type::List(y)) => x.fits(y).then(|| a.clone().joined(b)),
        (Type::List(_), Type::Dyn) => Some(a.clone()),
        (Type::Dyn, Type::List(_)) => Some(b.clone()),
        _ => same(a, b, &[Type::Int, Type::Uint, Type::Double, Type::Text, Type::Bytes, Type::Duration]),
    }
}

fn difference<'n>(a: &Type<'n>, b: &Type<'n>) -> Option<Type<'n>> {
    match (a, b) {
        (Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
        (Type::Timestamp, Type::Duration) => Some(Type::Timestamp),
        _ => same(a, b, &[Type::Int, Type::Uint, Type::Double, Type::Duration]),
    }
}

fn member_of(item: &Type<'_>, range: &Type<'_>) -> bool {
    match range {
        Type::Dyn => true,
        Type::List(of) => item.fits(of),
        Type::Map(keys, _) => item.fits(keys),
        _ => false,
    }
}

fn indexed<'n>(operand: &Type<'n>, index: &Type<'_>) -> Option<Type<'n>> {
    match operand {
        Type::Dyn => Some(Type::Dyn),
        Type::List(of) => index.fits(&Type::Int).then(|| (**of).clone()),
        Type::Map(keys, values) => index.fits(keys).then(|| (**values).clone()),
        Type::Optional(inner) => indexed(inner, index).map(Type::optional),
        _ => None,
    }
}

/// True if every argument may be of its type.
fn takes(arguments: &[Type<'_>], wanted: &[Type<'_>]) -> bool {
    arguments.len() == wanted.len() && arguments.iter().zip(wanted).all(|(a, w)| a.fits(w))
}

/// A function without a target; `name` has its namespace.
pub(super) fn global<'n>(name: &str, arguments: &[Type<'n>]) -> Call<'n> {
    use Type::{Bool, Dyn, Int, Text};
    let list = || Type::list(Dyn);
    let one = |allowed: &[Type<'_>]| arguments.len() == 1 && allowed.iter().any(|w| arguments[0].fits(w));
    let found = match name {
        "size" => one(&[Text, Type::Bytes, list(), Type::map(Dyn, Dyn)]).then_some(Int),
        "matches" => takes(arguments, &[Text, Text]).then_some(Bool),
        "type" => one(&[Dyn]).then_some(Type::OfTypes),
        "dyn" => one(&[Dyn]).then_some(Dyn),
        "bool" => one(&[Bool, Text]).then_some(Bool),
        "int" => one(&[Int, Type::Uint, Type::Double, Text, Type::Timestamp, Type::Duration]).then_some(Int),
        "uint" => one(&[Int, Type::Uint, Type::Double, Text]).then_some(Type::Uint),
        "double" => one(&[Int, Type::Uint, Type::Double, Text]).then_some(Type::Double),
        "string" => one(&[
            Bool,
            Int,
            Type::Uint,
            Type::Double,
            Text,
            Type::Bytes,
            Type::Timestamp,
            Type::Duration,
            Type::Ip,
            Type::Cidr,
            Type::Quantity,
            Type::Url,
        ])
        .then_some(Text),
        "bytes" => one(&[Text, Type::Bytes]).then_some(Type::Bytes),
        "duration" => one(&[Text, Type::Duration]).then_some(Type::Duration),
        "timestamp" => one(&[Text, Int, Type::Timestamp]).then_some(Type::Timestamp),
        "optional.none" => takes(arguments, &[]).then(|| Type::optional(Dyn)),
        "optional.of" | "optional.ofNonZeroValue" => {
            one(&[Dyn]).then(|| Type::optional(arguments[0].clone()))
        }
        "sets.contains" | "sets.equivalent" | "sets.intersects" => {
            takes(arguments, &[list(), list()]).then_some(Bool)
        }
        "strings.quote" => one(&[Text]).then_some(Text),
        "lists.range" => one(&[Int]).then(|| Type::list(Int)),
        "isQuantity" | "isURL" | "isIP" | "isCIDR" | "ip.isCanonical" => one(&[Text]).then_some(Bool),
        "quantity" => one(&[Text]).then_some(Type::Quantity),
        "url" => one(&[Text]).then_some(Type::Url),
        "ip" => one(&[Text]).then_some(Type::Ip),
        "cidr" => one(&[Text]).then_some(Type::Cidr),
        "format.named" => one(&[Text]).then(|| Type::optional(Type::Format)),
        _ if name.starts_with("format.") => arguments.is_empty().then_some(Type::Format),
        _ => return Call::Unknown,
    };
    found.into()
}

/// A function of a target, which is the first argument.
pub(super) fn member<'n>(name: &str, arguments: &[Type<'n>]) -> Call<'n> {
    let [target, rest @ ..] = arguments else { return Call::Unknown };
    let candidates = [
        text(name, rest),
        list(name, target, rest),
        time(name, rest),
        other(name, rest),
        optional(name, target, rest),
    ];
    let families = [Family::Text, Family::List, Family::Time, Family::Other, Family::Optional];
    let mut known = false;
    for (family, found) in families.into_iter().zip(candidates) {
        let Some(found) = found else { continue };
        known = true;
        if let (true, Some(returns)) = (family.holds(name, target), found) {
            return Call::Returns(returns);
        }
    }
    if known { Call::Mismatch } else { Call::Unknown }
}

#[derive(Clone, Copy)]
enum Family {
    Text,
    List,
    Time,
    Other,
    Optional,
}

impl Family {
    fn holds(self, name: &str, target: &Type<'_>) -> bool {
        if *target == Type::Dyn {
            return true;
        }
        match self {
            Self::Text => *target == Type::Text,
            Self::List => {
                matches!(target, Type::List(_))
                    || (name == "size" && matches!(target, Type::Map(..) | Type::Bytes))
            }
            Self::Time => matches!(target, Type::Timestamp | Type::Duration),
            Self::Other => match name {
                "validate" => *target == Type::Format,
                "family"
                | "isLoopback"
                | "isUnspecified"
                | "isLinkLocalMulticast"
                | "isLinkLocalUnicast"
                | "isGlobalUnicast" => *target == Type::Ip,
                "containsIP" | "containsCIDR" | "ip" | "masked" | "prefixLength" => *target == Type::Cidr,
                "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath" | "getQuery" => {
                    *target == Type::Url
                }
                _ => *target == Type::Quantity,
            },
            Self::Optional => matches!(target, Type::Optional(_)),
        }
    }
}

/// `Some(None)`: the function exists and does not take these arguments.
type Found<'n> = Option<Option<Type<'n>>>;

fn text<'n>(name: &str, rest: &[Type<'n>]) -> Found<'n> {
    use Type::{Bool, Int, Text};
    let any = |forms: &[&[Type<'_>]]| forms.iter().any(|form| takes(rest, form));
    Some(match name {
        "size" => any(&[&[]]).then_some(Int),
        "contains" | "startsWith" | "endsWith" | "matches" => any(&[&[Text]]).then_some(Bool),
        "lowerAscii" | "upperAscii" | "trim" => any(&[&[]]).then_some(Text),
        "charAt" => any(&[&[Int]]).then_some(Text),
        "indexOf" | "lastIndexOf" => any(&[&[Text], &[Text, Int]]).then_some(Int),
        "replace" => any(&[&[Text, Text], &[Text, Text, Int]]).then_some(Text),
        "split" => any(&[&[Text], &[Text, Int]]).then(|| Type::list(Text)),
        "substring" => any(&[&[Int], &[Int, Int]]).then_some(Text),
        "find" => any(&[&[Text]]).then_some(Text),
        "findAll" => any(&[&[Text], &[Text, Int]]).then(|| Type::list(Text)),
        "format" => any(&[&[Type::list(Type::Dyn)]]).then_some(Text),
        _ => return None,
    })
}

fn list<'n>(name: &str, target: &Type<'n>, rest: &[Type<'n>]) -> Found<'n> {
    use Type::{Bool, Dyn, Int, Text};
    let element = || if let Type::List(of) = target { (**of).clone() } else { Dyn };
    let any = |forms: &[&[Type<'_>]]| forms.iter().any(|form| takes(rest, form));
    Some(match name {
        "size" => any(&[&[]]).then_some(Int),
        "isSorted" => any(&[&[]]).then_some(Bool),
        "sum" | "min" | "max" => any(&[&[]]).then(element),
        "indexOf" | "lastIndexOf" => any(&[&[element()]]).then_some(Int),
        "join" => (any(&[&[], &[Text]]) && element().fits(&Text)).then_some(Text),
        "distinct" | "reverse" | "sort" => any(&[&[]]).then(|| target.clone()),
        "first" | "last" => any(&[&[]]).then(|| Type::optional(element())),
        "slice" => any(&[&[Int, Int]]).then(|| target.clone()),
        "flatten" => any(&[&[], &[Int]]).then(|| Type::list(Dyn)),
        _ => return None,
    })
}

fn time<'n>(name: &str, rest: &[Type<'n>]) -> Found<'n> {
    const PARTS: [&str; 10] = [
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ];
    PARTS.contains(&name).then(|| (takes(rest, &[]) || takes(rest, &[Type::Text])).then_some(Type::Int))
}

fn other<'n>(name: &str, rest: &[Type<'n>]) -> Found<'n> {
    use Type::{Bool, Cidr, Int, Ip, Quantity, Text};
    let any = |forms: &[&[Type<'_>]]| forms.iter().any(|form| takes(rest, form));
    Some(match name {
        "validate" => any(&[&[Text]]).then(|| Type::optional(Type::list(Text))),
        "family" | "prefixLength" | "sign" | "asInteger" => any(&[&[]]).then_some(Int),
        "isLoopback"
        | "isUnspecified"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "isInteger" => any(&[&[]]).then_some(Bool),
        "containsIP" => any(&[&[Ip], &[Text]]).then_some(Bool),
        "containsCIDR" => any(&[&[Cidr], &[Text]]).then_some(Bool),
        "ip" => any(&[&[]]).then_some(Ip),
        "masked" => any(&[&[]]).then_some(Cidr),
        "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath" => any(&[&[]]).then_some(Text),
        "getQuery" => any(&[&[]]).then(|| Type::map(Text, Type::list(Text))),
        "asApproximateFloat" => any(&[&[]]).then_some(Type::Double),
        "isGreaterThan" | "isLessThan" => any(&[&[Quantity]]).then_some(Bool),
        "compareTo" => any(&[&[Quantity]]).then_some(Int),
        "add" | "sub" => any(&[&[Quantity], &[Int]]).then_some(Quantity),
        _ => return None,
    })
}

fn optional<'n>(name: &str, target: &Type<'n>, rest: &[Type<'n>]) -> Found<'n> {
    let inner = || if let Type::Optional(of) = target { (**of).clone() } else { Type::Dyn };
    Some(match name {
        "hasValue" => rest.is_empty().then_some(Type::Bool),
        "value" => rest.is_empty().then(inner),
        "orValue" => takes(rest, &[inner()]).then(|| inner().joined(&rest[0])),
        "or" => takes(rest, &[Type::optional(inner())]).then(|| target.clone().joined(&rest[0])),
        _ => return None,
    })
}
