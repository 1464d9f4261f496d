//! The versions of the CNI protocol, in order (spec/cni.md 1.8).

use std::fmt;
use std::str::FromStr;

/// One published version of the protocol. The order is the order of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types)] // the names are the version numbers; camel case would make V0_1_0 and V01_0 alike
pub enum Version {
    /// 0.1.0, also meant by an absent or empty `cniVersion`.
    V0_1_0,
    /// 0.2.0, the first with `VERSION`.
    V0_2_0,
    /// 0.3.0, the first with interfaces in the result.
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0, the first with `CHECK` and with prevResult in `DEL`.
    V0_4_0,
    /// 1.0.0, no single-plugin configurations any more.
    V1_0_0,
    /// 1.1.0, the first with `GC` and `STATUS`.
    V1_1_0,
}

/// The text is not the number of a known version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported CNI version {0:?}")]
pub struct UnknownVersion(pub String);

impl Version {
    /// Every known version, oldest first.
    pub const ALL: [Version; 7] = [
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];
    /// What this crate speaks by preference.
    pub const NEWEST: Version = Version::V1_1_0;

    /// The number as it is written in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// As `FromStr`, but the empty text means 0.1.0, as an absent `cniVersion` does.
    pub fn or_oldest(text: &str) -> Result<Version, UnknownVersion> {
        if text.is_empty() { Ok(Version::V0_1_0) } else { text.parse() }
    }

    /// The versions whose results have the same shape as this one's (spec/cni.md 4.2).
    pub fn family(self) -> &'static [Version] {
        match self {
            Version::V0_1_0 | Version::V0_2_0 => &Version::ALL[..2],
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => &Version::ALL[2..5],
            Version::V1_0_0 | Version::V1_1_0 => &Version::ALL[5..],
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Version, UnknownVersion> {
        let known = Version::ALL.into_iter().find(|version| version.as_str() == text);
        known.ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

/// A version number as the gates of spec/cni.md 1.5 compare it: known or not, one to three integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numeric([i64; 3]);

/// The text is not of the form `int[.int[.int]]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNumber {
    /// More than two dots.
    #[error("invalid version {0:?}: too many parts")]
    TooManyParts(String),
    /// A part that is not an integer.
    #[error("invalid version {text:?}: failed to convert part {part:?} to a number")]
    Part {
        /// The whole text.
        text: String,
        /// The part that is wrong.
        part: String,
    },
}

impl Numeric {
    /// Reads `1`, `1.0` or `1.0.0`; the empty text is 0.1.0.
    pub fn parse(text: &str) -> Result<Numeric, BadNumber> {
        if text.is_empty() {
            return Ok(Numeric([0, 1, 0]));
        }
        let mut numbers = [0; 3];
        for (index, part) in text.split('.').enumerate() {
            let slot = numbers.get_mut(index).ok_or_else(|| BadNumber::TooManyParts(text.to_owned()))?;
            *slot =
                part.parse().map_err(|_| BadNumber::Part { text: text.to_owned(), part: part.to_owned() })?;
        }
        Ok(Numeric(numbers))
    }
}

impl From<Version> for Numeric {
    fn from(version: Version) -> Numeric {
        Numeric(match version {
            Version::V0_1_0 => [0, 1, 0],
            Version::V0_2_0 => [0, 2, 0],
            Version::V0_3_0 => [0, 3, 0],
            Version::V0_3_1 => [0, 3, 1],
            Version::V0_4_0 => [0, 4, 0],
            Version::V1_0_0 => [1, 0, 0],
            Version::V1_1_0 => [1, 1, 0],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_and_the_order_is_numeric() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
            assert_eq!(Numeric::parse(version.as_str()), Ok(Numeric::from(version)));
            assert!(version.family().contains(&version));
        }
        for pair in Version::ALL.windows(2) {
            assert!(pair[0] < pair[1] && Numeric::from(pair[0]) < Numeric::from(pair[1]));
        }
        assert_eq!(Version::ALL.last(), Some(&Version::NEWEST));
    }

    #[test]
    fn membership_is_by_exact_string() {
        assert_eq!("1.0".parse::<Version>(), Err(UnknownVersion("1.0".into())));
        assert_eq!(Version::or_oldest(""), Ok(Version::V0_1_0));
        assert!("".parse::<Version>().is_err());
    }

    #[test]
    fn numbers_have_at_most_three_integer_parts() {
        assert_eq!(Numeric::parse("1"), Numeric::parse("1.0.0"));
        assert_eq!(Numeric::parse(""), Numeric::parse("0.1"));
        assert!(matches!(Numeric::parse("1.0.0.0"), Err(BadNumber::TooManyParts(_))));
        assert!(matches!(Numeric::parse("1.x"), Err(BadNumber::Part { .. })));
        assert!(matches!(Numeric::parse("."), Err(BadNumber::Part { .. })));
    }
}
