//! Shell patterns over whole names: `*`, `?`, `[…]` with ranges, negation by `^` or `!`, and `\` as an escape.

/// Whether a name of a pool is a pattern.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether `name` as a whole matches. A pattern with an unclosed bracket matches nothing.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // The last star seen, and how much of the name it takes so far: enough, because only the last one needs to give way.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(next) = one(&pattern, p, name[n]) {
            (p, n) = (next, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character with the pattern at `p`; answers where the pattern goes on.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => class(pattern, p + 1, c),
        '\\' => (pattern.get(p + 1) == Some(&c)).then_some(p + 2),
        literal => (*literal == c).then_some(p + 1),
    }
}

fn class(pattern: &[char], mut p: usize, c: char) -> Option<usize> {
    let negated = matches!(pattern.get(p), Some('^' | '!'));
    p += usize::from(negated);
    let (start, mut found) = (p, false);
    loop {
        let low = *pattern.get(p)?;
        if low == ']' && p > start {
            return (found != negated).then_some(p + 1);
        }
        let high = match (pattern.get(p + 1), pattern.get(p + 2)) {
            (Some('-'), Some(high)) if *high != ']' => *high,
            _ => low,
        };
        p += if high == low { 1 } else { 3 };
        found |= low <= c && c <= high;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("p*", "pool", true),
            ("*l", "pool", true),
            ("p*o*l", "pool", true),
            ("p?l", "pool", false),
            ("p??l", "pool", true),
            ("v[46]", "v4", true),
            ("v[0-57]", "v6", false),
            ("v[^46]", "v5", true),
            ("v[!46]", "v4", false),
            ("v[4", "v4", false),
            ("a*b", "acbd", false),
            ("pool", "pool1", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_nothing_panics(pattern in "[a-c*?\\[\\]^!-]{0,12}", name in "[a-c]{0,12}") {
            let _ = matches(&pattern, &name);
            prop_assert!(matches(&name, &name));
            prop_assert!(matches("*", &name));
        }
    }
}
