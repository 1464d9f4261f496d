//! Durations as Go writes them: `300ms`, `1m30s`, `1.5s`.

/// Reads a duration in milliseconds, rounded down. Negative ones are none.
pub fn milliseconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        total += number.parse::<f64>().ok()? * in_milliseconds(unit)?;
        rest = after;
    }
    // Longer than any CNI call may take, and far below what the number can hold.
    (!text.is_empty() && total < 1e15).then_some(total as u64)
}

fn in_milliseconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-6,
        "us" | "µs" | "μs" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn what_go_reads_is_read() {
        for (text, expected) in [
            ("300ms", 300),
            ("1s", 1000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("0", 0),
            ("2h", 7_200_000),
            ("900us", 0),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for bad in ["", "s", "1", "1x", "-1s", "1s2", "1..5s", "."] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
    }
}
