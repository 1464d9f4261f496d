//! Quantities: `500m`, `1Gi`, `1e3`. Read in billionths, of binary units in thousandths, and written in the one form in which the
//! real server answers them (`k8s.io/apimachinery/pkg/api/resource`): the largest unit that leaves no fraction.

use std::fmt;

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;
/// The largest amount that a quantity in binary units may have; larger ones are cut.
const LARGEST_BINARY: i128 = (i64::MAX as i128) * NANO;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Place of the unit one in [`DECIMAL`].
const ONE: i32 = 3;

/// The family of units that a quantity was written in, and is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Decimal,
    Exponent,
}

/// An amount of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    nanos: i128,
    form: Form,
}

impl Quantity {
    /// Reads a quantity; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !"+-.0123456789".contains(c)).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (form, multiply, shift) = unit_of(unit)?;
        let negative = number.starts_with('-');
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.len() + fraction.len() == 0
            || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let mantissa = format!("{whole}{fraction}");
        let mut magnitude = scaled(&mantissa, shift - i32::try_from(fraction.len()).ok()?, multiply);
        if form == Form::Binary {
            magnitude = rounded_up(magnitude, MILLI).min(LARGEST_BINARY);
        }
        Some(Self { nanos: if negative { -magnitude } else { magnitude }, form })
    }

    /// The amount in billionths.
    pub(crate) fn nanos(self) -> i128 {
        self.nanos
    }

    /// True if it is less than nothing.
    pub(crate) fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// True if it is a whole number of units.
    pub(crate) fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }
}

impl Quantity {
    /// The same unit family with another amount, in billionths.
    pub(crate) fn with_nanos(self, nanos: i128) -> Self {
        Self { nanos, ..self }
    }
}

/// Family, factor and power of ten of a unit.
fn unit_of(unit: &str) -> Option<(Form, i128, i32)> {
    if let Some(at) = BINARY.iter().skip(1).position(|known| *known == unit) {
        return Some((Form::Binary, 1 << (10 * (at + 1)), 0));
    }
    if let Some(at) = DECIMAL.iter().position(|known| *known == unit) {
        return Some((Form::Decimal, 1, (i32::try_from(at).ok()? - ONE) * 3));
    }
    let exponent: i32 = unit.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-100..100).contains(&exponent).then_some((Form::Exponent, 1, exponent))
}

/// `digits` x 10^`shift` x `multiply`, in billionths, rounded away from zero and cut at the largest number there is.
fn scaled(digits: &str, shift: i32, multiply: i128) -> i128 {
    let Ok(mantissa) = digits.trim_start_matches('0').parse::<i128>() else {
        return if digits.bytes().all(|b| b == b'0') { 0 } else { i128::MAX };
    };
    let product = mantissa.saturating_mul(multiply);
    let shift = shift + 9;
    let power = 10i128.checked_pow(shift.unsigned_abs()).unwrap_or(i128::MAX);
    if shift >= 0 { product.saturating_mul(power) } else { rounded_up(product, power) / power }
}

/// The next multiple of `unit`, of an amount that is not negative; cut at the largest there is.
fn rounded_up(amount: i128, unit: i128) -> i128 {
    let over = amount % unit;
    if over == 0 { amount } else { (amount - over).checked_add(unit).unwrap_or(amount - over) }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        match self.form {
            Form::Binary if self.nanos.abs() >= 1024 * NANO && self.is_whole() => self.binary(f),
            Form::Exponent => {
                self.decimal(f, |power| if power == 0 { String::new() } else { format!("e{power}") })
            }
            _ => self.decimal(f, |power| {
                let at = usize::try_from(power / 3 + ONE).unwrap_or(0);
                DECIMAL.get(at).copied().unwrap_or_default().to_owned()
            }),
        }
    }
}

impl Quantity {
    fn binary(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut whole = self.nanos.abs() / NANO;
        let mut unit = 0;
        while whole % 1024 == 0 && unit + 1 < BINARY.len() {
            whole /= 1024;
            unit += 1;
        }
        let sign = if self.nanos < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}{}", BINARY[unit])
    }

    fn decimal(self, f: &mut fmt::Formatter<'_>, unit: impl Fn(i32) -> String) -> fmt::Result {
        let (mut mantissa, mut power) = (self.nanos, -9);
        while mantissa % 1000 == 0 && power < 18 {
            mantissa /= 1000;
            power += 3;
        }
        write!(f, "{mantissa}{}", unit(power))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_written_as_the_real_server_answers_them() {
        for (given, answered) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("100M", "100M"),
            ("1000k", "1M"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000Mi", "1000Mi"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("12e2", "1200"),
            ("-2", "-2"),
            ("0.0000000001", "1n"),
            (".5", "500m"),
            ("5.", "5"),
            ("237.36Mi", "248889999360m"),
            ("1.23456789Gi", "1325607178061m"),
            ("0.0000000001Ki", "1m"),
            ("9Ei", "9223372036854775807"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(Quantity::parse(given).map(|q| q.to_string()).as_deref(), Some(answered), "{given}");
        }
    }

    #[test]
    fn other_texts_are_no_quantities() {
        for text in ["", "abc", "1x", "1 Gi", "--1", "1.2.3", "+", "1ki", "e3"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn writing_and_reading_again_changes_nothing(text in "[+-]?[0-9]{1,20}(\\.[0-9]{0,12})?(Ki|Mi|Ei|n|m|k|E|e3|e-2)?") {
            let once = Quantity::parse(&text).unwrap();
            let again = Quantity::parse(&once.to_string()).unwrap();
            prop_assert_eq!(again.nanos(), once.nanos());
            prop_assert_eq!(again.to_string(), once.to_string());
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Quantity::parse(&text).map(|q| q.to_string());
        }
    }
}
