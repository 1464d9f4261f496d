//! Names that cannot be wrong: interface names and hardware addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A valid network interface name: 1 to 15 bytes, neither `.` nor `..`, without `/`, `:` or white space.
///
/// The rule is the kernel's (`dev_valid_name` in net/core/dev.c) and that of spec/cni.md 1.3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

/// Why a string is no interface name. The texts are those of spec/cni.md 1.3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IfNameError {
    /// The name has no bytes.
    #[error("interface name is empty")]
    Empty,
    /// The name has more than 15 bytes.
    #[error("interface name is too long")]
    TooLong,
    /// The name is `.` or `..`.
    #[error("interface name is . or ..")]
    Dots,
    /// The name holds `/`, `:` or white space.
    #[error("interface name contains / or : or whitespace characters")]
    Forbidden,
}

impl IfName {
    /// Longest name in bytes (`IFNAMSIZ` less the terminating zero).
    pub const MAX_LEN: usize = 15;

    /// Checks `name` and keeps it.
    pub fn new(name: impl Into<String>) -> Result<Self, IfNameError> {
        let name = name.into();
        checked(&name, Self::MAX_LEN)?;
        Ok(Self(name))
    }

    /// The loopback interface, which every namespace has.
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(name: &str, longest: usize) -> Result<(), IfNameError> {
    if name.is_empty() {
        return Err(IfNameError::Empty);
    }
    if name.len() > longest {
        return Err(IfNameError::TooLong);
    }
    if name == "." || name == ".." {
        return Err(IfNameError::Dots);
    }
    // A zero byte would cut the name short on its way into the kernel.
    if name.chars().any(|c| c == '/' || c == ':' || c == '\0' || c.is_whitespace()) {
        return Err(IfNameError::Forbidden);
    }
    Ok(())
}

/// What a user may call a link: its name, or one of the alternative names that it has besides (`ip link property add`), which may be longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkName(String);

impl LinkName {
    /// Longest alternative name in bytes (`ALTIFNAMSIZ` less the terminating zero).
    pub const MAX_LEN: usize = 127;

    /// Checks `name` and keeps it.
    ///
    /// # Errors
    /// As [`IfName::new`], with the greater length.
    pub fn new(name: impl Into<String>) -> Result<Self, IfNameError> {
        let name = name.into();
        checked(&name, Self::MAX_LEN)?;
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IfName {
    type Err = IfNameError;
    fn from_str(s: &str) -> Result<Self, IfNameError> {
        Self::new(s)
    }
}

impl TryFrom<String> for IfName {
    type Error = IfNameError;
    fn try_from(s: String) -> Result<Self, IfNameError> {
        Self::new(s)
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A 48-bit hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// Why a string is no hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {0}: invalid MAC address")]
pub struct MacError(String);

impl Mac {
    /// Makes a unicast, locally administered address of six arbitrary bytes (IEEE 802: the two low bits of
    /// the first byte say multicast and local).
    pub fn local(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        Self(bytes)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff` or `aabb.ccdd.eeff`, the forms that users of the
    /// replaced systems may write.
    fn from_str(s: &str) -> Result<Self, MacError> {
        parse_mac(s).ok_or_else(|| MacError(s.to_owned()))
    }
}

fn parse_mac(s: &str) -> Option<Mac> {
    let (separator, group) = match s.as_bytes().get(2)? {
        b':' => (':', 2),
        b'-' => ('-', 2),
        _ => ('.', 4),
    };
    let mut bytes = Vec::with_capacity(6);
    for part in s.split(separator) {
        if part.len() != group || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for at in (0..group).step_by(2) {
            bytes.push(u8::from_str_radix(&part[at..at + 2], 16).ok()?);
        }
    }
    bytes.try_into().ok().map(Mac)
}

impl TryFrom<String> for Mac {
    type Error = MacError;
    fn try_from(s: String) -> Result<Self, MacError> {
        s.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn interface_names_follow_the_kernel() {
        assert_eq!(IfName::new(""), Err(IfNameError::Empty));
        assert_eq!(IfName::new("sixteen-bytes-xy"), Err(IfNameError::TooLong));
        assert_eq!(IfName::new(".."), Err(IfNameError::Dots));
        for bad in ["a/b", "a:b", "a b", "a\u{2003}b", "a\0b"] {
            assert_eq!(IfName::new(bad), Err(IfNameError::Forbidden), "{bad:?}");
        }
        assert!(IfName::new("eth0.100").is_ok());
        assert!(IfName::new("fifteen-bytes-x").is_ok());
        assert!(LinkName::new("x".repeat(127)).is_ok());
        assert_eq!(LinkName::new("x".repeat(128)), Err(IfNameError::TooLong));
    }

    #[test]
    fn macs_are_read_in_three_spellings() {
        let mac = Mac([2, 0, 0xab, 0, 0, 9]);
        for text in ["02:00:ab:00:00:09", "02-00-AB-00-00-09", "0200.ab00.0009"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        for bad in ["", "02", "02:00:ab:00:00", "02:00:ab:00:00:0g", "2:0:ab:0:0:9", "02:00-ab:00:00:09"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_mac_prints_what_it_parses(bytes: [u8; 6]) {
            let mac = Mac(bytes);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,24}") {
            let _ = text.parse::<Mac>();
            let _ = IfName::new(text);
        }

        #[test]
        fn local_macs_are_unicast_and_local(bytes: [u8; 6]) {
            prop_assert_eq!(Mac::local(bytes).0[0] & 3, 2);
        }
    }
}
