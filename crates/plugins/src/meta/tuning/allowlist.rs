//! `/etc/cni/tuning/allowlist.conf`: which settings an administrator lets configurations change. Read at ADD only.

use std::fs;
use std::io;

use regex_lite::Regex;

const FILE: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses a setting that no line of the file matches. Without the file everything is allowed.
pub(super) fn check(names: &[String]) -> Result<(), String> {
    match fs::read_to_string(FILE) {
        Ok(text) => allowed(&text, names),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("failed to read {FILE}: {e}")),
    }
}

/// Lines are regular expressions that may match anywhere in a name; blank ones mean nothing.
fn allowed(text: &str, names: &[String]) -> Result<(), String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let patterns: Vec<Regex> = lines
        .iter()
        .map(|line| Regex::new(line).map_err(|e| format!("{FILE}: {line:?}: {e}")))
        .collect::<Result<_, _>>()?;
    match names.iter().find(|name| !patterns.iter().any(|pattern| pattern.is_match(name))) {
        Some(name) => Err(format!(
            "Sysctl {name} is not allowed. Only the following sysctls are allowed: [{}]",
            lines.join(" ")
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    #[test]
    fn a_setting_needs_a_line_that_matches() {
        let text = "^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n\n^net\\.ipv6\\.\n";
        assert_eq!(allowed(text, &names("net.ipv4.conf.IFNAME.arp_filter")), Ok(()));
        assert_eq!(allowed(text, &names("net.ipv6.anything")), Ok(()));
        let refused = allowed(text, &names("net.core.somaxconn")).unwrap_err();
        assert!(
            refused.starts_with("Sysctl net.core.somaxconn is not allowed. Only the following"),
            "{refused}"
        );
        assert!(allowed("", &names("net.core.somaxconn")).is_err());
        assert_eq!(allowed("", &[]), Ok(()));
    }
}
