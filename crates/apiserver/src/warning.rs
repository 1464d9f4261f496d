//! Warnings: what a request's answer carries in `Warning` headers besides its body, from field validation, definitions
//! and admission webhooks. They belong to the task that answers the request, so that no verb has to hand them on.

use std::cell::RefCell;
use std::future::Future;

tokio::task_local! {
    static WARNINGS: RefCell<Vec<String>>;
}

/// Adds a warning to the answer of the current request; without one it is dropped. A text is told once.
pub(crate) fn add(text: impl Into<String>) {
    let text = text.into();
    // Outside of a request nobody listens.
    let _ = WARNINGS.try_with(|warnings| {
        let mut warnings = warnings.borrow_mut();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    });
}

/// Runs `request` and returns its warnings with its outcome.
pub(crate) async fn collect<T>(request: impl Future<Output = T>) -> (T, Vec<String>) {
    WARNINGS
        .scope(RefCell::default(), async {
            let outcome = request.await;
            (outcome, WARNINGS.with(RefCell::take))
        })
        .await
}

/// The value of the header for one warning (RFC 7234: code 299, no agent, a quoted text).
pub(crate) fn header(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    format!("299 - \"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_has_its_own_warnings_once_each() {
        add("nobody hears this");
        let ((), warnings) = collect(async {
            add("a");
            add("b");
            add("a");
        })
        .await;
        assert_eq!(warnings, ["a", "b"]);
    }

    #[test]
    fn a_header_is_one_line_with_quotes_escaped() {
        assert_eq!(header("no \"x\"\n\\"), "299 - \"no \\\"x\\\"\\\\\"");
    }
}
