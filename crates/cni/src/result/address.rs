//! Addresses as Go reads and prints them: an IPv4-mapped IPv6 address is the IPv4 address, an empty gateway
//! is none.

use std::net::IpAddr;

use ipnet::IpNet;

/// `address/length`; host bits are kept. An error is Go's text.
pub fn parse_net(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("invalid CIDR address: {text}");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let length: u8 = length.parse().map_err(|_| wrong())?;
    let net = IpNet::new(address, length).map_err(|_| wrong())?;
    Ok(unmapped(net))
}

/// An address, or `None` for the empty text. An error is Go's text.
pub fn parse_ip(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| format!("invalid IP address: {text}"))?;
    Ok(Some(address.to_canonical()))
}

/// The canonical text of an address.
pub fn go_ip(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The canonical text of an address with its prefix length.
pub fn go_net(net: IpNet) -> String {
    unmapped(net).to_string()
}

fn unmapped(net: IpNet) -> IpNet {
    match net.addr().to_canonical() {
        IpAddr::V4(address) if net.max_prefix_len() == 128 => {
            // 128 - 96 is the longest prefix there is for IPv4, so this always fits.
            IpNet::new(address.into(), net.prefix_len().saturating_sub(96)).unwrap_or(net)
        }
        _ => net,
    }
}
