//! Hides what differs from run to run: MACs, random interface names and those made of a pod's id, paths of namespaces.

/// Replaces every MAC by `MAC`, every random `veth` name by `vethX`, every ifb of `bandwidth` by `bwpX`, and the text `netns` by
/// `NETNS`.
pub fn mask(text: &str, netns: &str) -> String {
    let text = if netns.is_empty() { text.to_owned() } else { text.replace(netns, "NETNS") };
    mask_ifbs(&mask_names(&mask_macs(&text)))
}

fn mask_macs(text: &str) -> String {
    replace_matches(text, 17, "MAC", |candidate| {
        candidate.iter().enumerate().all(|(at, c)| match at % 3 {
            2 => *c == b':',
            _ => c.is_ascii_hexdigit(),
        })
    })
}

fn mask_names(text: &str) -> String {
    replace_matches(text, 12, "vethX", |candidate| {
        candidate.starts_with(b"veth") && candidate[4..].iter().all(u8::is_ascii_hexdigit)
    })
}

fn mask_ifbs(text: &str) -> String {
    replace_matches(text, 15, "bwpX", |candidate| {
        candidate.starts_with(b"bwp") && candidate[3..].iter().all(u8::is_ascii_hexdigit)
    })
}

/// Replaces every piece of `length` bytes that matches.
fn replace_matches(text: &str, length: usize, by: &str, is_match: impl Fn(&[u8]) -> bool) -> String {
    let mut rest = text;
    let mut masked = String::with_capacity(text.len());
    while let Some(next) = rest.chars().next() {
        let candidate = rest.as_bytes().get(..length).filter(|c| is_match(c));
        let taken = if candidate.is_some() { length } else { next.len_utf8() };
        masked.push_str(if candidate.is_some() { by } else { &rest[..taken] });
        rest = &rest[taken..];
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn only_what_is_random_is_hidden() {
        let text = r#"{"mac":"02:0a:ff:00:11:22","name":"veth0123abcd","ifb":"bwp0123456789ab","sandbox":"/run/netns/a","x":"vethernet","ä":"fd00:1::1"}"#;
        let masked =
            r#"{"mac":"MAC","name":"vethX","ifb":"bwpX","sandbox":"NETNS","x":"vethernet","ä":"fd00:1::1"}"#;
        assert_eq!(mask(text, "/run/netns/a"), masked);
    }
}
