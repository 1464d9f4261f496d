//! Hardware addresses that follow from a prefix and an address (spec/coordinator.md 1.6).

use std::net::IpAddr;

use polynic_net::Mac;

/// The two bytes that the address begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MacPrefix([u8; 2]);

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not two hexadecimal bytes with `:` between them. The replaced plugins let `-` pass and die of it later.
    Form,
    /// Addresses that begin so are those of groups; the kernel refuses them.
    Group,
}

impl MacPrefix {
    /// Reads a prefix; none from an empty text.
    pub(super) fn read(text: &str) -> Result<Option<Self>, Unfit> {
        if text.is_empty() {
            return Ok(None);
        }
        let bytes = text.split_once(':').and_then(|(a, b)| Some([byte(a)?, byte(b)?]));
        match bytes.ok_or(Unfit::Form)? {
            [first, _] if first & 1 == 1 => Err(Unfit::Group),
            bytes => Ok(Some(Self(bytes))),
        }
    }

    /// The address for an interface whose first address is `ip`: the prefix and the last four bytes of it.
    pub(super) fn with(self, ip: IpAddr) -> Mac {
        let [a, b] = self.0;
        let [c, d, e, f] = match ip {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) => {
                let [.., c, d, e, f] = ip.octets();
                [c, d, e, f]
            }
        };
        Mac([a, b, c, d, e, f])
    }
}

fn byte(text: &str) -> Option<u8> {
    let two_digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    two_digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_ends_in_the_interfaces() {
        let prefix = MacPrefix::read("0A:1b").unwrap().unwrap();
        assert_eq!(prefix.with("172.19.24.120".parse().unwrap()).to_string(), "0a:1b:ac:13:18:78");
        assert_eq!(prefix.with("fd00::1:2:ab".parse().unwrap()).to_string(), "0a:1b:00:02:00:ab");
        assert_eq!(MacPrefix::read(""), Ok(None));
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for bad in ["0a", "0a:", "0a:1", "0a:1bb", "0a:1b:2c", "0g:11", "0a-1b", "+a:1b", " 0a:1b", "0a:é"] {
            assert_eq!(MacPrefix::read(bad), Err(Unfit::Form), "{bad}");
        }
        assert_eq!(MacPrefix::read("01:1b"), Err(Unfit::Group));
    }
}
