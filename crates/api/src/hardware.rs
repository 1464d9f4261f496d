//! Hardware addresses of every length that an annotation may hold: 6 (Ethernet), 8 (EUI-64) or 20 bytes (IP over InfiniBand).

/// Is the text a hardware address in one of the three spellings `aa:bb:…`, `aa-bb-…`, `aabb.ccdd.…`?
pub(crate) fn is_address(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.get(2), bytes.get(4)) {
        (Some(b':'), _) => grouped(text, ':', 2),
        (Some(b'-'), _) => grouped(text, '-', 2),
        (_, Some(b'.')) => grouped(text, '.', 4),
        _ => false,
    }
}

fn grouped(text: &str, separator: char, digits: usize) -> bool {
    let groups: Vec<&str> = text.split(separator).collect();
    let is_group = |group: &&str| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(groups.len() * digits / 2, 6 | 8 | 20) && groups.iter().all(is_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_6_8_or_20_bytes_in_three_spellings() {
        for good in ["02:00:ab:00:00:09", "02-00-AB-00-00-09", "0200.ab00.0009", "02:00:00:00:00:00:00:01"] {
            assert!(is_address(good), "{good}");
        }
        assert!(is_address(&["0a"; 20].join(":")));
        assert!(is_address(&["0a0b"; 10].join(".")));
        for bad in
            ["", "02", "02:00", "02:00:ab:00:00:0g", "2:0:ab:0:0:9", "02:00-ab:00:00:09", "0200.ab00.00"]
        {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(!is_address(&["0a"; 7].join(":")));
    }
}
