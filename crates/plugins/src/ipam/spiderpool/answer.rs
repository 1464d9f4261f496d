//! From the agent's answer to a CNI result: only what is about this interface.

use polynic_cni::result::{parse_ip, parse_net};
use polynic_cni::{Dns, Ip, Route, Success};
use polynic_wire::messages::{self, AddResponse, IpConfig};

/// The result for one interface.
///
/// # Errors
/// The answer holds nothing for the interface, or something that is no address.
pub(super) fn success(response: &AddResponse, ifname: &str) -> Result<Success, String> {
    let ips: Vec<Ip> = mine(response, ifname).map(ip).collect::<Result<_, _>>()?;
    if ips.is_empty() {
        return Err(format!("the agent's answer has no address for interface {ifname}"));
    }
    let routes = response.routes.iter().filter(|route| route.if_name == ifname);
    let routes = routes.map(route).collect::<Result<_, _>>()?;
    let dns = response.dns.as_ref().map(dns).unwrap_or_default();
    Ok(Success { ips, routes, dns, ..Success::default() })
}

/// The addresses of one interface.
pub(super) fn mine<'a>(response: &'a AddResponse, ifname: &'a str) -> impl Iterator<Item = &'a IpConfig> {
    response.ips.iter().filter(move |ip| ip.nic == ifname)
}

fn ip(config: &IpConfig) -> Result<Ip, String> {
    Ok(Ip { gateway: parse_ip(&config.gateway)?, ..Ip::new(parse_net(&config.address)?) })
}

fn route(route: &messages::Route) -> Result<Route, String> {
    Ok(Route::new(parse_net(&route.dst)?, parse_ip(&route.gw)?))
}

fn dns(dns: &messages::Dns) -> Dns {
    Dns {
        nameservers: dns.nameservers.clone(),
        domain: dns.domain.clone(),
        search: dns.search.clone(),
        options: dns.options.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(answer: Value, ifname: &str) -> Result<Success, String> {
        success(&serde_json::from_value(answer).unwrap(), ifname)
    }

    #[test]
    fn entries_of_other_interfaces_are_left_out() {
        let answer = json!({
            "ips": [
                {"version": 4, "address": "10.9.3.20/16", "gateway": "10.9.0.1", "ipPool": "blue", "nic": "net1"},
                {"version": 6, "address": "fd00::20/64", "nic": "net1"},
                {"version": 4, "address": "10.8.0.3/24", "nic": "eth0"},
            ],
            "routes": [
                {"ifName": "net1", "dst": "10.40.0.0/16", "gw": "10.9.0.9"},
                {"ifName": "net1", "dst": "0.0.0.0/0", "gw": "10.9.0.1"},
                {"ifName": "eth0", "dst": "10.50.0.0/16", "gw": "10.8.0.1"},
            ],
            "dns": {"nameservers": ["192.0.2.1"]},
        });
        let result = read(answer.clone(), "net1").unwrap();
        let ips: Vec<_> = result.ips.iter().map(|ip| (ip.address.to_string(), ip.gateway)).collect();
        let gateway = Some("10.9.0.1".parse().unwrap());
        assert_eq!(ips, [("10.9.3.20/16".into(), gateway), ("fd00::20/64".into(), None)]);
        let routes: Vec<_> = result.routes.iter().map(|route| route.dst.to_string()).collect();
        assert_eq!(routes, ["10.40.0.0/16", "0.0.0.0/0"]);
        assert_eq!(result.dns.nameservers, ["192.0.2.1"]);
        assert!(result.interfaces.is_empty());
        assert!(read(answer, "net2").unwrap_err().contains("net2"));
    }

    #[test]
    fn what_is_no_address_is_named() {
        let error =
            read(json!({"ips": [{"version": 4, "address": "x", "nic": "eth0"}]}), "eth0").unwrap_err();
        assert!(error.contains('x'), "{error}");
    }
}
