//! `static`: the addresses that the configuration or the runtime names (spec/plugins.md 2.2). It keeps no state.

use std::net::IpAddr;

use polynic_cni::{
    Dns, Error, GoMap, Invocation, Ip, Output, PluginConf, Route, Success, Verb, Version, args,
};
use polynic_net::{Family, IpNet};
use serde::Deserialize;

use crate::ipam::{self, Ipam};
use crate::{Call, Context, Plugin};

/// The plugin.
pub struct Static;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    addresses: Vec<WrittenAddress>,
    dns: Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenAddress {
    address: String,
    gateway: String,
}

struct Config {
    addresses: Vec<Ip>,
    routes: Vec<Route>,
    dns: Dns,
}

impl Ipam for Static {}

impl Plugin for Static {
    fn plugin_type(&self) -> &'static str {
        "static"
    }

    fn call(
        &self,
        _: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        let call = Call::new("static", invocation, conf)?;
        match verb {
            Verb::Add => {
                let Config { addresses: ips, routes, dns } =
                    Config::read(&call).map_err(|e| call.explain(e))?;
                Ok(Output::Success(Success { ips, routes, dns, ..Success::default() }))
            }
            Verb::Check => check(&call),
            // There is nothing to release, whatever has become of the configuration.
            _ => Ok(Output::Empty),
        }
    }
}

fn check(call: &Call<'_>) -> Result<Output, Error> {
    let config = Config::read(call).map_err(|e| call.explain(e))?;
    let prev = call.conf.prev_result()?.ok_or_else(|| call.error("static: Required prevResult missing"))?;
    for wanted in &config.addresses {
        let differs = |ip: &&Ip| ip.address == wanted.address && ip.gateway != wanted.gateway;
        if prev.ips.iter().any(|ip| differs(&ip)) {
            let text =
                format!("static: Failed to match addr {} on interface {}", wanted.address, call.ifname);
            return Err(call.error(text));
        }
    }
    Ok(Output::Empty)
}

fn load(e: polynic_cni::json::JsonError) -> Error {
    Error::internal(format!("failed to load netconf: {e}"))
}

impl Config {
    fn read(call: &Call<'_>) -> Result<Self, Error> {
        let object = call.conf.ipam().ok_or_else(|| Error::internal("IPAM config missing 'ipam' key"))?;
        let written: Written = polynic_cni::json::from_map(object).map_err(load)?;
        let addresses = addresses(call, &written)?;
        refuse_two_of_a_family(call, &addresses)?;
        Ok(Self { addresses, routes: ipam::routes(object)?, dns: written.dns })
    }
}

/// What the runtime names replaces what `args` names, which replaces configuration and `CNI_ARGS` together.
fn addresses(call: &Call<'_>, written: &Written) -> Result<Vec<Ip>, Error> {
    let entry = |text: &String| {
        let wrong =
            || Error::internal(format!("an entry in the 'ips' field is NOT in CIDR notation, got: '{text}'"));
        cidr(text).map(Ip::new).ok_or_else(wrong)
    };
    let by_runtime = call.runtime_config().strings("ips").map_err(load)?;
    if !by_runtime.is_empty() {
        return by_runtime.iter().map(entry).collect();
    }
    let by_args = call.conf.args_cni().map(|o| GoMap(o).strings("ips")).transpose().map_err(load)?;
    match by_args {
        Some(ips) if !ips.is_empty() => ips.iter().map(entry).collect(),
        _ => configured(call, written),
    }
}

fn configured(call: &Call<'_>, written: &Written) -> Result<Vec<Ip>, Error> {
    let mut ips = Vec::new();
    for a in &written.addresses {
        let wrong = || {
            Error::internal(format!(
                "the 'address' field is expected to be in CIDR notation, got: '{}'",
                a.address
            ))
        };
        let gateway = polynic_cni::result::parse_ip(&a.gateway)
            .map_err(|_| Error::internal(format!("invalid gateway address: {}", a.gateway)))?;
        ips.push(Ip { gateway, ..Ip::new(cidr(&a.address).ok_or_else(wrong)?) });
    }
    let args = args::parse(&call.invocation.args, &["IP", "GATEWAY"])?;
    for text in listed(args.get("IP")) {
        let wrong =
            || Error::internal(format!("the 'ip' field is expected to be in CIDR notation, got: '{text}'"));
        ips.push(Ip::new(cidr(text).ok_or_else(wrong)?));
    }
    for text in listed(args.get("GATEWAY")) {
        let gateway: IpAddr =
            text.parse().map_err(|_| Error::internal(format!("invalid gateway address: {text}")))?;
        ips.iter_mut().filter(|ip| ip.address.contains(&gateway)).for_each(|ip| ip.gateway = Some(gateway));
    }
    Ok(ips)
}

