//! Addresses, prefixes and URLs in expressions. IPv4-mapped addresses, zones and leading zeros are refused, as in the real
//! server.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::eval::{EvalError, no_overload};
use super::value::Value;

/// A prefix, with the address that it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr(pub(super) IpNet);

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: Vec<(String, String)>,
}

/// Reads an address.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let error = |why: &str| format!("IP Address {text:?} parse error during conversion from string: {why}");
    let address: IpAddr =
        text.parse().map_err(|_| error(&format!("ParseAddr({text:?}): unable to parse IP")))?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        address => Ok(address),
    }
}

/// Reads a prefix.
pub(super) fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let prefix: Result<IpNet, _> = text.parse();
    let error = || {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'"
        )
    };
    let prefix = prefix.map_err(|_| error())?;
    match prefix {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        prefix => Ok(Cidr(prefix)),
    }
}

/// Reads an absolute URL, or an absolute path.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let error = |why: &str| format!("URL parse error during conversion from string: parse {text:?}: {why}");
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = match before.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) => (scheme, Some(rest)),
        _ => ("", None),
    };
    let (host, path) = match rest {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None if before.starts_with('/') => ("", before),
        None => return Err(error("invalid URI for request")),
    };
    if text.contains(|c: char| c.is_control() || c == ' ') {
        return Err(error("net/url: invalid control character in URL"));
    }
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Ok(Url { text: text.into(), scheme: scheme.into(), host: host.into(), path: path.into(), query })
}

impl Url {
    fn split_host(&self) -> (&str, &str) {
        match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
            _ => (&self.host, ""),
        }
    }

    pub(super) fn call(&self, name: &str) -> Result<Value, EvalError> {
        let (host, port) = self.split_host();
        Ok(match name {
            "getScheme" => Value::text(self.scheme.as_str()),
            "getHost" => Value::text(self.host.as_str()),
            "getHostname" => Value::text(host.trim_matches(['[', ']'])),
            "getPort" => Value::text(port),
            "getEscapedPath" => Value::text(self.path.as_str()),
            "getQuery" => self.query(),
            _ => return Err(no_overload()),
        })
    }

    fn query(&self) -> Value {
        use super::value::Key;
        let mut found: std::collections::BTreeMap<Key, Vec<Value>> = std::collections::BTreeMap::new();
        for (key, value) in &self.query {
            found.entry(Key::Text(key.as_str().into())).or_default().push(Value::text(value.as_str()));
        }
        let found = found.into_iter().map(|(key, values)| (key, Value::list(values))).collect();
        Value::Map(std::rc::Rc::new(found))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

pub(super) fn ip_call(name: &str, address: IpAddr) -> Result<Value, EvalError> {
    let local_multicast = match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => is_local(v6),
    };
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let global =
        !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || local || broadcast);
    Ok(match name {
        "family" => Value::Int(if address.is_ipv4() { 4 } else { 6 }),
        "isLoopback" => Value::Bool(address.is_loopback()),
        "isUnspecified" => Value::Bool(address.is_unspecified()),
        "isLinkLocalMulticast" => Value::Bool(local_multicast),
        "isLinkLocalUnicast" => Value::Bool(local),
        "isGlobalUnicast" => Value::Bool(global),
        _ => return Err(no_overload()),
    })
}

fn is_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

pub(super) fn cidr_call(name: &str, prefix: Cidr, argument: Option<&Value>) -> Result<Value, EvalError> {
    let inner = prefix.0;
    let read = |text: &str| parse_ip(text).map_err(EvalError::new);
    Ok(match (name, argument) {
        ("ip", None) => Value::Ip(inner.addr()),
        ("prefixLength", None) => Value::Int(inner.prefix_len().into()),
        ("masked", None) => Value::Cidr(Cidr(inner.trunc())),
        ("containsIP", Some(Value::Ip(address))) => Value::Bool(inner.contains(address)),
        ("containsIP", Some(Value::Text(text))) => Value::Bool(inner.contains(&read(text)?)),
        ("containsCIDR", Some(Value::Cidr(other))) => Value::Bool(inner.trunc().contains(&other.0)),
        ("containsCIDR", Some(Value::Text(text))) => {
            Value::Bool(inner.trunc().contains(&parse_cidr(text).map_err(EvalError::new)?.0))
        }
        _ => return Err(no_overload()),
    })
}
