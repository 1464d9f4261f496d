//! Durations in Go's form: `1h30m`, `-1.5s`, `100ms`.

use crate::go;

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds; `None` if `text` is no duration or one that is too long.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (amount, after) = number(rest)?;
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(amount.nanos(*nanos)?)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A decimal number: its digits before and after the point.
struct Amount<'t> {
    whole: &'t str,
    fraction: &'t str,
}

impl Amount<'_> {
    fn nanos(&self, unit: i128) -> Option<i128> {
        let whole: i128 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        let digits = &self.fraction[..self.fraction.len().min(18)];
        let part: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
        whole.checked_mul(unit)?.checked_add(part * unit / scale)
    }
}

fn number(text: &str) -> Option<(Amount<'_>, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(digits(after)),
        None => ("", rest),
    };
    (whole.len() + fraction.len() > 0 && whole.len() <= 20).then_some((Amount { whole, fraction }, rest))
}

/// The form in which CEL prints a duration: seconds.
pub(super) fn seconds_text(nanos: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "the reference implementation prints a float64 too")]
    let seconds = nanos as f64 / 1e9;
    format!("{}s", go::float(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("0", 0),
            ("100ms", 100_000_000),
            (".5s", 500_000_000),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
        for text in ["", "1", "s", "1x", "1 s", "9999999999h", "."] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(seconds_text(1_500_000_000), "1.5s");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-0-9.hmsuµn]{0,30}") {
            let _ = parse(&text);
        }
    }
}
