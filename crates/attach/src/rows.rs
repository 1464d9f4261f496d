//! From a delegate's result to rows of the network-status annotation (spec/multus.md 10.2).

use polynic_api::NetworkStatus;
use polynic_cni::result::go_ip;
use polynic_cni::{Interface, Success};

/// The rows of one delegate; none if its result names no interface.
pub fn rows(result: &Success, display_name: &str, is_master: bool) -> Vec<NetworkStatus> {
    let base = NetworkStatus {
        name: display_name.to_owned(),
        dns: result.dns.clone(),
        gateway: gateways(result),
        ..NetworkStatus::default()
    };
    match result.interfaces.as_slice() {
        [] => Vec::new(),
        [only] => vec![single(result, only, NetworkStatus { default: is_master, ..base })],
        _ => several(result, is_master, &base),
    }
}

/// Next hops of the default routes. A route without one tells a reader nothing.
fn gateways(result: &Success) -> Vec<String> {
    let defaults = result.routes.iter().filter(|route| route.dst.prefix_len() == 0);
    defaults.filter_map(|route| route.gw).map(go_ip).collect()
}

fn single(result: &Success, interface: &Interface, base: NetworkStatus) -> NetworkStatus {
    let ips = result.ips.iter().map(|ip| go_ip(ip.address.addr())).collect();
    let row = NetworkStatus { ips, ..base };
    if interface.sandbox.is_empty() { row } else { with_interface(row, interface) }
}

fn with_interface(row: NetworkStatus, interface: &Interface) -> NetworkStatus {
    NetworkStatus {
        interface: interface.name.clone(),
        mac: interface.mac.clone(),
        mtu: interface.mtu.unwrap_or_default(),
        ..row
    }
}

/// A row per interface in the pod.
fn several(result: &Success, is_master: bool, base: &NetworkStatus) -> Vec<NetworkStatus> {
    let sandboxed =
        result.interfaces.iter().enumerate().filter(|(_, interface)| !interface.sandbox.is_empty());
    let mut rows: Vec<(usize, NetworkStatus)> =
        sandboxed.map(|(index, interface)| (index, with_interface(base.clone(), interface))).collect();
    for ip in &result.ips {
        let row = match ip.interface {
            Some(index) => rows.iter_mut().find(|(at, _)| *at == index),
            None => rows.last_mut(),
        };
        if let Some((_, row)) = row {
            row.ips.push(go_ip(ip.address.addr()));
        }
    }
    if is_master && let Some(at) = default_row(result, &rows) {
        rows[at].1.default = true;
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The row of the first address with a gateway; if no address has one, the first row.
fn default_row(result: &Success, rows: &[(usize, NetworkStatus)]) -> Option<usize> {
    let routed = result.ips.iter().filter(|ip| ip.gateway.is_some()).find_map(|ip| ip.interface);
    match routed {
        Some(index) => rows.iter().position(|(at, _)| *at == index),
        None if rows.is_empty() => None,
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::Version;
    use serde_json::{Value, json};

    fn rows_of(result: Value, is_master: bool) -> Value {
        let result = Success::parse(result.to_string().as_bytes(), Version::NEWEST).unwrap();
        serde_json::to_value(rows(&result, "blue/lan", is_master)).unwrap()
    }

    fn interfaces(sandboxes: &[&str]) -> Value {
        let interface = |(at, sandbox): (usize, &&str)| json!({"name": format!("i{at}"), "mac": format!("02:00:00:00:00:0{at}"), "sandbox": sandbox});
        Value::Array(sandboxes.iter().enumerate().map(interface).collect())
    }

    fn ip(index: Option<usize>, last: u8, gateway: bool) -> Value {
        let mut ip = json!({"address": format!("10.0.0.{last}/24")});
        if let Some(index) = index {
            ip["interface"] = json!(index);
        }
        if gateway {
            ip["gateway"] = json!("10.0.0.1");
        }
        ip
    }

    fn column(rows: &Value, key: &str) -> Vec<Value> {
        rows.as_array().unwrap().iter().map(|row| row[key].clone()).collect()
    }

    #[test]
    fn one_interface_gives_one_row_with_all_addresses() {
        let rows = rows_of(
            json!({"interfaces": [{"name": "net1", "mac": "02:00:00:00:00:07", "mtu": 1400, "sandbox": "/ns"}],
                   "ips": [ip(Some(0), 7, true), {"address": "fd00::7/64"}],
                   "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "10.9.0.0/16", "gw": "10.0.0.2"}],
                   "dns": {"domain": "d"}}),
            false,
        );
        assert_eq!(
            rows,
            json!([{"name": "blue/lan", "interface": "net1", "ips": ["10.0.0.7", "fd00::7"], "mac": "02:00:00:00:00:07",
                    "mtu": 1400, "dns": {"domain": "d"}, "gateway": ["10.0.0.1"]}])
        );
    }

    #[test]
    fn a_host_interface_alone_gives_a_row_without_interface() {
        let rows = rows_of(json!({"interfaces": interfaces(&[""]), "ips": [ip(None, 7, false)]}), true);
        assert_eq!(rows, json!([{"name": "blue/lan", "ips": ["10.0.0.7"], "default": true, "dns": {}}]));
    }

    #[test]
    fn addresses_go_to_their_interface_or_to_the_last_row() {
        let ips =
            json!([ip(Some(2), 2, false), ip(Some(0), 9, false), ip(None, 5, false), ip(Some(1), 1, false)]);
        let rows = rows_of(json!({"interfaces": interfaces(&["", "/ns", "/ns"]), "ips": ips}), false);
        assert_eq!(column(&rows, "interface"), ["i1", "i2"]);
        assert_eq!(column(&rows, "ips"), [json!(["10.0.0.1"]), json!(["10.0.0.2", "10.0.0.5"])]);
    }

    #[test]
    fn the_default_row_is_the_one_with_the_first_gateway() {
        let with = |ips: Value| {
            let rows = rows_of(json!({"interfaces": interfaces(&["", "/ns", "/ns"]), "ips": ips}), true);
            column(&rows, "default")
        };
        assert_eq!(with(json!([ip(Some(1), 1, false), ip(Some(2), 2, true)])), [Value::Null, json!(true)]);
        assert_eq!(with(json!([ip(Some(2), 2, false)])), [json!(true), Value::Null]);
        assert_eq!(with(json!([ip(Some(0), 9, true), ip(Some(2), 2, true)])), [Value::Null, Value::Null]);
        assert_eq!(with(json!([ip(None, 9, true)])), [json!(true), Value::Null]);
    }

    #[test]
    fn addresses_without_interfaces_give_no_row() {
        assert_eq!(rows_of(json!({"ips": [ip(None, 7, true)]}), true), json!([]));
    }

    #[test]
    fn a_default_route_without_next_hop_is_left_out() {
        let rows = rows_of(json!({"interfaces": interfaces(&["/ns"]), "routes": [{"dst": "::/0"}]}), false);
        assert_eq!(column(&rows, "gateway"), [Value::Null]);
    }
}
