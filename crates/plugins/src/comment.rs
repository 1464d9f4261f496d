//! Comments of firewall rules: how an attachment's own are known again (spec/plugins.md 0.6).

use sha2::{Digest, Sha512};

use crate::Call;

/// The longest comment that `nft` writes, in bytes.
const MAX_LEN: usize = 128;

/// Lower-case hexadecimal digits of the SHA-512 of a text.
pub(crate) fn hash(text: &str) -> String {
    Sha512::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// The first 16 of these digits.
fn hash16(text: &str) -> String {
    let mut digits = hash(text);
    digits.truncate(16);
    digits
}

/// What the comments of an attachment's rules start with: keyed by network, interface and container.
pub(crate) fn prefix(call: &Call<'_>) -> String {
    let who = format!("{}:{}", call.ifname, call.container_id());
    format!("{}-{}", hash16(call.network()), hash16(&who))
}

/// A comment of this attachment: the prefix, what the rule is about, and whose it is, for people.
pub(crate) fn about(call: &Call<'_>, what: &str) -> String {
    fit(format!("{}, {what}, if: {}, id: {}", prefix(call), call.ifname, call.container_id()))
}

/// Cuts a comment to what is kept; double quotes would confuse `nft`.
fn fit(text: String) -> String {
    let mut text = text.replace('"', "");
    while text.len() > MAX_LEN {
        text.pop();
    }
    text
}
