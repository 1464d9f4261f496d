//! Errors as one line of text, which is all that the CNI protocol, Events and the log can carry.

use std::error::Error;

/// The message and those of all its causes, joined by `: `. A cause that a message repeats already, as some crates' do, is not told twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let cause_text = inner.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        cause = inner.source();
    }
    text
}
