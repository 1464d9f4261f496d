//! Functions on strings. Places are those of characters, not of bytes.

use crate::crd::pattern;
use crate::go;

use super::eval::{EvalError, no_overload};
use super::value::{Value, double_text};
use super::{duration, times};

type Outcome = Result<Value, EvalError>;

fn place(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// A function of the string `text`.
pub(super) fn call(name: &str, text: &str, arguments: &[Value]) -> Outcome {
    let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_text).collect();
    match (name, texts.as_deref()) {
        ("size", Some([])) => Ok(place(text.chars().count())),
        ("contains", Some([part])) => Ok(Value::Bool(text.contains(part))),
        ("startsWith", Some([part])) => Ok(Value::Bool(text.starts_with(part))),
        ("endsWith", Some([part])) => Ok(Value::Bool(text.ends_with(part))),
        ("matches", Some([wanted])) => Ok(Value::Bool(compiled(wanted)?.is_match(text))),
        ("lowerAscii", Some([])) => Ok(Value::text(text.to_ascii_lowercase())),
        ("upperAscii", Some([])) => Ok(Value::text(text.to_ascii_uppercase())),
        ("trim", Some([])) => Ok(Value::text(text.trim())),
        ("replace", Some([old, new])) => Ok(Value::text(text.replace(old, new))),
        ("split", Some([separator])) => Ok(split(text, separator, -1)),
        ("indexOf", Some([part])) => Ok(index(text, part, 0)),
        ("lastIndexOf", Some([part])) => Ok(last_index(text, part, usize::MAX)),
        ("find", Some([wanted])) => {
            Ok(Value::text(compiled(wanted)?.find(text).map_or("", |found| found.as_str())))
        }
        ("findAll", Some([wanted])) => find_all(text, wanted, -1),
        _ => with_numbers(name, text, arguments),
    }
}

fn with_numbers(name: &str, text: &str, arguments: &[Value]) -> Outcome {
    let length = text.chars().count();
    let within = |n: i64| {
        let place = usize::try_from(n).ok().filter(|place| *place <= length);
        place.ok_or_else(|| EvalError::new(format!("index out of range: {n}")))
    };
    match (name, arguments) {
        ("charAt", [Value::Int(n)]) => {
            Ok(Value::text(text.chars().nth(within(*n)?).map(String::from).unwrap_or_default()))
        }
        ("substring", [Value::Int(start)]) => {
            Ok(Value::text(text.chars().skip(within(*start)?).collect::<String>()))
        }
        ("substring", [Value::Int(start), Value::Int(end)]) => {
            let (start_at, end_at) = (within(*start)?, within(*end)?);
            if start_at > end_at {
                let message = format!("invalid substring range. start: {start}, end: {end}");
                return Err(EvalError::new(message));
            }
            Ok(Value::text(text.chars().skip(start_at).take(end_at - start_at).collect::<String>()))
        }
        ("indexOf", [Value::Text(part), Value::Int(from)]) => Ok(index(text, part, within(*from)?)),
        ("lastIndexOf", [Value::Text(part), Value::Int(to)]) => Ok(last_index(text, part, within(*to)?)),
        ("split", [Value::Text(separator), Value::Int(limit)]) => Ok(split(text, separator, *limit)),
        ("findAll", [Value::Text(wanted), Value::Int(limit)]) => find_all(text, wanted, *limit),
        ("replace", [Value::Text(old), Value::Text(new), Value::Int(limit)]) => {
            let times = usize::try_from(*limit).unwrap_or(usize::MAX);
            Ok(Value::text(text.replacen(&**old, new, times)))
        }
        ("format", [Value::List(values, _)]) => format_text(text, values),
        _ => Err(no_overload()),
    }
}

fn compiled(wanted: &str) -> Result<std::sync::Arc<regex::Regex>, EvalError> {
    pattern::compiled(wanted).ok_or_else(|| {
        let why = pattern::check(wanted).err().unwrap_or_default();
        EvalError::new(format!("error parsing regexp: {why}"))
    })
}

fn find_all(text: &str, wanted: &str, limit: i64) -> Outcome {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let regex = compiled(wanted)?;
    Ok(Value::list(regex.find_iter(text).take(most).map(|found| Value::text(found.as_str())).collect()))
}

