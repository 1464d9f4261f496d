//! Errors as one line of text, which is all that the CNI protocol, Events and the log can carry.

use std::error::Error;

/// The message and those of all its causes, joined by `: `.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