fn listed(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty())
}

fn cidr(text: &str) -> Option<IpNet> {
    polynic_cni::result::parse_net(text).ok()
}

fn refuse_two_of_a_family(call: &Call<'_>, ips: &[Ip]) -> Result<(), Error> {
    let version = call.conf.cni_version;
    let count = |family| ips.iter().filter(|ip| Family::of(ip.address.addr()) == family).count();
    if version < Version::V0_3_0 && (count(Family::V4) > 1 || count(Family::V6) > 1) {
        return Err(Error::internal(format!(
            "CNI version {version} does not support more than 1 address per family"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(conf: Value, args: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let mut conf = conf;
        conf["name"] = json!("lab");
        let conf = PluginConf::parse(conf.to_string().as_bytes()).unwrap();
        let invocation = Invocation { args: args.into(), ..Invocation::default() };
        let call = Call::new("static", &invocation, &conf).unwrap();
        let config = Config::read(&call).map_err(|e| e.msg)?;
        Ok(config
            .addresses
            .iter()
            .map(|ip| (ip.address.to_string(), ip.gateway.map(|g| g.to_string())))
            .collect())
    }

    fn base() -> Value {
        let addresses = json!([{"address": "10.0.0.5/24", "gateway": "10.0.0.1"}]);
        json!({"cniVersion": "1.0.0", "ipam": {"type": "static", "addresses": addresses}})
    }

    fn ip(address: &str, gateway: Option<&str>) -> (String, Option<String>) {
        (address.into(), gateway.map(Into::into))
    }

    #[test]
    fn cni_args_add_to_the_configuration() {
        let read = read(base(), "IP=10.1.0.5/24,fd00::5/64;GATEWAY=10.1.0.1").unwrap();
        let expected = [
            ip("10.0.0.5/24", Some("10.0.0.1")),
            ip("10.1.0.5/24", Some("10.1.0.1")),
            ip("fd00::5/64", None),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn args_replace_and_the_runtime_replaces_both() {
        let mut conf = base();
        conf["args"] = json!({"cni": {"ips": ["10.2.0.5/24"]}});
        assert_eq!(read(conf.clone(), "IP=10.1.0.5/24").unwrap(), [ip("10.2.0.5/24", None)]);
        conf["runtimeConfig"] = json!({"ips": ["10.3.0.5/24"]});
        assert_eq!(read(conf, "IP=10.1.0.5/24").unwrap(), [ip("10.3.0.5/24", None)]);
    }

    #[test]
    fn each_source_refuses_what_is_no_cidr_in_its_own_words() {
        let mut conf = base();
        conf["ipam"]["addresses"][0]["address"] = json!("10.0.0.5");
        assert_eq!(
            read(conf, "").unwrap_err(),
            "the 'address' field is expected to be in CIDR notation, got: '10.0.0.5'"
        );
        assert_eq!(
            read(base(), "IP=10.0.0.5").unwrap_err(),
            "the 'ip' field is expected to be in CIDR notation, got: '10.0.0.5'"
        );
        assert_eq!(read(base(), "GATEWAY=x").unwrap_err(), "invalid gateway address: x");
        let mut conf = base();
        conf["runtimeConfig"] = json!({"ips": ["10.3.0.5"]});
        let expected = "an entry in the 'ips' field is NOT in CIDR notation, got: '10.3.0.5'";
        assert_eq!(read(conf, "").unwrap_err(), expected);
    }

    #[test]
    fn old_versions_have_one_address_of_a_family() {
        let mut conf = base();
        conf["cniVersion"] = json!("0.2.0");
        assert!(read(conf.clone(), "IP=fd00::5/64").is_ok());
        let error = read(conf, "IP=10.1.0.5/24").unwrap_err();
        assert_eq!(error, "CNI version 0.2.0 does not support more than 1 address per family");
    }
}