fn split(text: &str, separator: &str, limit: i64) -> Value {
    let texts: Vec<Value> = match usize::try_from(limit) {
        Ok(0) => Vec::new(),
        Ok(most) if separator.is_empty() => {
            let chars: Vec<char> = text.chars().collect();
            let mut parts: Vec<String> = chars.iter().take(most - 1).map(|c| c.to_string()).collect();
            parts.push(chars.iter().skip(most - 1).collect());
            parts.retain(|part| !part.is_empty());
            parts.into_iter().map(Value::text).collect()
        }
        Ok(most) => text.splitn(most, separator).map(Value::text).collect(),
        Err(_) if separator.is_empty() => text.chars().map(|c| Value::text(c.to_string())).collect(),
        Err(_) => text.split(separator).map(Value::text).collect(),
    };
    Value::list(texts)
}

fn index(text: &str, part: &str, from: usize) -> Value {
    let start = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
    text[start..]
        .find(part)
        .map_or(Value::Int(-1), |at| place(from + text[start..start + at].chars().count()))
}

fn last_index(text: &str, part: &str, to: usize) -> Value {
    let chars = |at: usize| text[..at].chars().count();
    let found = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let found = found.filter(|at| text[*at..].starts_with(part)).map(chars).take_while(|at| *at <= to).last();
    found.map_or(Value::Int(-1), place)
}

/// `join` of a list of strings.
pub(super) fn join(items: &[Value], separator: &str) -> Outcome {
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
    texts.map(|texts| Value::text(texts.join(separator))).ok_or_else(no_overload)
}

/// The text of a value, as `string()` makes it; `None` for what has none.
pub(super) fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        Value::Duration(nanos) => duration::seconds_text(*nanos),
        Value::Timestamp(moment) => times::shown(*moment),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(prefix) => prefix.0.to_string(),
        Value::Url(url) => url.text().to_owned(),
        Value::Quantity(quantity) => quantity.to_string(),
        Value::Type(name) => name.to_string(),
        _ => return None,
    })
}

/// `'%s is %d'.format([a, 1])`.
fn format_text(pattern: &str, values: &[Value]) -> Outcome {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = String::new();
        while let Some(digit) = chars.next_if(|c| *c == '.' || c.is_ascii_digit()) {
            precision.push(digit);
        }
        let verb = chars.next().ok_or_else(|| EvalError::new("unexpected end of string"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| EvalError::new("index out of range"))?;
        let precision = precision.strip_prefix('.').and_then(|digits| digits.parse().ok()).unwrap_or(6);
        out.push_str(&verb_text(verb, precision, value)?);
    }
    Ok(Value::text(out))
}

fn verb_text(verb: char, precision: usize, value: &Value) -> Result<String, EvalError> {
    let number = value.as_number();
    match (verb, value) {
        ('s', value) => Ok(shown(value)),
        ('d', Value::Int(_) | Value::Uint(_)) => Ok(plain(value).unwrap_or_default()),
        ('b', Value::Int(n)) => Ok(format!("{n:b}")),
        ('b', Value::Bool(value)) => Ok(i32::from(*value).to_string()),
        ('o', Value::Int(n)) => Ok(format!("{n:o}")),
        ('x', Value::Int(n)) => Ok(format!("{n:x}")),
        ('X', Value::Int(n)) => Ok(format!("{n:X}")),
        ('x', Value::Text(text)) => Ok(text.bytes().map(|b| format!("{b:02x}")).collect()),
        ('f', _) => number.map(|n| format!("{n:.precision$}")).ok_or_else(no_overload),
        ('e', _) => number.map(|n| format!("{n:.precision$e}")).ok_or_else(no_overload),
        _ => Err(EvalError::new(format!(
            "could not parse formatting clause: unrecognized formatting clause {verb:?}"
        ))),
    }
}

/// A value within a formatted text.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::List(items, _) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Map(fields) => {
            let pairs: Vec<String> =
                fields.iter().map(|(key, value)| format!("{}: {}", key.shown(), shown(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => plain(other).unwrap_or_default(),
    }
}

/// `strings.quote`.
pub(super) fn quote(text: &str) -> Value {
    Value::text(go::quote(text))
}
