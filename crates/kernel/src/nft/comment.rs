//! Comments of rules: user data in the format of `nft`, which prints them (type, length, text with its terminating zero).

/// Type of a rule's comment (libnftnl's `NFTNL_UDATA_RULE_COMMENT`).
const COMMENT: u8 = 0;
/// The longest comment that `nft` writes, in bytes.
pub(super) const MAX_LEN: usize = 128;

/// The user data of a comment; none if the text is too long or holds a zero.
pub(super) fn encode(text: &str) -> Option<Vec<u8>> {
    let length =
        u8::try_from(text.len() + 1).ok().filter(|_| text.len() <= MAX_LEN && !text.contains('\0'))?;
    let mut bytes = vec![COMMENT, length];
    bytes.extend(text.bytes());
    bytes.push(0);
    Some(bytes)
}

/// The comment in user data, if there is one.
pub(super) fn decode(mut bytes: &[u8]) -> Option<&str> {
    while let [kind, length, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*length))?;
        if *kind == COMMENT {
            return crate::netlink::attrs::text(value);
        }
        bytes = &rest[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_comment_is_written_as_nft_writes_it() {
        assert_eq!(encode("x"), Some(vec![0, 2, b'x', 0]));
        assert_eq!(encode(&"x".repeat(MAX_LEN + 1)), None);
        assert_eq!(encode("a\0b"), None);
    }

    #[test]
    fn other_user_data_before_a_comment_is_skipped() {
        assert_eq!(decode(&[1, 2, 9, 9, 0, 2, b'x', 0]), Some("x"));
        assert_eq!(decode(&[1, 200, 9]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[^\0]{0,40}") {
            let bytes = encode(&text).unwrap();
            prop_assert_eq!(decode(&bytes), Some(text.as_str()));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
