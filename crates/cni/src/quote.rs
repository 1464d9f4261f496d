//! Quoting as Go's `%q` does it, because the texts that the contract fixes contain quoted parts.

/// The text in double quotes; what does not print is escaped.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for symbol in text.chars() {
        push_escaped(&mut quoted, symbol);
    }
    quoted.push('"');
    quoted
}

/// `["a" "b"]`: a Go list of quoted strings.
pub fn go_list<S: AsRef<str>>(items: &[S]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| go_quote(item.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

fn push_escaped(quoted: &mut String, symbol: char) {
    match symbol {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\u{b}' => quoted.push_str("\\v"),
        _ if (symbol as u32) < 0x20 || symbol as u32 == 0x7f => {
            quoted.push_str(&format!("\\x{:02x}", symbol as u32));
        }
        _ if symbol.is_control() => quoted.push_str(&format!("\\u{:04x}", symbol as u32)),
        _ => quoted.push(symbol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(go_quote("a\"b\\c\n\t\u{1}\u{7f}\u{85}é"), "\"a\\\"b\\\\c\\n\\t\\x01\\x7f\\u0085é\"");
        assert_eq!(go_list(&["K=V", "K2=V2"]), r#"["K=V" "K2=V2"]"#);
        assert_eq!(go_list::<&str>(&[]), "[]");
    }
}
