//! The result of ADD as Go's struct of CNI 1.x.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polynic_cni::{Ip, Route, Success};
use polynic_net::IpNet;

use crate::gob::{Shape, Type, Value};

/// The version that the struct is of.
const CNI_VERSION: &str = "1.0.0";

const NET: Shape = Shape { name: "IPNet", fields: &[("IP", Type::Bytes), ("Mask", Type::Bytes)] };

const IP: Shape = Shape {
    name: "IPConfig",
    fields: &[("Interface", Type::Int), ("Address", Type::Struct(&NET)), ("Gateway", Type::Bytes)],
};

const ROUTE: Shape = Shape {
    name: "Route",
    fields: &[
        ("Dst", Type::Struct(&NET)),
        ("GW", Type::Bytes),
        ("MTU", Type::Int),
        ("AdvMSS", Type::Int),
        ("Priority", Type::Int),
        ("Table", Type::Int),
        ("Scope", Type::Int),
    ],
};

/// The struct.
pub(super) const RESULT: Shape = Shape {
    name: "Result",
    fields: &[
        ("CNIVersion", Type::Text),
        ("IPs", Type::List(&Type::Struct(&IP))),
        ("Routes", Type::List(&Type::Struct(&ROUTE))),
    ],
};

pub(super) fn to_value(success: &Success) -> Value {
    let ip = |ip: &Ip| Value::of([("Address", net(&ip.address)), ("Gateway", address(ip.gateway))]);
    let number = |n: Option<u32>| Value::Int(n.unwrap_or_default().into());
    let route = |route: &Route| {
        Value::of([
            ("Dst", net(&route.dst)),
            ("GW", address(route.gw)),
            ("MTU", number(route.mtu)),
            ("AdvMSS", number(route.advmss)),
            ("Priority", number(route.priority)),
            ("Table", number(route.table)),
            ("Scope", number(route.scope.map(Into::into))),
        ])
    };
    Value::of([
        ("CNIVersion", Value::Text(CNI_VERSION.to_owned())),
        ("IPs", Value::List(success.ips.iter().map(ip).collect())),
        ("Routes", Value::List(success.routes.iter().map(route).collect())),
    ])
}

/// The addresses and routes of a result; none if one of them makes no sense.
pub(super) fn of(value: &Value) -> Option<Success> {
    let ip = |ip: &Value| {
        let gateway = read_address(ip.bytes("Gateway"));
        Some(Ip { gateway, ..Ip::new(read_net(ip.field("Address")?)?) })
    };
    let route = |route: &Value| {
        let number = |name| route.number(name).and_then(|n| u32::try_from(n).ok()).filter(|n| *n != 0);
        Some(Route {
            mtu: number("MTU"),
            advmss: number("AdvMSS"),
            priority: number("Priority"),
            table: number("Table"),
            scope: number("Scope").and_then(|n| u8::try_from(n).ok()),
            ..Route::new(read_net(route.field("Dst")?)?, read_address(route.bytes("GW")))
        })
    };
    Some(Success {
        ips: value.list("IPs").iter().map(ip).collect::<Option<_>>()?,
        routes: value.list("Routes").iter().map(route).collect::<Option<_>>()?,
        ..Success::default()
    })
}

fn address(ip: Option<IpAddr>) -> Value {
    Value::Bytes(match ip {
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
        None => Vec::new(),
    })
}

fn net(net: &IpNet) -> Value {
    Value::of([("IP", address(Some(net.addr()))), ("Mask", address(Some(net.netmask())))])
}

/// Go has IPv4 addresses in 4 bytes or in 16.
fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_canonical())
}

fn read_net(value: &Value) -> Option<IpNet> {
    let address = read_address(value.bytes("IP"))?;
    let mask = value.bytes("Mask");
    // A mask of 16 bytes for an IPv4 address counts from the front of the long form.
    let mask = if address.is_ipv4() && mask.len() == 16 { mask.get(12..)? } else { mask };
    let mask = match (address, mask.len()) {
        (IpAddr::V4(_), 4) => IpAddr::from(<[u8; 4]>::try_from(mask).ok()?),
        (IpAddr::V6(_), 16) => IpAddr::from(<[u8; 16]>::try_from(mask).ok()?),
        _ => return None,
    };
    IpNet::with_netmask(address, mask).ok()
}
