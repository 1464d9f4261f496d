//! Lists of networks in configurations.

use polynic_net::IpNet;

/// Reads networks, spaces around them allowed. The error is the replaced plugins'.
pub(super) fn read_all(texts: &[String]) -> Result<Vec<IpNet>, String> {
    texts.iter().map(|text| read(text)).collect()
}

/// Reads one network; host bits are dropped.
pub(super) fn read(text: &str) -> Result<IpNet, String> {
    let net: Result<IpNet, _> = text.trim().parse();
    net.map(|net| net.trunc()).map_err(|_| format!("invalid CIDR address: {text}"))
}
