//! Formats of strings that definitions may ask for, checked as the real server checks them. Other formats say nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

/// A check of one format.
type Check = fn(&str) -> bool;

/// The check for `format`; `None` if that says nothing. Dashes in the name do not count, as in `date-time`.
pub(super) fn check(format: &str) -> Option<Check> {
    let check: Check = match format.replace('-', "").as_str() {
        "uri" => is_uri,
        "email" => is_email,
        "hostname" => is_hostname,
        "ipv4" => is_ipv4,
        "ipv6" => |text| text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr,
        "mac" => is_mac,
        "uuid" => |text| UUID.is_match(text),
        "uuid3" => |text| UUID3.is_match(text),
        "uuid4" => |text| UUID4.is_match(text),
        "uuid5" => |text| UUID5.is_match(text),
        "isbn" => |text| is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10,
        "isbn13" => is_isbn13,
        "creditcard" => is_credit_card,
        "ssn" => |text| SSN.is_match(text),
        "hexcolor" => |text| HEX_COLOR.is_match(text),
        "rgbcolor" => |text| RGB_COLOR.is_match(text),
        "byte" => |text| BASE64.is_match(text),
        "date" => is_date,
        "datetime" => is_date_time,
        "duration" => is_duration,
        "bsonobjectid" => |text| text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "k8sshortname" => |text| text.len() <= 63 && SHORT_NAME.is_match(text),
        "k8slongname" => |text| text.len() <= 253 && text.split('.').all(|part| SHORT_NAME.is_match(part)),
        _ => return None,
    };
    Some(check)
}

/// True if the real server knows the format, checked or not.
pub(crate) fn is_known(format: &str) -> bool {
    format == "password" || check(format).is_some()
}

/// Checks a text against a format; the error is a sentence.
pub(crate) fn has_format(format: &str, text: &str) -> Result<(), String> {
    match check(format) {
        Some(check) if !check(text) => Err(format!("invalid {format}")),
        _ => Ok(()),
    }
}

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        #[allow(clippy::expect_used, reason = "the pattern is a constant, and each has a test")]
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a valid pattern"));
    };
}

