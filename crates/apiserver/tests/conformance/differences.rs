//! The known differences: the table rows of `docs/apiserver-differences.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Reasons by case.
pub type Allowed = BTreeMap<String, String>;

/// Rows have the form `` | `area: title` | what differs, and why | ``.
pub fn read() -> Allowed {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/apiserver-differences.md");
    let text = fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(case, reason)| (case.to_owned(), reason.trim_end_matches(" |").to_owned())).collect()
}
