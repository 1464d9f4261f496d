//! `CNI_ARGS`: `K=V;K2=V2` (spec/cni.md 1.4).

use crate::error::Error;
use crate::quote::{go_list, go_quote};

/// Keys of the reference plugins. They never count as unknown, so that a `MAC=` meant for the main plugin
/// does not break the IPAM plugin that gets the same string (spec/decisions.md, reference plugins).
pub const WELL_KNOWN: [&str; 3] = ["IP", "GATEWAY", "MAC"];

/// The pairs of a checked string, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Args<'a> {
    /// The value of a key (case-sensitive); of several the last.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// All pairs as written, `IgnoreUnknown` and unknown ones included.
    pub fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.0
    }
}

/// Splits and checks the string against the keys that the plugin knows, beside [`WELL_KNOWN`] and
/// `IgnoreUnknown`.
///
/// Errors (code 999): a pair without exactly one `=`, a boolean that is none, unknown keys unless
/// `IgnoreUnknown` is true.
pub fn parse<'a>(text: &'a str, known: &[&str]) -> Result<Args<'a>, Error> {
    if text.is_empty() {
        return Ok(Args::default());
    }
    let pairs = text.split(';').map(pair).collect::<Result<Vec<_>, Error>>()?;
    let mut ignore = false;
    for (key, value) in pairs.iter().filter(|(key, _)| *key == "IgnoreUnknown") {
        ignore = boolean(value).map_err(|why| {
            Error::internal(format!(
                "ARGS: error parsing value of pair {}: {why}",
                go_quote(&format!("{key}={value}"))
            ))
        })?;
    }
    let is_known = |key: &str| key == "IgnoreUnknown" || known.contains(&key) || WELL_KNOWN.contains(&key);
    let unknown = pairs.iter().filter(|(key, _)| !is_known(key));
    let unknown: Vec<String> = unknown.map(|(key, value)| format!("{key}={value}")).collect();
    if unknown.is_empty() || ignore {
        return Ok(Args(pairs));
    }
    Err(Error::internal(format!("ARGS: unknown args {}", go_list(&unknown))))
}

/// Joins pairs to the form of the variable.
pub fn join(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(";")
}

fn pair(text: &str) -> Result<(&str, &str), Error> {
    match text.split_once('=') {
        Some((key, value)) if !value.contains('=') => Ok((key, value)),
        _ => Err(Error::internal(format!("ARGS: invalid pair {}", go_quote(text)))),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(format!("boolean unmarshal error: invalid input {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, known: &[&str]) -> String {
        let error = parse(text, known).unwrap_err();
        assert_eq!(error.code, 999);
        error.msg
    }

    #[test]
    fn known_keys_are_found_case_sensitively() {
        let args = parse("A=1;IgnoreUnknown=TRUE;a=2;A=3;E=", &["A"]).unwrap();
        assert_eq!(
            (args.get("A"), args.get("a"), args.get("E"), args.get("b")),
            (Some("3"), Some("2"), Some(""), None)
        );
        assert_eq!(args.pairs().len(), 5);
        assert_eq!(parse("", &[]), Ok(Args::default()));
    }

    #[test]
    fn pairs_have_exactly_one_equals_sign() {
        assert_eq!(message("A=1;", &["A"]), r#"ARGS: invalid pair """#);
        assert_eq!(message("A=b=c", &["A"]), r#"ARGS: invalid pair "A=b=c""#);
        assert_eq!(message("A", &["A"]), r#"ARGS: invalid pair "A""#);
    }

    #[test]
    fn unknown_keys_are_listed_unless_ignored() {
        assert_eq!(message("K=V;A=1;K2=V2", &["A"]), r#"ARGS: unknown args ["K=V" "K2=V2"]"#);
        assert_eq!(message("IgnoreUnknown=0;K=V", &[]), r#"ARGS: unknown args ["K=V"]"#);
        assert!(parse("K=V;IgnoreUnknown=1", &[]).is_ok());
    }

    #[test]
    fn the_switch_is_a_boolean() {
        let text = r#"ARGS: error parsing value of pair "IgnoreUnknown=Yes": boolean unmarshal error: invalid input yes"#;
        assert_eq!(message("IgnoreUnknown=Yes", &[]), text);
    }

    #[test]
    fn well_known_keys_do_not_break_other_plugins() {
        assert_eq!(parse("MAC=02:00:00:00:00:01;IP=192.0.2.1", &[]).unwrap().get("IP"), Some("192.0.2.1"));
    }

    #[test]
    fn joined_pairs_read_back() {
        let pairs = [("IgnoreUnknown".to_owned(), "1".to_owned()), ("K".to_owned(), "v".to_owned())];
        assert_eq!(join(&pairs), "IgnoreUnknown=1;K=v");
        assert_eq!(parse(&join(&pairs), &[]).unwrap().get("K"), Some("v"));
    }
}