pattern!(UUID, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID3, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID4, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(UUID5, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
pattern!(HEX_COLOR, "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
pattern!(
    RGB_COLOR,
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
);
pattern!(BASE64, "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$");
pattern!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11}|6[27][0-9]{14})$"
);
pattern!(SHORT_NAME, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
pattern!(
    HOSTNAME,
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
);
pattern!(DATE_TIME, r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d([.,]\d+)?([Zz]|[+-]\d\d:?\d\d)$");
pattern!(SCHEME, "^[a-zA-Z][a-zA-Z0-9+.-]*:");

/// An absolute URI or an absolute path.
fn is_uri(text: &str) -> bool {
    let plain = !text.is_empty() && !text.contains([' ', '\x7f']) && !text.chars().any(char::is_control);
    plain && (text.starts_with('/') || SCHEME.is_match(text)) && has_good_escapes(text)
}

fn has_good_escapes(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let digits = rest.get(at + 1..at + 3);
        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}

/// `local@domain`, perhaps with a name before it in the form `Name <local@domain>`.
fn is_email(text: &str) -> bool {
    let inner = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let Some((local, domain)) = inner.trim().rsplit_once('@') else { return false };
    let atom = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || local.split('.').all(atom)) && domain.split('.').all(atom)
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 255 && HOSTNAME.is_match(text) && text.split('.').all(|part| part.len() <= 63)
}

/// Leading zeros are read as decimal, which the standard parser refuses.
fn sloppy_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let fits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *octet = part
            .trim_start_matches('0')
            .parse()
            .or(if fits && part.trim_start_matches('0').is_empty() { Ok(0) } else { "x".parse::<u8>() })
            .ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn is_ipv4(text: &str) -> bool {
    sloppy_ipv4(text).is_some() || (text.contains('.') && text.parse::<Ipv6Addr>().is_ok())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let digits = !length.is_empty() && length.len() <= 3 && length.bytes().all(|b| b.is_ascii_digit());
    let length: u8 = length.parse().unwrap_or(u8::MAX);
    let fits_v4 = sloppy_ipv4(address).is_some() && length <= 32;
    let fits_v6 = address.parse::<Ipv6Addr>().is_ok() && length <= 128;
    digits && (fits_v4 || fits_v6)
}

/// 6, 8 or 20 bytes, in pairs with `:` or `-`, or in groups of four digits with dots.
fn is_mac(text: &str) -> bool {
    [(':', 2), ('-', 2), ('.', 4)].into_iter().any(|(separator, digits)| {
        let groups: Vec<&str> = text.split(separator).collect();
        let fits = |g: &&str| g.len() == digits && g.bytes().all(|b| b.is_ascii_hexdigit());
        groups.iter().all(fits) && [6, 8, 20].contains(&(groups.len() * digits / 2))
    })
}

fn digits_of(text: &str) -> Vec<u32> {
    text.chars().filter(|c| ![' ', '-'].contains(c)).map(|c| c.to_digit(10).unwrap_or(99)).collect()
}

fn is_isbn10(text: &str) -> bool {
    let mut digits = digits_of(text);
    if let (Some(last), true) = (digits.last_mut(), text.ends_with('X')) {
        *last = 10;
    }
    let plain = digits.len() == 10 && digits[..9].iter().all(|d| *d <= 9) && digits[9] <= 10;
    plain && (1..).zip(&digits).map(|(n, d)| n * d).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits_of(text);
    let plain = digits.len() == 13 && digits.iter().all(|d| *d <= 9);
    plain && digits.iter().zip([1, 3].into_iter().cycle()).map(|(d, f)| d * f).sum::<u32>() % 10 == 0
}

/// The issuer's pattern and the Luhn checksum, over the digits alone.
fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let value = |(n, c): (usize, char)| {
        let digit = c.to_digit(10).unwrap_or(0) * if n % 2 == 1 { 2 } else { 1 };
        if digit > 9 { digit - 9 } else { digit }
    };
    CREDIT_CARD.is_match(&digits) && digits.chars().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

fn is_date(text: &str) -> bool {
    let shape = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    shape && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    DATE_TIME.is_match(text) && text.replace(',', ".").parse::<jiff::Timestamp>().is_ok()
}

/// Go's form (`1h30m`) or Scala's (`22 ns`).
fn is_duration(text: &str) -> bool {
    crate::cel::parse_go_duration(text).is_some() || is_scala_duration(text)
}

fn is_scala_duration(text: &str) -> bool {
    const UNITS: [&str; 37] = [
        "ns",
        "nano",
        "nanos",
        "nanosecond",
        "nanoseconds",
        "us",
        "µs",
        "micro",
        "micros",
        "microsecond",
        "microseconds",
        "ms",
        "milli",
        "millis",
        "millisecond",
        "milliseconds",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "m",
        "min",
        "mins",
        "minute",
        "minutes",
        "h",
        "hr",
        "hrs",
        "hour",
        "hours",
        "d",
        "day",
        "days",
        "w",
        "week",
        "weeks",
    ];
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    !number.is_empty() && UNITS.contains(&unit.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [&str; 26] = [
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "date",
        "date-time",
        "duration",
        "bsonobjectid",
        "k8s-short-name",
        "k8s-long-name",
        "datetime",
    ];

    #[test]
    fn each_format_accepts_its_own_and_refuses_others() {
        for (format, good, bad) in [
            ("uri", "https://a/b?c", "a b"),
            ("uri", "/path", "relative"),
            ("email", "a.b@example.com", "a@"),
            ("email", "A B <a@b.c>", "@b.c"),
            ("hostname", "a-b.example.com", "-a.example.com"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv4", "10.0.0.001", "10.0.0"),
            ("ipv6", "fd00::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("cidr", "fd00::/48", "fd00::"),
            ("mac", "02:00:00:00:00:01", "02:00:00:00:00"),
            ("mac", "0200.0000.0001", "0200.0000"),
            ("uuid", "6B29FC40-CA47-1067-B31D-00DD010662DA", "6B29FC40"),
            ("uuid3", "a987fbc9-4bed-3078-8f07-9141ba07c9f3", "a987fbc9-4bed-4078-8f07-9141ba07c9f3"),
            ("uuid4", "57b73598-8764-4ad0-a76a-679bb6640eb1", "57b73598-8764-3ad0-a76a-679bb6640eb1"),
            ("uuid5", "987fbc97-4bed-5078-af07-9141ba07c9f3", "987fbc97-4bed-4078-af07-9141ba07c9f3"),
            ("isbn10", "0321751043", "0321751041"),
            ("isbn13", "978-0321751041", "978-0321751042"),
            ("isbn", "0321751043", "1"),
            ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"),
            ("ssn", "111-11-1111", "111"),
            ("hexcolor", "#ffF", "#ff"),
            ("rgbcolor", "rgb(255,0,1)", "rgb(256,0,1)"),
            ("byte", "YWJj", "YWJ"),
            ("date", "2024-02-29", "2023-02-29"),
            ("date-time", "2024-02-29T10:00:00.5Z", "2024-02-29"),
            ("duration", "1h30m", "1x"),
            ("duration", "22 ns", "ns"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a-b.c", "a..b"),
        ] {
            let check = check(format).unwrap();
            assert!(check(good), "{format} {good}");
            assert!(!check(bad), "{format} {bad}");
        }
        assert!(check("int32").is_none() && is_known("password") && !is_known("int64"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            for format in FORMATS {
                let _ = check(format).unwrap()(&text);
            }
        }
    }
}
