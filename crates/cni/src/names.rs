//! Validation of the three names that a runtime hands over (spec/cni.md 1.2 and 1.3).

use crate::error::Error;

/// The container id: not empty (code 3), `[a-zA-Z0-9][a-zA-Z0-9_.-]*` (code 4).
pub fn container_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::unknown_container("missing containerID"));
    }
    if !is_identifier(id) {
        return Err(Error::invalid_environment("invalid characters in containerID", id));
    }
    Ok(())
}

/// The network name as the runtime checks it (code 7). A plugin's text for the empty name has no colon:
/// see [`crate::conf`].
pub fn network_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::invalid_network_config("missing network name:", ""));
    }
    if !is_identifier(name) {
        return Err(Error::invalid_network_config("invalid characters found in network name", name));
    }
    Ok(())
}

/// The interface name: what Linux accepts (code 4).
pub fn interface_name(name: &str) -> Result<(), Error> {
    let wrong = |msg: &str| Err(Error::invalid_environment(msg, ""));
    if name.is_empty() {
        return wrong("interface name is empty");
    }
    if name.len() > 15 {
        let details = "interface name should be less than 16 characters";
        return Err(Error::invalid_environment("interface name is too long", details));
    }
    if name == "." || name == ".." {
        return wrong("interface name is . or ..");
    }
    if name.contains(|symbol: char| symbol == '/' || symbol == ':' || symbol.is_whitespace()) {
        return wrong("interface name contains / or : or whitespace characters");
    }
    Ok(())
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`
fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_start_with_a_letter_or_digit() {
        for good in ["a", "0", "a_b.c-d", "A9"] {
            assert_eq!((container_id(good), network_name(good)), (Ok(()), Ok(())));
        }
        for bad in ["-a", ".a", "_a", "a/b", "a b", "ä", "a\n", "../x"] {
            let id = Error::new(4, "invalid characters in containerID", bad);
            assert_eq!(container_id(bad), Err(id));
            let name = Error::new(7, "invalid characters found in network name", bad);
            assert_eq!(network_name(bad), Err(name));
        }
    }

    #[test]
    fn empty_names_have_their_own_texts() {
        assert_eq!(container_id(""), Err(Error::new(3, "missing containerID", "")));
        assert_eq!(network_name(""), Err(Error::new(7, "missing network name:", "")));
        assert_eq!(interface_name(""), Err(Error::new(4, "interface name is empty", "")));
    }

    #[test]
    fn interface_names_are_what_linux_accepts() {
        assert_eq!(interface_name("exactly15bytes_"), Ok(()));
        let long =
            Error::new(4, "interface name is too long", "interface name should be less than 16 characters");
        assert_eq!(interface_name("exactly16bytes__"), Err(long));
        for dots in [".", ".."] {
            assert_eq!(interface_name(dots), Err(Error::new(4, "interface name is . or ..", "")));
        }
        for bad in ["a/b", "a:b", "a b", "a\tb", "a\u{a0}b", "a\u{2003}b"] {
            let text = "interface name contains / or : or whitespace characters";
            assert_eq!(interface_name(bad), Err(Error::new(4, text, "")), "{bad:?}");
        }
    }
}
