//! Names of objects, as the replaced program makes them (spec/whereabouts.md 3).

use std::net::IpAddr;

use polynic_net::IpNet;

/// The name of a range's pool: for a network of its own, and for one node's slice.
pub fn pool_name(network: &str, node: Option<&str>, range: IpNet) -> String {
    let node = node.map(|node| format!("{node}-")).unwrap_or_default();
    format!("{}{node}{}", of_network(network), plain(&range.to_string()))
}

/// The name of an address's reservation.
pub fn reservation_name(network: &str, ip: IpAddr) -> String {
    format!("{}{}", of_network(network), plain(&ip.to_string()))
}

fn of_network(network: &str) -> String {
    if network.is_empty() { String::new() } else { format!("{network}-") }
}

/// A name must not end in a dash.
fn plain(text: &str) -> String {
    let end = if text.ends_with(':') { "0" } else { "" };
    format!("{text}{end}").replace([':', '/'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_existing_objects() {
        let name =
            |network: &str, node: Option<&str>, range: &str| pool_name(network, node, range.parse().unwrap());
        assert_eq!(name("", None, "10.20.0.0/24"), "10.20.0.0-24");
        assert_eq!(name("blue", None, "10.20.0.0/24"), "blue-10.20.0.0-24");
        assert_eq!(name("", None, "fd00:20::/64"), "fd00-20---64");
        assert_eq!(name("", Some("node7"), "10.20.0.64/26"), "node7-10.20.0.64-26");
        assert_eq!(reservation_name("", "10.20.0.5".parse().unwrap()), "10.20.0.5");
        assert_eq!(reservation_name("blue", "fd00:20::5".parse().unwrap()), "blue-fd00-20--5");
        assert_eq!(reservation_name("", "fd00::".parse().unwrap()), "fd00--0");
    }
}
