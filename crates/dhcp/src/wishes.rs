//! What a network's configuration wants said to the server, and wants to know from it (spec/plugins.md 2.3).

use polynic_cni::json::{self, JsonError};
use serde::{Deserialize, Serialize};

use crate::options::{self, code};

/// The most that a value may have.
const LONGEST_VALUE: usize = 255;

/// What is asked and said in every message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Options that are sent.
    pub provide: Vec<(u8, Vec<u8>)>,
    /// Options that are asked for.
    pub request: Vec<u8>,
    /// Metric of the routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// It is not of the form that is expected.
    #[error("error parsing netconf: {0}")]
    Form(JsonError),
    /// An option has neither a known name nor a number.
    #[error("Can not parse option {0:?}: it is neither a known name nor a number from 0 to 255")]
    Option(String),
    /// The value does not fit.
    #[error("value of option {0:?} is {1} bytes long, and 255 is the most")]
    TooLong(String, usize),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Netconf {
    name: String,
    ipam: Option<Ipam>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    provide: Vec<Provided>,
    request: Vec<Requested>,
    priority: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Provided {
    option: String,
    value: String,
    #[serde(rename = "fromArg")]
    from_arg: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Requested {
    option: String,
    #[serde(rename = "skipDefault")]
    skip_default: bool,
}

/// The network's name and the wishes of a configuration, with values from `CNI_ARGS`.
///
/// # Errors
/// [`WishError`].
pub fn read(stdin: &[u8], args: &str) -> Result<(String, Wishes), WishError> {
    let conf: Netconf = json::from_slice(stdin).map_err(WishError::Form)?;
    let ipam = conf.ipam.unwrap_or_default();
    let mut wishes = Wishes { priority: (ipam.priority != 0).then_some(ipam.priority), ..Wishes::default() };
    for wanted in &ipam.provide {
        let code = number(&wanted.option)?;
        if let Some(value) = value(wanted, args) {
            if value.len() > LONGEST_VALUE {
                return Err(WishError::TooLong(wanted.option.clone(), value.len()));
            }
            wishes.provide.retain(|(known, _)| *known != code);
            wishes.provide.push((code, value.as_bytes().to_vec()));
        }
    }
    wishes.request = requested(&ipam.request)?;
    Ok((conf.name, wishes))
}

/// The network's name alone.
///
/// # Errors
/// [`WishError::Form`].
pub fn network(stdin: &[u8]) -> Result<String, WishError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        name: String,
    }
    json::from_slice(stdin).map(|conf: Named| conf.name).map_err(WishError::Form)
}

/// The argument's value if the runtime gave one, else the configuration's, if there is any.
fn value<'a>(wanted: &'a Provided, args: &'a str) -> Option<&'a str> {
    let mut pairs = args.split(';').filter_map(|pair| pair.split_once('='));
    let given = pairs.find(|(key, _)| !wanted.from_arg.is_empty() && *key == wanted.from_arg);
    given.map(|(_, value)| value).or((!wanted.value.is_empty()).then_some(wanted.value.as_str()))
}

fn requested(entries: &[Requested]) -> Result<Vec<u8>, WishError> {
    let mut codes = Vec::new();
    for entry in entries.iter().filter(|entry| !(entry.skip_default && entry.option.is_empty())) {
        codes.push(number(&entry.option)?);
    }
    if !entries.iter().any(|entry| entry.skip_default) {
        codes.extend([code::SUBNET_MASK, code::ROUTERS]);
    }
    let mut seen = std::collections::BTreeSet::new();
    codes.retain(|code| seen.insert(*code));
    Ok(codes)
}

fn number(option: &str) -> Result<u8, WishError> {
    options::named(option).ok_or_else(|| WishError::Option(option.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wishes(ipam: serde_json::Value, args: &str) -> Result<Wishes, String> {
        let conf = json!({"name": "lan", "ipam": ipam});
        read(conf.to_string().as_bytes(), args).map(|(_, wishes)| wishes).map_err(|e| e.to_string())
    }

    #[test]
    fn mask_and_routers_are_asked_for_unless_skipped() {
        assert_eq!(wishes(json!({"type": "dhcp"}), "").unwrap().request, [1, 3]);
        let ipam = json!({"request": [{"option": "routers"}, {"option": "121"}]});
        assert_eq!(wishes(ipam, "").unwrap().request, [3, 121, 1]);
        let ipam =
            json!({"request": [{"skipDefault": true}, {"option": "subnet-mask", "skipDefault": false}]});
        assert_eq!(wishes(ipam, "").unwrap().request, [1]);
    }

    #[test]
    fn an_argument_of_the_runtime_wins_over_the_value() {
        let ipam = json!({"priority": 9, "provide": [
            {"option": "host-name", "value": "none", "fromArg": "K8S_POD_NAME"}, {"option": "60", "value": "cni"},
            {"option": "77", "fromArg": "MISSING"}]});
        let wishes = wishes(ipam, "IgnoreUnknown=1;K8S_POD_NAME=web-0").unwrap();
        assert_eq!(wishes.provide, [(12, b"web-0".to_vec()), (60, b"cni".to_vec())]);
        assert_eq!(wishes.priority, Some(9));
    }

    #[test]
    fn what_is_no_option_is_named() {
        let error = wishes(json!({"request": [{"option": "mtu"}]}), "").unwrap_err();
        assert!(error.starts_with("Can not parse option \"mtu\": "), "{error}");
        assert!(wishes(json!({"request": [{"option": "256"}]}), "").is_err());
        let ipam = json!({"provide": [{"option": "60", "value": "x".repeat(256)}]});
        assert!(wishes(ipam, "").unwrap_err().contains("256 bytes"));
    }
}
