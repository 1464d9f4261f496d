//! What names of objects may look like (`k8s.io/apimachinery/pkg/util/validation`).

/// The rule that a kind's names follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 subdomain: the usual rule.
    Subdomain,
    /// An RFC 1123 label: no dots, 63 characters.
    Label,
    /// The same, whose first complaint is about dots.
    LabelNoDots,
    /// An RFC 1035 label: starts with a letter.
    Label1035,
    /// Anything that fits into one segment of a path.
    PathSegment,
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

impl NameRule {
    /// What is wrong with `name`.
    pub fn complaint(self, name: &str) -> Option<String> {
        match self {
            Self::Subdomain if name.len() > 253 => Some("must be no more than 253 characters".into()),
            Self::Subdomain if !name.split('.').all(is_label) => Some(SUBDOMAIN.into()),
            Self::Label if name.len() > 63 => Some("must be no more than 63 characters".into()),
            Self::Label if !is_label(name) => Some(LABEL.into()),
            Self::LabelNoDots if name.contains('.') => Some("must not contain dots".into()),
            Self::LabelNoDots => Self::Label.complaint(name),
            Self::Label1035 if name.len() > 63 => Some("must be no more than 63 characters".into()),
            Self::Label1035 if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                Some(LABEL_1035.into())
            }
            Self::PathSegment => path_segment(name),
            _ => None,
        }
    }
}

fn path_segment(name: &str) -> Option<String> {
    if name == "." || name == ".." {
        return Some(format!("may not be '{name}'"));
    }
    let bad = name.chars().find(|c| "/%".contains(*c) || c.is_control());
    bad.map(|c| format!("may not contain '{}'", c.escape_default()))
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = label.as_bytes();
    let edges = bytes.first().is_some_and(|b| inner(*b)) && bytes.last().is_some_and(|b| inner(*b));
    edges && bytes.iter().all(|b| inner(*b) || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule() {
        let ok = |rule: NameRule, name: &str| rule.complaint(name).is_none();
        assert!(
            ok(NameRule::Subdomain, "a.b-c.0")
                && !ok(NameRule::Subdomain, "A")
                && !ok(NameRule::Subdomain, "a..b")
        );
        assert!(
            !ok(NameRule::Subdomain, "-a") && !ok(NameRule::Subdomain, "") && !ok(NameRule::Subdomain, "a/b")
        );
        assert!(
            ok(NameRule::Label, "a-b")
                && !ok(NameRule::Label, "a.b")
                && !ok(NameRule::Label, &"a".repeat(64))
        );
        assert!(
            ok(NameRule::PathSegment, "System:x")
                && !ok(NameRule::PathSegment, "a/b")
                && !ok(NameRule::PathSegment, "..")
        );
    }
}
