//! How Go prints strings and numbers: messages of the real server show values that way, and programs match on messages.

use std::fmt::Write as _;

use serde_json::Value;

/// `%q`.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c => push_plain(&mut quoted, c),
        }
    }
    quoted.push('"');
    quoted
}

fn push_plain(quoted: &mut String, c: char) {
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = if code < 0x20 || code == 0x7f {
        write!(quoted, "\\x{code:02x}")
    } else if is_printable(c) {
        quoted.push(c);
        Ok(())
    } else if code < 0x1_0000 {
        write!(quoted, "\\u{code:04x}")
    } else {
        write!(quoted, "\\U{code:08x}")
    };
}

fn is_printable(c: char) -> bool {
    c == '\'' || c.escape_debug().count() == 1
}

/// `%v` of a float64: the shortest text that reads back the same, with an exponent where it is large or small.
pub(crate) fn float(number: f64) -> String {
    if !number.is_finite() {
        let infinite = if number > 0.0 { "+Inf" } else { "-Inf" };
        return if number.is_nan() { "NaN".into() } else { infinite.into() };
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..21).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A value as field errors show it: text quoted, numbers plain, everything else as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Number(number) if number.is_f64() => float(number.as_f64().unwrap_or_default()),
        other => json(&other.to_string()),
    }
}

/// JSON text with what Go's encoder escapes besides.
pub(crate) fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// What Go's JSON decoder says of `text`, of which ours said `error`. Only the most common faults have Go's words.
pub(crate) fn json_error(text: &[u8], error: &serde_json::Error) -> String {
    let first = text.iter().find(|byte| !b" \t\r\n".contains(byte));
    match first {
        Some(byte) if !begins_value(*byte) => {
            let shown = match byte {
                b'\'' => r"'\''".to_owned(),
                byte => format!("'{}'", quote(&char::from(*byte).to_string()).trim_matches('"')),
            };
            format!("invalid character {shown} looking for beginning of value")
        }
        _ if error.is_eof() => "unexpected end of JSON input".to_owned(),
        _ => error.to_string(),
    }
}

fn begins_value(byte: u8) -> bool {
    b"{[\"tfn-".contains(&byte) || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_quoted_with_gos_escapes() {
        assert_eq!(quote("a\"b\\\n\u{1}é\u{200b}"), "\"a\\\"b\\\\\\n\\x01é\\u200b\"");
        assert_eq!(quote("it's"), "\"it's\"");
    }

    #[test]
    fn a_text_that_is_no_json_is_told_by_its_first_character() {
        let why = |text: &[u8]| json_error(text, &serde_json::from_slice::<Value>(text).unwrap_err());
        assert_eq!(why(b" hello"), "invalid character 'h' looking for beginning of value");
        assert_eq!(why(b"\x9e"), "invalid character '\\u009e' looking for beginning of value");
        assert_eq!(why(b"'x'"), r"invalid character '\'' looking for beginning of value");
        assert_eq!(why(b"{\"a\":"), "unexpected end of JSON input");
    }

    #[test]
    fn floats_are_short() {
        for (number, text) in
            [(1.0, "1"), (1.5, "1.5"), (1e21, "1e+21"), (1e-7, "1e-07"), (123_456_789.0, "123456789")]
        {
            assert_eq!(float(number), text);
        }
        assert_eq!(shown(&json!(2.0)), "2");
        assert_eq!(shown(&json!([1, "a>"])), "[1,\"a\\u003e\"]");
    }
}
