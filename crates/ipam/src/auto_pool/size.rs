//! How many addresses an automatic pool has, and which.

use std::fmt;

use polynic_net::IntervalSet;

use super::wrong;
use crate::{FailureReason, Texts, annotation};

/// What `ippool-ip-number` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpNumber {
    /// `N`: that many.
    Fixed(u32),
    /// `+N`: that many more than there are replicas.
    Flexible(u32),
}

impl IpNumber {
    /// The size for an application with so many replicas.
    pub fn size(self, replicas: u32) -> u32 {
        match self {
            Self::Fixed(number) => number,
            Self::Flexible(number) => replicas.saturating_add(number),
        }
    }
}

impl fmt::Display for IpNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(number) => write!(f, "{number}"),
            Self::Flexible(number) => write!(f, "+{number}"),
        }
    }
}

/// Reads `ippool-ip-number`; `None` means the cluster's default flexible number.
///
/// # Errors
/// It is negative or no number, or has more than one `+`.
pub fn ip_number(annotations: &Texts) -> Result<Option<IpNumber>, FailureReason> {
    let Some(text) = annotations.get(annotation::IP_NUMBER) else { return Ok(None) };
    let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse().ok(),
        false => None,
    };
    let read = match text.strip_prefix('+') {
        Some(digits) => number(digits).map(IpNumber::Flexible),
        None => number(text).map(IpNumber::Fixed),
    };
    read.map(Some).ok_or_else(|| wrong(annotation::IP_NUMBER, text, "a number N or +N"))
}

/// Reads `ippool-reclaim`; true if absent. The spellings are those of Go's `strconv.ParseBool`.
///
/// # Errors
/// It is no boolean.
pub fn reclaim(annotations: &Texts) -> Result<bool, FailureReason> {
    let Some(text) = annotations.get(annotation::RECLAIM) else { return Ok(true) };
    match text.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(wrong(annotation::RECLAIM, text, "true or false")),
    }
}

/// What becomes of a pool that is to have another size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeChange {
    /// It has that size.
    Fits,
    /// Its addresses are to be these.
    To(IntervalSet),
    /// So many addresses more are needed than the subnet has, or (shrinking) than are unallocated: try again later.
    Short(u128),
}

/// Grows a pool by the lowest free addresses, or shrinks it by its lowest unallocated ones.
pub fn resize(current: &IntervalSet, allocated: &IntervalSet, free: &IntervalSet, size: u32) -> SizeChange {
    let (have, want) = (current.count(), u128::from(size));
    let (from, missing) = match have < want {
        true => (free.difference(current), want - have),
        false => (current.difference(allocated), have - want),
    };
    match from.count() {
        _ if missing == 0 => SizeChange::Fits,
        enough if enough < missing => SizeChange::Short(missing - enough),
        _ if have < want => SizeChange::To(current.union(&from.lowest(missing))),
        _ => SizeChange::To(current.difference(&from.lowest(missing))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_net::{Family, IpRange};

    fn set(texts: &[&str]) -> IntervalSet {
        let ranges: Vec<IpRange> = texts.iter().map(|text| text.parse().unwrap()).collect();
        IntervalSet::of_ranges(Family::V4, &ranges)
    }

    #[test]
    fn numbers_are_fixed_or_flexible() {
        let read =
            |text: &str| ip_number(&Texts::from([(annotation::IP_NUMBER.to_owned(), text.to_owned())]));
        assert_eq!(read("5").unwrap(), Some(IpNumber::Fixed(5)));
        assert_eq!(read("+2").unwrap().map(|number| number.size(3)), Some(5));
        for bad in ["-1", "++1", "", "+", "x", "1.5", "99999999999"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ip_number(&Texts::new()).unwrap(), None);
    }

    #[test]
    fn reclaim_is_true_unless_said_otherwise() {
        let read = |text: &str| reclaim(&Texts::from([(annotation::RECLAIM.to_owned(), text.to_owned())]));
        assert!(reclaim(&Texts::new()).unwrap() && read("1").unwrap() && !read("False").unwrap());
        assert!(read("yes").is_err());
    }

    #[test]
    fn growing_keeps_what_is_there_and_shrinking_gives_up_the_lowest_unallocated() {
        let (current, none) = (set(&["10.0.0.5-10.0.0.6"]), set(&[]));
        let free = set(&["10.0.0.1-10.0.0.2", "10.0.0.9"]);
        assert_eq!(
            resize(&current, &none, &free, 4),
            SizeChange::To(set(&["10.0.0.1-10.0.0.2", "10.0.0.5-10.0.0.6"]))
        );
        assert_eq!(resize(&current, &none, &free, 9), SizeChange::Short(4));
        assert_eq!(resize(&current, &set(&["10.0.0.5"]), &free, 1), SizeChange::To(set(&["10.0.0.5"])));
        assert_eq!(resize(&current, &current, &free, 1), SizeChange::Short(1));
        assert_eq!(resize(&current, &none, &free, 2), SizeChange::Fits);
    }
}
