//! The key `gateways`: at most one next hop of each family, used instead of prevResult's.

use std::net::IpAddr;

use polynic_net::Family;

/// Configured next hops.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Gateways {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Gateways {
    pub(super) fn read(texts: &[String]) -> Result<Self, String> {
        if texts.len() > 2 {
            return Err("gateways list cannot contain more than 2 entries (one IPv4, one IPv6)".into());
        }
        let mut gateways = Self::default();
        for text in texts {
            let ip: IpAddr =
                text.parse().map_err(|_| format!("invalid static gateway IP address: {text}"))?;
            let (slot, family) = match Family::of(ip) {
                Family::V4 => (&mut gateways.v4, "IPv4"),
                Family::V6 => (&mut gateways.v6, "IPv6"),
            };
            if let Some(first) = slot {
                return Err(format!("gateways list contains multiple {family} addresses: {first} and {ip}"));
            }
            *slot = Some(ip);
        }
        Ok(gateways)
    }

    pub(super) fn of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Gateways, String> {
        Gateways::read(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn one_of_each_family_and_no_more() {
        let both = read(&["10.0.0.1", "fd00::1"]).unwrap();
        assert_eq!(both.of(Family::V6), Some("fd00::1".parse().unwrap()));
        assert_eq!(read(&[]), Ok(Gateways::default()));
        for (texts, error) in [
            (
                &["10.0.0.1", "10.0.0.2"][..],
                "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2",
            ),
            (&["x"], "invalid static gateway IP address: x"),
            (&["::1", "::2", "::3"], "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)"),
        ] {
            assert_eq!(read(texts).unwrap_err(), error);
        }
    }
}
