//! The error object of the protocol (spec/cni.md 1.7): what a failing plugin prints and a runtime reads.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json;
use crate::quote::{go_list, go_quote};
use crate::version::Version;

/// The numbers of [`Error::code`] (spec/cni.md 1.7). 100 and above are free for plugins.
pub mod code {
    /// Nothing known; runtimes use it when they make up an error.
    pub const UNKNOWN: u32 = 0;
    /// The config's version and the plugin's do not meet.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the config is not supported; the text has key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container does not exist; the runtime need not call DEL.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable is missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO_FAILURE: u32 = 5;
    /// Something could not be decoded.
    pub const DECODING_FAILURE: u32 = 6;
    /// The network configuration is wrong.
    pub const INVALID_NETWORK_CONFIG: u32 = 7;
    /// The namespace is wrong (not in the written table).
    pub const INVALID_NETNS: u32 = 8;
    /// A passing condition: try again later.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// STATUS: ADD cannot be served.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: ADD cannot be served, and existing containers may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: u32 = 51;
    /// Whatever has no number of its own.
    pub const INTERNAL: u32 = 999;
}

/// A failure as the protocol carries it. Its text form is `msg` or `msg; details`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Error {
    /// One of [`code`], or 100 and above.
    pub code: u32,
    /// What went wrong, in one line.
    pub msg: String,
    /// More, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Error {
    /// An error with a number, a message and details (may be empty).
    pub fn new(code: u32, msg: impl Into<String>, details: impl Into<String>) -> Error {
        Error { code, msg: msg.into(), details: details.into() }
    }

    fn plain(code: u32, msg: impl Into<String>) -> Error {
        Error::new(code, msg, "")
    }

    /// 999: any failure without a number of its own.
    pub fn internal(msg: impl Into<String>) -> Error {
        Error::plain(code::INTERNAL, msg)
    }

    /// 0: made up by a runtime that got no proper error.
    pub fn unknown(msg: impl Into<String>) -> Error {
        Error::plain(code::UNKNOWN, msg)
    }

    /// 1, for a version that is not in the plugin's list (spec/cni.md 1.5).
    pub fn incompatible_version(config: &str, supported: &[Version]) -> Error {
        let names: Vec<&str> = supported.iter().map(|version| version.as_str()).collect();
        let details = format!("config is {}, plugin supports {}", go_quote(config), go_list(&names));
        Error::new(code::INCOMPATIBLE_VERSION, "incompatible CNI versions", details)
    }

    /// 2: a field of the config is not supported.
    pub fn unsupported_field(key: &str, value: &str) -> Error {
        Error::plain(code::UNSUPPORTED_FIELD, format!("unsupported field {}: {value}", go_quote(key)))
    }

    /// 3: the container does not exist (any more).
    pub fn unknown_container(msg: impl Into<String>) -> Error {
        Error::plain(code::UNKNOWN_CONTAINER, msg)
    }

    /// 4: an environment variable is missing or wrong.
    pub fn invalid_environment(msg: impl Into<String>, details: impl Into<String>) -> Error {
        Error::new(code::INVALID_ENVIRONMENT, msg, details)
    }

    /// 5: reading or writing failed.
    pub fn io(msg: impl Into<String>) -> Error {
        Error::plain(code::IO_FAILURE, msg)
    }

    /// 6: something could not be decoded.
    pub fn decoding(msg: impl Into<String>) -> Error {
        Error::plain(code::DECODING_FAILURE, msg)
    }

    /// 7: the network configuration is wrong.
    pub fn invalid_network_config(msg: impl Into<String>, details: impl Into<String>) -> Error {
        Error::new(code::INVALID_NETWORK_CONFIG, msg, details)
    }

    /// 8: `CNI_NETNS` is the namespace that the plugin runs in (spec/cni.md 1.6). Check before doing
    /// anything.
    pub fn same_netns() -> Error {
        Error::plain(code::INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")
    }

    /// 11: a passing condition.
    pub fn try_again(msg: impl Into<String>) -> Error {
        Error::plain(code::TRY_AGAIN_LATER, msg)
    }

    /// 50: the answer of STATUS when ADD cannot be served.
    pub fn not_available(msg: impl Into<String>) -> Error {
        Error::plain(code::NOT_AVAILABLE, msg)
    }

    /// 51: as 50, and existing containers may be affected.
    pub fn limited_connectivity(msg: impl Into<String>) -> Error {
        Error::plain(code::LIMITED_CONNECTIVITY, msg)
    }

    /// The same failure seen from one layer up: `prefix: text`, the code kept so that 11, 50 and 51 reach
    /// the runtime.
    pub fn within(self, prefix: impl fmt::Display) -> Error {
        Error::plain(self.code, format!("{prefix}: {self}"))
    }

    /// The object as a plugin prints it: indented by four spaces, no newline at the end.
    pub fn to_json(&self) -> String {
        json::print_indented(self)
    }

    /// Reads a printed error object; unknown keys are ignored, keys match as Go's decoder matches them.
    pub fn from_json(bytes: &[u8]) -> Result<Error, json::JsonError> {
        json::from_slice(bytes)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, "; {}", self.details) }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_indented_and_omits_empty_details() {
        let error = Error::try_again("pool \"a\" is busy");
        assert_eq!(error.to_json(), "{\n    \"code\": 11,\n    \"msg\": \"pool \\\"a\\\" is busy\"\n}");
        let error = Error::new(100, "m", "d <x>");
        assert_eq!(
            error.to_json(),
            "{\n    \"code\": 100,\n    \"msg\": \"m\",\n    \"details\": \"d \\u003cx\\u003e\"\n}"
        );
    }

    #[test]
    fn reading_tolerates_unknown_keys_and_any_case() {
        let read = Error::from_json(br#"{"cniVersion":"1.0.0","Code":7,"MSG":"m","details":null,"x":[1]}"#);
        assert_eq!(read, Ok(Error::invalid_network_config("m", "")));
        assert!(Error::from_json(br#"{"code":"7"}"#).is_err());
        assert!(Error::from_json(br#"{"code":-1}"#).is_err());
        assert!(Error::from_json(br#"{"code":1}{"code":2}"#).is_err());
    }

    #[test]
    fn the_text_joins_message_and_details() {
        assert_eq!(Error::new(1, "m", "d").to_string(), "m; d");
        assert_eq!(Error::new(1, "m", "").to_string(), "m");
        assert_eq!(Error::new(11, "m", "d").within("step"), Error::new(11, "step: m; d", ""));
    }

    #[test]
    fn incompatible_versions_lists_what_the_plugin_supports() {
        let error = Error::incompatible_version("9.9.9", &[Version::V0_4_0, Version::V1_0_0]);
        assert_eq!((error.code, error.msg.as_str()), (1, "incompatible CNI versions"));
        assert_eq!(error.details, r#"config is "9.9.9", plugin supports ["0.4.0" "1.0.0"]"#);
    }

    #[test]
    fn the_same_namespace_is_code_8() {
        assert_eq!(Error::same_netns().code, 8);
        assert_eq!(
            Error::same_netns().to_string(),
            "plugin's netns and netns from CNI_NETNS should not be the same"
        );
    }
}
