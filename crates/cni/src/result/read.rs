//! Reading a result or a prevResult (spec/cni.md 4.2).

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{Dns, Interface, Ip, Route, Success, parse_ip, parse_net};
use crate::error::Error;
use crate::json::{self, GoMap, JsonError, JsonMap};
use crate::quote::go_quote;
use crate::version::Version;

impl Success {
    /// Reads what a plugin printed. Its version is its own `cniVersion`, else `default_version`: that of the
    /// request.
    ///
    /// Errors (999): no JSON object, an unknown version, a wrong type or address; they name the field.
    pub fn parse(bytes: &[u8], default_version: Version) -> Result<Success, Error> {
        Success::parse_reply(bytes, default_version.as_str())
    }

    /// As [`Success::parse`], with the request's version as written (empty = 0.1.0); an unknown one is an
    /// error only if it is needed.
    pub fn parse_reply(bytes: &[u8], requested: &str) -> Result<Success, Error> {
        let map = json::parse_object(bytes).map_err(|why| unreadable(&why))?;
        let own = GoMap(&map).string("cniVersion").map_err(|why| unreadable(&why))?;
        let version = if own.is_empty() { requested } else { own };
        let version = Version::or_oldest(version)
            .map_err(|_| Error::internal(format!("unsupported CNI result version {}", go_quote(version))))?;
        decode(version, &map).map_err(|why| unreadable(&why))
    }

    /// Reads a prevResult, which has to be of the config's version or of one with the same shape.
    pub fn parse_as(version: Version, value: &Value) -> Result<Success, Error> {
        let broken = |why: String| Error::internal(format!("could not parse prevResult: {why}"));
        let nothing = JsonMap::new();
        let map = match value {
            Value::Object(map) => map,
            Value::Null => &nothing,
            other => return Err(broken(JsonError::wrong_type(other, "object").to_string())),
        };
        let own = GoMap(map).string("cniVersion").map_err(|why| broken(why.to_string()))?;
        check_family(version, own).map_err(broken)?;
        // Within a family everything reads alike, and what it is relabelled to is the config's version.
        decode(version, map).map_err(|why| broken(why.to_string()))
    }
}

fn unreadable(why: &JsonError) -> Error {
    Error::internal(format!("could not read the plugin's result: {why}"))
}

fn check_family(version: Version, own: &str) -> Result<(), String> {
    let family = version.family();
    let oldest = own.is_empty();
    if oldest || family.iter().any(|member| member.as_str() == own) {
        return Ok(());
    }
    let mut names: Vec<&str> = family.iter().map(|member| member.as_str()).collect();
    if family[0] == Version::V0_1_0 {
        names.insert(0, "");
    }
    let names = names.join(" ");
    Err(format!("result type supports [{names}] but unmarshalled CNIVersion is {}", go_quote(own)))
}

fn decode(version: Version, map: &JsonMap) -> Result<Success, JsonError> {
    let mut success = if version < Version::V0_3_0 { decode_old(map)? } else { decode_new(map)? };
    success.cni_version = version;
    if version < Version::V1_0_0 {
        for interface in &mut success.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, String::new(), String::new());
        }
    }
    Ok(success)
}

/// The form since 0.3.0. `ips[].version` is not read: it is the family of the address.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NewForm {
    interfaces: Vec<Interface>,
    ips: Vec<NewIp>,
    routes: Vec<AnyRoute>,
    dns: Dns,
}

#[derive(Deserialize)]
struct NewIp {
    #[serde(default)]
    interface: Option<i64>,
    address: Net,
    #[serde(default)]
    gateway: Gateway,
}

#[derive(Deserialize)]
struct AnyRoute {
    dst: Net,
    #[serde(default)]
    gw: Gateway,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    advmss: u32,
    #[serde(default)]
    priority: u32,
    #[serde(default)]
    table: Option<u32>,
    #[serde(default)]
    scope: Option<u8>,
}

/// The form of 0.1.0 and 0.2.0.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OldForm {
    ip4: Option<OldIp>,
    ip6: Option<OldIp>,
    dns: Dns,
}

#[derive(Deserialize)]
struct OldIp {
    ip: Net,
    #[serde(default)]
    gateway: Gateway,
    #[serde(default)]
    routes: Vec<AnyRoute>,
}

fn decode_new(map: &JsonMap) -> Result<Success, JsonError> {
    let form: NewForm = json::from_map(map)?;
    Ok(Success {
        interfaces: form.interfaces.into_iter().map(without_zero_mtu).collect(),
        ips: form.ips.into_iter().map(Ip::from).collect(),
        routes: form.routes.into_iter().map(Route::from).collect(),
        dns: form.dns,
        ..Success::default()
    })
}

fn decode_old(map: &JsonMap) -> Result<Success, JsonError> {
    let form: OldForm = json::from_map(map)?;
    let mut success = Success { dns: form.dns, ..Success::default() };
    for old in [form.ip4, form.ip6].into_iter().flatten() {
        success.ips.push(Ip { interface: None, address: old.ip.0, gateway: old.gateway.0 });
        success.routes.extend(old.routes.into_iter().map(Route::from));
    }
    Ok(success)
}

fn without_zero_mtu(interface: Interface) -> Interface {
    Interface { mtu: interface.mtu.filter(|mtu| *mtu != 0), ..interface }
}

impl From<NewIp> for Ip {
    fn from(ip: NewIp) -> Ip {
        // Some plugins write -1 for "no interface", as an early draft of 0.3.0 had it.
        let interface = ip.interface.and_then(|index| usize::try_from(index).ok());
        Ip { interface, address: ip.address.0, gateway: ip.gateway.0 }
    }
}

impl From<AnyRoute> for Route {
    fn from(route: AnyRoute) -> Route {
        let given = |number: u32| Some(number).filter(|number| *number != 0);
        Route {
            dst: route.dst.0,
            gw: route.gw.0,
            mtu: given(route.mtu),
            advmss: given(route.advmss),
            priority: given(route.priority),
            table: route.table,
            scope: route.scope,
        }
    }
}

struct Net(IpNet);

#[derive(Default)]
struct Gateway(Option<IpAddr>);

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Net, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        parse_net(text).map(Net).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Gateway {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Gateway, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        parse_ip(text).map(Gateway).map_err(de::Error::custom)
    }
}
