//! Expressions.

/// Seconds... placeholder
pub(crate) fn parse_go_duration(text: &str) -> Option<i64> {
    duration::parse(text)
}

mod duration;
